"""Count in a shard's record what leaves its segments: intended before a segment is written anew, booked once it was.

The record names each segment by its hash. Before a segment is written anew, the record says what it will be and what
the rows that go count. So after a kill it is known what was done; and a segment that is neither what the record names
nor what was intended was altered by others, and is not made right by counting it.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import polars as pl

from understudy.data.times import count_unread
from understudy.errors import BadArtifact
from understudy.model.cascade import FIRST
from understudy.store import codecs, layout, segments
from understudy.store.predictions import FORGOTTEN, count_labels
from understudy.store.segments import Part, Rewrite, ShardRecord
from understudy.store.storage import Beaten, Store, contend, update
from understudy.text.numbers import count
from understudy.text.sentences import text_id_of


@dataclass(frozen=True, slots=True)
class _Counted:
    """What rows count in a shard's record: rows, `source_rows`, `settled` and `unread_times`, and texts by label."""

    numbers: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    def __sub__(self, other: "_Counted") -> "_Counted":
        numbers = Counter(self.numbers)
        numbers.subtract(other.numbers)
        return _Counted(numbers, self.labels - other.labels)


def intend(store: Store, segment: str, before: bytes, after: bytes) -> None:
    """Say in a segment's record what it is about to be; a shard that is not whole has none, and counts for itself.

    A text leaves a segment also where that or the record cannot be read: `book` tells of it.

    Raises:
        StorageError: others keep changing the record.
    """
    where, key = store.locate(segment), segments.record_key(segment)

    def intended(data: bytes | None) -> bytes | None:
        if data is None:
            return None
        record = segments.parse_record(data, store, key)
        gone = _counted(before, where) - _counted(after, where)
        rewrite = Rewrite(before=_digest(before), after=_digest(after), labels=gone.labels, **gone.numbers)
        parts = tuple(_with(part, rewrite) if part.key == segment else part for part in record.segments)
        return data if parts == record.segments else _written(record.model_copy(update={"segments": parts}))

    with suppress(BadArtifact):
        update(store, key, intended, "A shard's record")


def book(store: Store, whole: Collection[str]) -> list[str]:
    """Let every record count what has left its segments.

    Args:
        store: where they lie.
        whole: records that were there before any row went. The others' workers have found the tombstones, and make
            segments and record agree before they end.

    Returns:
        a sentence on each record that is damaged, and one on all segments that others altered.

    Raises:
        StorageError: others keep changing a record.
    """
    altered: list[str] = []
    faults = []
    for key, _ in layout.SHARD_RECORDS.listed(store):
        try:
            altered += _book(store, key) if key in whole else []
        except BadArtifact as error:
            faults.append(str(error))
    if altered:
        faults.append(
            f"A segment must be what its shard's record names, or what forgetting made of it, got "
            f"{count(len(altered), 'other')} ({store.locate(altered[0])}). A night that is running mends it by itself; "
            "else run the night again."
        )
    return faults


def _book(store: Store, key: str) -> list[str]:
    """Let a record count what has left its segments, and return the segments that others altered."""

    def write() -> list[str]:
        found = store.read_tagged(key)
        if found is None:
            return []
        record = segments.parse_record(found.data, store, key)
        lying = [_lying(store, part) for part in record.segments]
        parts = [_booked(part, digest) for part, digest in zip(record.segments, lying, strict=True)]
        altered = [old.key for old, new in zip(record.segments, parts, strict=True) if new is None]
        if altered and store.read_tagged(key) != found:  # who forgets beside this has said what it makes of them
            raise Beaten
        now = tuple(new or old for old, new in zip(record.segments, parts, strict=True))
        if now != record.segments:
            recounted = _recounted(record, now, _gone(record, lying))
            if not store.compare_and_swap(key, _written(recounted), found.tag):
                raise Beaten
        return altered

    return contend(write, "A shard's record", store.locate(key))


def _lying(store: Store, part: Part) -> str:
    """Return the hash of what lies where the segment does; that which the record names where nothing does."""
    found = store.read_tagged(part.key)
    return part.sha256 if found is None else _digest(found.data)


def _way(part: Part, digest: str) -> list[Rewrite] | None:
    """Return the rewrites that lead from what the record names to what lies there; None where none do."""
    by_outcome, way = {rewrite.after: rewrite for rewrite in part.rewrites}, []
    while digest != part.sha256:
        if (rewrite := by_outcome.pop(digest, None)) is None:
            return None
        way.append(rewrite)
        digest = rewrite.before
    return way


def _with(part: Part, rewrite: Rewrite) -> Part:
    """Add what a segment is about to be; one that others altered stays without."""
    if _way(part, rewrite.before) is None or rewrite in part.rewrites:
        return part
    return part.model_copy(update={"rewrites": (*part.rewrites, rewrite)})


def _booked(part: Part, digest: str) -> Part | None:
    """Return what the record says of a segment now; None when others altered it."""
    way = _way(part, digest)
    if way is None:
        return None
    if not way:
        return part
    rest = tuple(rewrite for rewrite in part.rewrites if rewrite.before == digest)  # of another who forgets just now
    rows = max(0, part.rows - sum(rewrite.rows for rewrite in way))
    return part.model_copy(update={"sha256": digest, "rows": rows, "rewrites": rest})


def _gone(record: ShardRecord, lying: Sequence[str]) -> _Counted:
    gone = _Counted()
    for part, digest in zip(record.segments, lying, strict=True):
        for rewrite in _way(part, digest) or ():
            gone.numbers.update(rewrite.model_dump(exclude={"before", "after", "labels"}))
            gone.labels.update(dict(rewrite.labels))
    return gone


def _recounted(record: ShardRecord, parts: tuple[Part, ...], gone: _Counted) -> ShardRecord:
    """Return the record with its segments as they are now; labelled and refused stay all that was read.

    Which of the rows that went the student had checked is not known: no more are said than there still are.
    """
    rows = sum(part.rows for part in parts)
    left = {name: min(rows, max(0, getattr(record, name) - gone.numbers[name])) for name in ("settled", "unread_times")}
    labels = {name: min(rows, max(0, number - gone.labels[name])) for name, number in record.labels.items()}
    took = _labelled_rows_left(record, rows, gone)
    checked = min(record.checked, left["settled"])
    known = {"rows": rows, "labels": labels, "checked": checked, "missed": min(record.missed, checked)}
    forgotten = record.refused.get(FORGOTTEN, 0) + record.labelled_rows - took
    refused = {**record.refused, FORGOTTEN: forgotten} if rows < record.rows else record.refused  # a context is no row
    split = {} if record.source_rows is None else {"source_rows": took}
    return record.model_copy(update={**left, **known, **split, "refused": refused, "segments": parts})


def _labelled_rows_left(record: ShardRecord, rows: int, gone: _Counted) -> int:
    """Return how many rows of the source still have predictions: all its texts', or a sentence's at least."""
    return rows if record.source_rows is None else max(0, record.source_rows - gone.numbers["source_rows"])


def _written(record: ShardRecord) -> bytes:
    said = record.model_dump(mode="json", exclude_unset=True)
    for part in said["segments"]:
        if not part.get("rewrites"):
            part.pop("rewrites", None)
    return codecs.as_json(said)


def _counted(data: bytes, where: str) -> _Counted:
    """Count a segment's rows as the step infer does in the shard's record.

    Raises:
        BadArtifact: the segment is damaged.
    """
    table = segments.parse(data, where)
    settled, unread = int((table["stage"] == FIRST).sum()), count_unread(table["time"].drop_nulls())
    numbers = Counter(rows=len(table), source_rows=_source_rows(table), settled=settled, unread_times=unread)
    return _Counted(numbers, count_labels(table))


def _source_rows(table: pl.DataFrame) -> int:
    """Count the rows of the source that a segment is of: each text, and each run of sentences of one text.

    The numbers of a row's sentences rise, so a row that repeats another's id begins where they do not.
    """
    rows, last = 0, ("", 0)
    for name, start in table.select("id", "start").iter_rows():
        text = None if start is None else text_id_of(name)
        number = 0 if text is None else int(name.rpartition("#")[2])
        rows += text is None or text != last[0] or number <= last[1]
        last = ("", 0) if text is None else (text, number)
    return rows


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
