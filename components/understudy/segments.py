"""What the workers left of a night: its segments of predictions, and whether all of them are there."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict

from understudy import nights
from understudy.nights import Count, Manifest
from understudy.storage import Store
from understudy.store import codecs
from understudy.store.names import VERSION, Digest, Version

SEGMENT = re.compile(r"\d+-\d+\.parquet")
KEY = rf"^predictions/date=\d{{4}}-\d{{2}}-\d{{2}}/{VERSION}/\d{{2}}-\d{{5,9}}\.parquet\z"


class Part(TypedDict, total=False):
    """A segment, as the record of its shard names it."""

    key: Required[Annotated[str, Field(pattern=KEY)]]
    sha256: Required[Digest]
    rows: Count


class ShardRecord(TypedDict, total=False):
    """What is put when a shard is complete; older ones do not count what the first stage settled."""

    format: int
    shard: str
    bundle: Version
    segments: Required[list[Part]]
    rows: Required[Count]
    positives: Count
    refused: dict[str, Count]
    settled: Count
    checked: Count
    missed: Count
    unread_times: Count


def segments_of(store: Store, manifest: Manifest) -> list[str]:
    """List the keys of a night's predictions, in order."""
    prefix = f"predictions/date={manifest.date}/{manifest.bundle}/"
    return [key for key in store.list(prefix) if SEGMENT.fullmatch(key.removeprefix(prefix))]


def shard_records(store: Store, manifest: Manifest) -> list[dict[str, Any] | None]:
    """Read what each shard says of itself once it is complete; None for a shard that is not."""
    keys = [nights.shard_key(manifest, shard) for shard in range(len(manifest.shards))]
    found = ((key, store.read_tagged(key)) for key in keys)
    return [None if one is None else parse_record(one.data, store, key) for key, one in found]


def parse_record(data: bytes, store: Store, key: str) -> dict[str, Any]:
    """Read the record of a shard, whose segments lie beside it.

    Raises:
        BadArtifact: it is damaged, or names an object of another place.
    """
    record = codecs.read_mapping(data, store.locate(key), ShardRecord)
    beside = key.removesuffix(".json") + "-"
    if strange := next((part["key"] for part in record["segments"] if not part["key"].startswith(beside)), None):
        raise codecs.unreadable("a record of its own shard's segments", f"'{strange}'", store.locate(key))
    return record


def spread(segments: Sequence[str], texts: int, most: int) -> list[str]:
    """Choose segments spread evenly over a night, so that about `most` texts are looked at.

    >>> spread(["a", "b", "c", "d"], texts=400, most=200)
    ['a', 'c']
    """
    step = max(1, -(-texts // most))
    return list(segments)[::step]
