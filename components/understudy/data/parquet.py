"""Parquet files that users name: their columns, their length, and some of their rows."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from understudy.store.parquet import scanned


def schema(path: Path) -> pl.Schema:
    """Read the names and types of a file's columns."""
    with scanned(path) as table:
        return table.collect_schema()


def length(path: Path) -> int:
    """Count a file's rows."""
    with scanned(path) as table:
        return int(table.select(pl.len()).collect().item())


def rows(path: Path, columns: Sequence[str], offset: int, most: int) -> pl.DataFrame:
    """Read some columns of some rows of a file, from one of them on."""
    with scanned(path) as table:
        return table.select(columns).slice(offset, most).collect()
