"""Compare the teacher with people, slice by slice, and find where it is biased.

The rule. Each slice is asked whether the teacher makes a kind of error more often inside than outside. The kinds are,
for every label that is looked at: texts of the label that get another one (under-labels), and other texts that get it
(over-labels); and for every pair of labels: texts of the one that get the other (confuses). With two labels the pairs
are the directions of the positive label, and no question is asked twice. Where a text may have several labels, no label
is given in place of another, and there are no pairs. Fisher's exact test answers, one-sided because
only the slice's being worse is of interest. Holm's correction runs over all tests that are made; a slice is biased when
a corrected p is below `alpha`. Texts count once each, unweighted, and as independent.

Which tests are made depends on the numbers that Fisher's test takes as given, never on where the errors are, so that
the correction stays true (Tarone, "A modified Bonferroni method for discrete data", 1990). On the label that is looked
for both are made wherever they can be. Any other question needs `min_labels` human labels inside and as many outside,
and so many errors that all of them inside would prove something beside all other tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from understudy.review.slice_tests import (
    Direction,
    Question,
    SliceTest,
    against_rest,
    corrected,
    least_p,
    p_worse,
)
from understudy.stats import metrics
from understudy.stats.draw import lot
from understudy.stats.metrics import Bools, Codes, Floats, Interval
from understudy.steps.audit.config import AuditConfig
from understudy.task.labels import LabelSpace
from understudy.teacher.answers import own_probability
from understudy.text.seen import columns_of

MOST_CATEGORIES = 200  # kinds of errors that are named, the largest of them


def cross_counts(truth: Codes, judged: Codes, labels: int) -> Floats:
    """Count texts by what people say (rows) and what the teacher says (columns).

    Args:
        truth: human labels.
        judged: the teacher's.
        labels: how many there are.

    Returns:
        the confusion matrix, shape (labels, labels); where a text may have several labels one of each label's absence
        and presence, shape (labels, 2, 2).

    >>> cross_counts(np.array([[True, False], [True, True]]), np.array([[True, True], [False, True]]), 2).tolist()
    [[[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]
    """
    if truth.ndim == 1:
        return metrics.confusion_matrix(truth, judged, labels)
    counts = metrics.label_counts(truth, judged, labels)
    missed, flagged = counts.true - counts.right, counts.given - counts.right
    neither = len(truth) - counts.right - missed - flagged
    return np.stack([np.stack([neither, flagged], axis=-1), np.stack([missed, counts.right], axis=-1)], axis=-2)


@dataclass(frozen=True, slots=True)
class Counts:
    """The teacher's answers on one label against human labels, as whole numbers of texts."""

    texts: int
    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @classmethod
    def of(cls, matrix: Floats, label: int) -> "Counts":
        """Count one label against the rest.

        >>> Counts.of(np.array([[80.0, 5.0], [4.0, 9.0]]), label=1)
        Counts(texts=98, true_positive=9, false_negative=4, false_positive=5, true_negative=80)
        """
        (neither, flagged), (missed, right) = against_rest(matrix, label).astype(int).tolist()
        return cls(neither + flagged + missed + right, right, missed, flagged, neither)


def questions_of(space: LabelSpace, confused: Bools) -> list[Question]:
    """List the kinds of errors, each once.

    Args:
        space: the labels.
        confused: pairs that occur, true label and label given, shape (labels, labels); not read where a text may have
            several labels.

    >>> [question.direction for question in questions_of(LabelSpace(("other", "tip"), "tip"), np.ones((2, 2), bool))]
    ['under-labels', 'over-labels']
    >>> len(questions_of(LabelSpace(("praise", "tip", "blame")), np.ones((3, 3), bool)))
    12
    >>> len(questions_of(LabelSpace(("praise", "tip", "blame"), is_many=True), np.ones((3, 2, 2), bool)))
    6
    """
    directions: tuple[Direction, ...] = ("under-labels", "over-labels")
    asked = [Question(direction, label) for label in space.sides for direction in directions]
    if space.is_many:
        return asked
    pairs = zip(*np.nonzero(confused & ~np.eye(len(space), dtype=bool)), strict=True)
    asked += [Question("confuses", int(label), int(given)) for label, given in pairs]
    different: dict[tuple[frozenset[int], frozenset[int]], Question] = {}
    for question in asked:
        different.setdefault(question.cells(len(space)), question)
    return list(different.values())


def compare_slices(
    truth: Codes, judged: Codes, slices: Mapping[str, Bools], space: LabelSpace, config: AuditConfig
) -> list[SliceTest]:
    """Put the questions to every slice.

    Args:
        truth: human labels, as `LabelSpace` has them.
        judged: the teacher's.
        slices: which texts belong to each slice, by name, each of shape (texts,).
        space: the labels.
        config: `alpha` and `min_labels` decide which questions are asked.

    Returns:
        the tests that were made, and those on the positive label that could not be, in the slices' order.
    """
    whole = cross_counts(truth, judged, len(space))
    questions = questions_of(space, whole > 0)
    possible: list[tuple[SliceTest, float]] = []
    for name, members in slices.items():
        inside = cross_counts(truth[members], judged[members], len(space))
        outside = whole - inside
        for question in questions:
            test = SliceTest(name, question, question.errors(inside), question.errors(outside), None)
            if is_on_positive(question, space):
                possible.append((test, 0.0))
            elif not test.is_too_small(config.min_labels):
                possible.append((test, least_p(test.inside, test.outside)))
    limit = tarone([least for _, least in possible], config.alpha)
    return corrected([replace(test, p=p_worse(test.inside, test.outside)) for test, least in possible if least < limit])


def tarone(least: Sequence[float], alpha: float) -> float:
    """Find how small a p a question must be able to give to be asked, for the fewest useless questions.

    That is alpha / n for the smallest n such that at most n questions can give less: the others could never be proven
    beside these.

    Args:
        least: the least p that each question can give.
        alpha: chance of any false alarm.

    >>> tarone([0.001, 0.002, 0.03, 0.04], alpha=0.05)  # 0.05 / 2: two of them can give less
    0.025

    Source: Tarone, "A modified Bonferroni method for discrete data", 1990.
    """
    ordered = np.sort(least)
    for number in range(1, len(ordered) + 1):
        if np.searchsorted(ordered, alpha / number) <= number:
            return alpha / number
    return alpha


def is_on_positive(question: Question, space: LabelSpace) -> bool:
    """Whether a question is one of the two on the label that is looked for."""
    return question.given is None and question.label == space.positive_index


@dataclass(frozen=True, slots=True)
class Confused:
    """A pair of labels: how often texts of the one got the other, over all texts.

    Attributes:
        label: column of the true label.
        given: column of the label that the teacher gave in its place.
        texts: how many.
        tried: texts of the true label.
        share: of those, with an interval that holds for all pairs together in 95 of 100 audits.
    """

    label: int
    given: int
    texts: int
    tried: int
    share: Interval


def confused_pairs(matrix: Floats, min_labels: int) -> list[Confused]:
    """List which label the teacher gives in place of which, those with the most texts first.

    The intervals are corrected for all pairs that could come up: those of every label with `min_labels` human labels
    (Bonferroni). Other labels' are too, and are as wide as few texts make them.

    Args:
        matrix: people in rows, the teacher in columns, shape (labels, labels).
        min_labels: fewest human labels to be counted among those that could come up.
    """
    from scipy.stats import binomtest

    tried = matrix.sum(axis=1)
    asked = max(1, int((tried >= min_labels).sum()) * (len(matrix) - 1))
    level = 1 - (1 - metrics.CONFIDENCE) / asked
    found = []
    for label, given in zip(*np.nonzero(matrix * ~np.eye(len(matrix), dtype=bool)), strict=True):
        texts, of = int(matrix[label, given]), int(tried[label])
        low, high = binomtest(texts, of).proportion_ci(confidence_level=level, method="wilson")
        found.append(Confused(int(label), int(given), texts, of, Interval(texts / of, float(low), float(high))))
    return sorted(found, key=lambda pair: (-pair.texts, -pair.share.value, pair.label, pair.given))


@dataclass(frozen=True, slots=True)
class Category:
    """One named kind of error: columns of the true label and of the one given, and which texts, shape (texts,).

    Where a text may have several labels, one of the columns is none: a label is missed, or given wrongly.
    """

    label: int | None
    given: int | None
    slice: str | None
    members: Bools

    def name(self, space: LabelSpace) -> str:
        """Say what went wrong and where."""
        missed, wrong = (None if column is None else f"'{space.names[column]}'" for column in (self.label, self.given))
        kind = f"{wrong} in place of {missed}" if wrong and missed else f"{missed} missed"
        if missed is None:
            kind = f"{wrong} given wrongly"
        return f"{kind}, slice '{self.slice}'" if self.slice else f"{kind}, in no slice"


def error_categories(truth: Codes, judged: Codes, slices: Mapping[str, Bools]) -> list[Category]:
    """Name the errors by pair of labels and slice, the largest first; a text in two slices counts in both.

    Args:
        truth: human labels, as `LabelSpace` has them.
        judged: the teacher's.
        slices: which texts belong to each slice, by name, each of shape (texts,).

    Returns:
        at most `MOST_CATEGORIES`.
    """
    places: list[tuple[str | None, Bools]] = [*slices.items(), (None, in_no_slice(slices, len(truth)))]
    found = [
        (name, members, *pair, texts)
        for name, members in places
        for pair, texts in _wrong_pairs(truth[members], judged[members])
    ]
    largest = sorted(found, key=lambda one: -one[-1])[:MOST_CATEGORIES]
    return [
        Category(label, given, name, members & _has_error(truth, judged, label, given))
        for name, members, label, given, _ in largest
    ]


def _has_error(truth: Codes, judged: Codes, label: int | None, given: int | None) -> Bools:
    """Which texts have an error that `_wrong_pairs` names. Shape (texts,)."""
    if label is None or given is None:
        column = given if label is None else label
        missing, present = (judged, truth) if given is None else (truth, judged)
        return np.asarray(present[:, column] & ~missing[:, column])
    return np.asarray((truth == label) & (judged == given))


def _wrong_pairs(truth: Codes, judged: Codes) -> Iterator[tuple[tuple[int | None, int | None], int]]:
    """Count the pairs of true label and another one that was given; of several labels those missed or given wrongly."""
    if truth.ndim == 2:
        for label, (missed, wrong) in enumerate(zip((truth & ~judged).T, (judged & ~truth).T, strict=True)):
            yield from ((pair, int(texts.sum())) for pair, texts in (((label, None), missed), ((None, label), wrong))
                        if texts.any())  # fmt: skip
        return
    pairs, texts = np.unique(np.stack([truth, judged])[:, truth != judged], axis=1, return_counts=True)
    yield from (((int(pair[0]), int(pair[1])), int(number)) for pair, number in zip(pairs.T, texts, strict=True))


def in_no_slice(slices: Mapping[str, Bools], texts: int) -> Bools:
    """Which texts belong to no slice. Shape (texts,)."""
    is_in_one: Bools = np.any([np.zeros(texts, dtype=bool), *slices.values()], axis=0)
    return ~is_in_one


def queue_for(
    pool: pl.DataFrame,
    slices: Mapping[str, Bools],
    tests: Sequence[SliceTest],
    space: LabelSpace,
    limit: int,
    seed: int,
) -> pl.DataFrame:
    """Choose the texts that people should label because the teacher is biased in their slice.

    Args:
        pool: texts without a human label, with the teacher's answers.
        slices: which rows of `pool` belong to each slice, each of shape (texts,).
        tests: those that proved a bias.
        space: the labels.
        limit: most texts of one bias.
        seed: of the order among texts for which the teacher gave no probability.

    Returns:
        rows of `tables.AuditQueue`: texts with a label that the teacher gives too often in their slice, or without one
        that it misses there, those first that may well be otherwise by its own probabilities. A text of two biases
        stands once, with the first.
    """
    parts = [
        pool.filter(slices[test.slice] & test.question.is_suspect(space.codes(pool["teacher_label"])))
        .with_columns(
            pl.lit(test.slice).alias("slice"),
            pl.lit(test.question.direction).alias("direction"),
            pl.lit(space.names[test.question.label]).alias("label"),
            _order(seed),
        )
        .sort(_doubt(test.question), "order", nulls_last=True)
        .head(limit)
        for test in tests
    ]
    columns = ["id", "group", *columns_of(pool), "slice", "direction", "label", "teacher_label", "teacher_probability"]
    held = parts or [pool.head(0).with_columns(slice=pl.lit(""), direction=pl.lit("confuses"), label=pl.lit(""))]
    return (
        pl.concat(held)
        .unique("id", keep="first", maintain_order=True)
        .with_columns(own_probability("teacher", space))
        .select(columns)
    )


def _doubt(question: Question) -> pl.Expr:
    """Sort key, lowest first: how sure the teacher is that the text does not have its suspected label."""
    probability = pl.col("teacher_probabilities").list.get(question.label)
    return probability if question.direction == "over-labels" else -probability


def _order(seed: int) -> pl.Expr:
    """Return a shuffle that depends on ids alone, not on the order of the rows."""
    return pl.col("id").map_elements(partial(lot, seed), return_dtype=pl.String).alias("order")
