"""Compile the pipelines to the YAML that a KFP server runs.

python -m understudy.pipelines.compile --out DIR
"""

import hashlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from understudy.errors import BadInput, UnderstudyError
from understudy.pipelines.pins import ROOT, Pins, pin, recorded_pins
from understudy.runners.terminal import tell
from understudy.store import codecs

PIPELINES = ("training", "nightly", "quality")
DIGITS = 10


def load_pipeline(name: str) -> Any:
    """Import a pipeline by the naming rule: `pipelines.<name>.<name>`."""
    return getattr(importlib.import_module(f"understudy.pipelines.{name}"), name)


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


def compile_all(folder: Path) -> list[Path]:
    """Write <folder>/<pipeline>.yaml for every pipeline; the same source gives the same bytes.

    Raises:
        BadInput: the folder cannot be written.
    """
    from kfp.compiler import Compiler

    files = [folder / f"{name}.yaml" for name in PIPELINES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in zip(PIPELINES, files, strict=True):
            Compiler().compile(load_pipeline(name), str(file))
    except OSError as error:
        raise BadInput(f"The folder of the YAML must be writable, got {error} (--out). Name another.") from error
    return files


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the YAML.")
def main(out: Path) -> None:
    """Compile every pipeline to OUT/<pipeline>.yaml."""
    try:
        files = compile_all(out)
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)
    for file in files:
        click.echo(file)


if __name__ == "__main__":
    main()
