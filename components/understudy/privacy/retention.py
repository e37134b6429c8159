"""Remove what the nights left once the card's retention is past, from the store and from the index."""

import re
from datetime import UTC, date, datetime, timedelta

from understudy.search.backend import Index
from understudy.store.names import is_day
from understudy.store.storage import Store
from understudy.task.card import Retention

NIGHT = re.compile(r"date=(\d{4}-\d{2}-\d{2})/")
SAMPLE = re.compile(r"samples/(\d{4}-\d{2}-\d{2})/")


def expire(store: Store, index: Index, retention: Retention) -> int:
    """Apply a card's retention, and return how many documents left the index.

    Days are counted back from the newest night in the store, not from the clock: a store that nobody adds to keeps
    what it has, and a re-run removes the same. A night whose date is still to come counts as today's.
    """
    found = newest_night(store)
    if found is None:
        return 0
    newest = min(found, datetime.now(UTC).date().isoformat())
    _remove(store, "refusals/", NIGHT, first_kept(newest, retention.refusals_days))
    _remove(store, "samples/", SAMPLE, first_kept(newest, retention.samples_days))
    kept = first_kept(newest, retention.predictions_days)
    if not kept:
        return 0
    removed = index.expire(kept)
    for prefix in ("predictions/", "scored/", "dead-letters/", "indexed/"):
        _remove(store, prefix, NIGHT, kept)
    return removed


def first_kept(newest: str, days: int | None) -> str:
    """Return the oldest night that stays; "" when all do.

    >>> first_kept("2026-11-03", 2), first_kept("2026-11-03", None)
    ('2026-11-02', '')
    """
    return "" if days is None else (date.fromisoformat(newest) - timedelta(days=days - 1)).isoformat()


def newest_night(store: Store) -> str | None:
    """Return the date of the newest night; None before the first."""
    found = (NIGHT.search(key) for prefix in ("manifests/", "predictions/") for key in store.list(prefix))
    return max((one[1] for one in found if one and is_day(one[1])), default=None)


def _remove(store: Store, prefix: str, pattern: re.Pattern[str], kept: str) -> None:
    """Delete the objects of nights before `kept`; JSON first, for it is what says that a shard is whole."""
    found = [(key, pattern.search(key)) for key in store.list(prefix)] if kept else []
    old = [key for key, night in found if night and night[1] < kept]
    for key in sorted(old, key=lambda name: (not name.endswith(".json"), name)):
        store.delete(key)
