"""Erase words of forgotten texts from the watch's records, and render its pages again."""

from collections.abc import Sequence
from dataclasses import replace

from understudy.reports import watch
from understudy.store import layout, watch_records
from understudy.store.storage import Store, update
from understudy.store.watch_records import PAGE, Night, Quality
from understudy.text import figures


def forget_words(store: Store, words: frozenset[str]) -> None:
    """Take words out of what the watch shows as words that came up.

    The records come after the pages that are made from them: whoever does this again after a kill still finds there
    what pages must lose.

    Args:
        store: the store whose nights the watch judged.
        words: in lower case.

    Raises:
        BadArtifact: a record is damaged.
        StorageError: others keep changing a page or a record.
    """
    known = watch_records.read_nights(store)
    nights = [replace(night, words=[one for one in night.words if one.word not in words]) for night in known]
    changed = [place for place, night in enumerate(nights) if len(night.words) < len(known[place].words)]
    _remove_unrecorded(store, {night.date for night in known})
    for place in changed:
        night = nights[place]
        _renew(
            store, watch_records.page_key(night.date), _page(nights[: place + 1], _known(store, night, night.quality))
        )
    if changed:
        _renew(store, PAGE, _page(nights, _known(store, nights[-1], _newest_known(store))))
    for place in changed:
        _renew(store, watch_records.series_key(nights[place].date), watch_records.written(nights[place]))


def _page(nights: Sequence[Night], quality: Quality) -> bytes:
    return watch.page(nights[-int(nights[-1].settings["page_nights"]) :], quality).encode()


def _known(store: Store, night: Night, key: str) -> Quality:
    """Read what was known of the model's quality; without a sample that is the learning curve alone, and not kept."""
    if key:
        return watch_records.read_quality(store, key)
    cycles = watch_records.learning_curve(store)
    figure = figures.primary(night.positive_label)
    return Quality(date=night.date, card=night.card, figure=figure, samples=(), months=(), cycles=cycles)


def _newest_known(store: Store) -> str:
    """Return the key of the newest record of quality, which may be of a day without a night; "" where there is none."""
    keys = watch_records.quality_days(store)
    return keys[max(keys)] if keys else ""


def _remove_unrecorded(store: Store, judged: set[str]) -> None:
    """Remove pages of nights without a record: nothing says which words they show, and the watch judges them anew."""
    for key, fields in layout.WATCH_PAGES.listed(store):
        if fields["day"] not in judged:
            store.delete(key)
    if not judged:
        store.delete(PAGE)


def _renew(store: Store, key: str, data: bytes) -> None:
    update(store, key, lambda before: None if before is None else data, "A page or record of the watch")
