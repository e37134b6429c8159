"""Remove temporary files that their killed process left.

A temporary file or folder is held by a lock (flock) for as long as its process lives; the system lets go of the lock
however the process ends. What can be locked by somebody else is therefore nobody's, and is removed: whenever a
temporary folder is made, whenever a store is opened for writing, and by `understudy forget`.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from understudy.errors import StorageError
from understudy.store.faults import explain_os

PREFIX = "understudy-held-"  # in the machine's temporary folder, which others use too
ATTEMPTS = 20


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder in the machine's temporary folder, for copies that are gone afterwards.

    Raises:
        BadInput: the temporary folder cannot be written.
        StorageError: it has no room.
    """
    with held_folder(_temporary_parent(), PREFIX) as folder:
        yield folder


@cache
def lasting_folder() -> Path:
    """Return a temporary folder that lasts as long as this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary_folder())


def sweep_temporary() -> None:
    """Remove what killed processes left in the machine's temporary folder."""
    sweep(_temporary_parent(), PREFIX)


@contextmanager
def held_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that goes when the block ends, or after this process does; earlier ones of dead processes go now.

    Args:
        parent: where.
        prefix: its name's beginning; whatever in `parent` begins so and is nobody's is removed.
    """
    sweep(parent, prefix)
    folder, lock = _made(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what cannot go now goes with the next sweep
        os.close(lock)


def sweep(parent: Path, prefix: str = "") -> None:
    """Remove the files and folders in a folder whose name begins so and whose process is dead."""
    try:
        found = [Path(entry.path) for entry in os.scandir(parent) if entry.name.startswith(prefix)]
    except OSError:
        return  # no such folder yet, or one that may be written but not listed
    for path in found:
        _remove_if_dead(path)


def _remove_if_dead(path: Path) -> None:
    """Remove a file or folder of ours that no process holds."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # gone meanwhile, or not ours to read
    try:
        if os.fstat(handle).st_uid != os.getuid() or not hold(handle):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def hold(handle: int, *, is_patient: bool = False) -> bool:
    """Take the lock that keeps a file or folder from being removed; False when it cannot be had.

    Args:
        handle: of the open file or folder.
        is_patient: wait for whoever has it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
    except OSError:
        return False  # held; or a file system without locks, where nothing is ever taken for nobody's
    return True


def is_there(handle: int) -> bool:
    """Whether an open file or folder still has a name: a sweep may come between making and holding it."""
    return os.fstat(handle).st_nlink > 0


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    try:
        for _ in range(ATTEMPTS):
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            try:
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue  # swept before it was opened
            hold(handle, is_patient=True)
            if is_there(handle) and folder.exists():
                return folder, handle
            os.close(handle)
    except OSError as error:
        remedy = "Name another place (TMPDIR, for copies)."
        raise explain_os(error, "The folder of temporary files must be writable", str(parent), remedy) from error
    raise StorageError(f"A temporary folder must stay, got one that others remove ({parent}). Run it again.")


def _temporary_parent() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        what = "The machine must have a folder for temporary files"
        raise explain_os(error, what, "TMPDIR", "Name one in TMPDIR.") from error
