"""Put the turns before each text of a table beside it."""

import polars as pl

from understudy.store.tombstones import NOTHING, Forgotten
from understudy.task.card import Context
from understudy.text.context import COLUMN, contexts


def with_context(table: pl.DataFrame, context: Context | None, forgotten: Forgotten = NOTHING) -> pl.DataFrame:
    """Put the turns before each text beside it, as column context, where the card asks for them.

    Every row of a group and file is a turn, also one that is refused later; not one that somebody asked to forget.

    Args:
        table: what `sources` read: file, row, id, text, and the columns of `context`.
        context: of the card; None for none.
        forgotten: what somebody asked to forget.
    """
    if context is None:
        return table
    is_turn = ~forgotten.covers(table)
    turns = table.filter(is_turn)
    groups = turns.select(pl.concat_str(pl.col("file").str.len_chars(), "file", "group", separator=" ")).to_series()
    values = turns[context.order].to_list() if context.order else None
    found = contexts(groups.to_list(), turns["text"].to_list(), values, context.turns, context.words)
    column = pl.Series(COLUMN, found, dtype=pl.String)
    known = turns.select("file", "row").with_columns(column)
    return table.join(known, on=["file", "row"], how="left", maintain_order="left")
