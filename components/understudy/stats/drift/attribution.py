"""Tell changed shares of the labels from changed content.

When only the shares of the true labels move, texts of each label stay as they are, so each cell of label given and
confidence gains or loses in proportion to what its texts truly are (label shift). That tells the new shares, and with
them how many texts each level of confidence should have. What is left over there was not done by the shares. Where a
text may have several labels, each label's yes and no are looked at alone.
"""

from dataclasses import dataclass, replace

import numpy as np

from understudy.stats.drift.cells import Cells
from understudy.stats.drift.several import CellsOfEach
from understudy.stats.drift.summary import Summary
from understudy.stats.metrics import Floats

STEPS = 200
CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Explained:
    """How far changed shares of the labels explain the scores.

    Attributes:
        before: estimated true share of the label before.
        after: and after, when texts of each label stayed as they were.
        left_over: share of the texts, in [0, 1], whose scores the shares do not explain (total variation).
        by_chance: what this would be on average by chance alone.
    """

    before: float
    after: float
    left_over: float
    by_chance: float

    @property
    def is_base_rate(self) -> bool:
        """Whether what is left over is about what chance leaves."""
        return self.left_over <= 2 * self.by_chance + 0.02


def explain(before: Summary, after: Summary, cells: Cells | CellsOfEach, label: int) -> Explained:
    """Explain a change of the scores by changed shares of the labels, as far as it goes.

    Args:
        before: texts of before the change.
        after: and after it.
        cells: of the reference that both were summarised by.
        label: column of the label whose shares are told.
    """
    if isinstance(cells, CellsOfEach):
        first, second = (cells.counts_of(label, one.cells) for one in (before, after))
        before, after = replace(before, cells=first, levels=first), replace(after, cells=second, levels=second)
        return explain(before, after, cells.of_label(label), 1)
    shares = before.cells / before.texts @ cells.probabilities
    found = shifted_shares(after.cells / after.texts, cells.probabilities, shares)
    expected = shifted(before.levels / before.texts, cells.level_probabilities, shares, found)
    left_over = float(np.abs(after.levels / after.texts - expected).sum() / 2)
    return Explained(float(shares[label]), float(found[label]), left_over, _by_chance(expected, before, after))


def shifted_shares(new: Floats, probabilities: Floats, shares: Floats) -> Floats:
    """Estimate the new shares of the labels from probabilities that were calibrated at the old ones.

    Args:
        new: shares of the cells after the change, shape (cells,).
        probabilities: of the labels in each cell, shape (cells, labels).
        shares: of the labels before, shape (labels,).

    >>> p = np.array([[1.0, 0.0], [0.0, 1.0]])  # a classifier that is certain and right
    >>> shifted_shares(np.array([0.86, 0.14]), p, np.array([0.92, 0.08])).round(4).tolist()
    [0.86, 0.14]

    Source: Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities: a
    simple procedure", 2002: expectation maximisation, here over cells.
    """
    found = shares
    for _ in range(STEPS):
        raised = probabilities * (found / np.maximum(shares, CLOSE))
        total = raised.sum(axis=1, keepdims=True)
        posterior = np.divide(raised, total, out=np.zeros_like(raised), where=total > 0)
        found, last = new @ posterior, found
        if np.abs(found - last).max() < CLOSE:
            break
    return np.asarray(found)


def shifted(old: Floats, probabilities: Floats, shares: Floats, new_shares: Floats) -> Floats:
    """Shares of cells or levels when only the labels' shares move to `new_shares`; they add up to 1.

    >>> certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> shifted(np.array([0.9, 0.1]), certain, np.array([0.9, 0.1]), np.array([0.8, 0.2])).round(3).tolist()
    [0.8, 0.2]
    """
    moved = old * (probabilities @ (new_shares / np.maximum(shares, CLOSE)))
    return np.asarray(moved / max(float(moved.sum()), CLOSE))


def _by_chance(expected: Floats, before: Summary, after: Summary) -> float:
    """Mean of half the absolute differences of two samples' shares, groups taken as the number of texts that count."""
    rate = 1 / max(after.groups, 1) + 1 / max(before.groups, 1)
    return float(np.sqrt(2 / np.pi * expected * (1 - expected) * rate).sum() / 2)
