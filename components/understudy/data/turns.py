"""Put the turns before each text of a table beside it."""

import polars as pl

from understudy.store.tombstones import NOTHING, Forgotten, tombstone
from understudy.task.card import Context
from understudy.text.context import COLUMN, TURN_HASHES, contexts, turns_before


def with_context(table: pl.DataFrame, context: Context | None, forgotten: Forgotten = NOTHING) -> pl.DataFrame:
    """Put the turns before each text beside it, as column context, where the card asks for them.

    Every row of a group and file is a turn, also one that is refused later; not one that somebody asked to forget.
    Column turn_hashes says which these are, where rows have ids: whoever forgets one finds by it where its words stand.

    Args:
        table: what `sources` read: file, row, text, id if there is one, and the columns of `context`.
        context: of the card; None for none.
        forgotten: what somebody asked to forget.
    """
    if context is None:
        return table
    is_turn = ~forgotten.covers(table)
    turns = table.filter(is_turn)
    file = pl.concat_str(pl.col("file").str.len_chars(), "file", "group", separator=" ")
    groups = turns.select(file).to_series().to_list()
    values = turns[context.order].to_list() if context.order else None
    found = contexts(groups, turns["text"].to_list(), values, context.turns, context.words)
    known = turns.select("file", "row").with_columns(pl.Series(COLUMN, found, dtype=pl.String))
    if "id" in table.columns:
        hashes = [[] if name is None else [tombstone("id", name)] for name in turns["id"]]
        before = turns_before(groups, values, context.turns)
        column = [[one for position in positions for one in hashes[position]] for positions in before]
        known = known.with_columns(pl.Series(TURN_HASHES, column, dtype=pl.List(pl.String)))
    return table.join(known, on=["file", "row"], how="left", maintain_order="left")
