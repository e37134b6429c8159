"""Store checkpoints of a training: tensors as safetensors, counters as JSON, never a pickle.

    checkpoints/<card>-<training>/<update>.json, .safetensors    while it trains; the newest stays
    checkpoints/<card>-<training>/ended.json, .safetensors       its outcome

A step ends before the pipeline's backend has taken its outputs to where they stay, and that may fail. So the outcome
stays when the step is done: the step that is begun again gives the same student without training. The next training of
the card removes it, for nobody begins another one before the student of the last has arrived, or was given up.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save

from understudy.store import codecs, layout
from understudy.store.storage import Store

ENDED = "ended"  # sorts after every number of an update
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Training:
    """A training by its card's name and by the first 16 digits of a hash of all that decides its outcome."""

    card: str
    training: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a training stands: the next batch to learn, the best validation so far, and the seconds that it took.

    Epochs are counted from the start; `stage_epoch` those of this stage.
    """

    stage: Count = 0
    stage_epoch: Count = 0
    epoch: Count = 0
    batch: Count = 0
    update: Count = 0
    best_score: float = -1.0
    best_epoch: int = -1
    seconds: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training that can go on: `tensors` hold weights, best weights, optimizer moments and the random state.

    Of one that has ended they hold the best weights and the random state.
    """

    position: Position
    tensors: dict[str, torch.Tensor]
    has_ended: bool = False


def write(store: Store, training: Training, checkpoint: Checkpoint) -> None:
    """Put a checkpoint; its small JSON is put last, so that one that is listed is whole. Older ones are removed."""
    older = _listed(store, **asdict(training))
    name = ENDED if checkpoint.has_ended else f"{checkpoint.position.update:08d}"
    tensors, position = save(checkpoint.tensors), codecs.canonical(asdict(checkpoint.position))
    store.put_if_absent(layout.CHECKPOINT_TENSORS.key(**asdict(training), name=name), tensors)
    store.put_if_absent(layout.CHECKPOINTS.key(**asdict(training), name=name), position)
    for old, fields in older:
        if fields["name"] != name:
            store.delete(old)


def read_latest(store: Store, training: Training) -> Checkpoint | None:
    """Read the newest whole checkpoint of a training; None when there is none.

    Raises:
        BadArtifact: it is damaged.
    """
    listed = dict(_listed(store, **asdict(training)))
    parts = [(key, fields["name"]) for key, fields in listed.items() if layout.CHECKPOINTS.fields(key)]
    pairs = [(about, layout.CHECKPOINT_TENSORS.key_from(layout.CHECKPOINTS, about), name) for about, name in parts]
    whole = [pair for pair in pairs if pair[1] in listed]  # what was deleted for its damage is passed over
    if not whole:
        return None
    about, weights, name = whole[-1]
    with codecs.of_cache():
        position = codecs.read_as(Position, store.read(about), store.locate(about))
        try:
            return Checkpoint(position, load(store.read(weights)), has_ended=name == ENDED)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise codecs.unreadable("a checkpoint of safetensors", str(error), store.locate(weights)) from error


def remove_ended(store: Store, besides: Training) -> None:
    """Remove what trainings of a card left that have ended, but of one; those that run, or may go on, stay."""
    listed = _listed(store, card=besides.card)
    ended = [fields for key, fields in listed if layout.CHECKPOINTS.fields(key) and fields["name"] == ENDED]
    over = {fields["training"] for fields in ended} - {besides.training}
    for key, fields in listed:
        if fields["training"] in over:
            store.delete(key)


def _listed(store: Store, **fields: str) -> list[tuple[str, dict[str, str]]]:
    """List what is kept of trainings, what says that a checkpoint is whole first."""
    return layout.listed(store, (layout.CHECKPOINTS, layout.CHECKPOINT_TENSORS), **fields)


def prefixed(prefix: str, tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Name tensors under a prefix, each with memory of its own as safetensors asks."""
    return {f"{prefix}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors under a prefix by their own names."""
    return {
        name.removeprefix(f"{prefix}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")
    }
