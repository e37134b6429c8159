"""A store in a local folder: writes are atomic by rename or link, swaps are serialised by a lock file."""

import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from understudy.errors import BadInput
from understudy.store.base import Store, Tagged, buffered, too_short
from understudy.store.faults import explain_os
from understudy.store.leftovers import hold, is_there, remove_if_dead, sweep
from understudy.store.reading import Body, ObjectStream, Rest

ABSENT_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
TEMPORARY, WRITTEN = ".~", "written-"  # of a folder store: where its unfinished files lie, and how they are called
LOCKS = 64


class FolderStore(Store):
    """A store in a local folder; writes are atomic by rename or link, swaps are serialised by a lock file.

    What is being written lies in the folder ".~" below the store, each file held by a lock: what a killed writer left
    there is nobody's, and goes when the store is next opened for writing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.uri = str(self.root)

    def open(self, key: str, offset: int = 0) -> BinaryIO:
        """Open an object as a stream, from a byte on."""
        with self._reading(key) as path:
            try:
                file = path.open("rb", buffering=0)
            except ABSENT_ERRORS as error:
                raise self._absent(key) from error
            size = os.fstat(file.fileno()).st_size
            if offset > size:
                file.close()
                raise too_short(self.locate(key), offset, size)
            file.seek(offset)
        return buffered(ObjectStream(Rest(cast("Body", file), size - offset), None, self.locate(key)))

    def tag_of(self, key: str) -> str | None:
        """Return size and time of change."""
        with self._reading(key) as path:
            try:
                found = path.stat()
            except ABSENT_ERRORS:
                return None
        return f"{found.st_size}-{found.st_mtime_ns}"

    def read_tagged(self, key: str) -> Tagged | None:
        """Read an object; its tag is the hash of its content."""
        with self._reading(key) as path:
            try:
                data = path.read_bytes()
            except ABSENT_ERRORS:
                return None
        return Tagged(data, hashlib.sha256(data).hexdigest())

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write beside, then link: the link fails when the key is taken."""
        with self._written_beside(key, data) as (temporary, target):
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
        return True

    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Compare and rename under a lock that ends with the process that holds it."""
        with self._locked(key):
            found = self.read_tagged(key)
            if (found.tag if found else None) != tag:
                return False
            with self._written_beside(key, data) as (temporary, target):
                temporary.replace(target)
        return True

    def list(self, prefix: str = "") -> list[str]:
        """List keys, leaving out what is still being written and lock files."""
        with self._reading(prefix.rpartition("/")[0]) as start:
            keys = (str(path.relative_to(self.root)) for path in _files_below(start) if not _is_temporary(path.name))
            return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove the file."""
        with self._writing(key) as path, suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def remove_leftovers(self, *, everywhere: bool = False) -> None:
        """Remove what killed writers left: in the folder of what is being written, or beside any object."""
        sweep(self.root / TEMPORARY, WRITTEN)
        if everywhere:
            with self._reading("") as start:
                for path in _files_below(start):
                    if _is_temporary(path.name):
                        remove_if_dead(path)

    def _path(self, key: str) -> Path:
        """Return the file of a key; a key that leads out of the store, or that no file can have, is refused."""
        if "\0" in key or key.startswith("/") or ".." in key.split("/"):
            raise BadInput(f"A key must lead to an object of its store, got {key[:80]!r} ({self.uri}). Mend it.")
        return self.root / key

    @contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        try:
            yield self._path(key)
        except OSError as error:
            what, remedy = "The object must be readable", "Check its rights."
            raise explain_os(error, what, self.locate(key), remedy) from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        try:
            yield self._path(key)
        except OSError as error:
            remedy = "Check its address, the folder's rights and the space that is left."
            raise explain_os(error, "The store must be writable", self.locate(key), remedy) from error

    @contextmanager
    def _written_beside(self, key: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        """Give the path of a file that holds the data, on the disk, and the object's own."""
        with self._writing(key) as target:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary, handle = self._temporary_file()
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    yield temporary, target
            finally:
                temporary.unlink(missing_ok=True)

    def _temporary_file(self) -> tuple[Path, int]:
        """Make a file that is ours as long as it is open, with the rights that this process gives its files."""
        folder = self.root / TEMPORARY
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{WRITTEN}{uuid.uuid4().hex}"
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            hold(handle, is_patient=True)
            if is_there(handle):
                return path, handle
            os.close(handle)  # another process took it for nobody's before it was held

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        with self._writing(key) as target:
            folder = self.root / TEMPORARY
            folder.mkdir(parents=True, exist_ok=True)
            number = int(hashlib.sha256(os.fsencode(target)).hexdigest(), 16) % LOCKS
            with (folder / f"lock-{number:02d}").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield


def _files_below(folder: Path) -> Iterator[Path]:
    """Walk through the files below a folder; none when there is no such folder.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, ABSENT_ERRORS):
            raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name != TEMPORARY]
        yield from (path for name in files if (path := Path(parent, name)).is_file())


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY)
