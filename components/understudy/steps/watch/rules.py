"""Judge a night's numbers by those before it: fine, look or retrain."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from understudy.errors import BadInput
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


def for_day(config: WatchConfig, day: str, newest: str) -> WatchConfig:
    """Leave the baseline out of the settings for a night before it: that one is judged as it would have been then.

    Raises:
        BadInput: the baseline begins after the newest night, so that no alarm could be raised.
    """
    if config.baseline_from > newest:
        raise BadInput(
            f"watch.baseline_from must not be after the newest night, {newest}, got {config.baseline_from} (the card, "
            "or --set). Name the first night of the new baseline."
        )
    return replace(config, baseline_from="") if config.baseline_from > day else config


def tolerances(config: WatchConfig) -> dict[str, Tolerance]:
    """Return for each series the change that is none, on the series' own scale.

    >>> tolerance = tolerances(WatchConfig())["positives"]
    >>> round(series.share_of(angle(0.08) + tolerance(angle(0.08))), 4)  # a twentieth more than 8%
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
    alarmed: Collection[str] = (),
    promised: float | None = None,
) -> Judged:
    """Judge the last day by all of them.

    Args:
        days: of one bundle, oldest first.
        reference: of the bundle; None where the first nights must serve.
        refused_share: of the last night's rows, in [0, 1].
        config: settings.
        alarmed: series whose alarm stood on the night before.
        promised: share of all texts that the bundle's first stage may lose; None when it has none.
    """
    results = [find(each.name, days, reference, config, alarmed) for each in SERIES if each.name != MISSED]
    results += [find_missed(days, promised, config)] if promised else []
    findings = [finding for finding in results if finding is not None]
    alarms = [finding for finding in findings if finding.value.is_standing]
    alarms.sort(key=lambda alarm: alarm.name not in CONTENT)
    is_worse = any(asks_for_training(alarm, config) for alarm in alarms)
    is_refusing = refused_share > config.max_refused_share
    verdict = RETRAIN if is_worse else LOOK if alarms or is_refusing else FINE
    evidence = [sentences.change(alarm.name, alarm.value) for alarm in alarms]
    evidence += [sentences.refused(refused_share)] if is_refusing else []
    return Judged(
        verdict=verdict,
        reason=sentences.reason(verdict, _cause(alarms), evidence),
        evidence=(*evidence, *(sentences.base_rate(alarm.explained) for alarm in alarms if alarm.explained)),
        series={finding.name: finding.value for finding in findings},
    )


def find(
    name: str, days: Sequence[Watched], reference: Summary | None, config: WatchConfig, alarmed: Collection[str] = ()
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
    baseline = series.points(reference, reference).get(name) if reference else None
    tolerance = tolerances(config)[name]
    verdicts = detector.follow(values, baseline, tolerance, limit(config))
    last, point = verdicts[places[-1]], values[places[-1]]
    assert last is not None and point is not None  # noqa: S101 - that place has a point
    if name not in QUALITY and places[-1] != len(days) - 1 and not last.is_standing:
        return None

    last = replace(last, is_alarm=last.is_standing and name not in alarmed)
    since = last.since if last.evidence > 1 else None
    change = _mean([later for later in values[since:] if later]) - last.expected if since is not None else 0.0
    explained = None
    if name == "positives" and last.is_standing and since is not None:
        before, after = _total(days[:since], reference), _total(days[since:], None)
        explained = attribution.explain(before, after) if before.texts and after.texts else None
    is_known = math.isfinite(last.expected)
    interval = BY_NAME[name].interval(point.value, point.variance, point.degrees)
    expected = BY_NAME[name].interval(last.expected, last.expected_variance) if is_known else None
    return Finding(
        name=name,
        value=_rounded(interval, expected, last, None if since is None else days[since].date, config),
        change=change,
        tolerance=tolerance(last.expected) if is_known else math.inf,
        explained=explained,
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
    value = _rounded(interval, Interval(promised, promised, promised), last, since, config)
    return Finding(name=MISSED, value=value, change=point.value - promised, tolerance=0.0)


def asks_for_training(alarm: Finding, config: WatchConfig) -> bool:
    """Tell whether a standing alarm says that the model has become worse, or meets texts it was not made for."""
    if alarm.name in QUALITY:
        return alarm.change > 0
    if alarm.name == MISSED:
        return True
    return alarm.name in CONTENT and abs(alarm.change) >= config.retrain_change * alarm.tolerance


def _cause(alarms: Sequence[Finding]) -> sentences.Cause | None:
    """Tell a changed base rate from changed content."""
    if any(alarm.name in CONTENT for alarm in alarms):
        return "content"
    explained = next((alarm.explained for alarm in alarms if alarm.explained), None)
    if explained is None:
        return None
    return "base rate" if explained.is_base_rate else "scores"


def _total(days: Sequence[Watched], start: Summary | None) -> Summary:
    """Add up the nights' summaries."""
    return sum((day.summary for day in days if day.summary is not None), start or empty())


def _mean(points: Sequence[Point]) -> float:
    """Average points by their texts."""
    mean = Baseline()
    for point in points:
        mean = mean.plus(point.value, 1 / point.texts)
    return mean.mean


def _rounded(
    interval: Interval, expected: Interval | None, verdict: Verdict, since: str | None, config: WatchConfig
) -> Value:
    """Round what a series says by the last night, as its record keeps it."""
    return Value(
        value=round(interval.value, 6),
        low=round(interval.low, 6),
        high=round(interval.high, 6),
        expected=round(expected.value, 6) if expected else None,
        expected_low=round(expected.low, 6) if expected else None,
        expected_high=round(expected.high, 6) if expected else None,
        evidence=float(f"{min(verdict.evidence / limit(config), 1e9):.6g}"),
        since=since,
        is_alarm=verdict.is_alarm,
        is_standing=verdict.is_standing,
    )
