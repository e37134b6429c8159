"""Wire a pipeline of one step alone, with its input artifacts imported from given addresses."""

import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from understudy.pipelines.resources import LOST_PODS, PAUSES, lifetime

ADDRESS = "_uri"  # ends the name of the parameter that says where an input artifact lies
KINDS = (dsl.Artifact, dsl.Dataset, dsl.Model, dsl.HTML, dsl.Metrics)


@dataclass(frozen=True, slots=True)
class Pod:
    """A step's executor, and what Kubernetes is to give its pod."""

    executor: Mapping[str, Any]
    platform: Mapping[str, Any]


def component_of(step: str) -> Any:
    """Import a step's KFP component, by the naming rule: `understudy.steps.<step>.component.<step>`."""
    return getattr(importlib.import_module(f"understudy.steps.{step}.component"), step)


def pipeline_name(step: str) -> str:
    """Name the pipeline of one step; KFP puts its artifacts into a folder of that name."""
    return f"step-{step}"


def input_artifacts(step: str) -> dict[str, Any]:
    """Return the class of each artifact that a step reads, by the input's name."""
    declared = component_of(step).component_spec.inputs or {}
    titles = {name: it.type.partition("@")[0] for name, it in declared.items()}
    return {name: kind for name, title in titles.items() for kind in KINDS if kind.schema_title == title}


def single(step: str, pod: Pod, inputs: Iterable[str] = ()) -> dict[str, Any]:
    """Compile the pipeline of one step.

    Args:
        step: name of the step.
        pod: its pod, as in the pipeline that it belongs to.
        inputs: artifacts that it is to read though it can do without them.

    Returns:
        pipeline_spec and platform_spec, as a run is created from them. The parameters are the step's own, and
        `<input>_uri` for each artifact that it reads.
    """
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    name = pipeline_name(step)
    pipeline = dsl.pipeline(wired(step, {*inputs}), name=name, pipeline_config=lifetime(name))
    spec, platform = MessageToDict(pipeline.pipeline_spec), MessageToDict(pipeline.platform_spec)
    spec["deploymentSpec"]["executors"][f"exec-{step}"] = pod.executor
    on_kubernetes = platform["platforms"]["kubernetes"]
    on_kubernetes |= {"deploymentSpec": {"executors": {f"exec-{step}": pod.platform}}}
    return {"pipeline_spec": spec, "platform_spec": {"platforms": {"kubernetes": on_kubernetes}}}


def wired(step: str, inputs: set[str]) -> Any:
    """Write the function that wires one step, with the signature from which KFP reads the pipeline's parameters."""
    component, kinds = component_of(step), input_artifacts(step)
    body = inspect.signature(component.python_func).parameters
    needed = inputs | {name for name in kinds if body[name].default is inspect.Parameter.empty}
    places = {f"{name}{ADDRESS}": kind for name, kind in kinds.items() if name in needed}
    own = [name for name in component.component_spec.inputs or {} if name not in kinds]

    def wire(*values: Any) -> None:
        given = dict(zip([*places, *own], values, strict=True))
        imported = {
            place.removesuffix(ADDRESS): dsl.importer(artifact_uri=given[place], artifact_class=kind).output
            for place, kind in places.items()
        }
        task = component(**imported, **{name: given[name] for name in own}).set_caching_options(False)
        task.set_retry(LOST_PODS, **PAUSES)

    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    addresses = [inspect.Parameter(place, plain, annotation=str) for place in places]
    wire.__signature__ = inspect.Signature([*addresses, *(body[name] for name in own)])  # type: ignore[attr-defined]
    wire.__doc__ = component.description
    return wire


def pods_of(pipelines: Iterable[Any]) -> dict[str, Pod]:
    """Return the pods of all steps that pipelines wire, by the step's name."""
    from google.protobuf.json_format import MessageToDict

    pods: dict[str, Pod] = {}
    for pipeline in pipelines:
        executors = MessageToDict(pipeline.pipeline_spec)["deploymentSpec"]["executors"]
        platforms = MessageToDict(pipeline.platform_spec).get("platforms", {})
        on_kubernetes = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        for key, executor in executors.items():
            pods.setdefault(key.removeprefix("exec-"), Pod(executor, on_kubernetes.get(key, {})))
    return pods
