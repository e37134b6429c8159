"""Find a run's artifacts in object storage, with their provenance, and see whether what they read is there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact, BadInput
from understudy.runners import runs
from understudy.runners.artifacts import choose_artifact
from understudy.runners.cluster import storage
from understudy.runtime import provenance
from understudy.store.runs import SUBMITTED, read
from understudy.store.storage import Store
from understudy.task.steps import STEPS

RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact in object storage, with its provenance."""

    uri: str
    provenance: Mapping[str, Any]

    @property
    def step(self) -> str:
        """Name of the step that made it."""
        return str(self.provenance["step"])

    @property
    def task(self) -> str:
        """Address of the folder of the task that made it."""
        return self.uri.rpartition("/")[0]

    @property
    def sources(self) -> set[str]:
        """Addresses of its inputs."""
        return {str(place["uri"]).rstrip("/") for place in self.provenance["inputs"].values()}


def find(address: str, store_uri: str = "") -> Artifact:
    """Read the provenance of an artifact.

    Args:
        address: in object storage; or a folder here whose provenance says where it lies.
        store_uri: the store, whose bucket goes by the store's settings.

    Raises:
        BadArtifact: there is none, or it is no record of a step.
        StorageError: the storage that it lies in is out of order.
    """
    if "://" not in address:
        record = provenance.read(Path(address))
        return _whole(Artifact(str(record.get("uri") or address), record))
    if not storage.is_reachable(address):
        raise BadInput(f"An artifact must lie on S3, got '{address}'. Give its s3:// or minio:// address, or a folder.")
    with storage.told_apart(address):
        found = storage.open_artifact(address, store_uri).read_tagged(provenance.FILE)
    if found is None:
        raise _unreadable(address, "nothing there")
    return _whole(Artifact(address.rstrip("/"), _parsed(found.data, address)))


def artifact_of(store: Store, name: str, step: str) -> str:
    """Find the address of an artifact that a step of a run has made.

    Raises:
        BadInput: there is none, or the step ran several times.
    """
    return choose_artifact(step, made_in(store, name), f"'{name}'").uri


def made_in(store: Store, name: str) -> list[Artifact]:
    """Find the artifacts of a submitted run; of a step that was tried again, the newest come last.

    Raises:
        BadInput: the store does not say where they lie.
    """
    about = read(store, runs.require_run(store, name), SUBMITTED) or {}
    if not (root := str(about.get("artifacts", ""))):
        raise BadInput(
            f"A run must say where its artifacts lie, got nothing of '{name}', which was submitted without --root. "
            "Give the address of an artifact, which its page shows."
        )
    return sorted(_artifacts_below(root, store.uri), key=lambda it: str(it.provenance.get("ended", "")))


def artifacts_around(made: Artifact, store_uri: str) -> Iterator[Artifact]:
    """Find the artifacts of the run that an artifact belongs to: all below the first folder named by a run's id."""
    parts = made.uri.split("/")
    index = next((at for at, part in enumerate(parts) if RUN_ID.fullmatch(part)), None)
    if index is not None and storage.is_reachable(made.uri):
        yield from _artifacts_below("/".join(parts[: index + 1]), store_uri)


def _artifacts_below(root: str, store_uri: str) -> Iterator[Artifact]:
    store = storage.open_artifact(root, store_uri)
    for file in store.list():
        if file.endswith(f"/{provenance.FILE}"):
            uri = f"{root}/{file.removesuffix(f'/{provenance.FILE}')}"
            yield _whole(Artifact(uri, _parsed(store.read(file), uri)))


def inputs_of(made: Artifact, store_uri: str) -> dict[str, str]:
    """Return the addresses of a step's inputs, which the cluster must be able to read.

    Raises:
        BadInput: some lie on a machine, or are gone; one sentence each.
        StorageError: the storage that they lie in is out of order.
    """
    inputs = {name: str(place["uri"]) for name, place in made.provenance["inputs"].items()}
    if faults := [fault for name, uri in inputs.items() if (fault := _fault(name, uri, store_uri))]:
        raise BadInput(faults)
    return inputs


def _fault(name: str, uri: str, store_uri: str) -> str | None:
    """Say why an input cannot be read; None when it can."""
    if not storage.is_reachable(uri):
        return f"An input must lie where the cluster can read it, got {uri} ({name}). Leave out --submit to rerun here."
    parent, _, key = uri.rstrip("/").rpartition("/")
    with storage.told_apart(uri):
        keys = storage.open_artifact(parent, store_uri).list(key)
    if not any(found == key or found.startswith(f"{key}/") for found in keys):
        return f"An input must still be there, got nothing at {uri} ({name}). Run the pipeline again."
    return None


def _parsed(data: bytes, artifact: str) -> dict[str, Any]:
    try:
        return provenance.parse(data, artifact)
    except BadArtifact as error:
        raise _unreadable(artifact, str(error)) from error


def _unreadable(artifact: str, got: str) -> BadArtifact:
    return BadArtifact(
        f"An artifact must have a readable {provenance.FILE}, got {got} ({artifact}). Give a folder that a step "
        "wrote; for one of its single files, such as a page, give another of its outputs."
    )


def _whole(found: Artifact) -> Artifact:
    """Check that a provenance is one of a step of ours, and says what a rerun needs."""
    lacking = [key for key in ("arguments", "inputs") if not isinstance(found.provenance.get(key), dict)]
    if lacking or found.provenance.get("step") not in STEPS:
        raise BadArtifact(
            f"A {provenance.FILE} must be the whole record of a step, got no sound {', '.join(lacking) or 'step'} "
            f"({found.uri}). Run the pipeline again."
        )
    return found
