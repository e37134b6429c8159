"""Run the step infer: read one shard of a night, score it, and store it segment by segment."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from understudy.data.listing import told
from understudy.errors import StorageError
from understudy.progress import track
from understudy.runtime.shell import In, Out, Result
from understudy.steps.infer import jobs, rules
from understudy.steps.infer.jobs import Job
from understudy.steps.infer.rules import Known, Segment, Tally
from understudy.store import codecs, layout, manifests, names, tombstones
from understudy.store.folder import FolderStore
from understudy.store.segments import find_record, parse, require_kind
from understudy.store.storage import Beaten, Store, contend, prepare_store, update
from understudy.store.tombstones import Forgotten
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.text.context import COLUMN, seen

SUMMARY = "summary.json"
MOST = 10**12
Stored = tuple[pl.DataFrame, bytes]  # a segment, and its bytes in the store


class Limits(BaseModel):
    """By what a shard is cut into segments, as its first worker was given it: `manifests/date=<night>/<shard>.json`."""

    model_config = ConfigDict(strict=True, frozen=True)
    texts_per_segment: int = Field(ge=1, le=MOST)
    chars_per_segment: int = Field(ge=1, le=MOST)
    max_chars: int = Field(ge=1, le=MOST)
    language: str | None = Field(default=None, max_length=100)  # of the sentences; None for whole texts


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
    tokens, one after another; its score is the mean of theirs, weighted by their tokens. Where ingest.split says so,
    each sentence of a text is labelled by itself, under the text's id with "#" and its number.

    Args:
        predictions: summary.json; with --bundle also the segments, in the folders predictions and refusals.
        card: the card as the night uses it; with --bundle, the bundle's own.
        store: folder or s3://bucket/prefix that holds the night's manifest and bundle, and gets the predictions.
        shard: name of the shard, <date>/<two digits>.
        source: the texts that the night was begun on, as the step shard was given them: what the manifest in the store
            names must lie there.
        bundle: bundle that labels `texts`, published or not.
        texts: texts with the columns id and text, and group and time where there are any: CSV, JSONL or Parquet; a
            file, a folder or an s3:// address. The section columns says what they are called there; without a column
            of ids, each text gets one that is made of it.
        date: written beside the predictions of `texts`, YYYY-MM-DD; empty for today's in UTC.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics texts, positives where a label is looked for, refused and scored; settled by the first stage, of these
        checked by the student too, and of these missed: the student gives them another label; unread_times where there
        are any; where texts are split, texts are sentences and source_texts their texts. summary.json has the texts by
        label.

    Raises:
        BadInput: the arguments name neither a shard of a night nor a bundle and texts.
        BadArtifact: the bundle is corrupt, or its files are not those that were published.
        BadData: the texts have changed since the night was begun, or cannot be read.
        StorageError: what was read, or what stands of an earlier try, is not as many rows as the night counts.
    """
    jobs.require_one_form(card, store, (shard, source), bundle, texts)
    predictions.mkdir(parents=True)
    if bundle is not None:
        shards = jobs.outside(bundle, texts, names.night_of(date), FolderStore(predictions), overrides)
    else:
        assert card is not None  # noqa: S101 - require_one_form has seen to it
        shards = [jobs.of_night(card, prepare_store(store, must_exist=True), shard, source, overrides)]

    total = sum((label_shard(job) for job in shards), start=Tally())

    manifest = shards[0].manifest
    is_split = shards[0].language is not None
    summary = {"date": manifest.date, "bundle": manifest.bundle, "texts": total.texts}
    summary |= {"source_texts": total.source_rows} if is_split else {}
    summary |= {name: dict(sorted(getattr(total, name).items())) for name in ("labels", "refused")}
    (predictions / SUMMARY).write_bytes(codecs.as_json(summary))
    name = shards[0].name if len(shards) == 1 else manifest.date
    headline = rules.headline(name, total, manifest.positive_label, is_split=is_split)
    if bundle is not None and manifest.passed_over:  # of a night, the step shard has said it
        headline += f"; {told(manifest.passed_over_names, manifest.passed_over)}"
    return Result(headline, total.metrics(manifest.positive_label, is_split=is_split), {"shard": name})


def label_shard(job: Job) -> Tally:
    """Label a shard that is not complete yet, and put its record when it is.

    A text that somebody asks to forget meanwhile may be written until the shard's end; what stands is then gone over
    once more, before the worker ends. A worker that is killed before that leaves it to the one that goes on.
    """
    complete = _complete(job, tombstones.read(job.store))
    if complete is not None:
        return complete

    # the limits of whoever began the shard hold: with others, segments would hold other rows
    key = manifests.limits_key(job.manifest, job.shard)
    job.store.put_if_absent(key, codecs.as_json(_limits(job).model_dump(exclude_none=True)))
    limits = codecs.read_as(Limits, job.store.read(key), job.store.locate(key))
    config = replace(job.config, **limits.model_dump(exclude={"language"}))
    begun = replace(job, config=config, language=limits.language)
    known = Known(_remembered(job))

    def label() -> Tally:
        forgotten = tombstones.read(job.store)
        tally = _label_segments(begun, known, forgotten)
        if tombstones.read(job.store) != forgotten:
            raise Beaten
        return tally

    return contend(label, "A shard's record", job.store.locate(manifests.shard_key(job.manifest, job.shard)))


def _limits(job: Job) -> Limits:
    names = Limits.model_fields.keys() - {"language"}
    return Limits(**{name: getattr(job.config, name) for name in names}, language=job.language)


def _complete(job: Job, forgotten: Forgotten) -> Tally | None:
    """Return what a shard's record says; None where there is none, or where its segments are not what it says."""
    record = find_record(job.store, manifests.shard_key(job.manifest, job.shard))
    if record is None or record.read_rows != job.size:
        return None
    for part in record.segments:
        stored = job.store.read_tagged(part.key)
        if stored is None or hashlib.sha256(stored.data).hexdigest() != part.sha256:
            return None
        if forgotten.hashes and forgotten.reaches(parse(stored.data, job.store.locate(part.key))):
            return None
    return Tally.of_record(record)


def _remembered(job: Job) -> pl.DataFrame:
    """Read what the same bundle scored in other nights, the newest first, as much as is to be remembered."""
    space = job.bundle.space
    most = rules.most_remembered(job.config.remembered_texts, space)
    listed = layout.SCORED.listed(job.store, version=job.manifest.bundle) if most else []
    keys = [key for key, fields in listed if fields["day"] != job.manifest.date]
    parts, rows = [rules.keyed_schema(space).to_frame()], 0
    for key in reversed(keys):
        if rows >= most:
            break
        where = job.store.locate(key)
        with codecs.of_cache():
            cached = rules.scored(codecs.read_table(job.store.read(key), where), space, where)
        parts.append(rules.keyed(cached.head(most - rows), space.names))
        rows += len(parts[-1])
    return pl.concat(parts)


def _label_segments(job: Job, known: Known, forgotten: Forgotten) -> Tally:
    """Label what no segment holds yet, and put what the shard scored and its record."""
    tally, parts, scored = Tally(), [], []
    with track(job.size, "infer: texts labelled") as progress:
        for rows in rules.segments(job.rows(forgotten), job.config.texts_per_segment, job.config.chars_per_segment):
            segment = rules.without_forgotten(rows, forgotten)
            if job.language is not None:
                segment = rules.in_sentences(segment, job.language, forgotten)
            table, part, figures = _label(job, segment, known, forgotten)
            parts.append(part)
            scored.append(table.select(rules.scored_columns(job.bundle.space)))
            tally += figures
            progress.advance(figures.source_rows + len(segment.refusals), is_kept=figures.scored == 0)

    about = {"format": manifests.FORMAT, "shard": job.name, "bundle": job.manifest.bundle, "segments": parts}
    said = tally.as_record(is_split=job.language is not None)
    answers, record = codecs.as_parquet(pl.concat(scored)), codecs.as_json({**about, **said})
    update(job.store, manifests.scored_key(job.manifest, job.shard), lambda _: answers, "What a shard scored")
    update(job.store, manifests.shard_key(job.manifest, job.shard), lambda _: record, "A shard's record")
    return tally


def _label(
    job: Job, segment: Segment, known: Known, forgotten: Forgotten
) -> tuple[pl.DataFrame, dict[str, Any], Tally]:
    """Label a segment unless it stands from an earlier try.

    Returns:
        its predictions as the store holds them, what the shard's record says of them, and its figures.
    """
    key = manifests.prediction_key(job.manifest, job.shard, segment.index)
    refusals = manifests.refusal_key(job.manifest, job.shard, segment.index)
    stored, scored = _without(job.store, key, forgotten, parse), 0
    kept = len(stored[0]) if stored else 0
    if stored is None:
        predicted, scored = _predict(job, segment, known)
        if segment.refusals:
            job.store.put_if_absent(refusals, codecs.as_parquet(rules.refused(segment.refusals)))
        stored = _put(job.store, key, codecs.as_parquet(predicted), forgotten)
    if forgotten.hashes:
        _without(job.store, refusals, forgotten, _read_refused)

    table, data = stored
    require_kind(table, len(job.bundle.space), job.store.locate(key), is_many=job.bundle.space.is_many)
    if len(table) != len(segment.rows) and tombstones.read(job.store) == forgotten:  # else it is gone over again
        raise StorageError(
            f"A segment must hold each text that its night counts, got {len(table):,} of {len(segment.rows):,} "
            f"({job.store.locate(key)}). Delete it, and run the night again."
        )
    part = {"key": key, "rows": len(table), "sha256": hashlib.sha256(data).hexdigest()}
    figures = rules.figures(segment, table, job.bundle, job.checked_share)
    return table, part, replace(figures, kept=kept, scored=scored)


def _predict(job: Job, segment: Segment, known: Known) -> tuple[pl.DataFrame, int]:
    """Return a segment's predictions, and how many texts were scored for them."""
    texts = [str(row.cells["text"]) for row in segment.rows]
    read = [seen(row.cells.get(COLUMN), text) for row, text in zip(segment.rows, texts, strict=True)]
    contents = [rules.content_of(text) for text in read]
    answers, scored = rules.answers(job.bundle, read, contents, known)
    manifest = job.manifest
    about = {"generation": manifest.generation, "date": manifest.date, "scored_at": manifest.created}
    table = rules.predicted(segment, contents, answers, job.bundle, about)
    return (table if job.context is None else rules.with_turns(table, segment)), scored


def _put(store: Store, key: str, data: bytes, forgotten: Forgotten) -> Stored:
    """Put a segment; when another worker on this shard was first, its segment stands."""

    def write() -> Stored:
        store.put_if_absent(key, data)
        if (stored := _without(store, key, forgotten, parse)) is None:
            raise Beaten
        return stored

    return contend(write, "A segment of predictions", store.locate(key))


def _without(store: Store, key: str, forgotten: Forgotten, read: Callable[[bytes, str], pl.DataFrame]) -> Stored | None:
    """Read a segment, and write it anew without what was to be forgotten after it was put; None when there is none.

    Nothing is said beforehand in the shard's record, as forgetting does: the worker puts that anew at the shard's end,
    from the segments as they stand, and after a kill before that its hash is no longer the segment's, by which
    `_complete` sends the next worker over the shard again.
    """

    def write() -> Stored | None:
        stored = store.read_tagged(key)
        if stored is None:
            return None
        table = read(stored.data, store.locate(key))
        if not forgotten.reaches(table):
            return table, stored.data
        rest = forgotten.without(table)
        data = codecs.as_parquet(rest)
        if not store.compare_and_swap(key, data, stored.tag):
            raise Beaten
        return rest, data

    return contend(write, "A segment", store.locate(key))


def _read_refused(data: bytes, where: str) -> pl.DataFrame:
    table = codecs.read_table(data, where)
    if lacking := {"id", "group"} - set(table.columns):
        raise codecs.unreadable("refused rows with ids and groups", f"no {', '.join(sorted(lacking))}", where)
    return table
