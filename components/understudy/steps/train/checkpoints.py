"""Checkpoints of a training in the store: tensors as safetensors, counters as JSON, never a pickle."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save

from understudy.store import codecs, layout
from understudy.store.storage import Store

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a training stands: the next batch to learn, and the best validation so far."""

    epoch: Count = 0
    batch: Count = 0
    update: Count = 0
    best_score: float = -1.0
    best_epoch: int = -1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training that can go on: `tensors` hold weights, best weights, optimizer moments and the random state."""

    position: Position
    tensors: dict[str, torch.Tensor]


def write(store: Store, key: str, checkpoint: Checkpoint) -> None:
    """Put a checkpoint; its small JSON is put last, so that one that is listed is whole. Older ones are removed."""
    older = store.list(layout.CHECKPOINTS.prefix(name=key))
    name = f"{layout.CHECKPOINTS.prefix(name=key)}{checkpoint.position.update:08d}"
    store.put_if_absent(f"{name}.safetensors", save(checkpoint.tensors))
    store.put_if_absent(f"{name}.json", codecs.canonical(asdict(checkpoint.position)))
    for old in older:
        if not old.startswith(name):
            store.delete(old)


def read_latest(store: Store, key: str) -> Checkpoint | None:
    """Read the newest whole checkpoint of a training; None when there is none.

    Raises:
        BadArtifact: it is damaged.
    """
    whole = [name for name in store.list(layout.CHECKPOINTS.prefix(name=key)) if name.endswith(".json")]
    if not whole:
        return None
    position = codecs.read_as(Position, store.read(whole[-1]), store.locate(whole[-1]))
    weights = f"{whole[-1].removesuffix('.json')}.safetensors"
    try:
        return Checkpoint(position, load(store.read(weights)))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise codecs.unreadable("a checkpoint of safetensors", str(error), store.locate(weights)) from error


def remove(store: Store, key: str) -> None:
    """Remove the checkpoints of a training that has ended."""
    for name in store.list(layout.CHECKPOINTS.prefix(name=key)):
        store.delete(name)


def prefixed(prefix: str, tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Name tensors under a prefix, each with memory of its own as safetensors asks."""
    return {f"{prefix}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors under a prefix by their own names."""
    return {
        name.removeprefix(f"{prefix}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")
    }
