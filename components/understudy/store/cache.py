"""Keep a cache folder on this machine for what can be had again.

Files in it hold texts: they are read and written by their owner alone, whatever the process's umask.
"""

import contextlib
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from glob import escape
from pathlib import Path

from understudy.errors import BadInput, StorageError, UnderstudyError
from understudy.store.faults import explain_os
from understudy.store.leftovers import lasting_folder

PRIVATE = 0o600
REMEDY = "Set UNDERSTUDY_CACHE to a folder on a local disk that can be written."
DATABASE_PARTS = ("", "-wal", "-shm", "-journal")


def cache_folder() -> Path:
    """Return a folder that can be written: UNDERSTUDY_CACHE, ~/.cache/understudy, or one in the temporary folder.

    Raises:
        BadInput: UNDERSTUDY_CACHE is set and cannot be written, or no folder can be.
    """
    if named := os.environ.get("UNDERSTUDY_CACHE"):
        if not _is_writable(Path(named)):
            raise BadInput(f"The cache folder must be writable, got {named[:200]} (UNDERSTUDY_CACHE). Name another.")
        return Path(named)
    candidates = []
    with contextlib.suppress(RuntimeError):
        candidates.append(Path.home() / ".cache" / "understudy")
    with contextlib.suppress(FileNotFoundError):  # no folder for temporary files: lasting_folder says so
        candidates.append(Path(tempfile.gettempdir()) / f"understudy-{os.getuid()}")
    return next(filter(_is_writable, candidates), None) or lasting_folder()


@contextlib.contextmanager
def caching(path: Path) -> Iterator[None]:
    """Tell in a sentence why something cannot be kept in the cache.

    Args:
        path: of what is to be kept.

    Raises:
        BadInput: rights or paths stand in the way.
        StorageError: the disk has no room, or fails.
    """
    try:
        yield
    except OSError as error:
        raise explain_os(error, "The cache must take what is kept in it", str(path), REMEDY) from error


def open_database(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> sqlite3.Connection:
    """Open an SQLite file whose content can be had again; one that is damaged is thrown away.

    Under a lock, for SQLite waits for nobody while a file is switched to its write-ahead log.

    Args:
        path: the file; its folder is made.
        connect: opens it, and reads enough of it to meet damage.

    Raises:
        BadInput: SQLite cannot work in this folder.
        StorageError: the disk has no room.
    """
    with caching(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, PRIVATE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return _connected(path, connect)
        except sqlite3.OperationalError as error:
            raise _fault(error, str(path)) from error
        except sqlite3.DatabaseError:
            for file in path.parent.glob(f"{escape(path.name)}*"):
                file.unlink(missing_ok=True)
            return _connected(path, connect)
    finally:
        os.close(lock)


def _connected(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> sqlite3.Connection:
    """Connect to a file that is its owner's alone; SQLite gives its log the rights of the file."""
    with caching(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE))
        for part in DATABASE_PARTS:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + part).chmod(PRIVATE)
    return connect(path)


def _fault(error: sqlite3.OperationalError, where: str) -> UnderstudyError:
    """Say why SQLite cannot go on: a disk without room passes, a folder in which it cannot work does not."""
    passes = any(word in str(error) for word in ("full", "disk I/O", "locked", "busy"))
    kind = StorageError if passes else BadInput
    remedy = f"Make room, or {REMEDY[0].lower()}{REMEDY[1:]}"
    return kind(f"The cache must be a file that SQLite can use, got {error} ({where}). {remedy}")


def _is_writable(folder: Path) -> bool:
    """Whether the folder is ours and files can be made in it; it is made when it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder.stat().st_uid == os.getuid()
    except (OSError, ValueError):
        return False
