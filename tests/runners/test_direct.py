"""The direct runner: it follows the compiled wiring, and refuses by name what it does not know."""

import pytest

from tests import toys
from understudy.runners.local import direct
from understudy.runners.local.direct import Unsupported

CONDITION = "inputs.parameter_values['pipelinechannel--decide-Output'] == 'publish'"


@pytest.fixture
def spec(monkeypatch, tmp_path):
    from understudy.pipelines.compile import pipeline_spec

    monkeypatch.setenv("TOY_LOG", str(tmp_path / "toys.log"))
    with toys.installed():
        yield pipeline_spec("training")


@pytest.fixture
def arguments(tmp_path, card_text):
    (tmp_path / "card.yaml").write_text(card_text)
    (tmp_path / "texts.csv").write_text("1\n2\n3\n4\n")
    files = {name: str(tmp_path / file) for name, file in (("card", "card.yaml"), ("texts", "texts.csv"))}
    return {**files, "labels": files["texts"], "store": str(tmp_path / "store")}


def run(spec, arguments, tmp_path):
    return [(event.task, event.state) for event in direct.run(spec, arguments, tmp_path / "run")]


def test_tasks_run_in_the_order_of_their_wiring_and_tell_what_they_do(spec, arguments, tmp_path):
    events = list(direct.run(spec, arguments, tmp_path / "run"))
    steps = ["gather", "double", "decide", "ship"]
    assert [(event.task, event.state) for event in events] == [
        (step, state) for step in steps for state in ("started", "ended")
    ]
    assert toys.ran(tmp_path / "toys.log") == steps
    assert [event.provenance["metrics"] for event in events[1::2]] == [{"texts": 4}, {"sum": 16}, {"sum": 16}, {}]
    assert (tmp_path / "run/ship/release/sum.txt").read_text() == "16"


def test_a_task_whose_condition_does_not_hold_is_skipped(spec, arguments, tmp_path):
    (tmp_path / "texts.csv").write_text("1\n")
    assert ("decide", "ended") in run(spec, arguments, tmp_path)
    assert toys.ran(tmp_path / "toys.log") == ["gather", "double", "decide"]
    assert not (tmp_path / "run/ship").exists()


def test_what_a_body_returned_is_known_when_its_task_is_kept(spec, arguments, tmp_path):
    run(spec, arguments, tmp_path)
    again = run(spec, arguments, tmp_path)
    assert again == [(step, "kept") for step in ("gather", "double", "decide", "ship")]


def test_a_task_is_not_kept_without_what_its_body_returned(spec, arguments, tmp_path):
    run(spec, arguments, tmp_path)
    (tmp_path / "run/decide/outputs.json").unlink()
    assert run(spec, arguments, tmp_path)[2:] == [("decide", "started"), ("decide", "ended"), ("ship", "kept")]


def test_constants_and_defaults_reach_the_steps(spec, arguments, tmp_path):
    inputs = spec["root"]["dag"]["tasks"]["double"]["inputs"]["parameters"]
    inputs["times"] = {"runtimeValue": {"constant": 3.0}}  # JSON has no whole numbers
    run(spec, arguments, tmp_path)
    assert (tmp_path / "run/double/doubled/numbers.txt").read_text() == "24 24"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"parameterIterator": {"items": {"raw": "[1]"}}}, "parameterIterator"),
        ({"artifactIterator": {}}, "artifactIterator"),
        ({"triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}}, "strategy"),
        ({"triggerPolicy": {"condition": f"{CONDITION} && {CONDITION}"}}, "&&"),
        ({"inputs": {"parameters": {"times": {"taskFinalStatus": {"producerTask": "gather"}}}}}, "taskFinalStatus"),
    ],
)
def test_what_the_runner_does_not_know_is_refused_before_anything_runs(spec, arguments, tmp_path, change, named):
    spec["root"]["dag"]["tasks"]["decide"] |= change
    with pytest.raises(Unsupported, match=named):
        run(spec, arguments, tmp_path)
    assert toys.ran(tmp_path / "toys.log") == []


def test_an_executor_that_is_no_function_is_refused_before_anything_runs(spec, arguments, tmp_path):
    spec["deploymentSpec"]["executors"]["exec-ship"] = {"resolver": {}}
    with pytest.raises(Unsupported, match="exec-ship"):
        run(spec, arguments, tmp_path)
    assert toys.ran(tmp_path / "toys.log") == []


@pytest.mark.parametrize(
    "condition",
    [
        "inputs.parameter_values['a'] != 'publish'",
        "inputs.parameter_values['a'] == \"publish\"",
        "inputs.parameter_values['a'] == 'pub\\'lish'",
        "int(inputs.parameter_values['a']) == 1",
        "!(inputs.parameter_values['a'] == 'publish')",
        "inputs.parameter_values['a'] == inputs.parameter_values['b']",
        "",
    ],
)
def test_only_one_form_of_condition_is_understood(condition):
    with pytest.raises(Unsupported, match="A condition must be"):
        direct.split_condition(condition)


def test_a_condition_compares_whole_words():
    values = {"pipelinechannel--decide-Output": "publish"}
    assert direct.holds(CONDITION, values)
    assert not direct.holds(CONDITION, {"pipelinechannel--decide-Output": "publish "})
    assert direct.holds(None, {})


def test_tasks_that_could_both_be_next_run_by_name():
    tasks = {"mine": {"dependentTasks": ["bundle"]}, "evaluate": {"dependentTasks": ["bundle"]}, "bundle": {}}
    tasks["condition-1"] = {"dependentTasks": ["evaluate"]}
    assert direct.in_order(tasks) == ["bundle", "evaluate", "condition-1", "mine"]


def test_an_input_from_a_task_that_was_skipped_is_refused():
    source = {"taskOutputParameter": {"producerTask": "skipped", "outputParameterKey": "x"}}
    with pytest.raises(Unsupported, match="a task that has run"):
        direct.resolve_one("x", source, {}, {})


def test_a_loop_runs_its_body_for_each_item_under_a_name_of_its_own(spec, arguments, tmp_path):
    root = spec["root"]["dag"]["tasks"]
    double = root.pop("double")
    given = double["inputs"]
    outer = {"artifacts": given["artifacts"], "parameters": {"items": {"runtimeValue": {"constant": [2, 3]}}}}
    outer["parameters"]["store"] = {"componentInputParameter": "store"}
    given["artifacts"] = {name: {"componentInputArtifact": name} for name in given["artifacts"]}
    given["parameters"] = {"times": {"componentInputParameter": "item"}, "store": outer["parameters"]["store"]}
    double.pop("dependentTasks")
    body = {"dag": {"tasks": {"double": double}}}
    spec["components"]["comp-loop"] = body
    for name in ("decide", "ship", "condition-1"):
        root.pop(name, None)
    root["loop"] = {
        "componentRef": {"name": "comp-loop"},
        "dependentTasks": ["gather"],
        "inputs": outer,
        "parameterIterator": {"itemInput": "item", "items": {"inputParameter": "items"}},
        "iteratorPolicy": {"parallelismLimit": 64},
    }
    events = run(spec, arguments, tmp_path)
    assert [name for name, state in events if state == "ended"] == ["gather", "double-00", "double-01"]
    doubled = [(tmp_path / f"run/double-0{turn}/doubled/numbers.txt").read_text() for turn in (0, 1)]
    assert doubled == ["16 16", "24 24"]
