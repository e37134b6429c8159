"""Plan to make a step again with other settings, alone or with all that follows from it, here or on a cluster.

One step is planned from the provenance of what it made. With what follows, the run's pipeline is cut to these steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from understudy.errors import BadArtifact, BadInput, BadSetting
from understudy.pipelines.compile import PIPELINES, pipeline_spec
from understudy.runners import checks
from understudy.runners.downstream import Cut, Returned, cut
from understudy.runners.request import stamp
from understudy.runners.runs import RECORD_FILE, Record
from understudy.runtime import provenance, shell
from understudy.store import hashing
from understudy.task.settings import (
    Overrides,
    build_section,
    config_of,
    field_names,
    full_key,
    parse_lines,
    reads,
    require_read,
)
from understudy.task.steps import STEPS

Place = TypeVar("Place")
RERUN = "rerun"  # how the names of runs that make a step again begin
NEEDED = {"arguments": dict, "inputs": dict, "sources": dict, "metrics": dict, "output": str, "version": str}


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact with its provenance."""

    path: Path
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A step that can run again: what made the old artifact, and everything that the new run is called with."""

    made: Artifact
    folder: Path
    arguments: Mapping[str, Any]

    @property
    def step(self) -> str:
        """Name of the step."""
        return str(self.made.record["step"])


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a rerun did: the old artifacts of the step, the new ones, and those that the change makes stale."""

    old: Mapping[str, Artifact]
    new: Mapping[str, Artifact]
    stale: tuple[Artifact, ...]


def plan(artifact: Path, overrides: str, out: Path | None = None) -> Plan:
    """Find everything that the step which made an artifact needs to run again.

    Args:
        artifact: an artifact folder, or a single file with its provenance beside it.
        overrides: key=value lines, or step.key=value, on top of those of the first run.
        out: folder of the new outputs; None takes a new one beside the task's.

    Raises:
        BadInput: an input is gone or has changed, or a setting breaks a rule.
        BadArtifact: there is no provenance, it is not whole, or its step cannot be loaded.
    """
    made = Artifact(artifact.resolve(), provenance.read(artifact))
    require_whole(made)
    step = str(made.record["step"])
    check_settings(made.record, overrides)
    inputs = inputs_of(made)
    folder = out or free_folder(made.path.parent)
    outputs = {name: str(folder / name) for name in shell.signature(step).outputs}
    before = made.record["arguments"]
    lines = merged(step, str(before.get("overrides", "")), overrides)
    return Plan(made, folder, {**before, "overrides": lines, **inputs, **outputs})


def carry_out(planned: Plan) -> Rerun:
    """Run a planned step, and find what the change makes stale.

    Raises:
        Exception: whatever the step raises.
    """
    shell.execute(planned.step, planned.arguments)
    old = artifacts_beside(planned.made)
    new = {str(it.record["output"]): it for it in artifacts_in(planned.folder) if it.record["step"] == planned.step}
    around = {it.path: it for it in artifacts_of_run(planned.made.path)}
    stale = stale_after(changed(old, new), {path: sources_of(it) for path, it in around.items()})
    return Rerun(old, new, tuple(around[path] for path in stale))


def require_whole(made: Artifact) -> None:
    """Check that a provenance says what a rerun needs, and that its step can be loaded here.

    Raises:
        BadArtifact: it does not, or cannot.
    """
    step = made.record["step"]
    if not isinstance(step, str) or not step.isidentifier():
        raise _broken(made, f"A provenance must name a step, got {step!r}")
    if lacking := [key for key, kind in NEEDED.items() if not isinstance(made.record.get(key), kind)]:
        raise _broken(made, f"A provenance must be the whole record of a step, got no sound {', '.join(lacking)}")
    try:
        shell.signature(step)
        inputs_and_sources(made.record)
    except ImportError as error:
        raise _broken(made, f"The step of an artifact must be installed here, got {error}") from error
    except (KeyError, TypeError) as error:
        raise _broken(made, f"A provenance must say where each input was, got {error!r}") from error


def _broken(made: Artifact, what: str) -> BadArtifact:
    return BadArtifact(f"{what} ({provenance.file_of(made.path)}). Run the pipeline again, or restore that file.")


def check_settings(record: Mapping[str, Any], overrides: str) -> None:
    """Check new settings before anything runs, beside those that the step had.

    Args:
        record: the provenance of what the step made.
        overrides: key=value lines.

    Raises:
        BadSetting: one is nothing that the step reads, unknown, or breaks a rule.
    """
    step = str(record["step"])
    changes = Overrides.parse(overrides, step)
    require_read(changes, step)
    had = dict(record.get("settings", {}))
    sections = dict.fromkeys(key.rpartition(".")[0] for key in changes.values)
    faults = []
    for section in sections:
        before = had if section == step else had.get(section, {})
        known = {name: before[name] for name in field_names(config_of(section)) if name in before}
        try:
            build_section(section, {**known, **changes.of(section)}, f"--set {section}.")
        except BadSetting as error:
            faults += error.faults
    if faults:
        raise BadSetting(faults)


def inputs_of(made: Artifact) -> dict[str, str]:
    """Find the inputs that an artifact was made from, unchanged.

    Raises:
        BadInput: some are gone, changed or not on this machine; one sentence each.
    """
    inputs, sources, expected = inputs_and_sources(made.record)
    faults = [fault_of(name, place, expected[name]) for name, place in {**sources, **inputs}.items()]
    if any(faults):
        raise BadInput([fault for fault in faults if fault])
    return inputs


def inputs_and_sources(record: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Read from a provenance where its inputs were and where its sources on this machine, and the hashes of both."""
    inputs = {name: str(place["uri"]) for name, place in record["inputs"].items()}
    hashes = {name: place["sha256"] for name, place in record["inputs"].items()}
    sources = {name: str(record["arguments"][name]) for name, sha256 in record["sources"].items() if sha256 is not None}
    return inputs, sources, {**hashes, **record["sources"]}


def fault_of(name: str, place: str, sha256: str) -> str | None:
    """Say why an input cannot be read as it was; None when it can."""
    if "://" in place:
        return f"An input must lie on this machine, got {place} ({name}). Copy it here first."
    path = Path(place)
    if not path.exists():
        return f"An input must still be there, got nothing at {path} ({name}). Run the pipeline again."
    if hashing.hash_tree(path) != sha256:
        return (
            f"An input must be what the artifact was made from, got changed content at {path} ({name}). Use --resume."
        )
    return None


def merged(step: str, before: str, now: str) -> str:
    r"""Put new override lines in the place of those that set the same of a step.

    >>> merged("train", "train.epochs=2\nlabel.texts=9", "epochs=3")
    'label.texts=9\nepochs=3'
    """
    new = parse_lines(now, step)
    kept = [line for line in before.splitlines() if full_key(line.partition("=")[0].strip(), step) not in new]
    return "\n".join([*kept, *now.splitlines()])


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


def artifacts_beside(made: Artifact) -> dict[str, Artifact]:
    """Return all outputs of the run of a step that made an artifact, by name."""
    same = (artifact for artifact in artifacts_in(made.path.parent) if artifact.record["step"] == made.record["step"])
    return {str(artifact.record["output"]): artifact for artifact in same}


def artifacts_in(folder: Path) -> Iterator[Artifact]:
    """Find the artifacts that lie in a folder, one level deep."""
    for file in provenance.files_in(folder):
        is_inside = file.name == provenance.FILE
        path = file.parent if is_inside else file.with_name(file.name.removesuffix(f".{provenance.FILE}"))
        yield Artifact(path.resolve(), provenance.read_file(file))


def artifacts_of_run(artifact: Path) -> list[Artifact]:
    """Find the artifacts of the run that an artifact belongs to; of its folder's folder when there is no run."""
    runs = [folder for folder in artifact.parents if (folder / RECORD_FILE).is_file()]
    root = runs[0] if runs else artifact.parent.parent
    return [found for folder in sorted({root, *root.rglob("*/")}) for found in artifacts_in(folder)]


def changed(old: Mapping[str, Artifact], new: Mapping[str, Artifact]) -> set[Path]:
    """Return the places of the old artifacts whose content a rerun made differently."""
    common = old.keys() & new.keys()
    differs = (name for name in common if hashing.hash_tree(old[name].path) != hashing.hash_tree(new[name].path))
    return {old[name].path for name in differs}


def stale_after(places: set[Place], made_from: Mapping[Place, set[Place]]) -> list[Place]:
    """Return the places of what was made from what lies at these places, at any distance.

    >>> stale_after({"train"}, {"audit": {"label"}, "export": {"train"}, "bundle": {"export", "label"}})
    ['export', 'bundle']
    """
    reached, stale = set(places), list[Place]()
    while fresh := [at for at, sources in made_from.items() if at not in reached and reached & sources]:
        reached.update(fresh)
        stale += fresh
    return stale


def sources_of(artifact: Artifact) -> set[Path]:
    """Return the places of an artifact's inputs."""
    return {Path(place["uri"]).resolve() for place in artifact.record["inputs"].values()}


def report_lines(done: Rerun) -> Iterator[str]:
    """Write what a rerun did: metrics before and after, where its outputs are, and what is stale now."""
    before, after = (next(iter(side.values())).record for side in (done.old, done.new))
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
        yield f"Stale {artifact.record['step']} {artifact.record['output']}: {artifact.path}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Downstream:
    """A run that is to be made again from a step on, here or on a cluster.

    Attributes:
        first: what the run before was given.
        cut: the pipeline from that step on, and which steps are made anew and kept.
        arguments: of the pipeline, with the new settings.
    """

    first: Record
    cut: Cut
    arguments: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """Say what is made anew and what is kept, before anything is."""
        yield f"Made anew: {', '.join(self.cut.anew)}."
        yield f"Kept from '{self.first.name}': {', '.join(self.cut.kept) or 'nothing'}."


def plan_downstream(
    first: Record, step: str, overrides: str, places: Mapping[tuple[str, str], str], returned: Returned
) -> Downstream:
    """Plan a step of a run and all that follows from it.

    Args:
        first: what the run was given.
        step: where to begin.
        overrides: step.key=value lines on top of those of the first run; a key without a step is the first step's.
        places: addresses of the run's artifacts, by step and output.
        returned: what the run's tasks have returned, as far as it is known.

    Raises:
        BadInput: the pipeline has no such step, or something that is to be kept is not there.
        BadSetting: a setting is of a step that is kept, unknown, or breaks a rule.
    """
    if first.pipeline not in PIPELINES:
        raise BadInput(f"A run that is made again must be of {', '.join(PIPELINES)}, got {first.pipeline} (RUN).")
    part = cut(pipeline_spec(first.pipeline), step, places, returned, STEPS)
    changes = Overrides.parse(overrides, step)
    if unread := [key for key in changes.values if not any(reads(name, key) for name in part.anew)]:
        raise BadSetting(
            f"A setting must be of a step that is made anew, got '{unread[0]}' (--set). Begin with that step (--from)."
        )
    lines = with_sections(merged(step, first.arguments.get("overrides", ""), overrides), step)
    snapshots = (place for (_, output), place in places.items() if output == "snapshot" and "://" not in place)
    checks.check_settings(lines, checks.check_card(next(snapshots, first.arguments["card"])))
    return Downstream(first, part, {**first.arguments, "overrides": lines})


def with_sections(lines: str, step: str) -> str:
    r"""Write override lines as a pipeline takes them: a key without a section is the step's.

    >>> with_sections("epochs=2\nlabel.texts=9", "train")
    'train.epochs=2\nlabel.texts=9'
    """
    pairs = (line.partition("=") for line in lines.splitlines() if line.strip())
    return "\n".join(f"{full_key(key.strip(), step)}={value.strip()}" for key, _, value in pairs)


def runs_step(name: str, step: str) -> bool:
    """Tell whether a run of a pipeline with a step runs it; one that makes a later step again does not.

    >>> runs_step("nightly-42", "train"), runs_step("rerun-label-1", "train"), runs_step("rerun-mine-1", "train")
    (True, True, False)
    """
    order = list(STEPS)
    first = name.split("-")[1] if name.startswith(f"{RERUN}-") and name.count("-") > 1 else ""
    return first not in order or order.index(first) <= order.index(step)


def new_name(step: str) -> str:
    """Name the run of a step that is made again."""
    return f"{RERUN}-{step}-{stamp()}"
