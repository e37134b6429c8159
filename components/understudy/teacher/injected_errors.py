"""Plan a simulated teacher's answers: the labels of a file, with errors injected on purpose.

A wrong answer goes to any of the other labels alike, or mostly to those that are said to be like the right one. Where a
text may have several labels, one of them is taken for another that is like it, or one is dropped or added; a bias drops
one.
Every decision is drawn from a hash of the seed and the text, so the same text always gets the same answer.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import TypeVar

import polars as pl

from understudy.errors import BadData, BadInput
from understudy.stats import draw
from understudy.task import label_sets
from understudy.task.card import Card, Slice
from understudy.task.patterns import fault_of
from understudy.task.slices import in_slice
from understudy.text.normalise import content_hash
from understudy.text.numbers import clipped

FLIP, BIAS = "flip", "bias"
UNUSABLE = "?"  # in a file of real answers: the model's answer could not be used
# Log-odds of the confidence in a right answer, a flipped one, one from a bias, and a guess: right ones are surer, but
# the ranges overlap, as those of real teachers do.
CONFIDENCE = {"": 2.5, FLIP: 0.8, BIAS: 1.5, "guess": 0.3}
CONFIDENCE_SPREAD = 1.0
LIKE_SHARE = 0.8
DROP_SHARE = 0.5  # of the sets that lose or gain a label
MOST_TOLD = 10  # labels that a message names
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors to inject.

    Attributes:
        flip: chance, in [0, 1], that a text gets another label than its own, or that one of its labels is wrong.
        bias: chance, in [0, 1], by slice, that a positive text of the slice gets another label, and any text where the
            card names no positive label, or that a text loses one of several labels; a slice is named on the card, or a
            regular expression between slashes.
        seed: another seed injects errors in other texts.
        like: pairs of labels that are taken for one another.
        like_share: share, in [0, 1], of the wrong answers to a text that go to the labels like its own, where it has
            such; the others go to the rest.
    """

    flip: float = 0.0
    bias: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    like: Sequence[tuple[str, str]] = ()
    like_share: float = LIKE_SHARE

    def __post_init__(self) -> None:
        """Check the rules."""
        chances = {
            "--flip": self.flip,
            "--confuse-share": self.like_share,
            **{f"--bias {name}": chance for name, chance in self.bias.items()},
        }
        faults = [
            f"A chance must be in [0, 1], got {chance} ({name}). Mend it."
            for name, chance in chances.items()
            if not 0 <= chance <= 1
        ]
        faults += [
            f"Labels that are confused must be two, got '{one}' twice (--confuse). Mend it."
            for one, other in self.like
            if one == other
        ]
        if faults:
            raise BadInput(faults)

    def likes(self, label: str) -> frozenset[str]:
        """Return the labels that are like one."""
        return frozenset({one: other, other: one}[label] for one, other in self.like if label in {one, other})

    def share(self, label: str, given: str, labels: frozenset[str]) -> float:
        """Return the share of the wrong answers to texts of a label that are one of the others.

        >>> labels = frozenset({"tip", "plea", "other", "praise"})
        >>> Errors(like=[("tip", "plea")], like_share=0.75).share("tip", "other", labels)
        0.125
        """
        likes = self.likes(label) & labels
        others = len(labels) - 1 - len(likes)
        to_likes = self.like_share if likes and others else float(bool(likes))
        return to_likes / len(likes) if given in likes else (1 - to_likes) / others

    def parted(self, label: str, labels: Sequence[str]) -> tuple[list[str], list[str]]:
        """Part the other labels into those that are like one and the rest, both in their order."""
        near = self.likes(label)
        others = [other for other in labels if other != label]
        return [other for other in others if other in near], [other for other in others if other not in near]


@dataclass(frozen=True, slots=True)
class InjectedAnswer:
    """The answer that one text gets.

    Attributes:
        text: the text.
        true: its label in the file, or its labels as `label_sets.written` has them.
        answered: what the teacher gives, written in the same way.
        why: "flip" or "bias:<slice>" where the answer was changed, "unusable" where the file says so of it; else empty.
    """

    text: str
    true: str
    answered: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a file calls its texts and its labels."""

    text: str = "text"
    label: str = "label"


OURS = Columns()


def chance(seed: int, purpose: str, content: str) -> float:
    """Draw a number in [0, 1) that depends on nothing but the arguments."""
    return draw.share(seed, purpose, content)


def inject(answers: pl.DataFrame, errors: Errors, card: Card | None = None) -> dict[str, InjectedAnswer]:
    """Decide every answer.

    A bias is tried before a flip; where both would strike, the bias is the reason.

    Args:
        answers: columns text and label, and those that the card's slices use.
        errors: what to inject.
        card: names slices, labels and the positive one; needed with a bias.

    Returns:
        answers by the hash of the normalised text; the first row of a text that stands twice counts.

    Raises:
        BadInput: a bias without a card, a slice that card or file do not have, or a label that the card does not have.
    """
    is_unusable = pl.col("label") == UNUSABLE
    unusable, answers = answers.filter(is_unusable), answers.filter(~is_unusable)
    if card is not None and card.is_many:
        answers = _in_sets(answers, card)
    labels = _labels(answers, card)
    _require_known(errors, labels)
    biased = {name: in_slice(_slice(name, card, answers), answers) for name in errors.bias}
    injected: dict[str, InjectedAnswer] = {}
    for row, (text, label) in enumerate(answers.select("text", "label").iter_rows()):
        content = content_hash(text)
        slices = [name for name, members in biased.items() if members[row]]
        injected.setdefault(content, _decide(text, label, content, slices, labels, errors, card))
    for text in unusable["text"]:
        injected.setdefault(content_hash(text), InjectedAnswer(text, UNUSABLE, UNUSABLE, "unusable"))
    return injected


def guess(seed: int, content: str, labels: Sequence[str]) -> str:
    """Answer for a text that is in no file.

    >>> guess(0, "a", ["tip", "other"]) == guess(0, "a", ["tip", "other"])
    True
    """
    return labels[int(chance(seed, "guess", content) * len(labels))]


def confidence(seed: int, content: str, why: str) -> float:
    """Return the probability, in [0.5, 1), that the teacher gives its own answer: noisy, and lower where it errs."""
    noise = NormalDist(0.0, CONFIDENCE_SPREAD).inv_cdf(max(chance(seed, "confidence", content), 1e-9))
    return 1 / (1 + math.exp(-abs(CONFIDENCE[why.partition(":")[0]] + noise)))


def read_answers(path: Path, columns: Columns = OURS, card: Card | None = None) -> pl.DataFrame:
    """Read a labelled CSV, Parquet file or file of JSON lines, all columns as strings.

    Args:
        path: of the file; its name's end says which it is, and a CSV where that says nothing.
        columns: what it calls its texts and labels.
        card: says which labels are meant by the file's (aliases).

    Returns:
        the file's columns, text and label among them.

    Raises:
        BadData: the file is missing, unreadable or empty, lacks a column, or a row lacks its text or label.
    """
    try:
        table = _read(path.absolute())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadData(
            f"The answers must be a readable CSV, Parquet file or JSON lines, got {error} ({path}). Mend the file."
        ) from error
    if missing := sorted({columns.text, columns.label} - set(table.columns)):
        raise BadData(
            f"The answers must have the columns {columns.text} and {columns.label}, got no '{missing[0]}' ({path}). "
            "Name the columns so, or say what they are called (--text-column, --label-column)."
        )
    others = [name for name in table.columns if name not in {"text", "label"}]
    table = table.select(pl.col(columns.text).alias("text"), pl.col(columns.label).alias("label"), *others)
    if not len(table):
        raise BadData(f"The answers must hold at least one row, got none ({path}). Put labelled texts into it.")
    is_hollow = table.select(pl.any_horizontal(pl.col("text", "label").fill_null("") == "")).to_series()
    if is_hollow.any():
        row = int(is_hollow.arg_max() or 0) + 2
        raise BadData(f"Each answer must have a text and a label, got a row without (line {row} of {path}). Mend it.")
    meant = {alias: label.name for label in (card.labels if card else ()) for alias in label.aliases}
    return table.with_columns(pl.col("label").replace(meant))


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in {".parquet", ".jsonl", ".ndjson"}:
        return pl.read_csv(path, infer_schema=False, glob=False)
    read = pl.read_parquet if path.suffix == ".parquet" else pl.read_ndjson
    table = read(path)
    return table.select(pl.col(name).cast(pl.String) for name in table.columns if not table[name].dtype.is_nested())


def write_injected(injected: Mapping[str, InjectedAnswer], path: Path) -> None:
    """Write every answer with its true label and why it was changed, one JSON object a line."""
    lines = (json.dumps(asdict(answer), ensure_ascii=False) for answer in injected.values())
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"The file of injected errors must be writable, got {error} (--injected). Name another."
        ) from error


def _labels(answers: pl.DataFrame, card: Card | None) -> list[str]:
    found = sorted(set(answers["label"]))
    if card is None:
        return found
    if not card.is_many and (unknown := [label for label in found if label not in card.label_names]):
        raise _unknown_label(unknown[0], card)
    return list(card.label_names)


def _in_sets(answers: pl.DataFrame, card: Card) -> pl.DataFrame:
    """Write each cell of labels as `label_sets.written` does."""
    sets = {cell: label_sets.of_cell(cell.strip(), card.label_names) for cell in set(answers["label"])}
    if unknown := sorted(cell for cell, given in sets.items() if given is None):
        raise _unknown_label(unknown[0], card)
    return answers.with_columns(pl.col("label").replace_strict(sets, return_dtype=pl.String))


def _unknown_label(label: str, card: Card) -> BadInput:
    known = ", ".join(clipped(name) for name in card.label_names[:MOST_TOLD])
    more = ", ..." * (len(card.label_names) > MOST_TOLD)
    return BadInput(
        f"The answers' labels must be the card's ({known}{more}), got '{clipped(label)}' (--answers). "
        "Mend the file or the card."
    )


def _decide(
    text: str,
    label: str,
    content: str,
    slices: Sequence[str],
    labels: Sequence[str],
    errors: Errors,
    card: Card | None,
) -> InjectedAnswer:
    is_many = card is not None and card.is_many
    if card is not None and (label_sets.read(label) if is_many else card.positive_label in {None, label}):
        struck = [name for name in slices if chance(errors.seed, f"{BIAS}:{name}", content) < errors.bias[name]]
        if struck:
            missed = _one_fewer(labels, label, errors, content) if is_many else _another(labels, label, errors, content)
            return InjectedAnswer(text, label, missed, f"{BIAS}:{struck[0]}")
    if chance(errors.seed, FLIP, content) < errors.flip:
        wrong = _another_set(labels, label, errors, content) if is_many else _another(labels, label, errors, content)
        return InjectedAnswer(text, label, wrong, FLIP)
    return InjectedAnswer(text, label, label)


def _another_set(labels: Sequence[str], label: str, errors: Errors, content: str) -> str:
    """Take one label of a set for one that is like it; else drop or add one, each as often where both can be."""
    given = label_sets.read(label)
    others = [name for name in labels if name not in given]
    taken = [(own, like) for own in given for like in others if like in errors.likes(own)]
    if taken and chance(errors.seed, "like", content) < errors.like_share:
        own, like = _drawn(taken, errors, content)
        return label_sets.ordered({*given, like} - {own}, labels)
    if given and (not others or chance(errors.seed, "drop", content) < DROP_SHARE):
        return _one_fewer(labels, label, errors, content)
    return label_sets.ordered({*given, _drawn(others, errors, content)}, labels)


def _one_fewer(labels: Sequence[str], label: str, errors: Errors, content: str) -> str:
    """Drop one label of a set."""
    given = label_sets.read(label)
    return label_sets.ordered(set(given) - {_drawn(given, errors, content)}, labels)


def _drawn(choice: Sequence[Drawn], errors: Errors, content: str) -> Drawn:
    return choice[int(chance(errors.seed, "other", content) * len(choice))]


def _another(labels: Sequence[str], label: str, errors: Errors, content: str) -> str:
    likes, others = errors.parted(label, labels)
    is_near = likes and (not others or chance(errors.seed, "like", content) < errors.like_share)
    choice = likes if is_near else others
    return _drawn(choice, errors, content) if choice else label


def _require_known(errors: Errors, labels: Sequence[str]) -> None:
    if unknown := sorted({name for pair in errors.like for name in pair} - set(labels)):
        known = ", ".join(clipped(label) for label in labels[:MOST_TOLD])
        raise BadInput(
            f"Labels that are confused must be of the card or the file ({known}{', ...' * (len(labels) > MOST_TOLD)}), "
            f"got '{clipped(unknown[0])}' (--confuse). Mend it."
        )


def _slice(name: str, card: Card | None, answers: pl.DataFrame) -> Slice:
    if card is None:
        raise BadInput(f"A bias must have a card that names the slice, got none (--bias {name}). Add --card.")
    if name.startswith("/") and name.endswith("/") and len(name) > len("//"):
        return _pattern_slice(name[1:-1])
    found = [part for part in card.slices if part.name == name]
    if not found:
        known = ", ".join(part.name for part in card.slices) or "none"
        raise BadInput(
            f"A biased slice must be on the card, got '{name}' (--bias). Its slices: {known}; or use /regex/."
        )
    if found[0].column is not None and found[0].column not in answers.columns:
        raise BadInput(
            f"A biased slice must be one that the answers can tell, got '{name}' by a column '{found[0].column}' that "
            "the file lacks (--bias). Add the column."
        )
    return found[0]


def _pattern_slice(pattern: str) -> Slice:
    if not pattern or (fault := fault_of(pattern)):
        raise BadInput(f"{fault} (--bias)" if pattern else "A biased slice must have a pattern, got '//' (--bias).")
    return Slice(name="bias", pattern=pattern)
