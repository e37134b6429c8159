"""Test one rate against a limit sequentially: has it passed, since when, and how sure is that?

For every night on which it might have begun, and a few sizes of excess, a bet is kept. Its capital is multiplied each
night by the likelihood of the night's count under that excess over its likelihood at the limit; it grows no more than 1
on average while the rate stays within the limit. The evidence is the capital of all bets together, one unit having been
paid in every night, so the mean number of nights to a false alarm is at least what it must pass.

The likelihood is Poisson's. Counts of a sample are binomial, for which the ratio grows less still.

Source: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2024.
"""

import math
from collections.abc import Sequence

import numpy as np

from understudy.stats.drift.detector import NIGHTS_TO_RECOVER, Verdict
from understudy.stats.drift.series import Point
from understudy.stats.metrics import Floats

EXCESSES = np.array([0.25, 0.5, 1.0, 2.0, 4.0])  # of the rate over the limit, relative to it
NO_BETS: Floats = np.empty((0, len(EXCESSES)))
LARGEST = 690.0  # exponent that a float holds


def follow(points: Sequence[Point | None], limit: float, nights_between: float) -> list[Verdict | None]:
    """Test a rate night by night.

    Args:
        points: of the nights, in their order: the rate, and the texts it rests on; None for a night without one.
        limit: that the rate must not pass.
        nights_between: mean number of nights to a false alarm, at least.

    Returns:
        one verdict a night; None where there was no rate. An alarm stands until a week's rate is within the limit.

    >>> quiet, raised = Point(0.001, 0.001, 2000), Point(0.02, 0.02, 2000)
    >>> found = follow([quiet, quiet, raised, raised], 0.005, 1000)
    >>> [(one.is_alarm, one.is_standing, one.since) for one in found if one]
    [(False, False, None), (False, False, None), (True, True, 2), (False, True, 2)]
    """
    capital, starts = NO_BETS, list[int]()  # logarithms, shape (starts, excesses), and the night on which each began
    standing: list[Point] | None = None
    since = 0
    verdicts: list[Verdict | None] = []
    for night, point in enumerate(points):
        if point is None:
            verdicts.append(None)
        elif standing is not None:
            standing = [*standing, point][-NIGHTS_TO_RECOVER:]
            is_back = len(standing) == NIGHTS_TO_RECOVER and rate(standing) <= limit
            standing = None if is_back else standing
            verdicts.append(_verdict(limit, nights_between, since, is_alarm=False, is_standing=not is_back))
        else:
            capital, starts = np.vstack([capital, 0.0 * EXCESSES]) + gain(point, limit), [*starts, night]
            evidence = _evidence(capital)
            since = starts[int(capital.max(axis=1).argmax())]
            is_alarm = evidence >= nights_between
            begun = since if evidence > 1 else None
            verdicts.append(_verdict(limit, evidence, begun, is_alarm=is_alarm, is_standing=is_alarm))
            if is_alarm:
                capital, starts, standing = NO_BETS, [], []
    return verdicts


def gain(point: Point, limit: float) -> Floats:
    """Logarithm of what each excess' bet is multiplied by in a night, shape (excesses,).

    >>> gain(Point(0.01, 0.01, 100), 0.01).round(3).tolist()[2]  # one text, one expected: log(2) - 1
    -0.307
    """
    return np.asarray(point.value * point.texts * np.log1p(EXCESSES) - EXCESSES * limit * point.texts)


def rate(points: Sequence[Point]) -> float:
    """Rate of several nights together."""
    return sum(point.value * point.texts for point in points) / sum(point.texts for point in points)


def _evidence(capital: Floats) -> float:
    top = float(capital.max())
    return math.exp(min(LARGEST, top)) * float(np.exp(capital - top).sum()) / len(EXCESSES)


def _verdict(limit: float, evidence: float, since: int | None, *, is_alarm: bool, is_standing: bool) -> Verdict:
    return Verdict(limit, 0.0, evidence, since, is_alarm=is_alarm, is_standing=is_standing)
