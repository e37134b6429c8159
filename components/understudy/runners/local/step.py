"""Run one step again on this machine: plan it from the provenance of what it made, and find what that makes stale."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact, BadInput
from understudy.runners import overrides
from understudy.runners.cut import followers
from understudy.runners.local.artifacts import (
    Artifact,
    artifacts_around,
    artifacts_beside,
    artifacts_in,
    require_unchanged,
)
from understudy.runtime import provenance, shell
from understudy.store import hashing

NEEDED = {"arguments": dict, "inputs": dict, "sources": dict, "metrics": dict, "output": str, "version": str}


@dataclass(frozen=True, slots=True)
class Plan:
    """A step that can run again: what made the old artifact, and everything that the new run is called with."""

    made: Artifact
    folder: Path
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a rerun did: the old artifacts of the step, the new ones, and those that the change makes stale."""

    old: Mapping[str, Artifact]
    new: Mapping[str, Artifact]
    stale: tuple[Artifact, ...]


def plan(artifact: Path, changes: str, out: Path | None = None) -> Plan:
    """Find everything that the step which made an artifact needs to run again.

    Args:
        artifact: an artifact folder, or a single file with its provenance beside it.
        changes: key=value lines, or step.key=value, on top of those of the first run.
        out: folder of the new outputs; None takes a new one beside the task's.

    Raises:
        BadInput: an input is gone or has changed, or a setting breaks a rule.
        BadArtifact: there is no provenance, it is not whole, or its step cannot be loaded.
    """
    made = Artifact(artifact.resolve(), provenance.read(artifact))
    require_whole(made)
    overrides.check(made.provenance, changes)
    require_unchanged([made])
    folder = out or free_folder(made.path.parent)
    before = made.provenance["arguments"]
    lines = overrides.merged(made.step, str(before.get("overrides", "")), changes)
    inputs = {name: str(place["uri"]) for name, place in made.provenance["inputs"].items()}
    outputs = {name: str(folder / name) for name in shell.signature(made.step).outputs}
    return Plan(made, folder, {**before, "overrides": lines, **inputs, **outputs})


def carry_out(planned: Plan) -> Rerun:
    """Run a planned step, and find what the change makes stale.

    Raises:
        Exception: whatever the step raises.
    """
    step = planned.made.step
    shell.execute(step, planned.arguments)
    old = artifacts_beside(planned.made)
    new = {it.output: it for it in artifacts_in(planned.folder) if it.step == step}
    around = {it.path: it for it in artifacts_around(planned.made.path)}
    stale = followers(changed(old, new), {path: it.sources for path, it in around.items()})
    return Rerun(old, new, tuple(around[path] for path in stale))


def require_whole(made: Artifact) -> None:
    """Check that a provenance says what a rerun needs, and that its step can be loaded here.

    Raises:
        BadArtifact: it does not, or cannot.
    """
    if lacking := [key for key, kind in NEEDED.items() if not isinstance(made.provenance.get(key), kind)]:
        raise _broken(made, f"A provenance must be the whole record of a step, got no sound {', '.join(lacking)}")
    try:
        shell.signature(made.step)
        provenance.read_by(made.provenance)
    except ImportError as error:
        raise _broken(made, f"The step of an artifact must be installed here, got {error}") from error
    except (KeyError, TypeError) as error:
        raise _broken(made, f"A provenance must say where each input was, got {error!r}") from error


def _broken(made: Artifact, what: str) -> BadArtifact:
    return BadArtifact(f"{what} ({provenance.file_of(made.path)}). Run the pipeline again, or restore that file.")


def free_folder(task: Path) -> Path:
    """Return the first of <task>-rerun-1, -2, ... that is not taken."""
    return next(path for n in count(1) if not (path := task.with_name(f"{task.name}-rerun-{n}")).exists())


def make_folder(folder: Path) -> None:
    """Make the folder of the new outputs.

    Raises:
        BadInput: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"The folder of a rerun must be writable, got {error} (--out). Name another.") from error


def changed(old: Mapping[str, Artifact], new: Mapping[str, Artifact]) -> set[Path]:
    """Return the places of the old artifacts whose content a rerun made differently."""
    common = old.keys() & new.keys()
    differs = (name for name in common if hashing.hash_tree(old[name].path) != hashing.hash_tree(new[name].path))
    return {old[name].path for name in differs}


def report_lines(done: Rerun) -> Iterator[str]:
    """Write what a rerun did: metrics before and after, where its outputs are, and what is stale now."""
    before, after = (next(iter(side.values())).provenance for side in (done.old, done.new))
    if before["version"] != after["version"]:
        yield f"Made by version {before['version']}, run again by {after['version']}."
    yield f"{before['step']}: {before['headline']}  ->  {after['headline']}"
    for name in sorted({*before["metrics"], *after["metrics"]}):
        yield f"  {name:<24} {_number(before['metrics'].get(name)):>12} -> {_number(after['metrics'].get(name)):>12}"
    for name, artifact in done.new.items():
        yield f"New {name}: {artifact.path}"
    if not done.stale:
        yield "Nothing is stale: no artifact of the run was made from what has changed."
    for artifact in done.stale:
        yield f"Stale {artifact.step} {artifact.output}: {artifact.path}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
