"""Say what a bundle makes of texts: labels, probabilities, and why a text has none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import BadInput
from understudy.model import contract
from understudy.model.cascade import FIRST, STUDENT
from understudy.model.decision import told
from understudy.model.scoring import Bundle
from understudy.steps.infer.config import InferConfig
from understudy.store.registry import fetch_bundle
from understudy.store.storage import open_store
from understudy.text.context import preceding, seen
from understudy.text.numbers import count

MOST_AT_ONCE = 1_000  # texts that are scored together
MOST_CHARS_AT_ONCE = 8_000_000  # of these texts: a single one may have 2,000,000


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a bundle says of one text.

    Attributes:
        text: the text.
        label: by the bundle's rule: the positive label when its probability reaches the threshold, else the most
            probable other label. Where a text may have several, the set of them as `label_sets.written` writes it.
        probability: of `label`, calibrated; of several the lowest one's, of none 1 less the likeliest one's.
        runner_up: the likeliest of the other labels; None where the text has all.
        runner_up_probability: of that.
        threshold: probability at or above which a text gets the positive label; None where no label has one.
        version: the bundle's.
        stage: what decided: "first", the first stage, or "student".
        is_rehearsal: a rehearsal teacher had a part in the bundle.
        probabilities: of every label, by name; None where they were not asked for.
    """

    text: str
    label: str
    probability: float
    runner_up: str | None
    runner_up_probability: float | None
    threshold: float | None
    version: str
    stage: str
    is_rehearsal: bool
    probabilities: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """A text that cannot be labelled, and why; it keeps its place among the predictions."""

    text: str
    reason: str


def open_bundle(store: str | None, bundle: Path | None) -> Bundle:
    """Open the bundle that a store serves, or the one in a folder, once it has kept its card's contract here.

    Raises:
        BadInput: not exactly one of the two is given, or nothing is published.
        BadArtifact: it breaks its card's contract, or was altered.
    """
    if bundle is not None and store is None:
        return contract.opened(bundle)
    if store is not None and bundle is None:
        return contract.opened(fetch_bundle(open_store(store)))
    raise BadInput("A bundle must come from one place, got none or two. Give --store STORE or --bundle FOLDER.")


def fault_of(text: str) -> str | None:
    """Return why a text cannot be labelled, by the reasons of the step infer; None for one that can.

    >>> fault_of("Ask for a room"), fault_of(" ")
    (None, 'empty_text')
    """
    if not text.strip():
        return "empty_text"
    if len(text) > InferConfig().max_chars:
        return "too_long"
    if "\0" in text:
        return "nul_byte"
    return None if text.isascii() or text == _mended(text) else "not_utf8"


def _mended(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def context_of(bundle: Bundle, turns: Sequence[str]) -> str:
    """Return what stands before the texts: the last turns that the bundle's card takes; empty where there are none.

    Args:
        bundle: has its card beside it.
        turns: oldest first.

    Raises:
        BadInput: its card has no context, or a turn cannot be read.
    """
    if not turns:
        return ""
    from understudy.task.card import load_card  # most calls need no card

    context = load_card(bundle.folder).context
    if context is None:
        raise BadInput(
            f"Turns before a text must be asked for by the bundle's card, got {count(len(turns), 'turn')} where it has "
            f"no context ({bundle.version}). Leave out --context."
        )
    if fault := next((fault for turn in turns if (fault := fault_of(turn)) is not None), None):
        raise BadInput(f"A turn must be text that can be labelled, got {fault} (--context). Mend it or leave it out.")
    return preceding(turns[-context.turns :], context.words)


def predict(
    bundle: Bundle, texts: Iterable[str], *, context: str = "", with_all: bool = False
) -> Iterator[Prediction | Unlabelled]:
    """Label texts, in their order, a bounded part of them at once; one that cannot be labelled keeps its place.

    Args:
        bundle: what answers.
        texts: to label; read as far as the answers are taken.
        context: what stands before each of them, of `context_of`.
        with_all: give the probabilities of all labels.
    """
    for part in _parts(texts):
        faults = [fault_of(text) for text in part]
        sound = [text for text, fault in zip(part, faults, strict=True) if fault is None]
        labelled = iter(_labelled(bundle, sound, context, with_all=with_all))
        pairs = zip(part, faults, strict=True)
        yield from (next(labelled) if fault is None else Unlabelled(_mended(text), fault) for text, fault in pairs)


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Part texts into lists that can be scored at once."""
    part, chars = list[str](), 0
    for text in texts:
        if part and (len(part) == MOST_AT_ONCE or chars + len(text) > MOST_CHARS_AT_ONCE):
            yield part
            part, chars = [], 0
        part.append(text)
        chars += len(text)
    if part:
        yield part


def _labelled(bundle: Bundle, texts: Sequence[str], context: str, *, with_all: bool) -> list[Prediction]:
    probabilities, _, is_settled = bundle.score([seen(context, text) for text in texts])
    chosen, names = bundle.choose(probabilities), bundle.space.names
    columns = (bundle.space.named(chosen), *(column.tolist() for column in told(probabilities, chosen)))
    return [
        Prediction(
            text=text,
            label=label,
            probability=own,
            runner_up=names[other] if other >= 0 else None,
            runner_up_probability=second if other >= 0 else None,
            threshold=bundle.rule.threshold,
            version=bundle.version,
            stage=FIRST if settled else STUDENT,
            is_rehearsal=bundle.is_rehearsal,
            probabilities=dict(zip(names, row.tolist(), strict=True)) if with_all else None,
        )
        for text, label, own, other, second, row, settled in zip(
            texts, *columns, probabilities, is_settled, strict=True
        )
    ]
