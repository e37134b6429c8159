"""Build dated test sets, every quarter, of texts drawn at random that people have answered.

testsets/<last day of the quarter>/gold.parquet   human labels, as `understudy evaluate --test` reads them
testsets/<last day of the quarter>/about.json     put last: F1 on it beside F1 on the set the bundle was published on
"""

import math
from datetime import date, timedelta

import polars as pl

from understudy.stats.metrics import Interval
from understudy.steps.watch import quality
from understudy.store import codecs, layout, tables
from understudy.store.storage import Store
from understudy.store.watch_records import DatedTestSet, Figure, learning_curve
from understudy.task.card import Card


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
        card: for the positive label.
        answered: all samples, by `samples.read_answered`.
        day: today.
        fewest: answered random texts that a test set must have.
    """
    first, last = quarter_before(day)
    about = layout.TEST_SET_RECORDS.key(day=last)
    if store.read_tagged(about) is not None:
        return
    is_in = pl.col("day").is_between(pl.lit(first), pl.lit(last)) & (pl.col("drawn") == "random")
    rows = answered.filter(is_in & pl.col("human_label").is_not_null()).unique("id", keep="last", maintain_order=True)
    if len(rows) < fewest:
        return
    store.put_if_absent(layout.TEST_SETS.key(day=last), gold(rows))
    store.put_if_absent(about, codecs.as_json(compared(store, card, rows, last)))


def gold(rows: pl.DataFrame) -> bytes:
    """Write answered texts as a test split."""
    table = rows.select(
        "id",
        "group",
        "text",
        pl.col("human_label").alias("label"),
        split=pl.lit("test"),
        annotators="annotators",
        origin=pl.lit("labels"),
    )
    return codecs.as_parquet(tables.Gold.validate(table, cast=True))


def compared(store: Store, card: Card, rows: pl.DataFrame, name: str) -> DatedTestSet:
    """Set F1 on the new test set beside F1 on the one that the bundle was published on."""
    version = str(rows["version"][-1])
    own = rows.filter(pl.col("version") == version).with_columns(weight=pl.lit(1.0))
    found = quality.f1(own, card.positive_label)
    published = next((one["f1"] for one in learning_curve(store) if one["version"] == version), None)
    return {
        "date": name,
        "version": version,
        "texts": len(rows),
        "measured_on": len(own),
        "positives": int((rows["human_label"] == card.positive_label).sum()),
        "f1": quality.written(found),
        "published_f1": published,
        "difference": quality.written(difference(found, published)) if published else None,
    }


def difference(new: Interval, old: Figure) -> Interval:
    """Difference of two figures measured on different texts, with its 95% interval.

    >>> found = difference(Interval(0.70, 0.64, 0.76), {"value": 0.80, "low": 0.72, "high": 0.88})
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)  # 0.06 and 0.08 make 0.10
    (-0.1, -0.2, 0.0)

    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
    """
    value, low, high = (math.nan if end is None else end for end in (old["value"], old["low"], old["high"]))
    change = new.value - value
    return Interval(
        change,
        change - math.hypot(new.value - new.low, high - value),
        change + math.hypot(new.high - new.value, value - low),
    )


def read_all(store: Store, until: str) -> list[DatedTestSet]:
    """Read what is said of every test set up to a day, oldest first."""
    kept = layout.TEST_SET_RECORDS.listed(store)
    found = [codecs.read_as(DatedTestSet, store.read(key), store.locate(key)) for key, _ in kept]
    return [about for about in found if about["date"] <= until]
