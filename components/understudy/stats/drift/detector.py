"""Test one series sequentially: has it changed, since when, and how sure is that?

The rule. Each night's value is compared with the mean of all before it, in units of the standard error of the
difference: a recursive residual. While nothing changes, these are independent and about standard normal, however little
the reference tells and although it is used every night. For every night c on which a change might have begun, and a
few sizes of change, a bet is kept: its capital is multiplied each night by exp(b r - b^2 / 2), where b is what the
residual r would be on average after such a change; it grows no more than 1 on average unless something changed. The
evidence is the capital of all bets together, one unit having been paid in every night. It rises by at most 1 a night on
average while nothing changes, so the mean number of nights to a false alarm is at least the limit that it must pass.

A change within the tolerance is no change: the bets pay only for what lies beyond. While the means of all nights stay
within a band as wide as the tolerance, no bet gains on average.

Sources: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2024, for
the sum of e-processes and its run length (by Ville's inequality's optional-stopping argument); Roberts, "A comparison
of some control chart procedures", 1966; Brown, Durbin and Evans, "Techniques for testing the constancy of regression
relationships over time", 1975, for recursive residuals.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from understudy.stats.drift.series import Point
from understudy.stats.metrics import Floats

SIZES = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)  # of a change beyond the tolerance, in standard deviations of one text
LARGEST_BET = 3.0  # tails of small nights are heavier than the normal's: no night may decide by more than this
FEWEST_DIFFERENCES = 7  # nights before their own ups and downs are taken from them
NIGHTS_OF_SPREAD = 60
NIGHTS_TO_RECOVER = 7
Tolerance = Callable[[float], float]  # the expected value -> the change that is none, on the series' scale


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one night says about a series.

    Attributes:
        expected: value by all nights before it, those of a standing alarm left out; nan on the first one.
        expected_variance: of that.
        evidence: against "nothing has changed", in nights: at the limit it is an alarm.
        since: place of the night on which the change most likely began, where the evidence is above 1.
        is_alarm: the evidence passed the limit on this night.
        is_standing: it did on this night or before, and the series has not come back.
    """

    expected: float
    expected_variance: float
    evidence: float
    since: int | None
    is_alarm: bool
    is_standing: bool


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a series was like so far: its mean, and the variance of that; infinite when nothing is known."""

    mean: float = 0.0
    variance: float = math.inf

    def plus(self, value: float, variance: float) -> "Baseline":
        """Take one more value in, by its precision.

        >>> Baseline().plus(2.0, 1.0).plus(4.0, 1.0)
        Baseline(mean=3.0, variance=0.5)
        """
        if math.isinf(self.variance):
            return Baseline(value, variance)
        share = self.variance / (self.variance + variance)
        return Baseline(self.mean + share * (value - self.mean), self.variance * (1 - share))


@dataclass(slots=True)
class _Bets:
    """Capital of every bet, as logarithms: of shape (nights on which a change might have begun, sizes, directions)."""

    capital: Floats = field(default_factory=lambda: np.zeros((0, len(SIZES), 2)))
    variances: list[float] = field(default_factory=list)  # of the baseline before each of these nights
    nights: list[int] = field(default_factory=list)

    def play(
        self, night: int, residual: float, deviation: float, unit: float, baseline: Baseline, tolerance: float
    ) -> None:
        """Bet on one more night.

        Args:
            night: its place.
            residual: value less baseline.
            deviation: standard error of that.
            unit: standard deviation of one text.
            baseline: before the night.
            tolerance: change that is none.
        """
        self.nights.append(night)
        self.variances.append(baseline.variance)
        self.capital = np.concatenate([self.capital, np.zeros((1, len(SIZES), 2))])
        seen = baseline.variance / np.asarray(self.variances)  # share of a change that the baseline does not hold yet
        bet = np.minimum(LARGEST_BET, np.multiply.outer(seen / deviation, np.asarray(SIZES) * unit))
        beyond = residual * np.array([1.0, -1.0]) - tolerance
        self.capital += bet[:, :, None] * beyond / deviation - bet[:, :, None] ** 2 / 2

    def evidence(self) -> float:
        """Capital of all bets, each night's unit having been shared out evenly."""
        top = self.capital.max()
        return float(min(1e300, math.exp(min(690.0, top)) * np.exp(self.capital - top).sum() / (2 * len(SIZES))))

    def since(self) -> int:
        """Night of the richest bets."""
        return self.nights[int(self.capital.max(axis=(1, 2)).argmax())]


def follow(
    points: Sequence[Point | None], reference: Point | None, tolerance: Tolerance, nights_between: float
) -> list[Verdict | None]:
    """Test a series night by night.

    Args:
        points: of the nights, in their order; None for a night without a value.
        reference: of the bundle; None when there is none, so that the first nights must serve.
        tolerance: what change is none.
        nights_between: mean number of nights to a false alarm, at least.

    Returns:
        one verdict a night; None where there was no value.
    """
    tracker = Tracker(reference, tolerance, nights_between)
    return [None if point is None else tracker.take(night, point) for night, point in enumerate(points)]


class Tracker:
    """The test as it goes from night to night; `follow` is the way to use it."""

    def __init__(self, reference: Point | None, tolerance: Tolerance, nights_between: float) -> None:
        self._tolerance, self._limit = tolerance, nights_between
        self._baseline, self._bets = Baseline(), _Bets()
        self._weighed, self._texts = 0.0, 0.0
        self._taken: dict[int, tuple[float, float]] = {}  # value and own variance of the nights in the baseline
        self._before: dict[int, Baseline] = {}
        self._standing: list[tuple[float, float]] | None = None  # nights after an alarm that stands
        self._since = 0
        if reference is not None and math.isfinite(reference.variance):
            self._baseline = Baseline(reference.value, reference.variance)
            self._learn(reference)

    def take(self, night: int, point: Point) -> Verdict:
        """Judge one more night."""
        if not self._texts:
            self._learn(point)
        unit = self._weighed / self._texts if self._texts else 1.0
        spread = spread_between(list(self._taken.values()))
        variance = unit / point.texts + spread
        if self._standing is not None:
            return self._stand(point, variance)
        found = self._test(night, point, variance, math.sqrt(unit))
        self._take_in(night, point, variance, unit / point.texts)
        return self._alarm(found) if found.is_alarm else found

    def _learn(self, point: Point) -> None:
        if math.isfinite(point.unit_variance) and point.unit_variance > 0:
            self._weighed += point.unit_variance * point.texts
            self._texts += point.texts

    def _test(self, night: int, point: Point, variance: float, unit: float) -> Verdict:
        known = self._baseline
        if math.isinf(known.variance):
            return Verdict(math.nan, math.nan, 0.0, None, is_alarm=False, is_standing=False)
        deviation = math.sqrt(variance + known.variance)
        self._bets.play(night, point.value - known.mean, deviation, unit, known, self._tolerance(known.mean))
        evidence = self._bets.evidence()
        is_alarm = evidence >= self._limit
        since = self._bets.since() if evidence > 1 else None
        return Verdict(known.mean, known.variance, evidence, since, is_alarm=is_alarm, is_standing=is_alarm)

    def _take_in(self, night: int, point: Point, variance: float, own: float) -> None:
        self._before[night] = self._baseline
        self._baseline = self._baseline.plus(point.value, variance)
        self._taken[night] = (point.value, own)
        self._learn(point)

    def _alarm(self, found: Verdict) -> Verdict:
        """Go back to the baseline before the change, and let the alarm stand."""
        self._since = found.since or 0
        self._baseline = self._before[self._since]
        self._taken = {night: taken for night, taken in self._taken.items() if night < self._since}
        self._bets, self._standing = _Bets(), []
        return replace(found, expected=self._baseline.mean, expected_variance=self._baseline.variance)

    def _stand(self, point: Point, variance: float) -> Verdict:
        """Let the alarm stand until a week's mean is back where it was before."""
        assert self._standing is not None  # noqa: S101 - the only caller has looked
        self._standing = [*self._standing, (point.value, variance)][-NIGHTS_TO_RECOVER:]
        known, found = self._baseline, self._standing
        mean = Baseline()
        for value, own in found:
            mean = mean.plus(value, own)
        margin = self._tolerance(known.mean) + 2 * math.sqrt(mean.variance + known.variance)
        is_back = len(found) == NIGHTS_TO_RECOVER and abs(mean.mean - known.mean) <= margin
        if is_back:
            self._standing = None
        return Verdict(known.mean, known.variance, self._limit, self._since, is_alarm=False, is_standing=not is_back)


def spread_between(taken: Sequence[tuple[float, float]]) -> float:
    """Variance between nights beyond what their texts explain, from the differences of neighbours.

    A lasting change enters but one difference, so it does not hide itself. 0 while there are few nights.

    >>> spread_between([(0.0, 0.5), (2.0, 0.5)] * 4)  # half of 2 squared, less what a night's texts explain
    1.5

    Source: von Neumann, "Distribution of the ratio of the mean square successive difference to the variance", 1941.
    """
    recent = taken[-NIGHTS_OF_SPREAD - 1 :]
    if len(recent) <= FEWEST_DIFFERENCES:
        return 0.0
    values, variances = np.asarray(recent).T
    return float(max(0.0, np.mean(np.diff(values) ** 2) / 2 - variances.mean()))
