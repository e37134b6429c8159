"""Parquet files at paths that users name, read as they stand: no sign of a path is a pattern, a home or a cloud.

A damaged file can make polars panic, which is no `Exception` and writes pages of its own to standard error; here it
becomes one of polars' errors, and what its threads wrote is dropped.
"""

import io
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl

STDERR = 2
ONE_AT_A_TIME = threading.RLock()  # there is one standard error


def schema(path: Path) -> pl.Schema:
    """Read the names and types of a file's columns."""
    with _without_panic():
        return _scan(path).collect_schema()


def length(path: Path) -> int:
    """Count a file's rows."""
    with _without_panic():
        return int(_scan(path).select(pl.len()).collect().item())


def rows(path: Path, columns: Sequence[str], offset: int, most: int) -> pl.DataFrame:
    """Read some columns of some rows of a file, from one of them on."""
    with _without_panic():
        return _scan(path).select(columns).slice(offset, most).collect()


def read(path: Path) -> pl.DataFrame:
    """Read one file whole."""
    with _without_panic():
        return _scan(path).collect()


def from_bytes(data: bytes) -> pl.DataFrame:
    """Read the bytes of a file whole."""
    with _without_panic():
        return pl.read_parquet(io.BytesIO(data))


def _scan(path: Path) -> pl.LazyFrame:
    """Open one file lazily; `[1]`, `*`, `~` and `name=value` in its path stand for themselves."""
    return pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)


@contextmanager
def _without_panic() -> Iterator[None]:
    """Turn a panic into an error of polars.

    Raises:
        ComputeError: polars panicked.
    """
    with ONE_AT_A_TIME, ExitStack() as stack:
        written = _diverted(stack)
        try:
            yield
        except pl.exceptions.PanicException as error:
            if written:
                os.ftruncate(written, 0)
            first = (str(error).splitlines() or [""])[0]
            raise pl.exceptions.ComputeError(f"a damaged Parquet file: {first}") from None


def _diverted(stack: ExitStack) -> int | None:
    """Let standard error go to a file until the stack is closed, and then pass on what is in it."""
    try:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        kept = os.dup(STDERR)
    except OSError:  # no space, or no standard error: polars is heard, then
        return None
    if sys.stderr is not None:
        sys.stderr.flush()
    os.dup2(file.fileno(), STDERR)

    def give_back() -> None:
        os.dup2(kept, STDERR)
        os.close(kept)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        with os.fdopen(os.dup(STDERR), "wb") as stderr:
            shutil.copyfileobj(file, stderr)

    stack.callback(give_back)
    return file.fileno()
