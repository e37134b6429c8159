"""Judge whether a night may be begun, and say what it holds."""

from datetime import UTC, datetime, timedelta

from understudy.data.listing import told, told_ids
from understudy.errors import BadInput
from understudy.store.manifests import Manifest
from understudy.text.numbers import count


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
    >>> night = SimpleNamespace(date="2026-11-01", texts=498, shards=((),), bundle="tips-1", generation=3, objects={})
    >>> night.passed_over, night.passed_over_names = 1, ("part-2.txt",)
    >>> headline(night)
    '498 texts of 2026-11-01 in 1 shard, by tips-1 (generation 3); 1 file that is passed over (part-2.txt)'
    """
    shards = count(len(manifest.shards), "shard")
    texts = count(manifest.texts, "text")
    beside = f"; {told(manifest.passed_over_names, manifest.passed_over)}" if manifest.passed_over else ""
    without_ids = [name for name, about in manifest.objects.items() if not about.has("id")]
    beside += f"; {told_ids(without_ids)}" if without_ids else ""
    return f"{texts} of {manifest.date} in {shards}, by {manifest.bundle} (generation {manifest.generation}){beside}"
