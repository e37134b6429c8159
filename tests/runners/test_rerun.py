"""One step again, from the provenance of what it made, and what that makes stale."""

import json
import shutil

import pytest

from tests import toys
from tests.conftest import invoke
from understudy.errors import BadArtifact, BadInput, BadSetting
from understudy.runners.local import step
from understudy.store.runs import read_all
from understudy.store.storage import open_store


@pytest.fixture
def made(desk, run):
    """The folder of a finished run of the toy pipeline."""
    assert run(desk, "--name", "first", "--set", "export.int8=false").returncode == 0
    with toys.installed():
        yield desk.runs / "first"


def again(artifact, overrides="", out=None):
    return step.carry_out(step.plan(artifact, overrides, out))


def test_a_step_runs_again_with_other_settings_in_a_folder_of_its_own(made):
    done = again(made / "double/doubled", "factor=5")
    assert (made / "double-rerun-1/doubled/numbers.txt").read_text() == "20 10"
    assert (made / "double/doubled/numbers.txt").read_text() == "8 4"
    assert done.new["doubled"].provenance["arguments"]["overrides"] == "export.int8=false\nfactor=5"
    assert "  sum                                12 ->           30" in list(step.report_lines(done))
    again(made / "double/doubled", "double.factor=7")
    assert (made / "double-rerun-2/doubled/numbers.txt").read_text() == "28 14"


def test_everything_made_from_what_has_changed_is_stale_at_any_distance(made):
    done = again(made / "double/doubled", "factor=5")
    stale = [(it.provenance["step"], it.path.relative_to(made).as_posix()) for it in done.stale]
    assert sorted(stale) == [
        ("decide", "decide/evaluation"),
        ("decide", "decide/page"),
        ("ship", "ship/release"),
    ]
    lines = list(step.report_lines(done))
    assert f"Stale ship release: {made}/ship/release" in lines


def test_nothing_is_stale_when_the_rerun_made_the_same(made):
    done = again(made / "double/doubled")
    assert done.stale == ()
    assert list(step.report_lines(done))[-1].startswith("Nothing is stale")


def test_an_artifact_that_is_one_file_is_made_again_with_those_beside_it(made):
    done = again(made / "decide/page")
    assert set(done.new) == {"evaluation", "page"}
    assert (made / "decide-rerun-1/page").read_text() == (made / "decide/page").read_text()


def test_the_outputs_go_where_they_are_asked_to(made, tmp_path):
    again(made / "double/doubled", "factor=3", tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/doubled/numbers.txt").read_text() == "12 6"


def test_a_later_setting_takes_the_place_of_an_earlier_one(made):
    first = again(made / "double/doubled", "double.factor=5")
    second = again(first.new["doubled"].path, "factor=3")
    assert second.new["doubled"].provenance["arguments"]["overrides"] == "export.int8=false\nfactor=3"
    assert (second.new["doubled"].path / "numbers.txt").read_text() == "12 6"


def test_an_input_that_is_gone_or_has_changed_is_told_before_anything_runs(made, desk):
    (made / "gather/numbers/numbers.txt").write_text("1 1")
    (made / "gather/snapshot/card.yaml").unlink()
    (made / "gather/snapshot/provenance.json").unlink()
    (made / "gather/snapshot").rmdir()
    with pytest.raises(BadInput) as caught:
        again(made / "double/doubled")
    told = sorted(fault.split(", got ")[0] for fault in caught.value.faults)
    assert told == ["An input must be what the artifact was made from", "An input must still be there"]
    assert not (made / "double-rerun-1").exists()


def test_a_file_of_the_users_that_has_changed_is_told_too(made, desk):
    (desk.folder / "texts.csv").write_text("id,text\n")
    with pytest.raises(BadInput, match=r"got changed content at .*texts.csv \(texts\)"):
        again(made / "gather/numbers")


def test_a_step_that_has_read_folders_runs_again_while_what_it_reads_of_them_is_the_same(desk, run):
    names = ("card", "texts", "labels")
    for name, file in zip(names, ("card.yaml", "texts.csv", "labels.csv"), strict=True):
        (desk.folder / name).mkdir()
        shutil.copy(desk.folder / file, desk.folder / name)
    assert run(desk, "--name", "folders", **{name: name for name in names}).returncode == 0
    for name in names:
        (desk.folder / name / "notes.txt").write_text("read by nobody")
    numbers = desk.runs / "folders/gather/numbers"
    with toys.installed():
        assert (again(numbers).new["numbers"].path / "numbers.txt").read_text() == "4 2"
        (desk.folder / "texts/more.csv").write_text("id,text\n")
        with pytest.raises(BadInput, match=r"got changed content at .*/texts \(texts\)"):
            again(numbers)


def test_an_input_that_lies_elsewhere_is_told(made):
    file = made / "double/doubled/provenance.json"
    record = json.loads(file.read_text())
    record["inputs"]["numbers"]["uri"] = "s3://bucket/numbers"
    file.write_text(json.dumps(record))
    with pytest.raises(BadInput, match="must lie on this machine, got s3://bucket/numbers"):
        again(made / "double/doubled")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("factor=0", "factor must be above 0"),
        ("factors=1", "must be one of factor, got 'factors'"),
        ("train.epochs=1", "one that the step 'double' reads, got 'train.epochs' .* which 'train' reads"),
    ],
)
def test_a_setting_that_cannot_serve_is_told_before_anything_runs(made, setting, told):
    with pytest.raises(BadSetting, match=told):
        again(made / "double/doubled", setting)
    assert not (made / "double-rerun-1").exists()


def test_what_is_no_artifact_is_refused(made):
    with pytest.raises(BadArtifact, match=r"must have a .*provenance\.json"):
        again(made / "double")


def test_a_rerun_by_the_command_prints_what_changed_and_keeps_the_noise_in_a_log(made, capfd):
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made / "double/doubled"), "--set", "factor=5")
    out = capfd.readouterr().out
    assert ended.value.code == 0
    assert out.startswith(f"Made anew: double, in {made}/double-rerun-1.\nKept: card, numbers.\n")
    assert "double: x2: [8, 4]  ->  x5: [20, 10]\n" in out
    assert "noise" not in out
    assert "noise of double" in (made / "double-rerun-1/run.log").read_text()


def test_the_command_ends_with_2_and_a_sentence_on_bad_input(made, capfd):
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made / "double/doubled"), "--set", "factor=0")
    assert ended.value.code == 2
    assert "factor must be above 0" in capfd.readouterr().err


@pytest.mark.parametrize(
    "record",
    [
        {"step": "nope", "arguments": {}, "inputs": {}, "sources": {}, "metrics": {}, "output": "", "version": ""},
        {"step": "train"},
        {"step": 5},
        {"step": "../double"},
    ],
)
def test_a_damaged_provenance_ends_with_2_and_a_sentence(made, capfd, record):
    (made / "double/doubled/provenance.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made / "double/doubled"))
    assert ended.value.code == 2
    assert "Run the pipeline again, or restore that file." in capfd.readouterr().err


@pytest.mark.parametrize("change", [{"inputs": {"numbers": 5}}, {"sources": {"card": "0"}, "arguments": {}}])
def test_a_provenance_that_does_not_say_where_its_inputs_were_is_refused(made, change):
    file = made / "double/doubled/provenance.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BadArtifact, match=r"must say where each input was|inputs\.numbers"):
        step.plan(made / "double/doubled", "")


def test_a_step_is_run_again_by_the_name_of_its_run(made, capfd, monkeypatch):
    for run, place in ((str(made), made.parent), ("first", made.parent)):
        with pytest.raises(SystemExit) as ended:
            invoke("rerun", run, "--work", str(place), "--from", "double", "--set", "factor=5")
        assert ended.value.code == 0
    assert (made / "double-rerun-2/doubled/numbers.txt").read_text() == "20 10"
    assert "Made anew: double, in" in capfd.readouterr().out


def test_a_step_that_ran_several_times_is_not_run_again_alone_by_its_name(made, capfd):
    shutil.copytree(made / "double", made / "double-2")
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made), "--from", "double")
    assert ended.value.code == 2
    told = capfd.readouterr().err
    assert "must have run once, got 2 times (double, --from). Add --downstream, or give an artifact of one" in told
    assert f"of them: {made}/double/..." in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "--from", "double"], "A run must be there, got no nowhere here or in"),
        (["first", "--from", "train"], "got 'train' where decide, double, gather, ship did"),
        (["first", "--from", "train", "--downstream"], "Its steps: gather, double, decide, ship."),
        (["first", "--from", "decide", "--downstream", "--set", "double.factor=2"], "got 'double.factor' (--set)"),
        (["first", "--from", "double", "--downstream", "--set", "factor=0"], "factor must be above 0"),
    ],
)
def test_what_cannot_be_run_again_is_told_before_anything_runs(made, capfd, words, told):
    before = sorted(made.parent.iterdir())
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", *words, "--work", str(made.parent))
    assert ended.value.code == 2
    assert told in capfd.readouterr().err
    assert sorted(made.parent.iterdir()) == before


def test_all_that_follows_from_a_step_is_run_again_as_a_run_of_its_own(made, desk, capfd, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(desk.log))
    ran = len(desk.ran())
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made), "--from", "double", "--downstream", "--set", "factor=5")
    out = capfd.readouterr().out
    assert ended.value.code == 0
    assert out.startswith("Made anew: double, decide, ship.\nKept from 'first': gather.\n")
    assert desk.ran()[ran:] == ["double", "decide", "ship"]
    (again,) = made.parent.glob("rerun-double-*")
    assert (again / "ship/release/sum.txt").read_text() == "30"
    assert (made / "ship/release/sum.txt").read_text() == "12"
    record = json.loads((again / "run.json").read_text())
    assert record["arguments"]["overrides"] == "export.int8=false\ndouble.factor=5"
    assert (record["begins_at"], json.loads((made / "run.json").read_text())["begins_at"]) == ("double", "")
    inputs = json.loads((again / "double/doubled/provenance.json").read_text())["inputs"]
    assert inputs["numbers"]["uri"] == str(made / "gather/numbers")


def test_a_condition_is_decided_again(made, desk, capfd):
    """What the first run has published, a rerun need not: its own decision counts."""
    (made / "gather/numbers/numbers.txt").write_text("1 1")
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made), "--from", "double", "--downstream")
    assert ended.value.code == 2
    assert "got changed content at" in capfd.readouterr().err
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(made), "--from", "gather", "--downstream", "--set", "double.factor=1")
    out = capfd.readouterr().out
    assert ended.value.code == 3
    assert "Not published (refuse): the sum is 6" in out
    (again,) = made.parent.glob("rerun-gather-*")
    assert not (again / "ship").exists()


def test_a_rerun_that_neither_decides_nor_publishes_says_neither(made, desk, capfd):
    with pytest.raises(SystemExit):
        invoke("rerun", str(made), "--from", "gather", "--downstream", "--set", "double.factor=1")
    (refused,) = made.parent.glob("rerun-gather-*")
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(refused), "--from", "ship", "--downstream", "--set", "double.factor=1")
    assert ended.value.code == 2
    assert "must be of a step that is made anew, got 'double.factor'" in capfd.readouterr().err
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", str(refused), "--from", "ship", "--downstream")
    assert ended.value.code == 0
    assert "Published" not in capfd.readouterr().out
    (again,) = made.parent.glob("rerun-ship-*")
    assert not (again / "ship").exists()
    told = next(it for it in read_all(open_store(str(desk.folder / "store"))) if it.name == again.name)
    assert told.outcome == "done"
