"""From a night's numbers and those before it to a verdict: fine, look or retrain."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from understudy.reports.watch import sentences
from understudy.stats.drift import attribution, detector, series
from understudy.stats.drift import limit as limit_test
from understudy.stats.drift.attribution import Explained
from understudy.stats.drift.detector import Baseline, Tolerance, Verdict
from understudy.stats.drift.series import BY_NAME, CONTENT, MISSED, QUALITY, SERIES, Point, angle, share_of
from understudy.stats.drift.summary import Summary, empty
from understudy.stats.metrics import Interval
from understudy.steps.watch.config import WatchConfig
from understudy.store.watch_records import Value

FINE, LOOK, RETRAIN = "fine", "look", "retrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A day as the series see it.

    Attributes:
        date: the night, or the day of a sample.
        points: by series.
        summary: of the night; none for a day that had only a sample.
    """

    date: str
    points: Mapping[str, Point]
    summary: Summary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a series says by the last night.

    Attributes:
        name: of the series.
        value: as people read it.
        change: mean since the change began, less what was expected, on the series' scale.
        tolerance: change that is none, there.
        explained: by the base rate; for `positives` while its alarm stands.
    """

    name: str
    value: Value
    change: float
    tolerance: float
    explained: Explained | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict on a night, with what it rests on."""

    verdict: str
    reason: str
    evidence: tuple[str, ...]
    series: Mapping[str, Value]


def tolerances(config: WatchConfig) -> dict[str, Tolerance]:
    """Return for each series the change that is none, on the series' own scale.

    >>> found = tolerances(WatchConfig())["positives"]
    >>> round(series.share_of(angle(0.08) + found(angle(0.08))), 4)  # a twentieth more than 8%
    0.084
    """

    def relative(expected: float) -> float:
        return angle(share_of(expected) * (1 + config.min_share_change)) - expected

    def absolute(expected: float) -> float:
        return angle(share_of(expected) + config.min_quality_change) - expected

    return {
        "positives": relative,
        "scores": lambda _: config.min_score_change,
        "lengths": lambda _: math.log1p(config.min_length_change),
        "vocabulary": lambda _: config.min_surprise_change,
        **dict.fromkeys(QUALITY, absolute),
    }


def limit(config: WatchConfig) -> float:
    """Evidence at which one series raises an alarm: the series share the false alarms evenly."""
    return float(config.false_alarm_nights * len(SERIES))


def judge(
    days: Sequence[Watched],
    reference: Summary | None,
    refused_share: float,
    config: WatchConfig,
    told: Collection[str] = (),
    promised: float | None = None,
) -> Judged:
    """Judge the last day by all of them.

    Args:
        days: of one bundle, oldest first.
        reference: of the bundle; None where the first nights must serve.
        refused_share: of the last night's rows, in [0, 1].
        config: settings.
        told: series whose alarm stood on the night before.
        promised: share of all texts that the bundle's first stage may lose; None when it has none.
    """
    changing = [one for one in SERIES if one.name != MISSED]
    found = [finding for one in changing if (finding := find(one.name, days, reference, config, told)) is not None]
    found += [lost] if promised and (lost := find_missed(days, promised, config)) is not None else []
    standing = sorted((one for one in found if one.value.is_standing), key=lambda one: one.name not in CONTENT)
    worse = [one for one in standing if asks_for_training(one, config)]
    is_refusing = refused_share > config.max_refused_share
    verdict = RETRAIN if worse else LOOK if standing or is_refusing else FINE
    evidence = [sentences.change(one.name, one.value) for one in standing]
    evidence += [sentences.refused(refused_share)] if is_refusing else []
    return Judged(
        verdict=verdict,
        reason=sentences.reason(verdict, _cause(standing), evidence),
        evidence=(*evidence, *(sentences.base_rate(one.explained) for one in standing if one.explained)),
        series={one.name: one.value for one in found},
    )


def find(
    name: str, days: Sequence[Watched], reference: Summary | None, config: WatchConfig, told: Collection[str] = ()
) -> Finding | None:
    """Follow one series to the last day; None when it has no value yet.

    The quality series keep their last value; a nightly series without one on the last day is shown only while its alarm
    stands. Answers may come late and older nights be backfilled, so an alarm is raised on the first night that knows of
    it, whichever night passed the limit.
    """
    values = [day.points.get(name) for day in days]
    places = [place for place, point in enumerate(values) if point is not None and math.isfinite(point.value)]
    if not places:
        return None
    known = series.points(reference, reference).get(name) if reference else None
    tolerance = tolerances(config)[name]
    found = detector.follow(values, known, tolerance, limit(config))
    last, point = found[places[-1]], values[places[-1]]
    assert last is not None and point is not None  # noqa: S101 - that place has a point
    if name not in QUALITY and places[-1] != len(days) - 1 and not last.is_standing:
        return None
    last = replace(last, is_alarm=last.is_standing and name not in told)
    since = last.since if last.evidence > 1 else None
    change = _mean([one for one in values[since:] if one]) - last.expected if since is not None else 0.0
    is_share = name == "positives" and last.is_standing and since is not None
    return Finding(
        name=name,
        value=_value(name, point, last, None if since is None else days[since].date, config),
        change=change,
        tolerance=tolerance(last.expected) if math.isfinite(last.expected) else math.inf,
        explained=_explained(days, since, reference) if is_share and since is not None else None,
    )


def find_missed(days: Sequence[Watched], promised: float, config: WatchConfig) -> Finding | None:
    """Test what the first stage loses against what was promised; None when the last day has no sample of it."""
    from scipy.stats import chi2

    values = [day.points.get(MISSED) for day in days]
    if (point := values[-1]) is None:
        return None
    last = limit_test.follow(values, promised, limit(config))[-1]
    assert last is not None  # noqa: S101 - that day has a point
    lost = round(point.value * point.texts)
    low = float(chi2.ppf(0.025, 2 * lost)) / 2 / point.texts if lost else 0.0  # Garwood's exact interval
    high = float(chi2.ppf(0.975, 2 * lost + 2)) / 2 / point.texts
    interval = Interval(point.value, low, min(1.0, high))
    since = None if last.since is None else days[last.since].date
    value = _told(interval, Interval(promised, promised, promised), last, since, config)
    return Finding(name=MISSED, value=value, change=point.value - promised, tolerance=0.0)


def asks_for_training(found: Finding, config: WatchConfig) -> bool:
    """Tell whether a standing alarm says that the model has become worse, or meets texts it was not made for."""
    if found.name in QUALITY:
        return found.change > 0
    if found.name == MISSED:
        return True
    return found.name in CONTENT and abs(found.change) >= config.retrain_change * found.tolerance


def _cause(standing: Sequence[Finding]) -> sentences.Cause | None:
    """Tell a changed base rate from changed content."""
    names = {one.name for one in standing}
    if names & set(CONTENT):
        return "content"
    explained = next((one.explained for one in standing if one.explained), None)
    if explained is None:
        return None
    return "base rate" if explained.is_base_rate else "scores"


def _explained(days: Sequence[Watched], since: int, reference: Summary | None) -> Explained | None:
    before, after = _total(days[:since], reference), _total(days[since:], None)
    return attribution.explain(before, after) if before.texts and after.texts else None


def _total(days: Sequence[Watched], start: Summary | None) -> Summary:
    return sum((day.summary for day in days if day.summary is not None), start or empty())


def _mean(points: Sequence[Point]) -> float:
    mean = Baseline()
    for point in points:
        mean = mean.plus(point.value, 1 / point.texts)
    return mean.mean


def _value(name: str, point: Point, verdict: Verdict, since: str | None, config: WatchConfig) -> Value:
    one = BY_NAME[name]
    own = one.interval(point.value, point.variance, point.degrees)
    is_known = math.isfinite(verdict.expected)
    expected = one.interval(verdict.expected, verdict.expected_variance) if is_known else None
    return _told(own, expected, verdict, since, config)


def _told(own: Interval, expected: Interval | None, verdict: Verdict, since: str | None, config: WatchConfig) -> Value:
    return Value(
        value=round(own.value, 6),
        low=round(own.low, 6),
        high=round(own.high, 6),
        expected=round(expected.value, 6) if expected else None,
        expected_low=round(expected.low, 6) if expected else None,
        expected_high=round(expected.high, 6) if expected else None,
        evidence=float(f"{min(verdict.evidence / limit(config), 1e9):.6g}"),
        since=since,
        is_alarm=verdict.is_alarm,
        is_standing=verdict.is_standing,
    )
