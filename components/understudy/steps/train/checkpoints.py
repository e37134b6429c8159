"""Store checkpoints of a training: tensors as safetensors, counters as JSON, never a pickle.

    checkpoints/<training>/<update>.json, .safetensors    while it trains; the newest stays
    checkpoints/<training>/ended.json, .safetensors       its outcome

A step ends before the pipeline's backend has taken its outputs to where they stay, and that may fail. So the outcome
stays when the step is done: the step that is begun again gives the same student without training. The next training of
the card removes it, for nobody begins another one before the student of the last has arrived, or was given up.
"""

import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save

from understudy.store import codecs, layout
from understudy.store.storage import Store

ENDED = "ended"  # sorts after every number of an update
TRAINING = re.compile(rf"{layout.CHECKPOINTS.folder}((.+)-[0-9a-f]{{16}})/.*")
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
    """A training that can go on: `tensors` hold weights, best weights, optimizer moments and the random state.

    Of one that has ended they hold the best weights and the random state.
    """

    position: Position
    tensors: dict[str, torch.Tensor]
    has_ended: bool = False


def write(store: Store, key: str, checkpoint: Checkpoint) -> None:
    """Put a checkpoint; its small JSON is put last, so that one that is listed is whole. Older ones are removed."""
    older = store.list(layout.CHECKPOINTS.prefix(name=key))
    number = ENDED if checkpoint.has_ended else f"{checkpoint.position.update:08d}"
    name = f"{layout.CHECKPOINTS.prefix(name=key)}{number}"
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
    names = store.list(layout.CHECKPOINTS.prefix(name=key))
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    whole = [stem for stem in stems if f"{stem}.safetensors" in names]  # what was deleted for its damage is passed over
    if not whole:
        return None
    about, weights = f"{whole[-1]}.json", f"{whole[-1]}.safetensors"
    with codecs.of_cache():
        position = codecs.read_as(Position, store.read(about), store.locate(about))
        try:
            return Checkpoint(position, load(store.read(weights)), has_ended=whole[-1].endswith(f"/{ENDED}"))
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise codecs.unreadable("a checkpoint of safetensors", str(error), store.locate(weights)) from error


def remove_ended(store: Store, card_name: str, besides: str) -> None:
    """Remove what trainings of a card left that have ended, but of one; those that run, or may go on, stay."""
    found = [(name, TRAINING.fullmatch(name)) for name in store.list(f"{layout.CHECKPOINTS.folder}{card_name}-")]
    of_card = [(name, one[1]) for name, one in found if one and one[2] == card_name and one[1] != besides]
    over = {training for name, training in of_card if name.endswith(f"/{ENDED}.json")}
    for name, training in of_card:
        if training in over:
            store.delete(name)


def prefixed(prefix: str, tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Name tensors under a prefix, each with memory of its own as safetensors asks."""
    return {f"{prefix}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors under a prefix by their own names."""
    return {
        name.removeprefix(f"{prefix}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")
    }
