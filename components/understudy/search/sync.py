"""Bring an index up to the store: every segment of predictions that it lacks, in the order in which they were made.

The verdict comes before the marks: a segment of which documents were refused is noted as added, and a new index takes
the old one's place, only once the run as a whole was accepted. Whoever runs it again finds what is lacking.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from understudy.errors import IndexFailed
from understudy.progress import say, track
from understudy.search import dead_letters
from understudy.search.backend import Index, Letter, Taken
from understudy.search.documents import documents
from understudy.store import layout, tombstones
from understudy.store.segments import ShardRecord, find_record, is_segment, parse, record_key, require_rows
from understudy.store.storage import Store
from understudy.text.numbers import count

SEGMENTS_A_LISTING = 100


@dataclass(frozen=True, slots=True)
class Followed:
    """What was done.

    Attributes:
        segments: read.
        documents: sent.
        written: of these, now in the index as they were sent.
        older: of these, left out, for the index holds a newer answer.
        refused: of these, dead letters now.
        first: the first of the dead letters, of this run or else of earlier ones.
        waiting: dead letters of earlier runs.
        held: documents in the index; counted only where dead letters wait.
        unsettled: segments that had documents refused: noted as added once the run is accepted.
    """

    segments: int = 0
    documents: int = 0
    written: int = 0
    older: int = 0
    refused: int = 0
    first: Letter | None = None
    waiting: int = 0
    held: int = 0
    unsettled: tuple[str, ...] = ()


Verdict = Callable[[Followed], None]


def accept(_: Followed) -> None:
    """Take every run for a good one."""


def list_segments(store: Store) -> list[str]:
    """List the store's segments of predictions, night by night; what bears another name is said and left out."""
    keys = [key for key in store.list(layout.SEGMENTS.folder) if key.endswith(".parquet")]
    found = [key for key in keys if is_segment(key)]
    if len(found) < len(keys):
        other = next(key for key in keys if not is_segment(key))
        say(f"index: {count(len(keys) - len(found), 'object')} that no night wrote left out: {other[:120]!r}")
    return found


def follow(index: Index, store: Store, card_name: str, require: Verdict = accept) -> Followed:
    """Add the segments that the index lacks; a new index then takes its place.

    Args:
        index: to bring up to the store.
        store: holds the predictions.
        card_name: of the task card.
        require: raises where too much was refused; nothing is noted then, and no index takes another's place.

    Raises:
        IndexFailed: the index cannot be reached or written; what it took stays, and the next try goes on there.
        BadArtifact: a segment is damaged.
        StorageError: a segment does not hold the rows that its shard's record counts.
    """
    lacking = index.missing(list_segments(store))
    return _settled(index, store, send(index, store, card_name, lacking), lacking, require)


def replay(index: Index, store: Store, card_name: str, require: Verdict = accept) -> Followed:
    """Send the dead letters of this index again; what is taken now is no dead letter any more.

    Segments that the index lacks are added first: one that was made anew, with another mapping, is whole before it
    is searched.

    Raises:
        IndexFailed: the index cannot be reached or written.
    """
    lacking = index.missing(list_segments(store))
    sent = set(lacking)  # whole, their dead letters with them
    dead = [segment for segment in dead_letters.list_segments(store, index.key) if segment not in sent]
    added = send(index, store, card_name, lacking)
    again = send(index, store, card_name, dead, is_replay=True)
    return _settled(index, store, _with(added, again), [*lacking, *dead], require)


def _settled(index: Index, store: Store, done: Followed, sent: Sequence[str], require: Verdict) -> Followed:
    """Count the dead letters of earlier runs, have the run accepted, and only then note what it did."""
    left = dead_letters.waiting(store, index.key, set(sent)) if index.can_refuse else []
    if left:
        done = replace(done, waiting=len(left), held=index.count(), first=done.first or left[0])
    require(done)
    for segment in done.unsettled:
        index.settle(segment)
    index.finish()
    return done


def send(index: Index, store: Store, card_name: str, segments: Sequence[str], *, is_replay: bool = False) -> Followed:
    """Send segments, or their dead letters alone, without what must be forgotten; what is refused is a dead letter.

    A listing of the tombstones serves many segments: what somebody asks to forget meanwhile is removed after these.
    """
    done, gone = Followed(), tombstones.read(store)
    dead = set(dead_letters.list_segments(store, index.key)) if index.can_refuse else set()
    records: dict[str, ShardRecord | None] = {}
    with track(len(segments), "index: segments added") as progress:
        for start in range(0, len(segments), SEGMENTS_A_LISTING):
            sent = []
            for segment in segments[start : start + SEGMENTS_A_LISTING]:
                only = {one.id for one in dead_letters.read(store, index.key, segment)} if is_replay else None
                table = _documents(store, card_name, segment, gone, only, records)
                try:
                    taken = _add(index, store, segment, table, only, has_letters=segment in dead)
                except IndexFailed as error:
                    raise _told(error, len(segments) - done.segments) from error
                done = _with(done, taken)
                sent += [] if table is None else [table.select("id", "group")]
                progress.advance(note=f"{done.documents:,} documents")
            gone = _forget_what_was_asked_meanwhile(index, store, gone, sent)
    return done


def _told(error: IndexFailed, left: int) -> IndexFailed:
    """Say how much waits."""
    return IndexFailed(f"{error} {count(left, 'segment')} of predictions wait{'s' * (left == 1)} for the index.")


def _documents(
    store: Store,
    card_name: str,
    segment: str,
    gone: tombstones.Forgotten,
    only: set[str] | None,
    records: dict[str, ShardRecord | None],
) -> pl.DataFrame | None:
    """Return what a segment sends; None when its night's texts are past their retention."""
    table = read_segment(store, segment)
    if table is None:
        return None
    if (key := record_key(segment)) not in records:
        records.clear()
        records[key] = find_record(store, key)
    record = records[key]
    rows = {part.key: part.rows for part in record.segments} if record else {}
    if segment in rows:
        require_rows(table, rows[segment], store.locate(segment), may_lack=bool(gone.hashes))
    chosen = table if only is None else table.filter(pl.col("id").is_in(sorted(only)))
    return documents(gone.without(chosen), card_name, segment)


def _add(
    index: Index,
    store: Store,
    segment: str,
    sent: pl.DataFrame | None,
    only: set[str] | None,
    *,
    has_letters: bool,
) -> Followed:
    taken = Taken() if sent is None else index.add(segment, sent, is_whole=only is None)
    if taken.letters or has_letters:
        dead_letters.keep(store, index.key, segment, taken.letters)
    if sent is None:
        return Followed()
    first = taken.letters[0] if taken.letters else None
    unsettled = (segment,) if taken.letters else ()
    return Followed(1, len(sent), taken.written, taken.older, len(taken.letters), first, unsettled=unsettled)


def read_segment(store: Store, segment: str) -> pl.DataFrame | None:
    """Read a segment of predictions; None when there is none any more.

    Raises:
        BadArtifact: it is damaged.
    """
    found = store.read_tagged(segment)
    return None if found is None else parse(found.data, store.locate(segment))


def _forget_what_was_asked_meanwhile(
    index: Index, store: Store, before: tombstones.Forgotten, sent: Sequence[pl.DataFrame]
) -> tombstones.Forgotten:
    """Remove what `understudy forget` named while the segments were on their way, and return all that it named."""
    now = tombstones.read(store)
    if now != before:
        index.remove([name for table in sent for name in table.filter(now.covers(table))["id"]])
    return now


def _with(done: Followed, more: Followed) -> Followed:
    return replace(
        done,
        segments=done.segments + more.segments,
        documents=done.documents + more.documents,
        written=done.written + more.written,
        older=done.older + more.older,
        refused=done.refused + more.refused,
        first=done.first or more.first,
        unsettled=(*done.unsettled, *more.unsettled),
    )
