"""Open Parquet from bytes or a path, taking no sign of the path for a pattern, a home or a cloud.

A damaged file can make polars panic, which is no `Exception` and writes pages of its own to standard error; here it
becomes one of polars' errors, and what its threads wrote is dropped.
"""

import io
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl

STDERR = 2
# Rust reports a panic by a hook that Python cannot replace, from threads of polars' own (2.1 panics at one in 200 files
# with a few bytes changed), and to the one standard error that a process has: so it is diverted, one reader at a time.
ONE_AT_A_TIME = threading.RLock()


@contextmanager
def scanned(source: bytes | Path) -> Iterator[pl.LazyFrame]:
    """Open a table lazily; `[1]`, `*`, `~` and `name=value` in its path stand for themselves.

    What is read within the block turns a panic into an error of polars.

    Raises:
        ComputeError: polars panicked.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source.absolute()
    with ONE_AT_A_TIME, ExitStack() as stack:
        written = _diverted(stack)
        try:
            yield pl.scan_parquet(file, glob=False, hive_partitioning=False)
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
