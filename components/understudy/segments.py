"""What the workers left of a night: its segments of predictions, and whether all of them are there."""

import json
import re
from collections.abc import Sequence
from typing import Any

from understudy import nights
from understudy.nights import Manifest
from understudy.storage import Store

SEGMENT = re.compile(r"\d+-\d+\.parquet")


def segments_of(store: Store, manifest: Manifest) -> list[str]:
    """List the keys of a night's predictions, in order."""
    prefix = f"predictions/date={manifest.date}/{manifest.bundle}/"
    return [key for key in store.list(prefix) if SEGMENT.fullmatch(key.removeprefix(prefix))]


def shard_records(store: Store, manifest: Manifest) -> list[dict[str, Any] | None]:
    """Read what each shard says of itself once it is complete; None for a shard that is not."""
    found = (store.read_tagged(nights.shard_key(manifest, shard)) for shard in range(len(manifest.shards)))
    return [None if one is None else json.loads(one.data) for one in found]


def spread(segments: Sequence[str], texts: int, most: int) -> list[str]:
    """Choose segments spread evenly over a night, so that about `most` texts are looked at.

    >>> spread(["a", "b", "c", "d"], texts=400, most=200)
    ['a', 'c']
    """
    step = max(1, -(-texts // most))
    return list(segments)[::step]
