"""Bring an index up to the store: every segment of predictions that it lacks, in the order in which they were made."""

import io
from dataclasses import dataclass, replace

import polars as pl

from understudy import forgetting
from understudy.errors import StorageError
from understudy.index import letters
from understudy.index.backend import Index, Letter
from understudy.index.documents import documents
from understudy.progress import track
from understudy.storage import Store


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
    lacking = index.missing(list_segments(store))
    done = Followed()
    with track(len(lacking), "index: segments added") as progress:
        for segment in lacking:
            done = _with(done, add_segment(index, store, card_name, segment))
            progress.advance(note=f"{done.documents:,} documents")
    index.finish()
    return done


def replay(index: Index, store: Store, card_name: str) -> Followed:
    """Send the dead letters again; what is taken now is no dead letter any more.

    Raises:
        IndexFailed: the index cannot be reached or written.
    """
    done = Followed()
    for segment in letters.list_segments(store):
        dead = {letter.id for letter in letters.read(store, segment)}
        done = _with(done, add_segment(index, store, card_name, segment, only=dead))
    index.finish()
    return done


def add_segment(index: Index, store: Store, card_name: str, segment: str, only: set[str] | None = None) -> Followed:
    """Add one segment, without what must be forgotten; what the index refuses becomes dead letters."""
    gone = forgetting.read(store)
    table = read_segment(store, segment)
    if table is None:  # its night's texts are past their retention
        letters.keep(store, segment, [])
        return Followed()
    chosen = table if only is None else table.filter(pl.col("id").is_in(sorted(only)))
    sent = documents(gone.without(chosen), card_name, segment)
    taken = index.add(segment, sent, is_whole=only is None)
    letters.keep(store, segment, taken.letters)
    _forget_what_was_asked_meanwhile(index, store, gone, sent)
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
        raise StorageError(f"A segment must be readable Parquet, got {error} ({where}). Restore it.") from error


def _forget_what_was_asked_meanwhile(
    index: Index, store: Store, before: forgetting.Forgotten, sent: pl.DataFrame
) -> None:
    """Remove what `understudy forget` named while the segment was on its way."""
    now = forgetting.read(store)
    if now != before:
        index.remove(sent.filter(now.covers(sent))["id"].to_list())


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
