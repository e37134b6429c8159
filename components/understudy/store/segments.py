"""Read a night's segments of predictions, and check that all of them are there.

What is read here was written by the step infer, but who can write the store can alter it: names, records and tables are
checked before anything is made of them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from understudy.errors import BadArtifact, StorageError
from understudy.store import codecs, layout, manifests
from understudy.store.manifests import Manifest
from understudy.store.names import Digest, Version
from understudy.store.predictions import (
    OF_EACH,
    OF_SEVERAL,
    PREDICTIONS,
    TURNS,
    are_of_turns,
    has_turns,
    is_of_several,
)
from understudy.store.storage import Store
from understudy.task import label_sets
from understudy.text.context import TURN_HASHES

MOST_GENERATIONS = 900_000
MOST_ROWS = 20_000_000
SEGMENT_READ, DELETE = "A segment of predictions", "Delete it, and run the night again."
REQUIRED = ("id", "group", "text", "content", "label", "version", "date", "stage", "scored_at")
PROBABILITIES = ("probability", "runner_up_probability")
MOST_CHARS = 2**31 - 1  # of a text: where a sentence lies is a 32-bit number in Elasticsearch
Count = Annotated[int, Field(ge=0)]


class Rewrite(BaseModel):
    """What forgetting is about to make of a segment: its hash before and after, and what the rows that go count."""

    model_config = ConfigDict(strict=True, frozen=True)
    before: Digest
    after: Digest
    rows: Count
    source_rows: Count
    labels: Mapping[str, Count]
    settled: Count
    unread_times: Count


class Part(BaseModel):
    """What a shard's record says of one segment; `rewrites` until they are counted (privacy/shard_records.py)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")  # what is written anew loses nothing
    key: Annotated[str, StringConstraints(pattern=rf"^{layout.SEGMENTS.expression}\z", max_length=300)]
    rows: Count
    sha256: Digest
    rewrites: tuple[Rewrite, ...] = ()


class ShardRecord(BaseModel):
    """What a shard says of itself once it is complete: `predictions/date=<night>/<version>/<shard>.json`.

    Where texts are split into sentences, `rows` and what else counts texts counts sentences, and `source_rows` how many
    rows of the source they are of; None where texts are not split. `refused` counts rows of the source.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    format: Literal[1] = 1
    bundle: Version | None = None
    rows: Count
    source_rows: Count | None = None
    labels: Mapping[str, Count] = {}
    refused: Mapping[str, Count]
    settled: Count = 0
    checked: Count = 0
    missed: Count = 0
    unread_times: Count = 0
    segments: tuple[Part, ...]

    @property
    def labelled_rows(self) -> int:
        """Rows of the source that became predictions."""
        return self.rows if self.source_rows is None else self.source_rows

    @property
    def read_rows(self) -> int:
        """Rows of the source that the shard answered for: labelled or refused."""
        return self.labelled_rows + sum(self.refused.values())


def is_segment(key: str) -> bool:
    """Whether a key is that of a segment of predictions.

    >>> is_segment("predictions/date=2026-11-01/v1/00-00003.parquet"), is_segment("predictions/../x.parquet")
    (True, False)
    """
    return layout.SEGMENTS.fields(key) is not None


def record_key(segment: str) -> str:
    """Return the key of the record of the shard that a segment is of.

    >>> record_key("predictions/date=2026-11-01/v1/07-00003.parquet")
    'predictions/date=2026-11-01/v1/07.json'
    """
    return layout.SHARD_RECORDS.key_from(layout.SEGMENTS, segment)


def find_record(store: Store, key: str) -> ShardRecord | None:
    """Read what a shard says of itself; None while it is not complete.

    Raises:
        BadArtifact: the record is damaged, names an object of another place, or its segments do not hold the rows that
            it counts.
    """
    found = store.read_tagged(key)
    return None if found is None else parse_record(found.data, store, key)


def parse_record(data: bytes, store: Store, key: str) -> ShardRecord:
    """Read the record of a shard, whose segments lie beside it.

    Raises:
        BadArtifact: it is damaged, names an object of another place, or its segments do not hold the rows that it
            counts.
    """
    where = store.locate(key)
    record = codecs.read_as(ShardRecord, data, where)
    if strange := next((part.key for part in record.segments if record_key(part.key) != key), None):
        raise codecs.unreadable("a record of its own shard's segments", f"'{strange}'", where)
    rows = sum(part.rows for part in record.segments)
    if rows != record.rows:
        raise BadArtifact(
            f"A shard's segments must hold the rows that its record counts, got {rows:,} of {record.rows:,} ({where}). "
            "Delete the record, and run the night again."
        )
    return record


def shard_records(store: Store, manifest: Manifest) -> list[ShardRecord | None]:
    """Read what each shard of a night says of itself; None for a shard that is not complete."""
    return [find_record(store, manifests.shard_key(manifest, shard)) for shard in range(len(manifest.shards))]


def begun(store: Store, until: str) -> list[str]:
    """List the dates of the nights that were begun, up to a day, the newest first."""
    days = {fields["day"] for _, fields in layout.MANIFESTS.listed(store)}
    return sorted((day for day in days if day <= until), reverse=True)


def is_whole(store: Store, manifest: Manifest) -> bool:
    """Whether every shard of a night is complete."""
    return all(store.tag_of(manifests.shard_key(manifest, shard)) is not None for shard in range(len(manifest.shards)))


def spread(segments: Sequence[str], texts: int, most: int) -> list[str]:
    """Choose segments spread evenly over a night, so that about `most` texts are looked at.

    >>> spread(["a", "b", "c", "d"], texts=400, most=200)
    ['a', 'c']
    """
    step = max(1, -(-texts // most))
    return list(segments)[::step]


def parse(data: bytes, where: str) -> pl.DataFrame:
    """Read a segment of predictions: all columns of PREDICTIONS, none of the values that no worker writes.

    Where its texts may have several labels, it is all columns of OF_SEVERAL; where they have turns before them, those
    of TURNS follow.

    Raises:
        BadArtifact: it is no readable Parquet, a column is missing or of another kind, a value that must be there is
            not, a probability or a set of labels is none, a context is nobody's, or a sentence lies nowhere.
    """
    maybe = {OF_EACH: OF_SEVERAL[OF_EACH], **TURNS}
    table = codecs.read_table(
        data, where, PREDICTIONS, maybe=maybe, most_rows=MOST_ROWS, what=SEGMENT_READ, advice=DELETE
    )
    second = () if is_of_several(table) else ("runner_up",)
    nulls = [name for name in (*REQUIRED, *second, "generation") if table[name].null_count()]
    if nulls:
        raise _damaged(f"a row without {nulls[0]}", where)
    if is_of_several(table):
        _require_sets(table, where)
    if not are_of_turns(table) or (has_turns(table) and table[TURN_HASHES].null_count()):
        raise _damaged("a context without the hashes of its turns", where)
    known = table["runner_up_probability"].filter(table["runner_up"].is_not_null())
    are_sound = is_probability(table["probability"]) and is_probability(known)
    if not (are_sound and is_probability(table["threshold"].drop_nulls())):
        raise _damaged("a probability that is no number in [0, 1]", where)
    if not table["generation"].is_between(0, MOST_GENERATIONS).all():
        raise _damaged("a generation out of range", where)
    if not table["date"].str.contains(r"^\d{4}-\d{2}-\d{2}$").all():
        raise _damaged("a night that is no date", where)
    if not _are_places(table["start"], table["end"]):
        raise _damaged("a sentence that lies nowhere", where)
    return table


def _require_sets(table: pl.DataFrame, where: str) -> None:
    """Refuse what no worker writes of texts that may have several labels.

    Raises:
        BadArtifact: the labels of a text are no set, or not every text has a probability of each label.
    """
    try:
        for labels in table["label"].unique():
            label_sets.read(labels)
    except BadArtifact as error:
        raise _damaged("labels of a text that are no set", where) from error
    each = table[OF_EACH]
    is_even = each.null_count() == 0 and each.list.len().n_unique() <= 1
    if not (is_even and is_probability(each.explode())):
        raise _damaged("a text without a probability in [0, 1] of each label", where)


def require_kind(table: pl.DataFrame, labels: int, where: str, *, is_many: bool) -> pl.DataFrame:
    """Return a segment that is of the kind its night is of.

    Args:
        table: the segment, by `parse`.
        labels: how many there are.
        where: of the segment.
        is_many: a text of the night may have several of them.

    Raises:
        BadArtifact: it is of the other kind, or of another number of labels.
    """
    if is_of_several(table) != is_many:
        raise _damaged("one of texts with another number of labels each", where)
    if is_many and len(table) and table[OF_EACH].list.len().max() != labels:
        raise _damaged("probabilities of other labels", where)
    return table


def _are_places(start: pl.Series, end: pl.Series) -> bool:
    """Whether every row is a text, which has no place, or a sentence: 0 <= start < end."""
    is_text = start.is_null() & end.is_null()
    is_sentence = (start >= 0) & (start < end) & (end <= MOST_CHARS)
    return bool((is_text | is_sentence.fill_null(value=False)).all())


def is_probability(values: pl.Series) -> bool:
    """Whether every value is a number in [0, 1].

    >>> [is_probability(pl.Series([value])) for value in (0.0, 1.0, 2.0, float("nan"))]
    [True, True, False, False]
    """
    return values.null_count() == 0 and bool(values.is_between(0.0, 1.0).all())


def require_rows(table: pl.DataFrame, recorded: int, where: str, *, may_lack: bool) -> None:
    """Refuse a segment that does not hold the rows that its shard's record counts.

    Args:
        table: the segment.
        recorded: rows that it had when the shard was complete.
        where: of the segment.
        may_lack: texts were asked to be forgotten, which takes their rows before it mends the record.

    Raises:
        StorageError: rows are lacking, or there are more.
    """
    if len(table) == recorded or (may_lack and len(table) < recorded):
        return
    raise StorageError(
        f"A segment must hold the rows that its shard's record counts, got {len(table):,} of {recorded:,} ({where}). "
        "Delete the segment, and run the night again."
    )


def _damaged(fault: str, where: str) -> BadArtifact:
    return codecs.unreadable("one that a worker wrote", fault, where, SEGMENT_READ, DELETE)
