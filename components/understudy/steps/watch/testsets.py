"""Build dated test sets, every quarter, of texts drawn at random that people have answered.

testsets/<last day of the quarter>/gold.parquet   human labels, as `understudy evaluate --test` reads them
testsets/<last day of the quarter>/about.json     put last: the primary figure on it beside that on the set
                                                  the bundle was published on
"""

import math
from collections import Counter
from datetime import date, timedelta

import polars as pl

from understudy.privacy.objects import erase_what_was_asked_meanwhile
from understudy.review import samples
from understudy.stats.metrics import Interval
from understudy.steps.watch import quality
from understudy.store import codecs, layout, tables
from understudy.store.predictions import TURNS
from understudy.store.storage import Store
from understudy.store.watch_records import DatedTestSet, Figure, learning_curve
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.text import figures, seen


def quarter_before(day: str) -> tuple[str, str]:
    """Return the first and last day of the quarter before the one that a day is in.

    >>> quarter_before("2026-11-21"), quarter_before("2027-01-01")
    (('2026-07-01', '2026-09-30'), ('2026-10-01', '2026-12-31'))
    """
    now = date.fromisoformat(day)
    last = date(now.year, (now.month - 1) // 3 * 3 + 1, 1) - timedelta(days=1)
    return date(last.year, last.month - 2, 1).isoformat(), last.isoformat()


def make_due(store: Store, card: Card, answered: pl.DataFrame, day: str, fewest: int) -> None:
    """Make the test set of the quarter before, once there are answers enough; it stays as it was made first.

    Args:
        store: takes it.
        card: for the labels; where it has context, a test set holds the turns before each text, and no text of which
            they are not known.
        answered: all samples, by `samples.read_answered`.
        day: today.
        fewest: answered random texts that a test set must have.
    """
    first, last = quarter_before(day)
    about = layout.TEST_SET_RECORDS.key(day=last)
    if store.read_tagged(about) is not None:
        return
    is_in = pl.col("day").is_between(pl.lit(first), pl.lit(last)) & (pl.col("drawn") == "random")
    found = answered.filter(is_in & pl.col("human_label").is_not_null()).unique("id", keep="last", maintain_order=True)
    rows = samples.of_known_turns(found) if card.context else found.drop(TURNS, strict=False)
    if len(rows) < fewest:
        return
    key = layout.TEST_SETS.key(day=last)
    store.put_if_absent(key, gold(rows))
    erase_what_was_asked_meanwhile(store, [key], rows)
    store.put_if_absent(about, codecs.as_json(compared(store, card, rows, last)))


def gold(rows: pl.DataFrame) -> bytes:
    """Write answered texts as a test split, with the turns before them where they are there."""
    table = rows.select(
        "id",
        "group",
        "text",
        pl.col("human_label").alias("label"),
        split=pl.lit("test"),
        annotators="annotators",
        origin=pl.lit("labels"),
    )
    checked = tables.Gold.validate(table, cast=True)
    return codecs.as_parquet(checked.hstack(rows.select(seen.columns_of(rows)[1:])))


def compared(store: Store, card: Card, rows: pl.DataFrame, name: str) -> DatedTestSet:
    """Set the primary figure on the new test set beside that on the one that the bundle was published on."""
    space, version = LabelSpace.of(card), str(rows["version"][-1])
    figure = figures.primary(space.positive)
    own = rows.filter(pl.col("version") == version).with_columns(weight=pl.lit(1.0))
    found = quality.primary(own, space)
    cycle = next((one for one in learning_curve(store) if one["version"] == version), None)
    published = cycle["primary"] if cycle and cycle["figure"] == figure else None
    counted = Counter(name for label in rows["human_label"] for name in space.names_in(label))
    return {
        "date": name,
        "version": version,
        "texts": len(rows),
        "measured_on": len(own),
        "labels": dict(sorted(counted.items())),
        "figure": figure,
        "primary": quality.written(found),
        "published": published,
        "difference": quality.written(quality.difference(found, _interval(published))) if published else None,
    }


def _interval(figure: Figure) -> Interval:
    return Interval(*(math.nan if end is None else end for end in (figure["value"], figure["low"], figure["high"])))


def read_all(store: Store, until: str) -> list[DatedTestSet]:
    """Read what is said of every test set up to a day, oldest first."""
    kept = layout.TEST_SET_RECORDS.listed(store)
    found = [codecs.read_as(DatedTestSet, store.read(key), store.locate(key)) for key, _ in kept]
    return [about for about in found if about["date"] <= until]
