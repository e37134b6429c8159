"""Find a run's artifacts on this machine, with their provenance, and see whether what they read is unchanged."""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import BadInput
from understudy.runners.artifacts import choose_artifact
from understudy.runners.runs import RECORD_FILE
from understudy.runtime import provenance

BESIDE = re.compile(r".+-rerun-\d+")  # a folder that a rerun of one step has made beside the task's


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact with its provenance."""

    path: Path
    provenance: Mapping[str, Any]

    @property
    def step(self) -> str:
        """Name of the step that made it."""
        return str(self.provenance["step"])

    @property
    def output(self) -> str:
        """Which of the step's outputs it is."""
        return str(self.provenance["output"])

    @property
    def task(self) -> str:
        """Address of the folder of the task that made it."""
        return str(self.path.parent)

    @property
    def sources(self) -> set[Path]:
        """Where its inputs lie."""
        return {Path(place["uri"]).resolve() for place in self.provenance["inputs"].values()}


def find_run(name: str, work: Path) -> Path | None:
    """Find the folder of a run by its address or, in the folder of the runs, by its name; None when it is not here."""
    return next((it for it in (Path(name), work / name) if (it / RECORD_FILE).is_file()), None)


def artifact_of(run: Path, step: str) -> Path:
    """Find an artifact that a step of a run has made.

    Raises:
        BadInput: there is none, or the step ran several times.
    """
    return choose_artifact(step, first_artifacts(run), str(run)).path


def first_artifacts(run: Path) -> list[Artifact]:
    """Find the artifacts of a run's own tasks, not those of reruns beside them."""
    return [it for it in _artifacts_below(run) if not BESIDE.fullmatch(it.path.parent.name)]


def artifacts_around(artifact: Path) -> list[Artifact]:
    """Find the artifacts of the run that an artifact belongs to; of its folder's folder when there is no run."""
    runs = [folder for folder in artifact.parents if (folder / RECORD_FILE).is_file()]
    return _artifacts_below(runs[0] if runs else artifact.parent.parent)


def artifacts_beside(made: Artifact) -> dict[str, Artifact]:
    """Return all outputs of the run of a step that made an artifact, by name."""
    return {it.output: it for it in artifacts_in(made.path.parent) if it.step == made.step}


def artifacts_in(folder: Path) -> Iterator[Artifact]:
    """Find the artifacts that lie in a folder, one level deep."""
    for file in provenance.files_in(folder):
        is_inside = file.name == provenance.FILE
        path = file.parent if is_inside else file.with_name(file.name.removesuffix(f".{provenance.FILE}"))
        yield Artifact(path.resolve(), provenance.read_file(file))


def _artifacts_below(root: Path) -> list[Artifact]:
    return [found for folder in sorted({root, *root.rglob("*/")}) for found in artifacts_in(folder)]


def require_unchanged(made: list[Artifact], anew: Container[str] = ()) -> None:
    """Check that all that artifacts were made from is still there and what it was.

    Args:
        made: the artifacts.
        anew: places of what is made again before it is read.

    Raises:
        BadInput: something is gone, changed or not on this machine; a sentence each.
    """
    read = [it for artifact in made for it in provenance.read_by(artifact.provenance) if it.place not in anew]
    if faults := sorted({fault for it in read if (fault := _fault(it))}):
        raise BadInput(faults)


def _fault(read: provenance.Read) -> str | None:
    """Say why something cannot be read as it was; None when it can."""
    if "://" in read.place:
        return f"An input must lie on this machine, got {read.place} ({read.name}). Copy it here first."
    path = Path(read.place)
    if not path.exists():
        return f"An input must still be there, got nothing at {path} ({read.name}). Run the pipeline again."
    if read.hash_now() != read.sha256:
        return (
            f"An input must be what the artifact was made from, got changed content at {path} ({read.name}). "
            "Use --resume."
        )
    return None
