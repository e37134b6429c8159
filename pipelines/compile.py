"""Compile the pipelines to the YAML that a KFP server runs."""

import hashlib
import importlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import BadInput
from understudy.pipelines.pins import ROOT, Pins, pin, recorded_pins
from understudy.store import codecs
from understudy.task.steps import STEPS

PIPELINES = ("training", "nightly", "quality")
DIGITS = 10


def load_pipeline(name: str) -> Any:
    """Build a pipeline by the naming rule: `pipelines.<name>.<name>` wires it."""
    return build(getattr(importlib.import_module(f"understudy.pipelines.{name}"), name))


@cache
def build(wire: Callable[..., None]) -> Any:
    """Build the pipeline that a function wires, named and described as the function is.

    It is built here and not where it is defined: for each resource of a task KFP inspects the whole stack, and while a
    module is imported, frames of Python's import system stand on it, for each of which `inspect` walks through all
    modules.
    """
    from kfp import dsl

    from understudy.pipelines.resources import lifetime

    return dsl.pipeline(wire, name=wire.__name__, pipeline_config=lifetime(wire.__name__))


def pipeline_spec(name: str) -> dict[str, Any]:
    """Return a pipeline's PipelineSpec as KFP compiles it."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    spec: dict[str, Any] = MessageToDict(load_pipeline(name).pipeline_spec)
    return spec


def version_name(name: str, pins: Pins | None = None) -> str:
    """Return the name of the PipelineVersion that this source makes of a pipeline.

    Args:
        name: the pipeline.
        pins: digests of images by role; None for those that manifests/ is pinned to, where it lies beside the source.
    """
    return version_of(name, compiled(load_pipeline(name), recorded_pins(ROOT) if pins is None else pins))


def compiled(pipeline: Any, pins: Pins) -> dict[str, Any]:
    """Return what a version says: PipelineSpec and PlatformSpec as KFP compiles them, but for pinned images."""
    from google.protobuf.json_format import MessageToDict

    said = {
        "pipelineSpec": MessageToDict(pipeline.pipeline_spec),
        "platformSpec": MessageToDict(pipeline.platform_spec),
    }
    pin(said["pipelineSpec"], pins)
    return said


def version_of(name: str, content: Mapping[str, Any]) -> str:
    """Name a version by what it says: the same content has the same name, and any other another."""
    canonical = codecs.canonical(content, is_ascii=False)
    return f"{name}-{hashlib.sha256(canonical).hexdigest()[:DIGITS]}"


def pods() -> dict[str, Any]:
    """Return the pod of every step that a pipeline wires, in the order of the registry."""
    from understudy.pipelines.single import pods_of

    there = pods_of(load_pipeline(name) for name in PIPELINES)
    return {step: there[step] for step in STEPS if step in there}


def compile_all(folder: Path) -> list[Path]:
    """Write the YAML of every pipeline, of every step's component, and of a pipeline of each step alone.

    The same source gives the same bytes.

    Returns:
        <folder>/<pipeline>.yaml, <folder>/components/<step>.yaml and <folder>/steps/<step>.yaml.

    Raises:
        BadInput: the folder cannot be written.
    """
    from kfp.compiler import Compiler

    from understudy.pipelines.single import component_of, single

    steps = pods()
    compilable = {f"{name}.yaml": load_pipeline(name) for name in PIPELINES}
    compilable |= {f"components/{step}.yaml": component_of(step) for step in steps}
    try:
        for part in ("components", "steps"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for name, pipeline in compilable.items():
            Compiler().compile(pipeline, str(folder / name))
        for step, pod in steps.items():
            documents = single(step, pod).values()
            text = yaml.safe_dump_all(documents, sort_keys=True, width=120, allow_unicode=True)
            (folder / f"steps/{step}.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"The folder of the YAML must be writable, got {error} (--out). Name another.") from error
    return [folder / name for name in (*compilable, *(f"steps/{step}.yaml" for step in steps))]
