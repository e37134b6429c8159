"""What a night's manifest says, from what has arrived and what serves."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from understudy.arrivals import Looked, deal
from understudy.data.listing import SHOWN_FILES, told
from understudy.errors import BadInput
from understudy.nights import FORMAT, Consumed, Manifest
from understudy.wording import clipped, count

BLOCK_ROWS = 1000  # a range ends at a multiple of so many rows, so that the manifest of a billion texts stays small


def block_rows(texts_per_shard: int) -> int:
    """Most rows of a block: small beside a shard, so that shards come out alike.

    >>> block_rows(20_000), block_rows(10)
    (1000, 1)
    """
    return max(1, min(BLOCK_ROWS, texts_per_shard // 10))


def require_begun(night: str) -> str:
    """Return a night that may be begun: a date that is still to come is a slip, and no zone is a day ahead of UTC's.

    >>> require_begun("2026-11-01")
    '2026-11-01'

    Raises:
        BadInput: it lies more than a day ahead of today in UTC.
    """
    latest = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()
    if night > latest:
        raise BadInput(
            f"A night must be at most {latest}, got {night} (--date). Mend the date, or this machine's clock."
        )
    return night


def next_manifest(newest: Manifest | None, looked: Looked, texts_per_shard: int, about: Mapping[str, Any]) -> Manifest:
    """Make the manifest that follows the newest one.

    Args:
        newest: of all nights; None for the first.
        looked: what is new in the source, and what is passed over there.
        texts_per_shard: see `ShardConfig`.
        about: the manifest's fields that say when, whence and by which bundle.
    """
    arrived = looked.arrived
    blocks = [block for one in arrived for block in one.blocks]
    known: dict[str, Consumed] = dict(newest.watermark) if newest else {}
    return Manifest(
        format=FORMAT,
        number=newest.number + 1 if newest else 1,
        texts=sum(block.rows for block in blocks),
        objects={one.name: one.about for one in arrived if one.blocks},
        shards=deal(blocks, texts_per_shard),
        watermark=known | {one.name: one.consumed for one in arrived},
        passed_over=len(looked.passed_over),
        passed_over_names=tuple(map(clipped, looked.passed_over[:SHOWN_FILES])),
        **about,
    )


def require_same_card(manifest: Manifest, card_name: str) -> None:
    """Refuse to go on with a night under another card than it was begun with, however often it is asked for.

    Raises:
        BadInput: the night's card has another name.
    """
    if manifest.card != card_name:
        raise BadInput(
            f"A night's card must be the one that it was begun with, got '{card_name}' where {manifest.date} has "
            f"'{manifest.card}' (--card). Give each card a store of its own."
        )


def headline(manifest: Manifest) -> str:
    """Say what the night holds.

    >>> from types import SimpleNamespace
    >>> night = SimpleNamespace(date="2026-11-01", texts=498, shards=((),), bundle="tips-1", generation=3)
    >>> night.passed_over, night.passed_over_names = 1, ("part-2.txt",)
    >>> headline(night)
    '498 texts of 2026-11-01 in 1 shard, by tips-1 (generation 3); 1 file that is passed over (part-2.txt)'
    """
    shards = count(len(manifest.shards), "shard")
    texts = count(manifest.texts, "text")
    beside = f"; {told(manifest.passed_over_names, manifest.passed_over)}" if manifest.passed_over else ""
    return f"{texts} of {manifest.date} in {shards}, by {manifest.bundle} (generation {manifest.generation}){beside}"
