"""Remove what the nights left once the card's retention is past, from store and index."""

from datetime import UTC, date, datetime, timedelta

from understudy.search.backend import Index
from understudy.store import layout
from understudy.store.names import is_day
from understudy.store.storage import Store
from understudy.task.card import Retention


def expire(store: Store, index: Index, retention: Retention) -> int:
    """Apply a card's retention, and return how many documents left the index.

    Which settings remove which keys, the store's layout says. Days are counted back from the newest night in the store,
    not from the clock: a store that nobody adds to keeps what it has, and a re-run removes the same. A night whose date
    is still to come counts as today's.
    """
    newest_known = newest_night(store)
    if newest_known is None:
        return 0
    newest = min(newest_known, datetime.now(UTC).date().isoformat())
    removed = 0
    for setting in Retention.model_fields:
        oldest = first_kept(newest, getattr(retention, setting))
        if not oldest:
            continue
        if setting == layout.SEGMENTS.retention:
            removed = index.expire(oldest)
        _remove(store, setting, oldest)
    return removed


def first_kept(newest: str, days: int | None) -> str:
    """Return the oldest night that stays; "" when all do.

    >>> first_kept("2026-11-03", 2), first_kept("2026-11-03", None)
    ('2026-11-02', '')
    """
    return "" if days is None else (date.fromisoformat(newest) - timedelta(days=days - 1)).isoformat()


def newest_night(store: Store) -> str | None:
    """Return the date of the newest night; None before the first."""
    families = (layout.MANIFESTS, layout.SEGMENTS)
    days = (family.day_of(key) for family in families for key in store.list(family.folder))
    return max((day for day in days if day and is_day(day)), default=None)


def _remove(store: Store, setting: str, oldest: str) -> None:
    """Delete what a setting removes of days before `oldest`; JSON first, for it is what says that a shard is whole."""
    families = layout.retained_by(setting)
    for folder in layout.folders(*families):
        own = [family for family in families if family.folder == folder]
        old = [key for key in store.list(folder) if _is_before(oldest, key, own)]
        for key in sorted(old, key=lambda name: (not name.endswith(".json"), name)):
            store.delete(key)


def _is_before(oldest: str, key: str, families: list[layout.Family]) -> bool:
    days = (family.day_of(key) for family in families)
    return any(day is not None and day < oldest for day in days)
