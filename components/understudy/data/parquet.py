"""Parquet files at paths that users name, read as they stand: no sign of a path is a pattern, a home or a cloud."""

from pathlib import Path

import polars as pl

# Polars' own panic is no Exception; a damaged file can cause it.
PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def scan(path: Path) -> pl.LazyFrame:
    """Open one file lazily; `[1]`, `*`, `~` and `name=value` in its path stand for themselves."""
    return pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)


def schema(path: Path) -> pl.Schema:
    """Read the names and types of a file's columns."""
    return scan(path).collect_schema()


def read(path: Path) -> pl.DataFrame:
    """Read one file whole."""
    return scan(path).collect()
