"""A store in a local folder: writes are atomic by rename or link, swaps are serialised by a lock file."""

import errno
import fcntl
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from understudy.errors import BadInput
from understudy.store.base import Store, Tagged, buffered, too_short
from understudy.store.faults import explain_os
from understudy.store.leftovers import hold, is_there, sweep
from understudy.store.reading import Body, ObjectStream, Rest

ABSENT_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
OWN = ".~"  # folder of a store in which what is being written lies; files that begin so are other programs' locks
LOCKS = 64
ATTEMPTS = 1000  # to open a file in a folder that whoever is done removes


class FolderStore(Store):
    """A store in a local folder; writes are atomic by rename or link, swaps are serialised by a lock file.

    What is being written lies in the folder ".~" below the store, each file held by a lock. The last writer removes the
    folder; what a killed one left there is nobody's, and goes when the store is next opened for writing.
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
        if not stat.S_ISREG(found.st_mode):
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
        """List keys, leaving out what is still being written, and the lock files of people's programs."""
        with self._reading(prefix.rpartition("/")[0]) as start:
            keys = (str(path.relative_to(self.root)) for path in _files_below(start) if not path.name.startswith(OWN))
            return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove the file."""
        with self._writing(key) as path, suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def remove_leftovers(self) -> None:
        """Remove what killed writers left in the folder of what is being written."""
        sweep(self.root / OWN)
        _remove_empty(self.root / OWN)

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
        with self._writing(key) as target, self._own_file(f"written-{uuid.uuid4().hex}") as (temporary, handle):
            target.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
                yield temporary, target

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        with self._writing(key) as target:
            number = int(hashlib.sha256(os.fsencode(target)).hexdigest(), 16) % LOCKS
            with self._own_file(f"lock-{number:02d}") as (_, handle):
                fcntl.flock(handle, fcntl.LOCK_EX)  # held already; a file system without locks ends here
                yield

    @contextmanager
    def _own_file(self, name: str) -> Iterator[tuple[Path, int]]:
        """Hold a file of what is being written, which goes when the block ends, and its folder when it is empty then.

        A file that was removed before it was held was another's, who is done: another one is made in its place.
        """
        path = self.root / OWN / name
        while True:
            handle = _opened(path)
            hold(handle, is_patient=True)
            if is_there(handle):
                break
            os.close(handle)
        try:
            yield path, handle
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)
            _remove_empty(path.parent)


def _opened(path: Path) -> int:
    """Open a file in a folder that others remove when they are done, with the rights that this process gives files."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        with suppress(FileExistsError):
            path.parent.mkdir()
        with suppress(FileNotFoundError):
            return os.open(path, os.O_CREAT | os.O_WRONLY, 0o666)
    raise FileNotFoundError(errno.ENOENT, "a folder that others remove", str(path.parent))


def _remove_empty(folder: Path) -> None:
    """Remove the folder of what is being written unless others are writing."""
    with suppress(OSError):
        folder.rmdir()


def _files_below(folder: Path) -> Iterator[Path]:
    """Walk through the files below a folder; none when there is no such folder.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, ABSENT_ERRORS):
            raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name != OWN]
        yield from (path for name in files if (path := Path(parent, name)).is_file())
