"""Ask whether a judge errs more often inside of a part of the texts than outside, corrected for how often one asks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Floats, Interval, of_label

Direction = Literal["under-labels", "over-labels", "confuses"]


def against_rest(matrix: Floats, label: int) -> Floats:
    """Return what `cross_counts` counted of one label against the rest, shape (2, 2).

    >>> against_rest(np.array([[80.0, 5.0], [4.0, 9.0]]), label=1).tolist()
    [[80.0, 5.0], [4.0, 9.0]]
    """
    if matrix.ndim == 3:
        return np.asarray(matrix[label])
    right, true, given = matrix[label, label], matrix[label].sum(), matrix[:, label].sum()
    return np.array([[matrix.sum() - true - given + right, given - right], [true - right, right]])


@dataclass(frozen=True, slots=True)
class Errors:
    """How often one kind of error was made on the texts where it could be."""

    wrong: int
    tried: int

    @property
    def share(self) -> Interval:
        """Share of errors, with its Wilson interval."""
        return metrics.wilson(self.wrong, self.tried)

    @property
    def right(self) -> Interval:
        """Share without this error, with its Wilson interval."""
        return metrics.wilson(self.tried - self.wrong, self.tried)


@dataclass(frozen=True, slots=True)
class Question:
    """A kind of error.

    Attributes:
        direction: under-labels: texts of `label` do not get it; over-labels: texts of others get `label`; confuses:
            texts of `label` get `given`.
        label: column of the label that it is about.
        given: column of the label that is given in its place; none where it may be any.
    """

    direction: Direction
    label: int
    given: int | None = None

    def cells(self, labels: int) -> tuple[frozenset[int], frozenset[int]]:
        """Return which true labels the error can be made on, and which labels given make it."""
        every, own = frozenset(range(labels)), frozenset({self.label})
        if self.direction == "over-labels":
            return every - own, own
        return own, every - own if self.given is None else frozenset({self.given})

    def errors(self, matrix: Floats) -> Errors:
        """Count it in what `cross_counts` counted."""
        others, own = against_rest(matrix, self.label)
        if self.direction == "over-labels":
            return Errors(int(others[1]), int(others.sum()))
        return Errors(int(own[0] if self.given is None else matrix[self.label, self.given]), int(own.sum()))

    def tried(self, truth: Codes) -> Bools:
        """Tell on which texts the error could be made, by people's labels. Shape (texts,)."""
        is_label = of_label(truth, self.label)
        return ~is_label if self.direction == "over-labels" else is_label

    def is_suspect(self, judged: Codes) -> Bools:
        """Tell which texts the error may have been made on, by the teacher's labels. Shape (texts,)."""
        if self.direction == "under-labels":
            return ~of_label(judged, self.label)
        return of_label(judged, self.label if self.given is None else self.given)


@dataclass(frozen=True, slots=True)
class SliceTest:
    """One question put to one slice: does the teacher err more inside than outside?

    Attributes:
        slice: its name on the card.
        question: the kind of error.
        inside: errors on the slice's texts.
        outside: errors on all other texts.
        p: of Fisher's test, one-sided; none where either side has no text on which the error could be made.
        p_adjusted: after Holm's correction.
    """

    slice: str
    question: Question
    inside: Errors
    outside: Errors
    p: float | None
    p_adjusted: float | None = None

    def is_biased(self, alpha: float) -> bool:
        """Whether the corrected p is below alpha."""
        return self.p_adjusted is not None and self.p_adjusted < alpha

    def is_too_small(self, min_labels: int) -> bool:
        """Whether either side has fewer human labels than that on which the error could be made."""
        return min(self.inside.tried, self.outside.tried) < min_labels


def put_to(name: str, question: Question, tried: Bools, wrong: Bools, members: Bools) -> SliceTest:
    """Put a question to a part of the texts, not yet corrected.

    Args:
        name: of the part.
        question: the kind of error.
        tried: texts on which it could be made, shape (texts,).
        wrong: texts on which it was, same shape; looked at where it could be alone.
        members: texts of the part, same shape.
    """
    inside, outside = (
        Errors(int((wrong & side & tried).sum()), int((side & tried).sum())) for side in (members, ~members)
    )
    return SliceTest(name, question, inside, outside, p_worse(inside, outside))


def corrected(tests: Sequence[SliceTest]) -> list[SliceTest]:
    """Correct the tests that were made for their number, by Holm; the others stay as they are, in their places."""
    adjusted = iter(holm([test.p for test in tests if test.p is not None]))
    return [test if test.p is None else replace(test, p_adjusted=next(adjusted)) for test in tests]


def p_worse(inside: Errors, outside: Errors) -> float | None:
    """Chance of at least this many errors inside, were inside and outside alike; none when nothing can be compared.

    All 3 positives inside missed, all 3 outside found: 1 of the 20 ways to place 3 misses among 6 positives.

    >>> round(p_worse(Errors(3, 3), Errors(0, 3)), 4)
    0.05

    Source: Fisher, "The design of experiments", 1935, one-sided.
    """
    from scipy.stats import fisher_exact

    if not inside.tried or not outside.tried:
        return None
    table = [(side.wrong, side.tried - side.wrong) for side in (inside, outside)]
    return float(fisher_exact(table, alternative="greater").pvalue)


def least_p(inside: Errors, outside: Errors) -> float:
    """Return the least p that the question can give: that of as many of its errors inside as there is room for.

    >>> round(least_p(Errors(0, 3), Errors(3, 3)), 4)
    0.05

    Source: Tarone, "A modified Bonferroni method for discrete data", 1990.
    """
    from scipy.stats import hypergeom

    errors, tried = inside.wrong + outside.wrong, inside.tried + outside.tried
    return float(hypergeom.sf(min(errors, inside.tried) - 1, tried, errors, inside.tried))


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
