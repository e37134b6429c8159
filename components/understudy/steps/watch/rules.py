"""Judge a night's numbers by those before it: fine, look or retrain."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from understudy.errors import BadInput
from understudy.reports.watch import sentences
from understudy.stats.drift import attribution, detector, series
from understudy.stats.drift import limit as limit_test
from understudy.stats.drift.attribution import Explained
from understudy.stats.drift.detector import Baseline, Together, Tolerance, Verdict
from understudy.stats.drift.series import (
    BY_NAME,
    CONTENT,
    MISSED,
    QUALITY,
    SERIES,
    SHARES,
    UNKNOWN,
    Point,
    Shares,
    angle,
    share_of,
)
from understudy.stats.drift.summary import Reference, Summary
from understudy.stats.metrics import Interval
from understudy.steps.watch.config import WatchConfig
from understudy.store.watch_records import Share, Value
from understudy.task.labels import LabelSpace

MOST_SHARES = 12  # labels whose shares are told one by one, beside those that moved
FINE, LOOK, RETRAIN = "fine", "look", "retrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A day as the series see it.

    Attributes:
        date: the night, or the day of a sample.
        points: by series, but for the shares.
        shares: of the labels that are watched; none for a day that had only a sample, and a night without texts.
        summary: of the night; none for a day that had only a sample.
    """

    date: str
    points: Mapping[str, Point]
    shares: Shares | None = None
    summary: Summary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What days are judged by, beside each other.

    Attributes:
        space: the labels.
        reference: that the nights' summaries were made by.
        is_baseline: it is of the bundle, and nights are compared with it; else the first nights must serve.
    """

    space: LabelSpace
    reference: Reference
    is_baseline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a series says by the last night.

    Attributes:
        name: of the series.
        value: as people read it.
        change: mean since the change began, less what was expected, on the series' scale.
        tolerance: change that is none, there.
        explained: by changed shares of the labels; for `shares` while its alarm stands.
        shares: of the labels that are told one by one; for `shares`.
    """

    name: str
    value: Value
    change: float
    tolerance: float
    explained: Explained | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict on a night, with what it rests on."""

    verdict: str
    reason: str
    evidence: tuple[str, ...]
    series: Mapping[str, Value]
    shares: Mapping[str, Share]


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

    >>> tolerance = tolerances(WatchConfig())["shares"]
    >>> round(series.share_of(angle(0.08) + tolerance(angle(0.08))), 4)  # a twentieth more than 8%
    0.084
    """

    def relative(expected: float) -> float:
        return angle(share_of(expected) * (1 + config.min_share_change)) - expected

    def absolute(expected: float) -> float:
        return angle(share_of(expected) + config.min_quality_change) - expected

    def unknown(expected: float) -> float:
        return angle(share_of(expected) + config.min_unknown_change) - expected

    return {
        SHARES: relative,
        "scores": lambda _: config.min_score_change,
        "lengths": lambda _: math.log1p(config.min_length_change),
        "vocabulary": lambda _: config.min_surprise_change,
        UNKNOWN: unknown,
        **dict.fromkeys(QUALITY, absolute),
    }


def limit(config: WatchConfig) -> float:
    """Evidence at which one series raises an alarm: the series share the false alarms evenly."""
    return float(config.false_alarm_nights * len(SERIES))


def judge(
    days: Sequence[Watched],
    known: Known,
    refused: tuple[int, int],
    config: WatchConfig,
    alarmed: Collection[str] = (),
    promised: float | None = None,
) -> Judged:
    """Judge the last day by all of them.

    Args:
        days: of one bundle, oldest first.
        known: the labels, and what the bundle was calibrated on.
        refused: how many of the last night's rows, and of how many.
        config: settings.
        alarmed: series whose alarm stood on the night before.
        promised: share of all texts that the bundle's first stage may lose; None when it has none.
    """
    results = [find_shares(days, known, config, alarmed)]
    results += [find(name, days, known, config, alarmed) for name in (*CONTENT, UNKNOWN, *QUALITY)]
    results += [find_missed(days, promised, config)] if promised else []
    findings = [finding for finding in results if finding is not None]
    alarms = [finding for finding in findings if finding.value.is_standing]
    alarms.sort(key=lambda alarm: alarm.name not in CONTENT)
    is_worse = any(asks_for_training(alarm, config) for alarm in alarms)
    is_refusing = refused[0] > config.max_refused_share * refused[1]
    verdict = RETRAIN if is_worse else LOOK if alarms or is_refusing else FINE
    evidence = [sentences.change(alarm.name, alarm.value) for alarm in alarms]
    evidence += [sentences.refused(*refused)] if is_refusing else []
    explained = [(alarm.explained, alarm.value.label or "") for alarm in alarms if alarm.explained]
    return Judged(
        verdict=verdict,
        reason=sentences.reason(verdict, _cause(alarms), evidence),
        evidence=(*evidence, *(sentences.base_rate(found, label) for found, label in explained)),
        series={finding.name: finding.value for finding in findings},
        shares=next((finding.shares for finding in findings if finding.name == SHARES), {}),
    )


def find_shares(
    days: Sequence[Watched], known: Known, config: WatchConfig, alarmed: Collection[str] = ()
) -> Finding | None:
    """Follow the shares of all labels that are watched to the last day; None when there is none to show.

    The value is the share of the label that moved most.
    """
    nights = [day.shares for day in days]
    last = max((place for place, shares in enumerate(nights) if shares is not None), default=None)
    if last is None:
        return None
    reference, sides = known.reference.summary, known.space.sides
    baseline = series.shares(reference, reference, sides) if known.is_baseline else None
    tolerance = tolerances(config)[SHARES]
    verdicts = detector.follow_together(nights, baseline, tolerance, limit(config))
    found, shares = verdicts[last], nights[last]
    assert found is not None and shares is not None  # noqa: S101 - that place has shares
    if last != len(days) - 1 and not found.is_standing:
        return None
    side, since = found.leading, found.since if found.evidence > 1 else None
    verdict = replace(found.of_leading(), is_alarm=found.is_standing and SHARES not in alarmed)
    explained, change = None, 0.0
    if since is not None:
        change = _mean([one.point(side) for one in nights[since:] if one is not None]) - verdict.expected
        if found.is_standing:
            explained = _explained(days, since, known, sides[side])
    is_known = math.isfinite(verdict.expected)
    expected = shares.interval(side, verdict.expected, verdict.expected_variance) if is_known else None
    begun = None if since is None else days[since].date
    names = [known.space.names[column] for column in sides]
    told = _rounded(shares.own(side), expected, verdict, begun, config)
    return Finding(
        name=SHARES,
        value=replace(told, label=names[side], moved=tuple(names[one] for one in found.moved)),
        change=change,
        tolerance=tolerance(verdict.expected) if is_known else math.inf,
        explained=explained,
        shares=_told(shares, found, names, config),
    )


def _told(shares: Shares, found: Together, names: Sequence[str], config: WatchConfig) -> dict[str, Share]:
    """Write the shares of the largest labels and of those that moved, largest first."""
    order = shares.values.argsort(kind="stable")[::-1].tolist()
    chosen = {*order[:MOST_SHARES], *found.moved, found.leading}
    told = {}
    for side in [one for one in order if one in chosen]:
        own, mean = shares.own(side), float(found.expected[side])
        expected = shares.interval(side, mean, 0.0).value if math.isfinite(mean) else None
        told[names[side]] = Share(
            value=round(own.value, 6),
            low=round(own.low, 6),
            high=round(own.high, 6),
            expected=None if expected is None else round(expected, 6),
            evidence=_evidence(float(found.each[side]), config),
        )
    return told


def _explained(days: Sequence[Watched], since: int, known: Known, label: int) -> Explained | None:
    """Explain the scores since a change by the shares of the labels; None without texts on either side of it."""
    start = [known.reference.summary] if known.is_baseline else []
    before = [*start, *(day.summary for day in days[:since] if day.summary)]
    after = [day.summary for day in days[since:] if day.summary]
    if not sum(one.texts for one in before) or not sum(one.texts for one in after):
        return None
    first, second = (_total(part) for part in (before, after))
    return attribution.explain(first, second, known.reference.cells, label)


def find(
    name: str, days: Sequence[Watched], known: Known, config: WatchConfig, alarmed: Collection[str] = ()
) -> Finding | None:
    """Follow one series of content or quality to the last day; None when it has no value yet.

    The quality series keep their last value; a nightly series without one on the last day is shown only while its alarm
    stands. Answers may come late and older nights be backfilled, so an alarm is raised on the first night that knows of
    it, whichever night passed the limit.
    """
    values = [day.points.get(name) for day in days]
    places = [place for place, point in enumerate(values) if point is not None and math.isfinite(point.value)]
    if not places:
        return None
    baseline = _baseline(known.reference).get(name) if known.is_baseline else None
    tolerance = tolerances(config)[name]
    verdicts = detector.follow(values, baseline, tolerance, limit(config))
    last, point = verdicts[places[-1]], values[places[-1]]
    assert last is not None and point is not None  # noqa: S101 - that place has a point
    if name not in QUALITY and places[-1] != len(days) - 1 and not last.is_standing:
        return None

    last = replace(last, is_alarm=last.is_standing and name not in alarmed)
    since = last.since if last.evidence > 1 else None
    change = _mean([later for later in values[since:] if later]) - last.expected if since is not None else 0.0
    is_known = math.isfinite(last.expected)
    interval = BY_NAME[name].interval(point.value, point.variance, point.degrees)
    expected = BY_NAME[name].interval(last.expected, last.expected_variance) if is_known else None
    return Finding(
        name=name,
        value=_rounded(interval, expected, last, None if since is None else days[since].date, config),
        change=change,
        tolerance=tolerance(last.expected) if is_known else math.inf,
    )


def _baseline(reference: Reference) -> dict[str, Point]:
    """Return what the reference says of the nightly series but for the shares."""
    unknown = series.unknown(reference.tokens) if reference.tokens else None
    return series.points(reference.summary, reference) | ({UNKNOWN: unknown} if unknown else {})


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


def _total(summaries: Sequence[Summary]) -> Summary:
    """Add up summaries, at least one."""
    return sum(summaries[1:], summaries[0])


def _mean(points: Sequence[Point]) -> float:
    """Average points by their texts."""
    mean = Baseline()
    for point in points:
        mean = mean.plus(point.value, 1 / point.texts)
    return float(mean.mean)


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
        evidence=_evidence(verdict.evidence, config),
        since=since,
        is_alarm=verdict.is_alarm,
        is_standing=verdict.is_standing,
    )


def _evidence(found: float, config: WatchConfig) -> float:
    """Return evidence as people read it: 1 and more is an alarm."""
    return float(f"{min(found / limit(config), 1e9):.6g}")
