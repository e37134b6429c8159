"""A folder on this machine for what can be had again: answers that the store holds, bundles that it serves."""

import contextlib
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable
from glob import escape
from pathlib import Path

from understudy.errors import BadInput


def cache_folder() -> Path:
    """Return a folder that can be written: UNDERSTUDY_CACHE, ~/.cache/understudy, or one in the temporary folder.

    Raises:
        BadInput: UNDERSTUDY_CACHE is set and cannot be written.
    """
    if named := os.environ.get("UNDERSTUDY_CACHE"):
        if not _is_writable(Path(named)):
            raise BadInput(f"The cache folder must be writable, got {named} (UNDERSTUDY_CACHE). Name another one.")
        return Path(named)
    candidates = [Path(tempfile.gettempdir()) / f"understudy-{os.getuid()}"]
    with contextlib.suppress(RuntimeError):
        candidates.insert(0, Path.home() / ".cache" / "understudy")
    found = next(filter(_is_writable, candidates), None)
    return found or Path(tempfile.mkdtemp(prefix="understudy-"))


def open_database(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> sqlite3.Connection:
    """Open an SQLite file whose content can be had again; one that is damaged is thrown away.

    Under a lock, for SQLite waits for nobody while a file is switched to its write-ahead log.

    Args:
        path: the file; its folder is made.
        connect: opens it, and reads enough of it to meet damage.

    Raises:
        BadInput: SQLite cannot work in this folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return connect(path)
        except sqlite3.OperationalError as error:
            raise BadInput(
                f"The cache must be a file that SQLite can use, got {error} ({path}). Set UNDERSTUDY_CACHE to a folder "
                "on a local disk."
            ) from error
        except sqlite3.DatabaseError:
            for file in path.parent.glob(f"{escape(path.name)}*"):
                file.unlink(missing_ok=True)
            return connect(path)


def _is_writable(folder: Path) -> bool:
    """Whether the folder is ours and files can be made in it; it is made when it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder.stat().st_uid == os.getuid()
    except OSError:
        return False
