"""Say, before people label them, how many test labels would show that one classifier is ahead of another.

Both are measured on the same texts, and each text stands for itself. Their errors are taken as independent of one
another once the true label is known; two that err on the same texts need fewer labels than is said here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from understudy.stats.metrics import Floats, Interval, Z

POWER = 0.8
Z_POWER = 0.8416212335729143  # the normal distribution's 80% quantile


@dataclass(frozen=True, slots=True)
class Needed:
    """How many test labels show a difference.

    Attributes:
        even: so many put the end of the 95% interval at no difference: they show it as likely as not.
        likely: so many show it with a chance of `POWER`.
    """

    even: int
    likely: int


def f1_variance(share: float, first: float, second: float) -> float:
    """Return the variance of one text's part in the difference of two F1 (delta method): that of n texts is 1/n of it.

    Precision and recall of each judge are taken to be its F1. At 8% positives, 0.84 against 0.76 on 500 texts:
    the half width is 1.96 * sqrt(2.221 / 500) = 0.131, so the interval reaches from -0.05 to +0.21.

    Args:
        share: of the positive texts, in (0, 1).
        first: F1 of one judge.
        second: F1 of the other.

    >>> round(f1_variance(0.08, 0.84, 0.76), 3)
    2.221
    """
    spread = [figure * (1 - figure) for figure in (first, second)]
    own = sum(q * (2 - figure) for q, figure in zip(spread, (first, second), strict=True)) / (2 * share)
    return own - 2 * spread[0] * spread[1] / (4 * share * (1 - share))


def macro_f1_variance(shares: Floats, first: float, second: float) -> float:
    """Return the same of the mean F1 over all labels, of which each judge has the same F1.

    Wrong answers are taken to be spread as the labels are. Of labels that are as common as one another it is that of
    two accuracies, 0.8 * 0.2 + 0.7 * 0.3; a rare label makes it larger.

    Args:
        shares: of the labels, shape (labels,), all above 0.
        first: macro F1 of one judge.
        second: of the other.

    >>> round(macro_f1_variance(np.full(4, 0.25), 0.8, 0.7), 3)
    0.37
    """
    rarity = float(np.mean(1 / (len(shares) * shares)))
    spread = [figure * (1 - figure) for figure in (first, second)]
    own = sum(
        q * ((1 - figure) * rarity + figure * (rarity + 1) / 2)
        for q, figure in zip(spread, (first, second), strict=True)
    )
    return own - 2 * spread[0] * spread[1] * (rarity - 1) / 4


def measured_variance(texts: int, difference: Interval) -> float:
    """Return the variance of one text's part that a 95% interval measured on so many texts; groups are in it.

    >>> round(measured_variance(500, Interval(0.08, -0.05, 0.21)), 2)
    2.2
    """
    return texts * ((difference.high - difference.low) / (2 * Z)) ** 2


def labels_to_show(variance: float, gap: float) -> Needed | None:
    """Return how many test labels show a gap of this size; None where there is none to show.

    >>> labels_to_show(f1_variance(0.08, 0.84, 0.76), 0.08)
    Needed(even=1334, likely=2725)
    """
    if not gap > 0:
        return None
    return Needed(*(math.ceil(variance * (z / gap) ** 2) for z in (Z, Z + Z_POWER)))


def least_gap(texts: int, most: float, variance_of: Callable[[float], float]) -> float | None:
    """Find the smallest gap that so many test labels show with a chance of `POWER`; None where they show none.

    Args:
        texts: how many.
        most: the largest gap that there may be.
        variance_of: of one text's part, given the gap.

    >>> round(least_gap(2725, 0.84, lambda gap: f1_variance(0.08, 0.84, 0.84 - gap)), 2)
    0.08
    """
    gaps = np.linspace(0, most, 1001)[1:-1]
    shown = [gap for gap in gaps.tolist() if variance_of(gap) * ((Z + Z_POWER) / gap) ** 2 <= texts]
    return shown[0] if shown else None
