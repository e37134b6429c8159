"""Test series sequentially: have they changed, since when, and how sure is that?

The rule. Each night's value is compared with the mean of all before it, in units of the standard error of the
difference: a recursive residual. While nothing changes, these are independent and about standard normal, however little
the reference tells and although it is used every night. For every night c on which a change might have begun, and a
few sizes of change, a bet is kept: its capital is multiplied each night by exp(b r - b^2 / 2), where b is what the
residual r would be on average after such a change; it grows no more than 1 on average unless something changed. The
evidence is the capital of all bets together, one unit having been paid in every night. It rises by at most 1 a night on
average while nothing changes, so the mean number of nights to a false alarm is at least the limit that it must pass.

Several series may be tested as one: the mean of their evidences is the sum of such bets too, whatever the series have
to do with each other.

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
from typing import Any

import numpy as np

from understudy.stats.drift.series import Point, Shares
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
class Together:
    """What one night says about several series that are tested as one.

    Attributes:
        expected: see `Verdict`; shape (series,).
        expected_variance: of that, shape (series,).
        each: evidence of each series, shape (series,).
        evidence: the mean of these: at the limit it is an alarm.
        leading: the series with most evidence; the one that raised the alarm while one stands.
        moved: series whose own evidence passed the limit with the alarm that stands, most evidence first.
        since: see `Verdict`; by the leading series.
        is_alarm: see `Verdict`.
        is_standing: see `Verdict`.
    """

    expected: Floats
    expected_variance: Floats
    each: Floats
    evidence: float
    leading: int
    moved: tuple[int, ...]
    since: int | None
    is_alarm: bool
    is_standing: bool

    def of_leading(self) -> Verdict:
        """Return what is said of the series that leads."""
        mean, variance = float(self.expected[self.leading]), float(self.expected_variance[self.leading])
        return Verdict(mean, variance, self.evidence, self.since, is_alarm=self.is_alarm, is_standing=self.is_standing)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What series were like so far: their means, and the variances of these, infinite when nothing is known.

    Floats for one series, or arrays of shape (series,).
    """

    mean: Any = 0.0
    variance: Any = math.inf

    def plus(self, value: Any, variance: Any) -> "Baseline":
        """Take one more value in, by its precision.

        >>> Baseline().plus(2.0, 1.0).plus(4.0, 1.0)
        Baseline(mean=3.0, variance=0.5)
        """
        if np.isinf(self.variance).all():
            return Baseline(value, variance)
        share = self.variance / (self.variance + variance)
        return Baseline(self.mean + share * (value - self.mean), self.variance * (1 - share))


@dataclass(slots=True)
class _Bets:
    """Capital of every bet, as logarithms.

    Of shape (nights on which a change might have begun, series, sizes, directions).
    """

    series: int
    capital: Floats = field(init=False)
    variances: list[Floats] = field(default_factory=list)  # of the baselines before each of these nights
    nights: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.capital = np.zeros((0, self.series, len(SIZES), 2))

    def play(
        self, night: int, residual: Floats, deviation: Floats, unit: Floats, variance: Floats, tolerance: Floats
    ) -> None:
        """Bet on one more night; arrays are of shape (series,).

        Args:
            night: its place.
            residual: values less baselines.
            deviation: standard errors of these.
            unit: standard deviations of one text.
            variance: of the baselines before the night.
            tolerance: changes that are none.
        """
        self.nights.append(night)
        self.variances.append(variance)
        self.capital = np.concatenate([self.capital, np.zeros((1, self.series, len(SIZES), 2))])
        seen = variance / np.asarray(self.variances)  # share of a change that the baselines do not hold yet
        bet = np.minimum(LARGEST_BET, (seen / deviation)[:, :, None] * (np.asarray(SIZES) * unit[:, None]))
        beyond = residual[:, None] * np.array([1.0, -1.0]) - tolerance[:, None]
        self.capital += bet[..., None] * (beyond / deviation[:, None])[:, None, :] - (bet**2 / 2)[..., None]

    def evidence(self) -> Floats:
        """Capital of all bets on each series, each night's unit having been shared out evenly. Shape (series,)."""
        top = self.capital.max(axis=(0, 2, 3))
        bets = np.exp(self.capital - top[:, None, None]).sum(axis=(0, 2, 3))
        return np.asarray(np.minimum(1e300, np.exp(np.minimum(690.0, top)) * bets / (2 * len(SIZES))))

    def since(self, series: int) -> int:
        """Night of the richest bets on a series."""
        return self.nights[int(self.capital[:, series].max(axis=(1, 2)).argmax())]


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
    nights = [None if point is None else _alone(point) for point in points]
    found = follow_together(nights, None if reference is None else _alone(reference), tolerance, nights_between)
    return [None if one is None else one.of_leading() for one in found]


def _alone(point: Point) -> Shares:
    values, variances = np.array([point.value]), np.array([point.unit_variance])
    return Shares(values, variances, point.texts, np.array([point.degrees]), np.zeros(1))


def follow_together(
    nights: Sequence[Shares | None], reference: Shares | None, tolerance: Tolerance, nights_between: float
) -> list[Together | None]:
    """Test several series as one, night by night.

    Each series has bets of its own, and the evidence is the mean of theirs. It rises by at most 1 a night on average
    while nothing changes, as each of them does, whatever they have to do with each other; so the limit stays that of
    one series.

    Args:
        nights: values of the series, in their order; None for a night without.
        reference: see `follow`.
        tolerance: see `follow`.
        nights_between: see `follow`.

    Returns:
        one verdict a night; None where there were no values.
    """
    tracker = Tracker(reference, tolerance, nights_between)
    return [None if one is None else tracker.take(night, one) for night, one in enumerate(nights)]


class Tracker:
    """The test as it goes from night to night; `follow` and `follow_together` are the ways to use it."""

    def __init__(self, reference: Shares | None, tolerance: Tolerance, nights_between: float) -> None:
        self._tolerance, self._limit = tolerance, nights_between
        self._baseline, self._bets = Baseline(), _Bets(0)
        self._weighed: Any = 0.0
        self._texts: Any = 0.0
        self._taken: dict[int, tuple[Floats, Floats]] = {}  # values and own variances of the nights in the baseline
        self._before: dict[int, Baseline] = {}
        self._standing: list[tuple[Floats, Floats]] | None = None  # nights after an alarm that stands
        self._since, self._moved = 0, (0,)
        if reference is not None and np.isfinite(reference.unit_variances).all():
            self._baseline = Baseline(reference.values, reference.unit_variances / reference.texts)
            self._learn(reference)

    def take(self, night: int, values: Shares) -> Together:
        """Judge one more night."""
        if not np.all(self._texts):
            self._learn(values)
        texts = np.asarray(self._texts)
        unit = np.where(texts > 0, self._weighed / np.where(texts > 0, texts, 1.0), 1.0)
        unit = np.broadcast_to(unit, values.values.shape)
        variance = unit / values.texts + spreads_between(list(self._taken.values()))
        if self._standing is not None:
            return self._stand(values.values, variance)
        found = self._test(night, values, variance, np.sqrt(unit))
        self._take_in(night, values, variance, unit / values.texts)
        return self._alarm(found) if found.is_alarm else found

    def _learn(self, values: Shares) -> None:
        is_known = np.isfinite(values.unit_variances) & (values.unit_variances > 0)
        self._weighed = self._weighed + np.where(is_known, values.unit_variances, 0.0) * values.texts
        self._texts = self._texts + is_known * values.texts

    def _test(self, night: int, values: Shares, variance: Floats, unit: Floats) -> Together:
        known, count = self._baseline, len(values.values)
        if np.isinf(known.variance).all():
            nothing = np.full(count, math.nan)
            return Together(nothing, nothing, np.zeros(count), 0.0, 0, (), None, is_alarm=False, is_standing=False)
        if not self._bets.nights:
            self._bets = _Bets(count)
        deviation = np.sqrt(variance + known.variance)
        tolerance = np.array([self._tolerance(mean) for mean in known.mean.tolist()])
        self._bets.play(night, values.values - known.mean, deviation, unit, known.variance, tolerance)
        each = self._bets.evidence()
        evidence, leading = float(each.mean()), int(each.argmax())
        is_alarm = evidence >= self._limit
        since = self._bets.since(leading) if evidence > 1 else None
        return Together(
            known.mean, known.variance, each, evidence, leading, (), since, is_alarm=is_alarm, is_standing=is_alarm
        )

    def _take_in(self, night: int, values: Shares, variance: Floats, own: Floats) -> None:
        self._before[night] = self._baseline
        self._baseline = self._baseline.plus(values.values, variance)
        self._taken[night] = (values.values, own)
        self._learn(values)

    def _alarm(self, found: Together) -> Together:
        """Go back to the baselines before the change, and let the alarm stand."""
        self._since = found.since or 0
        passed = np.flatnonzero(found.each >= self._limit)  # the leading one at least: it is above the mean
        self._moved = tuple(passed[np.argsort(-found.each[passed], kind="stable")].tolist())
        self._baseline = self._before[self._since]
        self._taken = {night: taken for night, taken in self._taken.items() if night < self._since}
        self._bets, self._standing = _Bets(0), []
        known = self._baseline
        return replace(found, expected=known.mean, expected_variance=known.variance, moved=self._moved)

    def _stand(self, values: Floats, variance: Floats) -> Together:
        """Let the alarm stand until a week's means are back where they were before, for all series that moved."""
        assert self._standing is not None  # noqa: S101 - the only caller has looked
        self._standing = [*self._standing, (values, variance)][-NIGHTS_TO_RECOVER:]
        known, found, moved = self._baseline, self._standing, list(self._moved)
        mean = Baseline()
        for value, own in found:
            mean = mean.plus(value, own)
        tolerance = np.array([self._tolerance(one) for one in known.mean.tolist()])
        margin = tolerance + 2 * np.sqrt(mean.variance + known.variance)
        is_back = len(found) == NIGHTS_TO_RECOVER and bool((np.abs(mean.mean - known.mean) <= margin)[moved].all())
        if is_back:
            self._standing = None
        each = np.zeros(len(values))
        each[moved] = self._limit
        return Together(
            known.mean,
            known.variance,
            each,
            self._limit,
            moved[0],
            self._moved,
            self._since,
            is_alarm=False,
            is_standing=not is_back,
        )


def spreads_between(taken: Sequence[tuple[Floats, Floats]]) -> Floats | float:
    """Variance between nights beyond what their texts explain, from the differences of neighbours.

    A lasting change enters but one difference, so it does not hide itself. 0 while there are few nights.

    Args:
        taken: values and own variances of the nights, each of shape (series,).

    >>> spreads_between([(np.zeros(1), np.full(1, 0.5)), (np.full(1, 2.0), np.full(1, 0.5))] * 4).tolist()
    [1.5]

    Half of 2 squared, less what a night's texts explain.

    Source: von Neumann, "Distribution of the ratio of the mean square successive difference to the variance", 1941.
    """
    recent = taken[-NIGHTS_OF_SPREAD - 1 :]
    if len(recent) <= FEWEST_DIFFERENCES:
        return 0.0
    values, variances = (np.stack(column) for column in zip(*recent, strict=True))
    between = np.mean(np.diff(values, axis=0) ** 2, axis=0) / 2 - variances.mean(axis=0)
    return np.asarray(np.maximum(0.0, between))
