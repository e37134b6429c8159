"""Cut texts into cells by the label given and its probability, with the mean probabilities of each cell.

When only the shares of the true labels change, a cell gains or loses by what its texts truly are; so the cells say
whether that is all that happened (`attribution.py`). With two labels the probability of one says all, and the cells are
bins of it. With more, neighbouring bins of a label are one cell until the reference has met it often enough, and the
labels that it never gave share a cell. Levels of confidence are the same without the label: they say whether the model
is as sure as it should be, for which the cells of many labels are too many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from understudy.errors import BadArtifact
from understudy.stats.drift.checked import of_shape
from understudy.stats.metrics import Codes, Floats

if TYPE_CHECKING:
    from understudy.task.labels import LabelSpace

EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # of one label's probability, where there are two
BOUNDS = tuple(sorted({*EDGES, *(round(1 - edge, 2) for edge in EDGES)}))  # of the probability of the label given
FEWEST = 20  # texts that a cell should have in the reference
MOST = 1000  # cells, so that a reference and a night stay small
LISTED = 16  # labels of a cell whose mean probabilities are kept; the rest is spread by the reference's
DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Cells of a reference.

    Attributes:
        place: cell by label given and bin of its probability, cut at BOUNDS; shape (labels, bins).
        probabilities: mean calibrated probabilities of the labels in each cell, shape (cells, labels).
        level_probabilities: and at each level of confidence, shape (levels, labels).
        shares: mean probabilities over all texts, shape (labels,).
    """

    place: Codes
    probabilities: Floats
    level_probabilities: Floats
    shares: Floats

    @property
    def sizes(self) -> tuple[int, int]:
        """How many cells and levels there are."""
        return len(self.probabilities), len(self.level_probabilities)

    def of_texts(self, codes: Codes, probability: Floats) -> Codes:
        """Return the cell of each text, shape (texts,).

        Args:
            codes: columns of the labels given, shape (texts,).
            probability: of these labels, shape (texts,).
        """
        return np.asarray(self.place[codes, _bin_of(probability)])

    def levels_of_texts(self, codes: Codes, probability: Floats) -> Codes:
        """Return the level of confidence of each text, shape (texts,); arguments as of `of_texts`."""
        return np.asarray(_levels(self.place)[codes, _bin_of(probability)])

    def as_record(self) -> dict[str, Any]:
        """Write them for JSON: of each cell's labels the likeliest."""
        labels = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :LISTED]
        listed = np.take_along_axis(self.probabilities, labels, axis=1)
        return {
            "place": self.place.tolist(),
            "labels": labels.tolist(),
            "probabilities": np.round(listed, DECIMALS).tolist(),
            "level_probabilities": np.round(self.level_probabilities, DECIMALS).tolist(),
            "shares": np.round(self.shares, DECIMALS).tolist(),
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any], labels: int) -> Self:
        """Read them from JSON.

        Raises:
            BadArtifact: they do not hold together.
        """
        shares, place = of_shape(record, "shares", (labels,)), of_shape(record, "place", (labels, len(BOUNDS) + 1))
        listed = of_shape(record, "probabilities", (None, min(LISTED, labels)))
        chosen = of_shape(record, "labels", listed.shape)
        for name, found, size in (("place", place, len(listed)), ("labels", chosen, labels)):
            if ((found < 0) | (found >= size) | (found % 1 != 0)).any():
                raise BadArtifact(f"A reference's '{name}' must be places below {size:,}. Restore the record.")
        dense, rounded = completed(chosen.astype(np.int64), listed, shares), place.astype(np.int64)
        of_levels = of_shape(record, "level_probabilities", (int(_levels(rounded).max()) + 1, labels))
        return cls(place=rounded, probabilities=dense, level_probabilities=of_levels, shares=shares)


def fit(space: "LabelSpace", codes: Codes, probability: Floats, probabilities: Floats, weights: Floats) -> Cells:
    """Cut the texts of a reference into cells.

    Args:
        space: the labels.
        codes: columns of the labels given, shape (texts,).
        probability: of these labels, shape (texts,).
        probabilities: of all labels, calibrated, shape (texts, labels).
        weights: of the texts, shape (texts,).
    """
    bins = len(BOUNDS) + 1
    texts = np.bincount(codes * bins + _bin_of(probability), minlength=len(space) * bins).reshape(-1, bins)
    place = _of_one_probability(space.sides[-1]) if len(space) == 2 else _merged(texts)
    bins_of_texts = _bin_of(probability)
    shares = np.average(probabilities, axis=0, weights=weights) if len(codes) else np.full(len(space), 1 / len(space))
    means, of_levels = (
        _means(where, where[codes, bins_of_texts], probabilities, weights, shares) for where in (place, _levels(place))
    )
    chosen = np.argsort(-means, axis=1, kind="stable")[:, :LISTED]
    dense = completed(chosen, np.take_along_axis(means, chosen, axis=1), shares)
    return Cells(place=place, probabilities=dense, level_probabilities=of_levels, shares=shares)


def _means(place: Codes, own: Codes, probabilities: Floats, weights: Floats, shares: Floats) -> Floats:
    """Mean probabilities of the texts of each cell, shape (cells, labels).

    Args:
        place: cell by label given and bin, shape (labels, bins).
        own: cell of each text, shape (texts,).
        probabilities: shape (texts, labels).
        weights: shape (texts,).
        shares: what stands in for half of a cell without texts; the labels given there are the other half.
    """
    size = int(place.max()) + 1
    total = np.bincount(own, weights=weights, minlength=size)
    sums = np.zeros((size, len(place)))
    np.add.at(sums, own, weights[:, None] * probabilities)
    given = np.zeros((size, len(place)))
    for label, row in enumerate(place):
        given[np.unique(row), label] = 1.0
    unmet = (given / np.maximum(given.sum(axis=1, keepdims=True), 1) + shares) / 2
    return np.where(total[:, None] > 0, sums / np.maximum(total, 1e-12)[:, None], unmet)


def _levels(place: Codes) -> Codes:
    """Level of confidence by label given and bin: with two labels a cell is one, else a bin is. (labels, bins)."""
    return place if len(place) == 2 else np.broadcast_to(np.arange(place.shape[1]), place.shape)


def completed(chosen: Codes, listed: Floats, shares: Floats) -> Floats:
    """Spread what the listed labels leave of 1 over the others, by their shares. Shape (cells, labels).

    >>> completed(np.array([[2]]), np.array([[0.7]]), np.array([0.2, 0.1, 0.7])).round(3).tolist()
    [[0.2, 0.1, 0.7]]
    """
    dense = np.tile(np.maximum(shares, 1e-9), (len(chosen), 1))
    np.put_along_axis(dense, chosen, 0.0, axis=1)
    rest = np.maximum(0.0, 1 - listed.sum(axis=1, keepdims=True))
    others = dense.sum(axis=1, keepdims=True)
    dense = np.divide(dense * rest, others, out=np.zeros_like(dense), where=others > 0)
    np.put_along_axis(dense, chosen, listed, axis=1)
    return np.asarray(dense)


def _bin_of(probability: Floats) -> Codes:
    return np.searchsorted(BOUNDS, probability, side="right")


def _of_one_probability(sought: int) -> Codes:
    """Bins of the probability of the label that is looked for, by which of two is given and its probability."""
    ends = np.array([0.0, *BOUNDS, 1.0])
    middle = (ends[1:] + ends[:-1]) / 2
    rows = [np.searchsorted(EDGES, middle if code == sought else 1 - middle, side="right") for code in range(2)]
    return np.stack(rows)


def _merged(texts: Codes) -> Codes:
    """Merge neighbouring bins of each label until each has texts enough; labels without any share the last cell.

    Args:
        texts: of the reference by label given and bin, shape (labels, bins).

    >>> _merged(np.array([[30, 5, 30], [0, 3, 0], [0, 0, 0], [0, 0, 0]])).tolist()
    [[0, 1, 1], [2, 2, 2], [3, 3, 3], [3, 3, 3]]
    """
    labels, total = len(texts), int(texts.sum())
    fewest = max(FEWEST, total / max(1, MOST - labels))
    place, cell = np.zeros(texts.shape, dtype=np.int64), 0
    met = np.flatnonzero(texts.sum(axis=1) > 0)
    for label in met:
        left, taken = int(texts[label].sum()), 0
        for column, count in enumerate(texts[label]):
            place[label, column] = cell
            taken, left = taken + int(count), left - int(count)
            if taken >= fewest and left >= fewest:
                cell, taken = cell + 1, 0
        cell += 1
    place[np.setdiff1d(np.arange(labels), met)] = cell
    return place
