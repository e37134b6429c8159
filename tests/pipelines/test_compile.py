"""What KFP gets: the compiled pipelines."""

import importlib
import inspect
import re

import pytest
import yaml
from click.testing import CliRunner
from google.protobuf.json_format import MessageToDict

from understudy.cli.compile import command
from understudy.pipelines.compile import PIPELINES, build, compile_all, load_pipeline, pipeline_spec
from understudy.pipelines.resources import Accelerator
from understudy.pipelines.training import training_on
from understudy.runtime.images import IMAGES_FILE
from understudy.runtime.machine import ACCELERATOR
from understudy.task.steps import STEPS

ROLES = {
    "ingest": "analysis",
    "label": "analysis",
    "audit": "analysis",
    "revise": "analysis",
    "train": "train",
    "export": "train",
    "calibrate": "analysis",
    "evaluate": "analysis",
    "publish": "submit",
    "mine": "analysis",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The pipeline and what Kubernetes is told beside it."""
    folder = tmp_path_factory.mktemp("compiled")
    file = next(file for file in compile_all(folder) if file.stem == "training")
    return tuple(yaml.safe_load_all(file.read_text()))


@pytest.fixture(scope="module")
def nightly(tmp_path_factory):
    """The nightly pipeline."""
    folder = tmp_path_factory.mktemp("compiled")
    file = next(file for file in compile_all(folder) if file.stem == "nightly")
    return next(yaml.safe_load_all(file.read_text()))


def tasks_of(spec):
    tasks = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        tasks |= component.get("dag", {}).get("tasks", {})
    return tasks


def test_the_same_source_gives_the_same_bytes(tmp_path):
    for folder in ("first", "second"):
        assert CliRunner().invoke(command, ["--out", str(tmp_path / folder)]).exit_code == 0
    first, second = ((tmp_path / folder / "training.yaml").read_bytes() for folder in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_is_built_when_it_is_asked_for_and_once(name):
    """Not where it is defined: while a module is imported, KFP takes a second to set the resources of its tasks."""
    assert inspect.isfunction(getattr(importlib.import_module(f"understudy.pipelines.{name}"), name))
    assert load_pipeline(name) is load_pipeline(name)


def test_every_step_has_the_image_of_its_role(compiled):
    images = yaml.safe_load(IMAGES_FILE.read_text())
    executors = compiled[0]["deploymentSpec"]["executors"]
    found = {name.removeprefix("exec-"): executor["container"]["image"] for name, executor in executors.items()}
    assert found == {step: f"{images['registry']}/{role}:{images['tag']}" for step, role in ROLES.items()}


def test_nothing_is_installed_at_run_time(compiled):
    for executor in compiled[0]["deploymentSpec"]["executors"].values():
        command = " ".join(executor["container"]["command"])
        assert "kfp.dsl.executor_main" in command
        assert "pip" not in re.findall(r"\w+", command)


def test_a_component_body_only_imports_and_calls(compiled):
    for name, executor in compiled[0]["deploymentSpec"]["executors"].items():
        source = executor["container"]["command"][-1]
        body = source[source.index('"""', source.index('"""') + 3) + 3 :]
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        assert lines[0] == "from understudy.runtime.shell import execute_component", name
        assert len(lines) == 2, name
        assert f'execute_component("{name.removeprefix("exec-")}", locals())' in lines[1]


def test_only_the_teacher_step_is_cached(compiled):
    flags = {name: task.get("cachingOptions", {}) for name, task in tasks_of(compiled[0]).items()}
    assert {name for name, options in flags.items() if options.get("enableCache")} == {"label"}


def test_parameters_have_their_defaults(compiled):
    parameters = compiled[0]["root"]["inputDefinitions"]["parameters"]
    required = {name for name, parameter in parameters.items() if "defaultValue" not in parameter}
    assert required == {"card", "texts", "labels", "store"}
    assert parameters["overrides"]["defaultValue"] == ""


def test_names_are_short(compiled):
    names = [compiled[0]["pipelineInfo"]["name"], *tasks_of(compiled[0])]
    assert all(len(name) <= 20 for name in names)
    assert set(ROLES) < set(names)


def test_publish_alone_waits_for_the_decision(compiled):
    tasks = compiled[0]["root"]["dag"]["tasks"]
    conditions = {name: task["triggerPolicy"]["condition"] for name, task in tasks.items() if "triggerPolicy" in task}
    assert conditions == {
        "condition-1": "inputs.parameter_values['pipelinechannel--evaluate-Output'] == 'publish'",
    }
    assert list(compiled[0]["components"]["comp-condition-1"]["dag"]["tasks"]) == ["publish"]
    assert tasks["mine"]["dependentTasks"] == ["audit", "calibrate", "evaluate", "ingest", "label"]


def test_the_test_split_goes_to_label_and_evaluate_only(compiled):
    tasks = tasks_of(compiled[0])
    reads = {
        (task, source.get("taskOutputArtifact", {}).get("outputArtifactKey"))
        for task, spec in tasks.items()
        for source in spec.get("inputs", {}).get("artifacts", {}).values()
    }
    assert {task for task, key in reads if key == "test"} == {"label", "evaluate"}
    assert {task for task, key in reads if key == "test_judgements"} == {"evaluate"}


def test_teacher_clients_alone_get_the_key_and_the_pod_label(compiled):
    executors = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    keys = {
        name: {secret["secretName"]: secret for secret in given["secretAsEnv"]} for name, given in executors.items()
    }
    clients = {name for name, secrets in keys.items() if "understudy-teacher" in secrets}
    label = "understudy/teacher-client"
    labelled = {name for name, given in executors.items() if label in given["podMetadata"]["labels"]}
    assert clients == {"exec-label", "exec-revise", "exec-mine"} == labelled
    for name in clients:
        secret = keys[name]["understudy-teacher"]
        assert secret["keyToEnv"] == [{"secretKey": "api_key", "envVar": "OPENAI_API_KEY"}]
        assert not secret["optional"]
        assert executors[name]["podMetadata"]["labels"][label] == "true"


def test_every_step_emits_its_figures_as_the_metrics_that_kfp_reads(compiled):
    """KFP's launcher, and its MLflow plugin with it, takes scalars from artifacts of this type."""
    for name, component in compiled[0]["components"].items():
        if "executorLabel" in component:
            outputs = component["outputDefinitions"]["artifacts"]
            assert outputs["metrics"]["artifactType"]["schemaTitle"] == "system.Metrics", name


def test_publish_alone_has_the_key_that_signs_and_every_step_those_that_are_trusted(compiled):
    executors = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    signing, trusted = (
        {name for name, given in executors.items() if any(it["secretName"] == secret for it in given["secretAsEnv"])}
        for secret in ("understudy-signing", "understudy-trusted-keys")
    )
    assert signing == {"exec-publish"}
    assert trusted == set(executors)


def test_only_train_runs_on_gpu_nodes_and_only_when_it_is_told_to(compiled):
    def on_gpu(accelerator):
        pipeline = build(training_on(accelerator))
        platform = MessageToDict(pipeline.platform_spec)["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        spec = MessageToDict(pipeline.pipeline_spec)["deploymentSpec"]["executors"]
        chosen = {name for name, given in platform.items() if {"tolerations", "nodeSelector"} & set(given)}
        return chosen | {name for name, given in spec.items() if "accelerator" in given["container"]["resources"]}

    told = Accelerator("nvidia.com/gpu", 2, {"pool": "gpu"}, ({"key": "gpu", "operator": "Exists"},))
    assert on_gpu(None) == set()
    assert on_gpu(told) == {"exec-train"}
    spec = MessageToDict(build(training_on(told)).pipeline_spec)
    accelerator = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "2")
    executors = spec["deploymentSpec"]["executors"]
    given = {"name": ACCELERATOR, "value": "nvidia.com/gpu"}
    assert [name for name in executors if given in executors[name]["container"].get("env", [])] == ["exec-train"]


def test_every_component_declares_what_its_step_takes():
    """A component whose arguments differ from its step's would fail only in its pod."""
    import importlib

    from understudy.runtime.shell import signature
    from understudy.task.settings import Overrides

    for step in ROLES:
        component = getattr(importlib.import_module(f"understudy.steps.{step}.component"), step)
        spec = component.component_spec
        shape = signature(step)
        assert set(spec.outputs) - {"metrics", "Output"} == set(shape.outputs), step
        assert set(spec.inputs) == {*shape.inputs, *shape.parameters, "fault"}, step
        for name, parameter in shape.parameters.items():
            default = "" if parameter.annotation is Overrides else parameter.default  # --set is text to a component
            assert spec.inputs[name].default in {default, None}, (step, name)


def test_the_yaml_is_written_where_it_is_asked_to(tmp_path):
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "a/b")])
    names = [*PIPELINES, *(f"{part}/{step}" for part in ("components", "steps") for step in STEPS)]
    files = [tmp_path / f"a/b/{name}.yaml" for name in names]
    assert result.output.split() == list(map(str, files))
    assert all(file.is_file() for file in files)


def test_at_most_64_workers_label_a_night_and_the_rest_waits_for_all_of_them(nightly):
    tasks = nightly["root"]["dag"]["tasks"]
    assert tasks["for-loop-1"]["iteratorPolicy"] == {"parallelismLimit": 64}
    assert list(nightly["components"]["comp-for-loop-1"]["dag"]["tasks"]) == ["infer"]
    assert tasks["index"]["dependentTasks"] == ["for-loop-1", "shard"]
    assert tasks["watch"]["dependentTasks"] == ["index", "shard"]


def test_a_worker_is_told_no_more_than_the_name_of_its_shard_and_where_its_texts_must_lie(nightly):
    given = tasks_of(nightly)["infer"]["inputs"]["parameters"]
    assert set(given) == {"fault", "overrides", "shard", "source", "store"}
    assert given["shard"] == {"componentInputParameter": "pipelinechannel--shard-Output-loop-item"}


def test_no_step_of_a_night_is_cached(nightly):
    assert [name for name, task in tasks_of(nightly).items() if task.get("cachingOptions", {}).get("enableCache")] == []


def test_texts_are_labelled_in_the_small_image(nightly):
    executors = nightly["deploymentSpec"]["executors"]
    assert {
        executors[f"exec-{name}"]["container"]["image"].split("/")[1].split(":")[0] for name in ("shard", "infer")
    } == {"infer"}


def bodies(spec):
    """Every graph of a pipeline: the root, what stands under a condition, and the bodies of loops."""
    return [spec["root"]["dag"], *(it["dag"] for it in spec["components"].values() if "dag" in it)]


@pytest.mark.parametrize("name", PIPELINES)
def test_every_task_is_begun_anew_when_its_pod_is_lost(name):
    """A task of a loop's body counts 64 times: one that is not begun anew ends the night."""
    spec = pipeline_spec(name)
    steps = {
        task: about
        for body in bodies(spec)
        for task, about in body["tasks"].items()
        if "executorLabel" in spec["components"][about["componentRef"]["name"]]
    }
    assert len(steps) == len(spec["deploymentSpec"]["executors"])
    for task, about in steps.items():
        policy = about.get("retryPolicy", {})
        assert policy.get("maxRetryCount", 0) >= 2, task
        assert 0 < float(policy["backoffDuration"].removesuffix("s")) <= 60, task
        assert float(policy["backoffMaxDuration"].removesuffix("s")) <= 900, task


@pytest.mark.parametrize("name", PIPELINES)
def test_every_task_knows_where_a_fault_is_told_that_a_person_must_mend(name):
    spec = pipeline_spec(name)
    assert spec["root"]["inputDefinitions"]["parameters"]["fault"]["defaultValue"] == ""
    for body in bodies(spec):
        for task, about in body["tasks"].items():
            given = {key.removeprefix("pipelinechannel--") for key in about["inputs"]["parameters"]}
            assert "fault" in given, task
