"""Run a compiled pipeline in this process: one task after another, each a plain call of its component's body.

The wiring is read from the PipelineSpec that KFP compiles, so that there is one wiring. A task whose outputs stand
already, made from the same inputs, is kept. What this runner does not know it refuses by name before anything runs.
"""

import heapq
import importlib
import json
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import dsl

from understudy.errors import UnderstudyError
from understudy.runners.events import Event, provenance_of
from understudy.runtime.shell import is_done

Values = dict[str, Any]
Spec = Mapping[str, Any]
UNKNOWN = ("artifactIterator",)
CONDITION = re.compile(r"inputs\.parameter_values\['(?P<name>[\w-]+)'\] == '(?P<value>[^'\\]*)'")
OUTPUTS_FILE = "outputs.json"


class Unsupported(UnderstudyError):
    """The pipeline uses something that the direct runner does not know."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task with everything that its body is called with.

    Attributes:
        name: of the task, and of its folder.
        step: name of the component's function, which is the step's.
        folder: where its outputs go, one path an output.
        arguments: parameters, and artifacts as KFP hands them to a body.
        outputs: the artifacts that it writes.
        returns: names of the parameters that its body returns.
    """

    name: str
    step: str
    folder: Path
    arguments: Mapping[str, Any]
    outputs: Mapping[str, dsl.Artifact]
    returns: tuple[str, ...]


def run(spec: Spec, arguments: Mapping[str, Any], folder: Path) -> Generator[Event, None, None]:
    """Run a pipeline's tasks in order, telling of each.

    Args:
        spec: the PipelineSpec.
        arguments: of the pipeline.
        folder: of the run; each task writes to <folder>/<task>/<output>.

    Raises:
        Unsupported: the pipeline uses something that this runner does not know; nothing has run.
        Exception: whatever a step raises.
    """
    for name, component in {"root": spec["root"], **spec["components"]}.items():
        if "dag" in component:
            require_known(component["dag"]["tasks"])
        elif not is_importer(spec, component):
            step_of(spec, name, component["executorLabel"])
    yield from run_dag(spec, spec["root"], arguments, folder)


def require_known(tasks: Mapping[str, Spec]) -> None:
    """Refuse tasks that use what this runner does not know.

    Raises:
        Unsupported: with the name of the task and of what it uses.
    """
    for name, task in tasks.items():
        trigger = task.get("triggerPolicy", {})
        used = [key for key in UNKNOWN if key in task] + [key for key in trigger if key != "condition"]
        if "raw" in task.get("parameterIterator", {}).get("items", {}):
            used.append("parameterIterator over a constant")
        kinds = {kind for given in task.get("inputs", {}).values() for one in given.values() for kind in one}
        used += sorted(kinds & {"taskFinalStatus", "parameterExpressionSelector"})
        if used:
            raise Unsupported(f"A task must be plain for the direct runner, got {used[0]} ({name}). Use --runner kfp.")
        if "condition" in trigger:
            split_condition(trigger["condition"])


def run_dag(
    spec: Spec, component: Spec, given: Mapping[str, Any], folder: Path, suffix: str = ""
) -> Generator[Event, None, None]:
    """Run the tasks of one level: of the pipeline, of what stands under a condition, or of a loop's turn."""
    scope = with_defaults(component, given)
    made: dict[str, Values] = {}
    tasks = component["dag"]["tasks"]
    for name in in_order(tasks):
        values = resolve(tasks[name].get("inputs", {}), scope, made)
        inner = spec["components"][tasks[name]["componentRef"]["name"]]
        if not holds(tasks[name].get("triggerPolicy", {}).get("condition"), values):
            continue
        if "parameterIterator" in tasks[name]:
            yield from run_loop(spec, tasks[name]["parameterIterator"], inner, values, folder)
        elif "dag" in inner:
            yield from run_dag(spec, inner, values, folder, suffix)
        elif is_importer(spec, inner):
            declared = inner["outputDefinitions"]["artifacts"]["artifact"]
            made[name] = {"artifact": artifact(name, declared, Path(values["uri"]))}
        else:
            made[name] = yield from run_task(prepare(spec, name, inner, values, folder, suffix))


def run_loop(
    spec: Spec, iterator: Spec, body: Spec, given: Mapping[str, Any], folder: Path
) -> Generator[Event, None, None]:
    """Run the tasks of a loop's body for each item of a list, one after another; their names end in its number."""
    for index, item in enumerate(given[iterator["items"]["inputParameter"]]):
        yield from run_dag(spec, body, {**given, iterator["itemInput"]: item}, folder, f"-{index:02d}")


def in_order(tasks: Mapping[str, Spec]) -> list[str]:
    """Order tasks so that each comes after those it depends on, by name where both could be next.

    >>> in_order({"a": {"dependentTasks": ["c"]}, "b": {}, "c": {}})
    ['b', 'c', 'a']
    """
    waiting = {name: set(task.get("dependentTasks", ())) for name, task in tasks.items()}
    ready = sorted(name for name, needed in waiting.items() if not needed)
    ordered = []
    while ready:
        ordered.append(name := heapq.heappop(ready))
        for other, needed in waiting.items():
            if name in needed:
                needed.remove(name)
                if not needed:
                    heapq.heappush(ready, other)
    return ordered


def with_defaults(component: Spec, given: Mapping[str, Any]) -> Values:
    """Fill in a component's default parameters, with whole numbers as whole numbers."""
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    defaults = {name: one["defaultValue"] for name, one in declared.items() if "defaultValue" in one}
    values = {**defaults, **given}
    whole = {name for name, one in declared.items() if one.get("parameterType") == "NUMBER_INTEGER" and name in values}
    return {name: int(value) if name in whole else value for name, value in values.items()}


def resolve(inputs: Mapping[str, Mapping[str, Spec]], scope: Mapping[str, Any], made: Mapping[str, Values]) -> Values:
    """Find the values that a task is given: constants, inputs of its level, outputs of the tasks before it."""
    sources = {**inputs.get("parameters", {}), **inputs.get("artifacts", {})}
    return {name: resolve_one(name, source, scope, made) for name, source in sources.items()}


def resolve_one(name: str, source: Spec, scope: Mapping[str, Any], made: Mapping[str, Values]) -> Any:
    """Find one value.

    Raises:
        Unsupported: it comes from where this runner does not look, or from a task that was skipped.
    """
    for key, label in (("taskOutputParameter", "outputParameterKey"), ("taskOutputArtifact", "outputArtifactKey")):
        if key in source and source[key]["producerTask"] in made:
            return made[source[key]["producerTask"]][source[key][label]]
    for key in ("componentInputParameter", "componentInputArtifact"):
        if key in source:
            return scope[source[key]]
    if "runtimeValue" in source:
        return source["runtimeValue"]["constant"]
    raise Unsupported(f"An input must come from a task that has run, got {json.dumps(source)} ({name}).")


def split_condition(condition: str) -> tuple[str, str]:
    """Split a condition, "this parameter equals this word", into the two.

    >>> split_condition("inputs.parameter_values['pipelinechannel--evaluate-Output'] == 'publish'")
    ('pipelinechannel--evaluate-Output', 'publish')

    Raises:
        Unsupported: it has another form.
    """
    found = CONDITION.fullmatch(condition)
    if found is None:
        raise Unsupported(f"A condition must be <parameter> == '<word>' for the direct runner, got {condition}.")
    return found["name"], found["value"]


def holds(condition: str | None, values: Mapping[str, Any]) -> bool:
    """Tell whether a task's condition holds; no condition always does."""
    if condition is None:
        return True
    name, value = split_condition(condition)
    return bool(values[name] == value)


def prepare(spec: Spec, task: str, component: Spec, given: Mapping[str, Any], folder: Path, suffix: str = "") -> Task:
    """Gather what a task's body is called with; `suffix` tells the turns of a loop apart."""
    name = f"{task}{suffix}"
    declared, written = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
    accepted = {**declared.get("parameters", {}), **declared.get("artifacts", {})}
    values = {key: value for key, value in with_defaults(component, given).items() if key in accepted}
    outputs = {key: artifact(key, one, folder / name / key) for key, one in written.get("artifacts", {}).items()}
    return Task(
        name,
        step_of(spec, task, component["executorLabel"]),
        folder / name,
        {**values, **outputs},
        outputs,
        tuple(written.get("parameters", {})),
    )


def is_importer(spec: Spec, component: Spec) -> bool:
    """Tell whether a component takes in an artifact that lies somewhere already."""
    return "importer" in spec["deploymentSpec"]["executors"][component["executorLabel"]]


def artifact(name: str, declared: Spec, path: Path) -> dsl.Artifact:
    """Make an artifact of the declared type."""
    kinds = {kind.schema_title: kind for kind in (dsl.Dataset, dsl.Model, dsl.Metrics, dsl.HTML, dsl.Markdown)}
    kind = kinds.get(declared["artifactType"].get("schemaTitle"), dsl.Artifact)
    return kind(name=name, uri=str(path))


def step_of(spec: Spec, task: str, label: str) -> str:
    """Read from an executor which function it calls; a component's function is named like its step.

    Raises:
        Unsupported: the executor calls no Python function.
    """
    arguments = spec["deploymentSpec"]["executors"][label].get("container", {}).get("args", [])
    if "--function_to_execute" not in arguments:
        raise Unsupported(f"A task must call a Python function for the direct runner, got {label} ({task}).")
    return str(arguments[arguments.index("--function_to_execute") + 1])


def run_task(task: Task) -> Generator[Event, None, Values]:
    """Run one task, or keep what an earlier try of the same left; return the values that it hands on."""
    returned = kept_values(task)
    if returned is None:
        yield Event(task.name, "started", task.folder)
        returned = call(task)
        yield Event(task.name, "ended", task.folder, provenance_of(task.folder))
    else:
        yield Event(task.name, "kept", task.folder, provenance_of(task.folder))
    return {**task.outputs, **returned}


def kept_values(task: Task) -> Values | None:
    """Return what the task's body returned in an earlier try that would only be repeated; None when there is none."""
    paths = {name: getattr(value, "path", value) for name, value in task.arguments.items()}
    file = task.folder / OUTPUTS_FILE
    if not is_done(task.step, paths) or (task.returns and not file.exists()):
        return None
    values: Values = json.loads(file.read_text(encoding="utf-8")) if task.returns else {}
    return values


def call(task: Task) -> Values:
    """Call the body of the task's component, and keep what it returns beside its outputs."""
    file = task.folder / OUTPUTS_FILE
    file.unlink(missing_ok=True)
    module = importlib.import_module(f"understudy.steps.{task.step}.component")
    returned = getattr(module, task.step).python_func(**task.arguments)
    values = returned._asdict() if hasattr(returned, "_asdict") else dict.fromkeys(task.returns, returned)
    if values:
        beside = file.with_name(f".~{file.name}")
        beside.write_text(json.dumps(values), encoding="utf-8")
        beside.replace(file)
    return values
