"""Compare the teacher with people, slice by slice, and find where it is biased.

The rule. For each slice two questions are asked with Fisher's exact test, each one-sided because only the slice's being
worse is of interest: does the teacher miss more of the positive texts inside than outside (under-labels), and does it
flag more of the other texts inside than outside (over-labels)? Holm's correction runs over all tests that could be
made; a slice is biased when a corrected p is below `alpha`. Texts count once each, unweighted, and as independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import polars as pl

from understudy.stats import metrics
from understudy.stats.draw import lot
from understudy.stats.metrics import Bools, Interval

Direction = Literal["under-labels", "over-labels"]
DIRECTIONS: tuple[Direction, ...] = ("under-labels", "over-labels")


@dataclass(frozen=True, slots=True)
class Counts:
    """The teacher's answers against human labels, as whole numbers of texts."""

    texts: int
    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    def wrong(self, direction: Direction) -> int:
        """Texts that a direction counts as errors: missed positives, or false alarms."""
        return self.false_negative if direction == "under-labels" else self.false_positive

    def tried(self, direction: Direction) -> int:
        """Texts on which that error could be made: the positives, or the others."""
        if direction == "under-labels":
            return self.true_positive + self.false_negative
        return self.false_positive + self.true_negative

    def error(self, direction: Direction) -> Interval:
        """Share of errors in a direction, with its Wilson interval."""
        return metrics.wilson(self.wrong(direction), self.tried(direction))

    @property
    def recall(self) -> Interval:
        """Share of the positive texts that the teacher found, with its Wilson interval."""
        return metrics.wilson(self.true_positive, self.true_positive + self.false_negative)

    @property
    def precision(self) -> Interval:
        """Share of what the teacher flagged that is positive, with its Wilson interval."""
        return metrics.wilson(self.true_positive, self.true_positive + self.false_positive)


@dataclass(frozen=True, slots=True)
class SliceTest:
    """One question put to one slice: does the teacher err more inside than outside?

    Attributes:
        slice: its name on the card.
        direction: the kind of error.
        inside: counts of the slice's texts.
        outside: counts of all other texts.
        p: of Fisher's test, one-sided; none where either side has no text on which the error could be made.
        p_adjusted: after Holm's correction.
    """

    slice: str
    direction: Direction
    inside: Counts
    outside: Counts
    p: float | None
    p_adjusted: float | None = None

    def is_biased(self, alpha: float) -> bool:
        """Whether the corrected p is below alpha."""
        return self.p_adjusted is not None and self.p_adjusted < alpha

    def is_too_small(self, min_labels: int) -> bool:
        """Whether either side has fewer human labels than that on which the error could be made."""
        return min(self.inside.tried(self.direction), self.outside.tried(self.direction)) < min_labels


def count(is_positive: Bools, judged: Bools) -> Counts:
    """Count the teacher's answers against human labels, both of shape (texts,).

    >>> count(np.array([True, True, False, False]), np.array([True, False, False, False]))
    Counts(texts=4, true_positive=1, false_negative=1, false_positive=0, true_negative=2)
    """
    found = metrics.confusion(is_positive, judged)
    return Counts(
        texts=len(is_positive),
        true_positive=int(found.true_positive),
        false_negative=int(found.false_negative),
        false_positive=int(found.false_positive),
        true_negative=int(found.true_negative),
    )


def p_worse(inside: Counts, outside: Counts, direction: Direction) -> float | None:
    """Chance of at least this many errors inside, were inside and outside alike; none when nothing can be compared.

    All 3 positives inside missed, all 3 outside found: 1 of the 20 ways to place 3 misses among 6 positives.

    >>> inside, outside = Counts(3, 0, 3, 0, 0), Counts(3, 3, 0, 0, 0)
    >>> round(p_worse(inside, outside, "under-labels"), 4)
    0.05

    Source: Fisher, "The design of experiments", 1935, one-sided.
    """
    from scipy.stats import fisher_exact

    if not inside.tried(direction) or not outside.tried(direction):
        return None
    table = [(side.wrong(direction), side.tried(direction) - side.wrong(direction)) for side in (inside, outside)]
    return float(fisher_exact(table, alternative="greater").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number; each at most 1, and in the order of the uncorrected ones.

    The smallest of three times 3, the next times 2, the largest times 1, never below the one before.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def compare_slices(is_positive: Bools, judged: Bools, slices: Mapping[str, Bools]) -> list[SliceTest]:
    """Put both questions to every slice.

    Args:
        is_positive: human labels, shape (texts,).
        judged: the teacher's, shape (texts,).
        slices: which texts belong to each slice, by name, each of shape (texts,).

    Returns:
        two tests a slice, in the slices' order.
    """
    tests = []
    for name, members in slices.items():
        inside = count(is_positive[members], judged[members])
        outside = count(is_positive[~members], judged[~members])
        tests += [
            SliceTest(name, direction, inside, outside, p_worse(inside, outside, direction)) for direction in DIRECTIONS
        ]
    adjusted = iter(holm([test.p for test in tests if test.p is not None]))
    return [test if test.p is None else replace(test, p_adjusted=next(adjusted)) for test in tests]


@dataclass(frozen=True, slots=True)
class Category:
    """One named kind of error: which texts, shape (texts,)."""

    direction: Direction
    slice: str | None
    members: Bools

    @property
    def name(self) -> str:
        """Say what went wrong and where."""
        kind = "missed positive" if self.direction == "under-labels" else "false alarm"
        return f"{kind}, slice '{self.slice}'" if self.slice else f"{kind}, in no slice"


def error_categories(is_positive: Bools, judged: Bools, slices: Mapping[str, Bools]) -> list[Category]:
    """Name every error by its kind and slice; a text in two slices counts in both. Empty categories are left out."""
    errors: dict[Direction, Bools] = {"under-labels": is_positive & ~judged, "over-labels": ~is_positive & judged}
    places: list[tuple[str | None, Bools]] = [*slices.items(), (None, in_no_slice(slices, len(is_positive)))]
    found = [
        Category(direction, place, members & wrong) for place, members in places for direction, wrong in errors.items()
    ]
    return [category for category in found if category.members.any()]


def in_no_slice(slices: Mapping[str, Bools], texts: int) -> Bools:
    """Which texts belong to no slice. Shape (texts,)."""
    is_in_one: Bools = np.any([np.zeros(texts, dtype=bool), *slices.values()], axis=0)
    return ~is_in_one


def queue_for(
    pool: pl.DataFrame, slices: Mapping[str, Bools], tests: Sequence[SliceTest], limit: int, seed: int
) -> pl.DataFrame:
    """Choose the texts that people should label because the teacher is biased in their slice.

    Args:
        pool: texts without a human label, with the teacher's answers.
        slices: which rows of `pool` belong to each slice, each of shape (texts,).
        tests: those that proved a bias.
        limit: most texts a slice.
        seed: of the order among texts for which the teacher gave no probability.

    Returns:
        rows of `tables.AuditQueue`: texts with the label that the teacher gives too often in their slice, those it
        was least sure of first. A text of two biased slices stands once, with the first.
    """
    parts = [
        pool.filter(slices[test.slice] & (pool["teacher_is_positive"] == (test.direction == "over-labels")).to_numpy())
        .with_columns(pl.lit(test.slice).alias("slice"), pl.lit(test.direction).alias("direction"), _order(seed))
        .sort(_doubt(test.direction), "order", nulls_last=True)
        .head(limit)
        for test in tests
    ]
    columns = ["id", "group", "text", "slice", "direction", "teacher_label", "teacher_probability"]
    if not parts:
        return pool.head(0).with_columns(slice=pl.lit(""), direction=pl.lit("under-labels")).select(columns)
    return pl.concat(parts).unique("id", keep="first", maintain_order=True).select(columns)


def _doubt(direction: Direction) -> pl.Expr:
    """Sort key, lowest first: how sure the teacher is of the label that it gives too often."""
    probability = pl.col("teacher_probability")
    return -probability if direction == "under-labels" else probability


def _order(seed: int) -> pl.Expr:
    """Return a shuffle that depends on ids alone, not on the order of the rows."""
    return pl.col("id").map_elements(partial(lot, seed), return_dtype=pl.String).alias("order")
