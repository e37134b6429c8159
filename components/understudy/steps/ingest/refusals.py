"""Tabulate refused rows, and judge the share of faults from which a run ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from understudy.data import encodings
from understudy.data.rows import NOT_UTF8, WHOLE_FILE, Refusal
from understudy.data.sources import Source
from understudy.review.labels import tally
from understudy.text.numbers import clipped, count

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


def told_encoding(refused: pl.DataFrame) -> str:
    """Say which rows are missing since they are not UTF-8, and what brings them in; "" where none are.

    They are no random ones: of a Western encoding what is lost is written with umlauts or accents.

    >>> told_encoding(as_table([Refusal("a.csv", 2, "1", NOT_UTF8, "reads like CP850: use iconv")]))[:86]
    '1 row that is not UTF-8 is missing, and such rows are those with umlauts or accents (r'
    >>> told_encoding(as_table([Refusal("a.csv", 2, "1", NOT_UTF8, "byte 0xfc")]))
    '1 row that is not UTF-8 is missing (row 2 of a.csv: byte 0xfc)'
    """
    rows = refused.filter(pl.col("reason") == NOT_UTF8)
    if not len(rows):
        return ""
    are = "that is not UTF-8 is" if len(rows) == 1 else "that are not UTF-8 are"
    row, file, detail = rows.select("row", "file", "detail").row(0)
    first = f"row {row:,} of {clipped(file, 300)}: {clipped(detail, 600)}"
    whose = ", and such rows are those with umlauts or accents" if encodings.is_western(detail) else ""
    return f"{count(len(rows), 'row')} {are} missing{whose} ({first})"


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
