"""Run the step watch: judge a night by those before it, and leave the verdict in the store."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from understudy.errors import BadInput
from understudy.reports import watch as pages
from understudy.reports.watch import sentences
from understudy.review import samples
from understudy.runtime.shell import In, Out, Result
from understudy.stats.drift import series
from understudy.stats.drift.series import Point
from understudy.stats.drift.summary import Reference, Summary
from understudy.steps.watch import nightly, outlets, quality, rules, testsets
from understudy.steps.watch.config import WatchConfig
from understudy.steps.watch.nightly import Look
from understudy.steps.watch.rules import Watched
from understudy.store import codecs, layout, manifests, names, segments, watch_records
from understudy.store.manifests import Manifest
from understudy.store.predictions import FORGOTTEN
from understudy.store.storage import Store, prepare_store, update
from understudy.store.watch_records import FORMAT, PAGE, Night, Quality
from understudy.task.card import Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.settings import NO_OVERRIDES, Overrides


def run(
    card: In,
    store: str,
    watched: Out,
    page: Out,
    date: str = "",
    newest_whole: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Say whether the model may go on: fine, look or retrain, with the reason and what it rests on.

    A night is judged once: its record in the store stays as it is, and a re-run shows the same. On a day without a
    night, the newest night is shown again with what people have answered since.

    Args:
        card: snapshot of the task card.
        store: folder or s3://bucket/prefix that holds the night's predictions, and gets watch/date=<night>/.
        watched: series.json, documents.jsonl for a search index, understudy.prom for Prometheus, quality.json.
        page: the watch as one HTML page.
        date: the night, YYYY-MM-DD; empty for today's in UTC.
        newest_whole: take the newest night up to the date that is labelled whole, for a run beside one that goes on;
            without it, a night of this date that is not labelled whole is an error.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics texts, refused, and value and evidence of each series; parameters verdict, reason, date and webhook
        ("sent", "failed" or "none").

    Raises:
        BadInput: the night is not labelled whole, there is no night yet, the baseline begins after the newest one, or
            the webhook's address is none.
        StorageError: the night's shards or segments do not hold the rows that it took.
    """
    outlets.webhook_url()
    task = load_card(card)
    config = task.settings(overrides).of(WatchConfig)
    keep, day = prepare_store(store), names.night_of(date)
    judged = watch_records.read_nights(keep)
    config = rules.for_day(config, day, newest=max([day, *(night.date for night in judged)]))
    past = [night for night in judged if night.date <= day]

    answered = samples.read_answered(keep, day, LabelSpace.of(task))
    testsets.make_due(keep, task, answered, day, config.min_test_texts)
    measured = quality.measured(keep, task, answered, day, testsets.read_all(keep, day))
    quality.put(keep, measured)

    wanted, running = _newest_whole(keep, day, past) if newest_whole else (day, [])
    night = _judged(keep, task, config, wanted, past, measured)
    shown = [*(other for other in past if other.date != night.date), night]
    html = pages.page(shown[-config.page_nights :], measured)

    _write(watched, page, night, measured, html)
    webhook = _put(keep, night, html)
    later = [other for other in judged if other.date > night.date]
    _show_newest(keep, task, config, day, [*shown, *later], html)

    stands_in = f"; of {night.date}, for these are not labelled whole yet: {', '.join(sorted(running))}"
    figures: dict[str, float] = {"texts": night.texts, "refused": sum(night.refused.values())}
    for name, value in night.series.items():
        figures |= {name: value.value, f"{name}_evidence": value.evidence}
    verdict = {"verdict": night.verdict, "reason": night.reason, "date": night.date, "webhook": webhook}
    headline = f"{night.verdict}: {night.reason}{stands_in if running else ''}"
    if newest_whole and (worth := sentences.by_people(measured)):  # of a week: a night has no answers of its own
        headline = f"{headline.removesuffix('.')}. {worth}"
    return Result(headline, figures, verdict)


def _newest_whole(store: Store, day: str, past: Sequence[Night]) -> tuple[str, list[str]]:
    """Return the newest night that is judged or labelled whole, and the newer ones that are not; else the day."""
    judged, running = {night.date for night in past}, list[str]()
    for date in segments.begun(store, day):
        if date in judged or segments.is_whole(store, manifests.read_manifest(store, date)):
            return date, running
        running.append(date)
    return day, []


def _judged(store: Store, card: Card, config: WatchConfig, day: str, past: Sequence[Night], measured: Quality) -> Night:
    """Judge a night that was not judged yet; on a day without a night, take the newest."""
    is_judged = bool(past) and past[-1].date == day
    manifest = None if is_judged else manifests.find_manifest(store, day)
    if manifest is None:
        if past:
            return past[-1]
        raise BadInput(
            f"A watch must have a night to judge, got none up to {day} ({store.locate(manifests.manifest_key(day))}). "
            "Run the nightly pipeline first."
        )
    return _judge(store, card, config, manifest, past, measured)


def _judge(
    store: Store, card: Card, config: WatchConfig, manifest: Manifest, past: Sequence[Night], measured: Quality
) -> Night:
    """Look at a night, and judge it by the nights and samples of its bundle."""
    alike = [night for night in past if night.version == manifest.bundle]
    of_bundle, settings = nightly.reference_of(store, manifest.bundle)
    first = next((night.reference for night in alike if night.reference), None)
    reference = of_bundle or (Reference.of_record(first) if first else None)
    seen = nightly.look(store, manifest, reference, config.max_texts)
    days = [day for day in _days(alike, seen, manifest, measured) if day.date >= config.baseline_from]
    is_baseline = of_bundle is not None and not config.baseline_from
    known = rules.Known(space=seen.space, reference=seen.reference, is_baseline=is_baseline)
    refused = sum(rows for reason, rows in seen.refused.items() if reason != FORGOTTEN)
    standing = {name for name, value in alike[-1].series.items() if value.is_standing} if alike else set()
    promised = (settings.get("cascade") or {}).get("max_missed")
    judged = rules.judge(days, known, (refused, seen.labelled_rows + refused), config, standing, promised)
    return Night(
        format=FORMAT,
        date=manifest.date,
        card=card.name,
        version=manifest.bundle,
        generation=manifest.generation,
        is_rehearsal=bool(settings["is_rehearsal"]),
        labels=manifest.labels,
        positive_label=manifest.positive_label,
        texts=seen.texts,
        looked_at=seen.looked_at,
        refused=seen.refused,
        verdict=judged.verdict,
        reason=judged.reason,
        evidence=judged.evidence,
        series=judged.series,
        shares=judged.shares,
        points=_points(seen),
        summary=seen.summary.as_record(),
        reference=seen.reference.as_record() if seen.is_own_reference else None,
        words=seen.words if judged.verdict != rules.FINE else (),
        settings=asdict(config),
        quality=quality.key_of(measured),
    )


def _days(alike: Sequence[Night], seen: Look, manifest: Manifest, measured: Quality) -> list[Watched]:
    """Put nights and samples of one bundle in order, oldest first."""
    points: dict[str, dict[str, Point]] = {night.date: dict(night.points) for night in alike}
    points[manifest.date] = _points(seen)
    for sample in measured.samples:
        if sample["version"] == manifest.bundle:
            points.setdefault(sample["date"], {}).update(quality.points(sample))
    summaries = {night.date: Summary.of_record(night.summary) for night in alike} | {manifest.date: seen.summary}
    return [_watched(day, points[day], summaries.get(day), seen) for day in sorted(points)]


def _watched(day: str, points: Mapping[str, Point], summary: Summary | None, seen: Look) -> Watched:
    shares = series.shares(summary, seen.reference.summary, seen.space.sides) if summary else None
    return Watched(date=day, points=points, shares=shares, summary=summary)


def _points(seen: Look) -> dict[str, Point]:
    """Return the night's points whose variance is known."""
    points = series.points(seen.summary, seen.reference)
    points |= {series.MISSED: seen.missed} if seen.missed else {}
    points |= {series.UNKNOWN: seen.unknown} if seen.unknown else {}
    return {name: point for name, point in points.items() if math.isfinite(point.unit_variance)}


def _write(folder: Path, page: Path, night: Night, measured: Quality, html: str) -> None:
    """Write the night, the quality and the page to where the pipeline shows them."""
    folder.mkdir(parents=True)
    for key, data in _files(night).items():
        (folder / PurePosixPath(key).name).write_bytes(data)
    (folder / "quality.json").write_bytes(measured.as_json())
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")


def _files(night: Night) -> dict[str, bytes]:
    """Return what is kept of a night, by key; series.json last: with it the night is judged."""
    return {
        layout.WATCH_METRICS.key(day=night.date): outlets.prometheus(night).encode(),
        layout.WATCH_DOCUMENTS.key(day=night.date): codecs.as_lines(outlets.documents(night)),
        layout.WATCH_SERIES.key(day=night.date): watch_records.written(night),
    }


def _put(store: Store, night: Night, html: str) -> str:
    """Leave the night in the store, then tell who wants to know; return whether the webhook was sent."""
    for key, data in _files(night).items():
        store.put_if_absent(key, data)
    # after the record, which says what is on it: a page without one could not be made again by whoever erases texts
    store.put_if_absent(watch_records.page_key(night.date), html.encode())
    if night.verdict == rules.RETRAIN:  # after the record: one that is judged anew after a kill may say otherwise
        store.put_if_absent(layout.RETRAIN.key(day=night.date), codecs.as_json(outlets.trigger(night)))
    return _tell(store, night, store.locate(watch_records.page_key(night.date)))


def _tell(store: Store, night: Night, report: str) -> str:
    """Call the webhook for a night with an alarm, until it took the message once."""
    url, key = outlets.webhook_url(), layout.WATCH_WEBHOOKS.key(day=night.date)
    if not url or not any(value.is_alarm for value in night.series.values()) or store.read_tagged(key) is not None:
        return "none"
    content = outlets.message(night, report)
    if not outlets.call(url, content):
        return "failed"
    store.put_if_absent(key, codecs.as_json(content))
    return "sent"


def _show_newest(store: Store, card: Card, config: WatchConfig, day: str, judged: Sequence[Night], html: str) -> None:
    """Let watch/page.html and Prometheus' file be of the newest night, also when an older one is backfilled.

    Args:
        store: gets the page.
        card: for the labels of people's answers.
        config: settings.
        day: of this run.
        judged: all nights, oldest first.
        html: page of this run's day, which serves where no day is newer.
    """
    if config.prometheus_file:
        outlets.write_prometheus(judged[-1], Path(config.prometheus_file))
    newest = max(day, judged[-1].date, quality.newest_day(store))
    if newest > day:
        answered = samples.read_answered(store, newest, LabelSpace.of(card))
        measured = quality.measured(store, card, answered, newest, testsets.read_all(store, newest))
        html = pages.page(judged[-config.page_nights :], measured)
    update(store, PAGE, lambda _: html.encode(), "The watch's newest page")
