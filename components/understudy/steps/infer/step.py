"""The step infer: read one shard of a night, score it, and put it into the store segment by segment."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from understudy.data.arrivals import block_rows, look, next_manifest, read_range, require_under
from understudy.data.listing import told
from understudy.data.rows import Refusal, Row
from understudy.errors import BadInput, StorageError
from understudy.model.scoring import Bundle
from understudy.progress import Track, track
from understudy.runtime.shell import In, Out, Result
from understudy.steps.infer import rules
from understudy.steps.infer.config import InferConfig
from understudy.steps.infer.rules import Known, Segment, Tally
from understudy.store import codecs, layout, manifests, registry, tombstones
from understudy.store.folder import FolderStore
from understudy.store.manifests import Manifest, Range
from understudy.store.segments import Part, ShardRecord, find_record, parse
from understudy.store.storage import Beaten, Store, contend, prepare_store, update
from understudy.store.tombstones import Forgotten
from understudy.task.card import load_card
from understudy.task.sections import CascadeConfig
from understudy.task.settings import NO_OVERRIDES, Overrides

SUMMARY = "summary.json"
MOST = 10**12


class Limits(BaseModel):
    """By what a shard is cut into segments, as its first worker was given it: `manifests/date=<night>/<shard>.json`."""

    model_config = ConfigDict(strict=True, frozen=True)
    texts_per_segment: int = Field(ge=1, le=MOST)
    chars_per_segment: int = Field(ge=1, le=MOST)
    max_chars: int = Field(ge=1, le=MOST)


@dataclass(frozen=True, slots=True)
class Job:
    """One shard, and all that is needed to label it."""

    manifest: Manifest
    shard: int
    bundle: Bundle
    config: InferConfig
    checked_share: float
    store: Store

    @property
    def name(self) -> str:
        """The shard's name, "<date>/<two digits>"."""
        return self.manifest.shard_names[self.shard]

    @property
    def size(self) -> int:
        """Rows of the shard, by the night's manifest."""
        return sum(part.rows for part in self.manifest.shards[self.shard])

    def rows(self) -> Iterator[Row | Refusal]:
        """Read the shard's rows, in order; `read_range` sees to it that each range gives what the manifest counts."""
        for part in self.manifest.shards[self.shard]:
            about, consumed = self.manifest.objects[part.object], self.manifest.watermark[part.object]
            yield from read_range(part, about, consumed, self.config.max_chars)


def run(
    predictions: Out,
    card: In | None = None,
    store: str = "",
    shard: str = "",
    source: str = "",
    bundle: In | None = None,
    texts: str = "",
    date: str = "",
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Label one shard of a night, or, with --bundle and --texts, a source of texts outside of any night.

    Every text gets a prediction or is refused with its reason. What is done goes to the store as it is done: a worker
    that is killed goes on where it stopped, and of two on the same shard each segment is kept once. A text that was
    scored by the same bundle is not scored again. A text that somebody asks to forget meanwhile is gone when the worker
    ends; until then it may stand in a segment. A text too long for the model is read in windows of max_length
    tokens, one after another; its score is the mean of theirs, weighted by their tokens.

    Args:
        predictions: summary.json; with --bundle also the segments, in the folders predictions and refusals.
        card: the card as the night uses it; with --bundle, the bundle's own.
        store: folder or s3://bucket/prefix that holds the night's manifest and bundle, and gets the predictions.
        shard: name of the shard, <date>/<two digits>.
        source: the texts that the night was begun on, as the step shard was given them: what the manifest in the store
            names must lie there.
        bundle: bundle that labels `texts`, published or not.
        texts: texts with the columns id and text, and group and time where there are any: CSV, JSONL or Parquet; a
            file, a folder or an s3:// address.
        date: written beside the predictions of `texts`, YYYY-MM-DD; empty for today's in UTC.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics texts, positives, refused and scored; settled by the first stage, of these checked by the student too,
        and of these missed: the student calls them positive; unread_times where there are any.

    Raises:
        BadInput: the arguments name neither a shard of a night nor a bundle and texts.
        BadArtifact: the bundle is corrupt, or its files are not those that were published.
        BadData: the texts have changed since the night was begun, or cannot be read.
        StorageError: what was read, or what stands of an earlier try, is not as many rows as the night counts.
    """
    _require_one_form(card, store, (shard, source), bundle, texts)
    predictions.mkdir(parents=True)
    if bundle is not None:
        jobs = _jobs_outside(bundle, texts, manifests.night_of(date), FolderStore(predictions), overrides)
    else:
        assert card is not None  # noqa: S101 - _require_one_form has seen to it
        jobs = [_job(card, prepare_store(store, must_exist=True), shard, source, overrides)]
    total = Tally()
    for job in jobs:
        _add(total, label_shard(job))
    manifest = jobs[0].manifest
    done = _told(jobs[0] if len(jobs) == 1 else None, total, manifest, predictions)
    if bundle is not None and manifest.passed_over:  # of a night, the step shard has said it
        beside = told(manifest.passed_over_names, manifest.passed_over)
        return replace(done, headline=f"{done.headline}; {beside}")
    return done


def label_shard(job: Job) -> Tally:
    """Label a shard that is not complete yet, and put its record when it is.

    A text that somebody asks to forget meanwhile may be written until the shard's end; what stands is then gone over
    once more, before the worker ends. A worker that is killed before that leaves it to the one that goes on.
    """
    if (told := _complete(job, tombstones.read(job.store))) is not None:
        return told
    begun, known = _as_begun(job), Known(_remembered(job))

    def label() -> Tally:
        forgotten = tombstones.read(job.store)
        tally = _label_segments(begun, known, forgotten)
        if tombstones.read(job.store) != forgotten:
            raise Beaten
        return tally

    return contend(label, "A shard's record", job.store.locate(manifests.shard_key(job.manifest, job.shard)))


def _complete(job: Job, forgotten: Forgotten) -> Tally | None:
    """Return what a shard's record says; None where there is none, or where its segments are not what it says."""
    record = find_record(job.store, manifests.shard_key(job.manifest, job.shard))
    if record is None or record.read_rows != job.size:
        return None
    return _tally_of(record) if all(_stands(job.store, part, forgotten) for part in record.segments) else None


def _stands(store: Store, part: Part, forgotten: Forgotten) -> bool:
    found = store.read_tagged(part.key)
    if found is None or hashlib.sha256(found.data).hexdigest() != part.sha256:
        return False
    return not forgotten.covers(parse(found.data, store.locate(part.key))).any() if forgotten.hashes else True


def _as_begun(job: Job) -> Job:
    """Take the limits of segments from whoever began the shard: with others, segments would hold other rows."""
    key = manifests.limits_key(job.manifest, job.shard)
    job.store.put_if_absent(key, codecs.as_json({name: getattr(job.config, name) for name in Limits.model_fields}))
    begun = codecs.read_as(Limits, job.store.read(key), job.store.locate(key))
    return replace(job, config=replace(job.config, **begun.model_dump()))


def _label_segments(job: Job, known: Known, forgotten: Forgotten) -> Tally:
    """Label what no segment holds yet, and put what the shard scored and its record."""
    tally, written, scored = Tally(), [], []
    with track(job.size, "infer: texts labelled") as progress:
        for part in rules.segments(job.rows(), job.config.texts_per_segment, job.config.chars_per_segment):
            segment = rules.without_forgotten(part, forgotten)
            table, about = _label(job, segment, known, forgotten, tally)
            written.append(about)
            scored.append(table.select(rules.SCORED))
            _count(tally, segment, table, job, progress)
    known_answers, record = codecs.as_parquet(pl.concat(scored)), codecs.as_json(_record(job, tally, written))
    update(job.store, manifests.scored_key(job.manifest, job.shard), lambda _: known_answers, "What a shard scored")
    update(job.store, manifests.shard_key(job.manifest, job.shard), lambda _: record, "A shard's record")
    return tally


def _label(
    job: Job, segment: Segment, known: Known, forgotten: Forgotten, tally: Tally
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return a segment's predictions as the store holds them, and what the shard's record says of them."""
    key = manifests.prediction_key(job.manifest, job.shard, segment.index)
    refusals = manifests.refusal_key(job.manifest, job.shard, segment.index)
    standing = _without(job.store, key, forgotten, parse)
    tally.kept += len(standing[0]) if standing else 0
    table, data = standing or _put_segment(job, segment, known, forgotten, tally)
    if forgotten.hashes:
        _without(job.store, refusals, forgotten, _read_refused)
    if len(table) != len(segment.rows) and tombstones.read(job.store) == forgotten:  # else it is gone over again
        raise StorageError(
            f"A segment must hold each text that its night counts, got {len(table):,} of {len(segment.rows):,} "
            f"({job.store.locate(key)}). Delete it, and run the night again."
        )
    return table, {"key": key, "rows": len(table), "sha256": hashlib.sha256(data).hexdigest()}


def _put_segment(
    job: Job, segment: Segment, known: Known, forgotten: Forgotten, tally: Tally
) -> tuple[pl.DataFrame, bytes]:
    """Label a segment and put it; when another worker on this shard was first, its segment stands."""
    key = manifests.prediction_key(job.manifest, job.shard, segment.index)
    data = codecs.as_parquet(_predict(job, segment, known, tally))
    if segment.refusals:
        refusals = manifests.refusal_key(job.manifest, job.shard, segment.index)
        job.store.put_if_absent(refusals, codecs.as_parquet(rules.refused(segment.refusals)))

    def write() -> tuple[pl.DataFrame, bytes]:
        job.store.put_if_absent(key, data)
        if (standing := _without(job.store, key, forgotten, parse)) is None:
            raise Beaten
        return standing

    return contend(write, "A segment of predictions", job.store.locate(key))


def _without(
    store: Store, key: str, forgotten: Forgotten, read: Callable[[bytes, str], pl.DataFrame]
) -> tuple[pl.DataFrame, bytes] | None:
    """Read a segment, and write it anew without what was to be forgotten after it was put; None when there is none."""

    def write() -> tuple[pl.DataFrame, bytes] | None:
        found = store.read_tagged(key)
        if found is None:
            return None
        table = read(found.data, store.locate(key))
        kept = forgotten.without(table)
        if len(kept) == len(table):
            return table, found.data
        data = codecs.as_parquet(kept)
        if not store.compare_and_swap(key, data, found.tag):
            raise Beaten
        return kept, data

    return contend(write, "A segment", store.locate(key))


def _predict(job: Job, segment: Segment, known: Known, tally: Tally) -> pl.DataFrame:
    texts = [str(row.cells["text"]) for row in segment.rows]
    contents = [rules.content_of(text) for text in texts]
    answered, scored = rules.answers(job.bundle, texts, contents, known)
    tally.scored += scored
    manifest = job.manifest
    about = {"generation": manifest.generation, "date": manifest.date, "scored_at": manifest.created}
    return rules.predicted(segment.rows, contents, answered, job.bundle, about)


def _job(card: Path, store: Store, shard: str, source: str, overrides: Overrides) -> Job:
    night, _, number = shard.partition("/")
    manifest = manifests.read_manifest(store, manifests.night_of(night))
    if shard not in manifest.shard_names:
        raise BadInput(
            f"A shard must be one of {manifest.shard_names[0]} to {manifest.shard_names[-1]}, got '{shard}' (--shard)."
        )
    settings = load_card(card).settings(overrides)
    config = settings.of(InferConfig)
    index = int(number)
    where = store.locate(manifests.manifest_key(manifest.date))
    given = manifests.source_on(source, manifest.date)
    require_under((part.object for part in manifest.shards[index]), given, where)
    bundle = Bundle.open(registry.fetch_bundle(store, manifest.bundle))
    suited = _suited(bundle, config, manifest.shards[index])
    return Job(manifest, index, suited, config, settings.of(CascadeConfig).checked_share, store)


def _suited(bundle: Bundle, config: InferConfig, ranges: Iterable[Range]) -> Bundle:
    """Run the bundle with the settings that suit this machine and so many texts."""
    return bundle.tuned(sum(part.rows for part in ranges), config.threads, config.batch_tokens)


def _jobs_outside(folder: Path, texts: str, night: str, store: Store, overrides: Overrides) -> list[Job]:
    """Make the jobs that label texts outside of any night; they write to a folder of their own."""
    card = load_card(folder)
    settings = card.settings(overrides)
    config, size = settings.of(InferConfig), settings.value("shard.texts_per_shard")
    bundle = Bundle.open(folder)
    about = {
        "date": night,
        "created": f"{night}T00:00:00Z",
        "source": texts,
        "card": card.name,
        "bundle": bundle.version,
        "generation": 0,
        "labels": bundle.labels,
        "positive_label": bundle.positive_label,
    }
    looked = look(texts, {}, block_rows(size))
    manifest = next_manifest(None, looked, size, about)
    suited = _suited(bundle, config, chain.from_iterable(manifest.shards))
    share = settings.of(CascadeConfig).checked_share
    return [Job(manifest, number, suited, config, share, store) for number in range(len(manifest.shards))]


def _require_one_form(card: Path | None, store: str, night: tuple[str, str], bundle: Path | None, texts: str) -> None:
    is_night = bool(card and store and all(night) and not bundle and not texts)
    is_outside = bool(bundle and texts and not store and not any(night))
    if not is_night and not is_outside:
        raise BadInput(
            "What to label must be --card, --store, --shard and --source, or --bundle and --texts, got another set of "
            "options. Give one of the two."
        )


def _remembered(job: Job) -> pl.DataFrame:
    """Read what the same bundle scored in other nights, the newest first, as much as is to be remembered."""
    most = job.config.remembered_texts
    own = f"/date={job.manifest.date}/"
    listed = job.store.list(layout.SCORED.prefix(version=job.manifest.bundle)) if most else []
    keys = [key for key in listed if own not in key]
    parts, rows = [rules.KEYED.to_frame()], 0
    for key in reversed(keys):
        if rows >= most:
            break
        where = job.store.locate(key)
        with codecs.of_cache():
            cached = rules.scored(codecs.read_table(job.store.read(key), where), where)
        parts.append(rules.keyed(cached.head(most - rows)))
        rows += len(parts[-1])
    return pl.concat(parts)


def _count(tally: Tally, segment: Segment, table: pl.DataFrame, job: Job, progress: Track) -> None:
    tally.texts += len(table)
    tally.positives += int((table["label"] == job.bundle.positive_label).sum())
    settled, checked, missed = rules.checked(job.bundle, table, job.checked_share)
    tally.settled += settled
    tally.checked += checked
    tally.missed += missed
    tally.refused.update(refusal.reason for refusal in segment.refusals)
    tally.unread_times += rules.unread_times(table["time"])
    progress.advance(len(table) + len(segment.refusals))


def _record(job: Job, tally: Tally, written: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": manifests.FORMAT,
        "shard": job.name,
        "bundle": job.manifest.bundle,
        "rows": tally.texts,
        "positives": tally.positives,
        "refused": dict(sorted(tally.refused.items())),
        "settled": tally.settled,
        "checked": tally.checked,
        "missed": tally.missed,
        "unread_times": tally.unread_times,
        "segments": written,
    }


def _tally_of(record: ShardRecord) -> Tally:
    tally = Tally(
        texts=record.rows,
        positives=record.positives,
        kept=record.rows,
        settled=record.settled,
        checked=record.checked,
        missed=record.missed,
        unread_times=record.unread_times,
    )
    tally.refused.update(record.refused)
    return tally


def _add(total: Tally, tally: Tally) -> None:
    total.texts += tally.texts
    total.positives += tally.positives
    total.scored += tally.scored
    total.kept += tally.kept
    total.settled += tally.settled
    total.checked += tally.checked
    total.missed += tally.missed
    total.unread_times += tally.unread_times
    total.refused.update(tally.refused)


def _told(job: Job | None, total: Tally, manifest: Manifest, folder: Path) -> Result:
    metrics = {
        "texts": total.texts,
        "positives": total.positives,
        "refused": total.refused.total(),
        "scored": total.scored,
        "settled": total.settled,
        "checked": total.checked,
        "missed": total.missed,
        **({"unread_times": total.unread_times} if total.unread_times else {}),
    }
    summary = {"date": manifest.date, "bundle": manifest.bundle, "texts": total.texts, "positives": total.positives}
    summary |= {"refused": dict(sorted(total.refused.items()))}
    (folder / SUMMARY).write_bytes(codecs.as_json(summary))
    name = job.name if job else manifest.date
    return Result(rules.headline(name, total, manifest.positive_label), metrics, {"shard": name})


def _read_refused(data: bytes, where: str) -> pl.DataFrame:
    table = codecs.read_table(data, where)
    if lacking := {"id", "group"} - set(table.columns):
        raise codecs.unreadable("refused rows with ids and groups", f"no {', '.join(sorted(lacking))}", where)
    return table
