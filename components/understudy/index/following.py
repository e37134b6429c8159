"""Bring an index up to the store: every segment of predictions that it lacks, in the order in which they were made."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from understudy import forgetting
from understudy.errors import StorageError
from understudy.index import letters
from understudy.index.backend import Index, Letter, Taken
from understudy.index.documents import documents
from understudy.progress import track
from understudy.storage import Store

SEGMENTS_A_LISTING = 100


@dataclass(frozen=True, slots=True)
class Followed:
    """What was done: segments read, documents sent; of these written, older than what is there, and refused."""

    segments: int = 0
    documents: int = 0
    written: int = 0
    older: int = 0
    refused: int = 0
    first: Letter | None = None


def list_segments(store: Store) -> list[str]:
    """List the store's segments of predictions, night by night."""
    return [key for key in store.list(letters.SEGMENTS) if key.endswith(".parquet")]


def follow(index: Index, store: Store, card_name: str) -> Followed:
    """Add the segments that the index lacks; a new index then takes its place.

    Raises:
        IndexFailed: the index cannot be reached or written; what it took stays, and the next try goes on there.
        StorageError: a segment is damaged.
    """
    done = send(index, store, card_name, index.missing(list_segments(store)))
    index.finish()
    return done


def replay(index: Index, store: Store, card_name: str) -> Followed:
    """Send the dead letters of this index again; what is taken now is no dead letter any more.

    Segments that the index lacks are added first: one that was made anew, with another mapping, is whole before it
    is searched.

    Raises:
        IndexFailed: the index cannot be reached or written.
    """
    dead = letters.list_segments(store, index.key)
    added = send(index, store, card_name, index.missing(list_segments(store)))
    again = send(index, store, card_name, dead, is_replay=True)
    index.finish()
    return _with(added, again)


def send(index: Index, store: Store, card_name: str, segments: Sequence[str], *, is_replay: bool = False) -> Followed:
    """Send segments, or their dead letters alone, without what must be forgotten; what is refused is a dead letter.

    A listing of the tombstones serves many segments: what somebody asks to forget meanwhile is removed after these.
    """
    done, gone = Followed(), forgetting.read(store)
    dead = set(letters.list_segments(store, index.key))
    with track(len(segments), "index: segments added") as progress:
        for start in range(0, len(segments), SEGMENTS_A_LISTING):
            sent = []
            for segment in segments[start : start + SEGMENTS_A_LISTING]:
                only = {one.id for one in letters.read(store, index.key, segment)} if is_replay else None
                table = _documents(store, card_name, segment, gone, only)
                done = _with(done, _add(index, store, segment, table, only, has_letters=segment in dead))
                sent += [] if table is None else [table.select("id", "group")]
                progress.advance(note=f"{done.documents:,} documents")
            gone = _forget_what_was_asked_meanwhile(index, store, gone, sent)
    return done


def _documents(
    store: Store, card_name: str, segment: str, gone: forgetting.Forgotten, only: set[str] | None
) -> pl.DataFrame | None:
    """Return what a segment sends; None when its night's texts are past their retention."""
    table = read_segment(store, segment)
    if table is None:
        return None
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
        letters.keep(store, index.key, segment, taken.letters)
    if sent is None:
        return Followed()
    first = taken.letters[0] if taken.letters else None
    return Followed(1, len(sent), taken.written, taken.older, len(taken.letters), first)


def read_segment(store: Store, segment: str) -> pl.DataFrame | None:
    """Read a segment of predictions; None when there is none any more.

    Raises:
        StorageError: it is damaged.
    """
    found = store.read_tagged(segment)
    if found is None:
        return None
    try:
        return pl.read_parquet(io.BytesIO(found.data))
    except pl.exceptions.PolarsError as error:
        where = store.locate(segment)
        raise StorageError(
            f"A segment must be readable Parquet, got {error} ({where}). Delete it, and run the night again."
        ) from error


def _forget_what_was_asked_meanwhile(
    index: Index, store: Store, before: forgetting.Forgotten, sent: Sequence[pl.DataFrame]
) -> forgetting.Forgotten:
    """Remove what `understudy forget` named while the segments were on their way, and return all that it named."""
    now = forgetting.read(store)
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
    )
