"""Tell a changed base rate from changed content.

When only the share of positives moves, texts of either label stay as they are, so each part of the range of
probabilities gains or loses in proportion to how positive it is (label shift). What is left over when that is taken
into account was not done by the base rate.
"""

from dataclasses import dataclass

import numpy as np

from understudy.stats.drift.summary import Summary
from understudy.stats.metrics import Floats

STEPS = 200
CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Explained:
    """How far a changed base rate explains the scores.

    Attributes:
        before: estimated true share of positives before.
        after: and after, when texts of either label stayed as they were.
        left_over: share of the texts, in [0, 1], whose scores the base rate does not explain (total variation).
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


def explain(before: Summary, after: Summary) -> Explained:
    """Explain a change of the scores by the base rate, as far as it goes."""
    old, new = before.bins / before.texts, after.bins / after.texts
    probability = np.divide(before.bin_sums, before.bins, out=np.full(len(old), 0.5), where=before.bins > 0)
    share = float(old @ probability)
    found = shifted_share(new, probability, share)
    expected = shifted(old, probability, share, found)
    left_over = float(np.abs(new - expected).sum() / 2)
    return Explained(share, found, left_over, _by_chance(expected, before, after))


def shifted_share(new: Floats, probability: Floats, share: float) -> float:
    """Estimate the new share of positives from probabilities that were calibrated at the old one.

    >>> p = np.array([0.0, 1.0])  # a classifier that is certain and right
    >>> round(shifted_share(np.array([0.86, 0.14]), p, share=0.08), 4)
    0.14

    Source: Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities: a
    simple procedure", 2002: expectation maximisation, here over bins.
    """
    found = share
    for _ in range(STEPS):
        up, down = found / max(share, CLOSE) * probability, (1 - found) / max(1 - share, CLOSE) * (1 - probability)
        posterior = np.divide(up, up + down, out=np.zeros_like(up), where=up + down > 0)
        found, last = float(new @ posterior), found
        if abs(found - last) < CLOSE:
            break
    return found


def shifted(old: Floats, probability: Floats, share: float, new_share: float) -> Floats:
    """Shares of the bins when only the base rate moves from `share` to `new_share`; they add up to 1.

    >>> shifted(np.array([0.9, 0.1]), np.array([0.0, 1.0]), share=0.1, new_share=0.2).round(3).tolist()
    [0.8, 0.2]
    """
    factor = new_share / max(share, CLOSE) * probability + (1 - new_share) / max(1 - share, CLOSE) * (1 - probability)
    return np.asarray(old * factor / max(float((old * factor).sum()), CLOSE))


def _by_chance(expected: Floats, before: Summary, after: Summary) -> float:
    """Mean of half the absolute differences of two samples' shares, groups taken as the number of texts that count."""
    rate = 1 / max(after.groups, 1) + 1 / max(before.groups, 1)
    return float(np.sqrt(2 / np.pi * expected * (1 - expected) * rate).sum() / 2)
