"""Measure the people who label: how far they agree, how right they are where it is known, and what time they took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import polars as pl

from understudy.review import design, export, labels, queues, samples
from understudy.review.desk import newest
from understudy.review.journal import checks
from understudy.review.sitting import Line
from understudy.stats import metrics
from understudy.stats.metrics import Interval
from understudy.store import codecs, layout, tombstones
from understudy.store.storage import Store
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.text.context import COLUMN, TURN_HASHES

HOUR_S = 3600
SAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True, slots=True)
class Person:
    """What one person did.

    Attributes:
        name: as their answers have it; None for those that nobody signed.
        answers: labels that count.
        timed: lines of which it is known how long they took, those that were taken back among them.
        hours: that these took.
        median_s: seconds of one of them; None where none is timed.
        cannot_say: texts of which they could not say it.
        right: share of the texts with a known label that they labelled so, with its 95% score interval; None where they
            saw none.
        checked: how many these are.
    """

    name: str | None
    answers: int
    timed: int
    hours: float
    median_s: float | None
    cannot_say: int
    right: Interval | None
    checked: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree on the texts that several labelled by the same guideline.

    Attributes:
        texts: that at least two people labelled.
        alpha: Krippendorff's, with its 95% bootstrap interval over texts.
    """

    texts: int
    alpha: Interval


def people(store: Store, card_name: str) -> list[Person]:
    """Measure everybody who gave a label, those with the most answers first.

    Raises:
        BadArtifact: a segment of the store is damaged.
    """
    counting = export.counting(store, card_name)["annotator"].to_list()
    keys = [key for key, _ in layout.LABELS.listed(store, card=card_name)]
    lines = [line for key in keys for line in codecs.read_lines(store.read(key), store.locate(key), Line)]
    checked = checks(store, card_name)
    names = {*counting, *(line["annotator"] for line in [*lines, *checked] if line.get("origin") != "labels")}
    found = [_person(name, counting.count(name), lines, checked) for name in names]
    return sorted(found, key=lambda person: (-person.answers, person.name or ""))


def _person(name: str | None, answers: int, lines: Sequence[Line], checked: Sequence[Line]) -> Person:
    own = [line for line in lines if line["annotator"] == name and line.get("origin") != "labels"]
    mine = [line for line in checked if line["annotator"] == name]
    seconds = _seconds([*own, *mine])
    said, tried = (list(_standing(part)) for part in (own, mine))
    right = [line["label"] == line["expected"] for line in tried if line["label"] is not None]
    return Person(
        name=name,
        answers=answers,
        timed=len(seconds),
        hours=sum(seconds) / HOUR_S,
        median_s=median(seconds) if seconds else None,
        cannot_say=sum("reason" in line for line in said),
        right=metrics.wilson(sum(right), len(right)) if right else None,
        checked=len(right),
    )


def _seconds(lines: Sequence[Line]) -> list[float]:
    """Return what each line took, once: an export holds again what earlier ones held, and says not when it was said.

    >>> line = Line(id="a", label="tip", annotator="ann", seconds=9.0)
    >>> _seconds([line, line, {**line, "at": "2026-11-01T08:00"}])
    [9.0, 9.0]
    """
    told = [(line["id"], line["label"], line.get("guideline"), line.get("at"), line.get("seconds")) for line in lines]
    return [seconds for *_, seconds in dict.fromkeys(told) if seconds is not None]


def _standing(lines: Sequence[Line]) -> Iterator[Line]:
    for people_of_text in newest(lines).values():
        yield from people_of_text.values()


def agreement(store: Store, card_name: str, space: LabelSpace) -> Agreement:
    """Measure how far people agreed before anybody looked again, each text by the newest guideline of its labels.

    Raises:
        BadArtifact: a segment of the store is damaged.
    """
    votes = labels.read_all(store, card_name).filter(pl.col("origin") != "second_look")
    both = _of_several(labels.current(votes, "guideline"), space)
    if not len(both):
        return Agreement(0, Interval(float("nan"), float("nan"), float("nan")))
    counts = design.vote_counts(both, space)
    alpha = partial(_alpha, is_many=space.is_many)
    return Agreement(len(counts), metrics.bootstrap(alpha, counts, groups=np.arange(len(counts)), samples=SAMPLES))


def even(votes: pl.DataFrame, space: LabelSpace) -> list[str]:
    """Name the texts on which people are even, each by the newest guideline of its labels.

    Args:
        votes: that count, oldest first; columns id, label and guideline.
        space: the card's labels; votes for others are left out.

    >>> rows = {"id": ["a", "a", "b", "b", "c"], "label": ["tip", "tip", "tip", "other", "tip"], "guideline": ["g"] * 5}
    >>> even(pl.DataFrame(rows), LabelSpace(("tip", "other")))
    ['b']
    """
    both = _of_several(votes, space)
    decided = samples.majorities(both, space)["id"]
    return both.filter(~pl.col("id").is_in(decided.implode()))["id"].unique(maintain_order=True).to_list()


def _of_several(votes: pl.DataFrame, space: LabelSpace) -> pl.DataFrame:
    """Keep the texts that have several votes by the newest guideline of theirs."""
    is_known = [set(space.names_in(label)) <= set(space.names) for label in votes["label"]]
    known = votes.filter(pl.Series(is_known, dtype=pl.Boolean))
    by_newest = known.filter(pl.col("guideline").eq_missing(pl.col("guideline").last().over("id")))
    return by_newest.filter(pl.len().over("id") > 1)


def _alpha(counts: metrics.Floats, weights: metrics.Floats | None = None, *, is_many: bool) -> metrics.Figure:
    return design.alpha(counts, weights, is_many=is_many)


def queue_of(store: Store, card_name: str, ids: Sequence[str], guideline: Guideline) -> pl.DataFrame:
    """Make the queue in which somebody decides between people: the texts of some ids, as the store's queues have them.

    Returns:
        columns of `tables.SecondLook`, and the context where a queue has it; without ids that no queue has.
    """
    parts = []
    for _, table in queues.tables_of(store, card_name):
        if {"id", "group", "text"} <= set(table.columns):
            names = [name for name in ("id", "group", "text", COLUMN, TURN_HASHES) if name in table.columns]
            parts.append(table.filter(pl.col("id").is_in(list(ids))).select(names))
    if not parts:
        return pl.DataFrame()
    found = pl.concat(parts, how="diagonal").unique("id", keep="last", maintain_order=True)
    own = pl.lit(guideline.hash)
    return tombstones.read(store).without(found.with_columns(guideline=own, earlier_guideline=own))
