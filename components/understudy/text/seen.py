"""Say what is read of the rows of a table: their texts, after the turns before them where it has any."""

import polars as pl

from understudy.text.context import COLUMN, TURN_HASHES, asked, seen


def seen_of(table: pl.DataFrame) -> pl.Series:
    """Return what is read of each row, shape (rows,): its text, after its context where the table has one."""
    if COLUMN not in table.columns:
        return table["text"]
    pairs = table.select(COLUMN, "text").iter_rows()
    return pl.Series("text", [seen(context, text) for context, text in pairs], dtype=pl.String)


def asked_of(table: pl.DataFrame) -> list[str]:
    """Return what a teacher is asked about each row, shape (rows,)."""
    if COLUMN not in table.columns:
        return table["text"].to_list()
    return [asked(context, text) for context, text in table.select(COLUMN, "text").iter_rows()]


def columns_of(table: pl.DataFrame) -> list[str]:
    """Name the columns that make up what is read of a row, and the one that says of which turns that is."""
    return [name for name in ("text", COLUMN, TURN_HASHES) if name in table.columns]
