"""Record where an artifact came from: `provenance.json` in its folder, or beside an artifact that is one file."""

import hashlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict

import understudy
from understudy.data import listing
from understudy.errors import BadArtifact, BadInput, BadSetting
from understudy.secrets.keys import redact_values
from understudy.store import codecs, hashing

FILE = hashing.PROVENANCE
NOT_SOURCES = {"store", "source", "overrides"}  # a night's source only grows; its manifest says what was read
OF_DATA = {"texts", "labels", "answers"}  # arguments of whose folders the files of data alone are read


class Place(TypedDict):
    """Where an input was, and the hash of what it held."""

    uri: str
    sha256: Annotated[str, Field(max_length=64)]  # compared only


class Record(TypedDict, total=False):
    """What a provenance says; the step names a module, so it is one plain word."""

    step: Required[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]]
    version: str
    sources: dict[str, str | None]
    arguments: dict[str, Any]
    inputs: dict[str, Place]
    output: str
    uri: str
    card_hash: str | None
    settings: dict[str, Any]
    headline: str
    metrics: dict[str, float]
    parameters: dict[str, str | int | float | bool]
    started: str
    ended: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """What a step has read: an input artifact, or a source on this machine that an argument names.

    Attributes:
        name: of the input or argument.
        place: where it lay.
        sha256: of what the step read of it.
        is_source: an argument names it.
    """

    name: str
    place: str
    sha256: str
    is_source: bool

    def hash_now(self) -> str | None:
        """Hash what the step would read of it now; None when it would refuse it."""
        return _source_hash(self.name, self.place) if self.is_source else hashing.hash_tree(Path(self.place))


def opening(step: str, inputs: Mapping[str, Path], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what a run of a step starts from; two runs that start from the same make the same.

    Args:
        step: name of the step.
        inputs: paths of the input artifacts.
        parameters: every other argument, defaults included.

    Returns:
        step, package version, hash of each input, each other argument, and the hash of what the step reads of each
        argument that is a file or folder; null for what cannot be compared: it lies elsewhere (s3://), or the step will
        refuse it.
    """
    return {
        "step": step,
        "version": understudy.__version__,
        "hashes": {name: hashing.hash_tree(path) for name, path in inputs.items()},
        "sources": {name: _source_hash(name, value) for name, value in parameters.items() if _is_source(name, value)},
        "arguments": dict(parameters),
    }


def starts_alike(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Tell whether a run that starts from `now` would repeat the one recorded as `before`.

    Args:
        before: the content of a provenance file.
        now: what `opening` returns.
    """
    hashes = {name: place.get("sha256") for name, place in before.get("inputs", {}).items()}
    sources = now["sources"]
    return (
        (before.get("step"), before.get("version")) == (now["step"], now["version"])
        and hashes == now["hashes"]
        and before.get("sources") == sources
        and None not in sources.values()
        and _effective(before) == _effective(now)
    )


def closing(
    opened: Mapping[str, Any],
    places: Mapping[str, Path],
    uris: Mapping[str, str],
    measured: Mapping[str, Any],
    started: float,
) -> dict[str, Any]:
    """Describe one run of a step, for each of its outputs.

    Args:
        opened: what `opening` returned before the run.
        places: where the step's inputs and outputs can be read now.
        uris: their lasting addresses.
        measured: headline, metrics and parameters, as the step returned them.
        started: seconds since the epoch.

    Raises:
        ValueError: a metric is not a finite number, which is a defect of the step.
    """
    card = _card(places)
    hashes = opened["hashes"]
    return {
        **{key: opened[key] for key in ("step", "version", "sources", "arguments")},
        "inputs": {name: {"uri": uris[name], "sha256": hashes[name]} for name in hashes},
        "card_hash": card and card.hash,
        "settings": _settings(opened["step"], card, str(opened["arguments"].get("overrides", ""))),
        "headline": measured["headline"],
        "metrics": {name: _finite(opened["step"], name, value) for name, value in measured["metrics"].items()},
        "parameters": dict(measured["parameters"]),
        "started": _utc(started),
        "ended": _utc(time.time()),
        "seconds": round(time.time() - started, 3),
    }


def read_by(record: Mapping[str, Any]) -> list[Read]:
    """Return all that a step has read on this machine, by the provenance of what it made.

    Raises:
        KeyError, TypeError: it does not say where each of them was.
    """
    sources = {name: sha256 for name, sha256 in record["sources"].items() if sha256 is not None}
    return [
        *(Read(name, str(record["arguments"][name]), sha256, is_source=True) for name, sha256 in sources.items()),
        *(Read(name, str(it["uri"]), it["sha256"], is_source=False) for name, it in record["inputs"].items()),
    ]


def write(artifact: Path, content: Mapping[str, Any], named: Path | None = None) -> None:
    """Write the provenance of an artifact.

    Args:
        artifact: the folder or file as it lies now.
        content: what to write.
        named: the artifact's final path, when it is still to be renamed.
    """
    data = codecs.as_json(redact_values(content), is_ascii=False, errors="backslashreplace")
    file_of(artifact, named).write_bytes(data)


def read(artifact: Path) -> dict[str, Any]:
    """Read the provenance of an artifact.

    Raises:
        BadArtifact: there is none, or it is not a record.
    """
    if artifact.is_dir() and not (artifact / FILE).exists():
        raise BadArtifact(
            f"An artifact must have a readable {FILE}, got a folder without one ({artifact}). {_inside(artifact)}"
        )
    return read_file(file_of(artifact))


def _inside(folder: Path) -> str:
    """Say which artifacts lie in the folder of a task or a run, which holds tasks."""
    found = [
        file for depth in ("", "*/") for file in [*folder.glob(f"{depth}*/{FILE}"), *folder.glob(f"{depth}*.{FILE}")]
    ]
    names = sorted(
        (file.parent if file.name == FILE else file.with_name(file.name.removesuffix(f".{FILE}"))).relative_to(folder)
        for file in found
    )
    if not names:
        return "Give the folder that a step wrote."
    return f"Give one of the artifacts inside: {', '.join(map(str, names[:20]))}{', ...' if len(names) > 20 else ''}."


def read_file(file: Path) -> dict[str, Any]:
    """Read a provenance file.

    Raises:
        BadArtifact: there is none, or it is not a record.
    """
    return parse(codecs.read_file(file), str(file))


def parse(data: bytes, where: str) -> dict[str, Any]:
    """Read the content of a provenance file.

    Raises:
        BadArtifact: it is no record of a step.
    """
    try:
        return codecs.read_mapping(data, where, Record)
    except BadArtifact as error:
        raise BadArtifact(f"{error} Run the pipeline again, or restore that file.") from error


def files_in(folder: Path) -> list[Path]:
    """List the provenance files of the artifacts that lie in a folder, one level deep."""
    return sorted([*folder.glob(f"*/{FILE}"), *folder.glob(f"*.{FILE}")])


def file_of(artifact: Path, named: Path | None = None) -> Path:
    """Return where an artifact's provenance lies: in a folder, or beside a single file."""
    return artifact / FILE if artifact.is_dir() else artifact.with_name(f"{(named or artifact).name}.{FILE}")


def _is_source(name: str, value: object) -> bool:
    """Tell whether an argument names data outside the run; the store is no source, it only grows."""
    if name in NOT_SOURCES or not isinstance(value, str) or not value:
        return False
    return value.startswith("s3://") or os.path.exists(value)  # noqa: PTH110 - a text too long for a path is no error


def _source_hash(name: str, value: str) -> str | None:
    """Hash what a step reads of a source, and no more: a folder named by mistake may be a whole home."""
    from understudy.task.card import CARD_FILE

    path = Path(value)
    if value.startswith("s3://"):
        return None
    try:
        if name == "card" and path.is_dir():
            path = path / CARD_FILE
        if not path.is_dir():
            return hashing.hash_file(path) if listing.is_plain(path) else None
        return _data_hash(path) if name in OF_DATA else hashing.hash_tree(path)
    except (OSError, BadInput):
        return None  # the step says what is wrong with it, beside the faults of its other arguments


def _data_hash(folder: Path) -> str:
    files = listing.in_folder(folder, str(folder)).files
    named = (f"{os.fsencode(path.relative_to(folder)).hex()} {hashing.hash_file(path)}\n" for _, path in files)
    return hashlib.sha256("".join(named).encode()).hexdigest()


def _effective(content: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with only those overrides that the step reads; a record's that nobody can read now stay text."""
    from understudy.task.settings import Overrides

    step, arguments = str(content["step"]), dict(content.get("arguments", {}))
    try:
        return {**arguments, "overrides": Overrides.parse(str(arguments.get("overrides", "")), step).read_by(step)}
    except BadSetting:
        return arguments


def _card(places: Mapping[str, Path]) -> Any:
    """Load the card that the step followed: its own input, the bundle's, or the one that it has just snapshot."""
    from understudy.task.card import CARD_FILE, load_card

    candidates = [places[name] for name in ("card", "bundle", "snapshot") if name in places]
    return next((load_card(path) for path in candidates if path.is_file() or (path / CARD_FILE).is_file()), None)


def _settings(step: str, card: Any, text: str) -> dict[str, Any]:
    """Return all settings that a step reads: its own by name, others in a mapping of their section's name."""
    from understudy.task.settings import Overrides
    from understudy.task.steps import STEPS

    return card.settings(Overrides.parse(text, step)).read_by(step) if card is not None and step in STEPS else {}


def _finite(step: str, name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"A metric must be a finite number, got {name}={number} ({step}).")
    return number


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
