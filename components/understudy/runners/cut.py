"""Cut a compiled pipeline to a step and all that follows from it; what comes before is kept, and imported.

The pipeline that is left runs like any other, here and on a cluster: an importer stands in the place of each artifact
that is kept, and a constant in the place of each value that a kept task has returned.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from understudy.errors import BadInput

Node = TypeVar("Node")
Spec = Mapping[str, Any]
Address = Mapping[tuple[str, str], str]  # of artifacts, by step and output
Returned = Mapping[str, Mapping[str, Any]]  # by task, what its body returned


@dataclass(frozen=True, slots=True)
class Cut:
    """A pipeline that is cut.

    Attributes:
        spec: what is left, with importers.
        anew: steps that are run again, in the pipeline's order.
        kept: steps whose artifacts are taken as they are.
    """

    spec: dict[str, Any]
    anew: tuple[str, ...]
    kept: tuple[str, ...]


def cut(spec: Spec, step: str, places: Address, returned: Returned, order: Mapping[str, Any]) -> Cut:
    """Cut a pipeline.

    A task before the step is run again only where another that is run again needs what it has returned, and nobody has
    written that down.

    Args:
        spec: the PipelineSpec.
        step: where to begin.
        places: addresses of the artifacts of the first run.
        returned: what the tasks of the first run have returned, as far as it is known.
        order: steps in the order in which they are named.

    Raises:
        BadInput: the pipeline has no such step, or an artifact that is to be kept is not there.
    """
    tasks = spec["root"]["dag"]["tasks"]
    steps = {name: list(steps_in(spec, name, task)) for name, task in tasks.items()}
    begin = next((name for name, inside in steps.items() if step in inside), None)
    if begin is None:
        known = ", ".join(sorted((it for inside in steps.values() for it in inside), key=list(order).index))
        raise BadInput(f"A run is made again from a step that it has, got '{step}' (--from). Its steps: {known}.")
    after = followers({begin}, {name: {*task.get("dependentTasks", ())} for name, task in tasks.items()})
    left = with_unknown_values(tasks, {begin, *after}, returned)
    result = copy.deepcopy(dict(spec))
    dag = result["root"]["dag"]
    dag["tasks"] = {name: task for name, task in dag["tasks"].items() if name in left}
    missing = [fault for name in sorted(left) for fault in keep_inputs(result, name, left, spec, places, returned)]
    if missing:
        raise BadInput(missing)
    anew = {it for name in left for it in steps[name]}
    named = [it for it in order if any(it in inside for inside in steps.values())]
    return Cut(result, tuple(it for it in named if it in anew), tuple(it for it in named if it not in anew))


def steps_in(spec: Spec, name: str, task: Spec) -> Iterator[str]:
    """Find the steps of a task: itself, or those that stand in its loop or under its condition."""
    inner = spec["components"][task["componentRef"]["name"]]
    if "dag" not in inner:
        yield name
        return
    for below, one in inner["dag"]["tasks"].items():
        yield from steps_in(spec, below, one)


def followers(begin: set[Node], sources: Mapping[Node, set[Node]]) -> list[Node]:
    """Return what was made from these, at any distance: tasks of a pipeline, or artifacts of a run.

    Args:
        begin: where to begin; not among what is returned.
        sources: what each was made from.

    >>> followers({"train"}, {"audit": {"label"}, "export": {"train"}, "bundle": {"export", "label"}})
    ['export', 'bundle']
    """
    reached, found = set(begin), list[Node]()
    while fresh := [at for at, made_from in sources.items() if at not in reached and reached & made_from]:
        reached.update(fresh)
        found += fresh
    return found


def with_unknown_values(tasks: Mapping[str, Spec], left: set[str], returned: Returned) -> set[str]:
    """Add the tasks before whose returned values are needed and not known."""
    unknown = {
        source["taskOutputParameter"]["producerTask"]
        for name in left
        for source in tasks[name].get("inputs", {}).get("parameters", {}).values()
        if "taskOutputParameter" in source and not _is_known(source["taskOutputParameter"], returned)
    }
    return left if unknown <= left else with_unknown_values(tasks, left | unknown, returned)


def _is_known(source: Spec, returned: Returned) -> bool:
    return source["outputParameterKey"] in returned.get(source["producerTask"], {})


def keep_inputs(
    result: dict[str, Any], name: str, left: set[str], spec: Spec, places: Address, returned: Returned
) -> list[str]:
    """Let a task read what kept tasks have made; return a sentence for each artifact that is not there."""
    task, missing = result["root"]["dag"]["tasks"][name], []
    for given in task.get("inputs", {}).get("parameters", {}).values():
        source = given.get("taskOutputParameter")
        if source and source["producerTask"] not in left:
            given.clear()
            given["runtimeValue"] = {"constant": returned[source["producerTask"]][source["outputParameterKey"]]}
    importers = []
    for given in task.get("inputs", {}).get("artifacts", {}).values():
        source = given.get("taskOutputArtifact")
        if not source or source["producerTask"] in left:
            continue
        producer, output = source["producerTask"], source["outputArtifactKey"]
        if (producer, output) not in places:
            missing.append(
                f"What is kept must be there, got no {output} of the step {producer}. Begin with --from {producer}."
            )
            continue
        importers.append(add_importer(result, spec, producer, output, places[producer, output]))
        given["taskOutputArtifact"] = {"producerTask": importers[-1], "outputArtifactKey": "artifact"}
    if "dependentTasks" in task:
        task["dependentTasks"] = [it for it in task["dependentTasks"] if it in left] + list(dict.fromkeys(importers))
    return missing


def add_importer(result: dict[str, Any], spec: Spec, producer: str, output: str, uri: str) -> str:
    """Add the task that imports an artifact, and return its name."""
    name = f"import-{producer}-{output}".replace("_", "-")
    component = spec["components"][spec["root"]["dag"]["tasks"][producer]["componentRef"]["name"]]
    kind = component["outputDefinitions"]["artifacts"][output]["artifactType"]
    result["components"][f"comp-{name}"] = {
        "executorLabel": f"exec-{name}",
        "inputDefinitions": {"parameters": {"uri": {"parameterType": "STRING"}}},
        "outputDefinitions": {"artifacts": {"artifact": {"artifactType": kind}}},
    }
    importer = {"artifactUri": {"runtimeParameter": "uri"}, "typeSchema": kind}
    result["deploymentSpec"]["executors"][f"exec-{name}"] = {"importer": importer}
    result["root"]["dag"]["tasks"][name] = {
        "cachingOptions": {},
        "componentRef": {"name": f"comp-{name}"},
        "inputs": {"parameters": {"uri": {"runtimeValue": {"constant": uri}}}},
        "taskInfo": {"name": name},
    }
    return name
