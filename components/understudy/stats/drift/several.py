"""Compare texts that may have several labels: what is expected of a text by its labels, and cells of each label.

Labels that stand together are no parts of the texts, so a text isn't compared with those of its label. What is expected
of it is what every text has and what each of its labels adds, so that more texts of a label, or more labels a text, are
no other content. And each label is a yes or no of its own: its cells are bins of its probability.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from understudy.errors import BadArtifact
from understudy.stats.drift.cells import DECIMALS, EDGES, Cells
from understudy.stats.drift.checked import of_shape
from understudy.stats.metrics import Bools, Codes, Floats

BINS = len(EDGES) + 1
RIDGE = 1.0  # texts by which what a label adds is drawn to nothing: a label of few texts follows them less


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsOfEach:
    """Bins of each label's probability, cut at EDGES.

    Attributes:
        means: mean calibrated probability of the label in each bin, shape (labels, bins).
        shares: mean probability of each label over all texts, shape (labels,).
    """

    means: Floats
    shares: Floats

    @property
    def sizes(self) -> tuple[int, int]:
        """How many cells and levels there are; a label's cells are its levels, so none stands apart."""
        return self.means.size, 0

    def of_label(self, label: int) -> Cells:
        """Return one label's bins as the cells of two labels, not having it and having it."""
        means, share = self.means[label], self.shares[label]
        both = np.stack([1 - means, means], axis=1)
        place = np.stack([np.arange(BINS)] * 2)
        return Cells(place=place, probabilities=both, level_probabilities=both, shares=np.array([1 - share, share]))

    def counts_of(self, label: int, counts: Floats) -> Floats:
        """Return one label's part of texts by cell, shape (bins,)."""
        return np.asarray(counts.reshape(-1, BINS)[label])

    def as_record(self) -> dict[str, Any]:
        """Write them for JSON."""
        return {name: np.round(getattr(self, name), DECIMALS).tolist() for name in ("means", "shares")}

    @classmethod
    def of_record(cls, record: Mapping[str, Any], labels: int) -> Self:
        """Read them from JSON.

        Raises:
            BadArtifact: they do not hold together.
        """
        means, shares = of_shape(record, "means", (labels, BINS)), of_shape(record, "shares", (labels,))
        if ((means < 0) | (means > 1)).any() or ((shares < 0) | (shares > 1)).any():
            raise BadArtifact("A reference's cells must be probabilities in [0, 1]. Restore the record.")
        return cls(means=means, shares=shares)


def fit(probabilities: Floats, weights: Floats) -> CellsOfEach:
    """Return the cells of a reference.

    Args:
        probabilities: of each label, calibrated, shape (texts, labels).
        weights: of each label's texts, shape (texts, labels).
    """
    labels = probabilities.shape[1]
    texts = counted(probabilities, weights).reshape(labels, BINS)
    sums = counted(probabilities, weights * probabilities).reshape(labels, BINS)
    ends = np.array([0.0, *EDGES, 1.0])
    middle = np.broadcast_to((ends[1:] + ends[:-1]) / 2, texts.shape)
    total = texts.sum(axis=1)
    shares = np.divide(sums.sum(axis=1), total, out=np.full(labels, 0.5), where=total > 0)
    return CellsOfEach(means=np.divide(sums, texts, out=middle.copy(), where=texts > 0), shares=shares)


def counted(probabilities: Floats, weights: Floats) -> Floats:
    """Count texts by each label's bins, shape (labels * bins,).

    >>> counted(np.array([[0.03, 0.97]]), np.ones((1, 2))).nonzero()[0].tolist()  # bin 2 of the first, 11 of the second
    [2, 23]
    """
    labels = probabilities.shape[1]
    place = np.searchsorted(EDGES, probabilities, side="right") + BINS * np.arange(labels)
    return np.bincount(place.ravel(), weights=weights.ravel(), minlength=labels * BINS).astype(float)


def scores(probabilities: Floats, codes: Bools, smallest: float) -> Floats:
    """Mean log-odds of what is said of each label, yes or no, shape (texts,).

    >>> scores(np.array([[0.8, 0.2]]), np.array([[True, False]]), 1e-6).round(4).tolist()  # of 4 to 1, twice
    [1.3863]
    """
    clipped = np.clip(probabilities, smallest, 1 - smallest)
    log_odds = np.log(clipped / (1 - clipped))
    return np.asarray(np.where(codes, log_odds, -log_odds).mean(axis=1))


def effects(measures: Floats, codes: Bools) -> Floats:
    """Estimate what each label adds to the measures of a text, and what every text has.

    Args:
        measures: of the texts, shape (texts, measures).
        codes: labels of the texts, shape (texts, labels).

    Returns:
        shape (labels + 1, measures), last what every text has.

    >>> effects(np.array([[3.0], [5.0]] * 999), np.array([[False], [True]] * 999)).round(2).tolist()
    [[2.0], [3.0]]

    Source: Hoerl and Kennard, "Ridge regression", 1970.
    """
    design = _design(codes)
    return np.asarray(np.linalg.solve(_moments(design), design.T @ measures))


def expected(found: Floats, codes: Bools) -> Floats:
    """Return the measures that texts of these labels are expected to have, shape (texts, measures)."""
    return _design(codes) @ found


def beside_other_groups(measures: Floats, codes: Bools, groups: Codes) -> Floats:
    """How far each text lies from what the other groups let expect, shape (texts, measures).

    Beside an expectation that a text has itself a part in it would look less strange than new texts do.

    Source: Allen, "The relationship between variable selection and data augmentation and a method for prediction",
    1974, whose residuals leave one text out at a time; here it is a group.
    """
    design = _design(codes)
    residuals = measures - expected(effects(measures, codes), codes)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return residuals
    moments, sums = _moments(design), design.T @ measures
    inverse = np.linalg.inv(moments)
    order = np.argsort(index, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(index))[:-1]):
        own = design[rows]
        if len(rows) <= own.shape[1]:  # the same, by a matrix as large as the group
            residuals[rows] = np.linalg.solve(np.eye(len(rows)) - own @ inverse @ own.T, residuals[rows])
        else:
            rest = np.linalg.solve(moments - own.T @ own, sums - own.T @ measures[rows])
            residuals[rows] = measures[rows] - own @ rest
    return residuals


def _design(codes: Bools) -> Floats:
    return np.column_stack([codes, np.ones(len(codes))]).astype(float)


def _moments(design: Floats) -> Floats:
    ridge = np.full(design.shape[1], RIDGE)
    ridge[-1] = 0.0 if len(design) else 1.0  # what every text has is drawn nowhere
    return np.asarray(design.T @ design + np.diag(ridge))
