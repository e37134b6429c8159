"""Tell which rows of a user's file somebody asked to forget, whatever the file calls them."""

import polars as pl

from understudy.data.rows import id_of
from understudy.store.tombstones import Forgotten

REASON = "somebody asked to forget the text"


def is_forgotten(table: pl.DataFrame, forgotten: Forgotten) -> pl.Series:
    """Tell for each row whether its text must be forgotten: by its id, its group, or the id that its text makes.

    A text that came without an id is remembered by what it says, and another file may have it under another id, or
    under none.

    Args:
        table: columns text, id and group, where the file has them.
        forgotten: what somebody asked to forget.

    Returns:
        shape (rows,).

    >>> from understudy.store.tombstones import tombstone
    >>> gone = Forgotten(frozenset({tombstone("id", id_of("Hi.")), tombstone("id", "b")}))
    >>> is_forgotten(pl.DataFrame({"id": ["a", "b", "c"], "text": ["Hi.", "Ho.", None]}), gone).to_list()
    [True, True, False]
    """
    if not forgotten.hashes:
        return pl.Series([False] * len(table), dtype=pl.Boolean)
    nothing = [pl.lit(None, pl.String).alias(name) for name in ("id", "group", "text") if name not in table.columns]
    rows = table.with_columns(nothing).select("id", "group", "text").iter_rows()
    found = [
        forgotten.covers_text(name, group) or forgotten.covers_text(id_of(text), None) for name, group, text in rows
    ]
    return pl.Series(found, dtype=pl.Boolean)
