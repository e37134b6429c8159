"""Every setting of every step arrives: by --set on the step, on a pipeline and on rerun.

The steps' own work is left out: a stand-in with the signature of the real `run` notes what it was given, where the real
ones would take hours for all settings.
"""

import functools
import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import understudy
from tests.conftest import card_yaml
from understudy.cli.main import app
from understudy.errors import BadSetting
from understudy.pipelines.compile import PIPELINES
from understudy.runners import checks, overrides
from understudy.runners.local import step as again
from understudy.runtime import provenance, shell
from understudy.runtime.shell import Result
from understudy.task.card import load_card, parse_card
from understudy.task.settings import (
    Overrides,
    also_reads,
    build_config,
    config_of,
    key_faults,
    reads,
    require_read,
    sections,
)
from understudy.task.steps import STEPS


def another(section, field):
    """Return a value for a setting that is not its default, and that its record takes."""
    if section == "columns":
        return f"my_{field.name}"
    default, words = field.default, re.findall(r"'(\w+)'", str(field.type))
    numbers = [] if isinstance(default, bool | str) else [(default or 0.02) / 2, (default or 0) + 1]
    candidates = [*words, *numbers, not default, "2026-11-01", "http://es:9200"]
    for value in candidates:
        try:
            build_config(config_of(section), {field.name: value}, "")
        except BadSetting:
            continue
        if value != default and type(value) is type(default if default is not None else value):
            return value
    raise AssertionError(f"no other value for {section}.{field.name}")


OTHERS = {
    f"{section}.{field.name}": another(section, field) for section in sections() for field in fields(config_of(section))
}


def lines(values):
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()]


def read_by(step):
    return {key: value for key, value in OTHERS.items() if reads(step, key)}


@pytest.fixture
def given(tmp_path, card_text, monkeypatch):
    """What the runs of the steps were given."""
    given = []
    real = shell.load_run

    def stand_in(step):
        run = real(step)
        outputs = [name for name, hint in run.__annotations__.items() if hint is shell.Out]

        @functools.wraps(run)
        def note(**arguments):
            given.append(arguments)
            for name in outputs:
                arguments[name].mkdir()
                (arguments[name] / "card.yaml").write_text(card_text)
            return Result("noted")

        return note

    monkeypatch.setattr(shell, "load_run", stand_in)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/card.yaml").write_text(card_text)
    return given


def places(step, folder, out="out"):
    """Return inputs, outputs and required parameters of a step, below a folder."""
    shape = shell.signature(step)
    required = [name for name, parameter in shape.parameters.items() if parameter.default is parameter.empty]
    inputs = {name: str(folder / "in") for name in shape.inputs}
    inputs |= {name: str(folder / "store" if name == "store" else folder / "in/card.yaml") for name in required}
    return inputs, {name: str(folder / out / step / name) for name in shape.outputs}


def arrived(given, text):
    """Return the settings that the newest run was given, by section and name."""
    settings = parse_card(text).settings(given[-1]["overrides"])
    return {key: settings.value(key) for key in OTHERS}


DEFAULTS = {f"{section}.{it.name}": it.default for section in sections() for it in fields(config_of(section))}


def test_every_setting_has_a_default_and_another_value():
    assert len(OTHERS) > 100
    assert MISSING not in DEFAULTS.values()
    assert [key for key, value in OTHERS.items() if value == DEFAULTS[key]] == []


@pytest.mark.parametrize("step", STEPS)
def test_every_setting_arrives_from_the_command_of_its_step(step, tmp_path, given, card_text):
    before = arrived([{"overrides": Overrides()}], card_text)
    inputs, outputs = places(step, tmp_path)
    words = [word for name, path in {**inputs, **outputs}.items() for word in (f"--{name.replace('_', '-')}", path)]
    for key, value in read_by(step).items():
        (line,) = lines({key.removeprefix(f"{step}."): value})
        done = CliRunner().invoke(app, [step, *words, "--set", line], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert arrived(given, card_text) == {**before, key: value}


@pytest.mark.parametrize("step", STEPS)
def test_every_setting_arrives_from_a_pipeline(step, tmp_path, given, card_text):
    text = "\n".join(lines(OTHERS))
    checks.check_settings(text, parse_card(card_text))
    inputs, outputs = places(step, tmp_path)
    shape = shell.signature(step)
    artifacts = {
        name: SimpleNamespace(path=path, uri=path)
        for name, path in {**inputs, **outputs}.items()
        if name in (*shape.inputs, *shape.outputs)
    }
    shell.execute_component(step, {**inputs, **artifacts, "overrides": text})
    assert arrived(given, card_text) == OTHERS


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_step_of_a_pipeline_is_given_its_settings(pipeline, warm):
    # KFP walks the stack and all modules for each resource of a task, which is slow beneath pytest, with torch loaded
    code = "import sys; from understudy.pipelines.compile import pipeline_spec; print(pipeline_spec(sys.argv[1]))"
    spec = warm.run(["-c", code, pipeline], check=True).stdout
    handed = re.findall(r"'overrides': \{'componentInputParameter': '([\w-]+)'", spec)
    components = re.findall(r"execute_component\(", spec)
    assert len(handed) >= len(components) > 0
    assert all(name.endswith("overrides") for name in handed)


@pytest.mark.parametrize("step", STEPS)
def test_every_setting_arrives_from_a_rerun_and_is_recorded(step, tmp_path, given, card_text):
    before = arrived([{"overrides": Overrides()}], card_text)
    inputs, outputs = places(step, tmp_path)
    shell.execute(step, {**inputs, **outputs})
    made = Path(next(iter(outputs.values())))
    for number, (key, value) in enumerate(read_by(step).items()):
        (line,) = lines({key.removeprefix(f"{step}."): value})
        done = again.carry_out(again.plan(made, line, tmp_path / f"again{number}"))
        assert arrived(given, card_text) == {**before, key: value}
        recorded = next(iter(done.new.values())).provenance["settings"]
        section, _, name = key.rpartition(".")
        assert (recorded if section == step else recorded[section])[name] == value


@pytest.mark.parametrize("step", STEPS)
def test_settings_of_other_steps_are_refused_with_the_names_of_these(step, tmp_path, given):
    for key in OTHERS.keys() - read_by(step).keys():
        with pytest.raises(BadSetting) as caught:
            require_read(Overrides({key: OTHERS[key]}), step)
        (sentence,) = caught.value.faults
        names = re.findall(r"'(\w+)'", sentence.partition(", which ")[2])
        assert names == [other for other in STEPS if reads(other, key)]
        assert names
    inputs, outputs = places(step, tmp_path)
    words = [word for name, path in {**inputs, **outputs}.items() for word in (f"--{name.replace('_', '-')}", path)]
    foreign = "train.epochs" if step != "train" else "label.texts"
    done = CliRunner().invoke(app, [step, *words, "--set", f"{foreign}=3"])
    assert isinstance(done.exception, BadSetting)
    assert f"which '{foreign.partition('.')[0]}' reads" in str(done.exception)
    assert given == []


def test_settings_on_a_rerun_are_judged_beside_those_that_the_step_had(tmp_path, given, card_text):
    (tmp_path / "in/card.yaml").write_text(f"{card_text}\ningest: {{test_share: 0.05}}\n")
    inputs, outputs = places("ingest", tmp_path)
    shell.execute("ingest", {**inputs, **outputs, "overrides": "calibration_share=0.1\ncascade.max_missed=0"})
    made = Path(outputs["pool"])
    record = provenance.read(made)
    assert again.plan(made, "validation_share=0.3").arguments["overrides"].splitlines() == [
        "calibration_share=0.1",
        "cascade.max_missed=0",
        "validation_share=0.3",
    ]
    with pytest.raises(BadSetting, match="must sum to less than 1"):
        overrides.check(record, "validation_share=0.8\ntest_share=0.3")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_names_what_it_reads_of_other_sections(step):
    folder = Path(understudy.__file__).parent / "steps" / step
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "config.py")
    named = also_reads(step)
    assert ("TeacherConfig" in code) == ("teacher" in named)
    cascade = [key for key in named if key.startswith("cascade")]
    assert [key for key in cascade if f".{key.partition('.')[2]}" not in code] == []
    assert ("CascadeConfig" in code) == bool(cascade)
    assert any(word in code for word in ("ColumnsConfig", 'build_section("columns"')) == ("columns" in named)
    single = [key for key in named if key.partition(".")[0] in STEPS]
    assert sorted(set(re.findall(r'\.value\("([\w.]+)"\)', code))) == sorted(single)


def test_a_card_of_the_examples_keeps_its_hash():
    card = load_card(Path(understudy.__file__).parents[2] / "pipelines/tasks/hotel-tips/card.yaml")
    assert card.hash.startswith("556461ac424a09dd")


def test_an_unknown_setting_of_a_shared_section_is_told_as_unknown_and_no_other_step_is_named():
    require_read(Overrides({"teacher.nonsense": 2}), "infer")
    with pytest.raises(BadSetting, match="got 'nonsense'"):
        parse_card(card_yaml()).settings(Overrides({"teacher.nonsense": 2}))


def test_a_setting_without_its_section_is_told_with_the_sections_that_have_it():
    (epochs,), (seed,) = (key_faults({key: 1}) for key in ("epochs", "seed"))
    assert epochs.endswith("got 'epochs' (--set). Write train.epochs.")
    assert "ingest.seed or " in seed
    assert "Steps: " in key_faults({"nothing": 1})[0]
