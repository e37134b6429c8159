"""Tabulate refused rows, and judge the share of faults from which a run ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from understudy.data.rows import WHOLE_FILE, Refusal
from understudy.data.sources import Source
from understudy.review.labels import tally
from understudy.text.numbers import clipped

COLUMNS = {
    "file": pl.String,
    "row": pl.Int64,
    "id": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "is_fault": pl.Boolean,
}


@dataclass(frozen=True, slots=True)
class Sorted:
    """Rows that may go on, and refusals for those that may not."""

    kept: pl.DataFrame
    refused: pl.DataFrame


def as_table(refusals: Sequence[Refusal]) -> pl.DataFrame:
    """Return refusals as a table."""
    rows = [(item.file, item.row, item.id, item.reason, item.detail, item.is_fault) for item in refusals]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def passed_over(sources: Sequence[Source]) -> pl.DataFrame:
    """Return a refusal for each file that is not read, since its name does not say how."""
    detail = "its name does not say that it is CSV, JSONL or Parquet, or it is no plain file"
    return as_table(
        [
            Refusal(
                clipped(f"{source.address.rstrip('/')}/{name}", 300), WHOLE_FILE, None, "passed_over", detail, False
            )
            for source in sources
            for name in source.passed_over
        ]
    )


def refuse(rows: pl.DataFrame, reason: str, detail: pl.Expr, is_fault: pl.Expr | None = None) -> pl.DataFrame:
    """Return rows (file, row, id, and what `detail` reads) as refusals; none of them is a fault by default."""
    return rows.select(
        "file",
        pl.col("row").cast(pl.Int64),
        "id",
        pl.lit(reason).alias("reason"),
        detail.cast(pl.String).alias("detail"),
        (pl.lit(value=False) if is_fault is None else is_fault).alias("is_fault"),
    )


def too_many(what: str, refused: pl.DataFrame, rows: int, most: float) -> list[str]:
    """Return a sentence when the share of faulty rows is above what is allowed, else nothing.

    Args:
        what: the file, in the message.
        refused: refusals of its rows.
        rows: how many rows it has.
        most: largest share of faulty rows, in [0, 1].
    """
    faults = [Refusal(*row) for row in refused.filter("is_fault").iter_rows()]
    if len(faults) <= most * rows:
        return []
    sentence = (
        f"At most {most:.0%} of the rows must be faulty, got {len(faults):,} of {rows:,} ({what}): {tally(faults)}. "
        "Mend these rows, or raise ingest.max_refused_share."
    )
    return [sentence]
