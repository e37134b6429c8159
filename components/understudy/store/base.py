"""One small interface over a folder or an S3 bucket: read, write, list, put if absent, compare and swap.

Objects are immutable: a growing thing is many objects, each put once. Only pointers change, by `compare_and_swap`.
"""

import io
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from understudy.errors import Conflict, StorageError
from understudy.store.faults import explain_os
from understudy.store.reading import ObjectStream

ATTEMPTS = 40  # of whoever comes at once each try lets one through
LONGEST_PAUSE_S = 0.2
BUFFER_BYTES = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object's bytes with the tag that `compare_and_swap` takes."""

    data: bytes
    tag: str


class Store(ABC):
    """Objects by key ("a/b/c"), under one folder or one `s3://bucket/prefix`.

    Attributes:
        uri: its address.
        settle_s: seconds after which no write lands any more that was let through beside another under one condition.
    """

    uri: str
    settle_s: float = 0.0

    @abstractmethod
    def open(self, key: str, offset: int = 0) -> BinaryIO:
        """Open an object as a stream, from a byte on. Raises StorageError when there is none."""

    @abstractmethod
    def tag_of(self, key: str) -> str | None:
        """Return what changes when the object does, without reading it; None when there is none."""

    @abstractmethod
    def read_tagged(self, key: str) -> Tagged | None:
        """Read an object with its tag; None when there is none."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless the key is taken; True when this call wrote it."""

    @abstractmethod
    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Replace the object that has this tag (None: no object yet); False when somebody else was first."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """List the keys that begin with `prefix`, sorted."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    def remove_leftovers(self) -> None:  # noqa: B027 - most stores have none
        """Remove what killed writers left."""

    def read(self, key: str) -> bytes:
        """Read an object whole. Raises StorageError when there is none."""
        found = self.read_tagged(key)
        if found is None:
            raise self._absent(key)
        return found.data

    def locate(self, key: str) -> str:
        """Return the full address of a key."""
        return f"{self.uri}/{key}" if self.uri != "/" else f"/{key}"

    def _absent(self, key: str) -> StorageError:
        return StorageError(f"The object must exist, got nothing at {self.locate(key)}. Check the store's address.")


class Beaten(Exception):
    """Another writer was first: what was to be written must be made anew from what stands now."""


def contend(write: Callable[[], T], what: str, where: str) -> T:
    """Make a write that others may be faster at, a bounded number of times and with growing pauses.

    Args:
        write: reads what stands, and writes under the condition that it still does; raises `Beaten` when it does not.
        what: names what is written in an error.
        where: its address, for the error.

    Raises:
        Conflict: others were first each time.

    >>> contend(lambda: 3, "A counter", "s3://bucket/counter")
    3
    """
    for number in range(ATTEMPTS):
        try:
            return write()
        except Beaten:
            time.sleep(min(LONGEST_PAUSE_S, 0.01 * number))
    raise Conflict(f"{what} must be free to write, got others writing ({where}). Run it again.")


def take(store: Store, key: str, data: bytes, tag: str | None) -> Tagged | None:
    """Take an object by compare and swap; None when somebody else has it.

    A server that looks at a condition and writes in two steps lets two through at once, and the later write stands: so
    the object is looked at again once all such writes have landed.
    """
    if not store.compare_and_swap(key, data, tag):
        return None
    time.sleep(store.settle_s)
    found = store.read_tagged(key)
    return found if found is not None and found.data == data else None


def update(store: Store, key: str, change: Callable[[bytes | None], bytes | None], what: str) -> bytes | None:
    """Renew an object from what it says now, again when another writer was first; None stands for no object.

    Nothing is deleted: few servers keep a condition of a delete, so what another wrote meanwhile would go. Whoever has
    nothing to say any more writes a record that says so.

    Args:
        store: holds it.
        key: where.
        change: returns what it is to say; what it says already, or None, for nothing to be done.
        what: names it in an error.

    Returns:
        What it says then; None where there is none.

    Raises:
        Conflict: others keep writing.
    """

    def write() -> bytes | None:
        found = store.read_tagged(key)
        before = found.data if found else None
        data = change(before)
        if data is None or data == before:
            return before
        if not store.compare_and_swap(key, data, found.tag if found else None):
            raise Beaten
        return data

    return contend(write, what, store.locate(key))


def copy(store: Store, key: str, path: Path, offset: int = 0, size: int | None = None) -> None:
    """Copy an object, or some bytes of it, into a file: all that was asked for, or an error.

    Args:
        store: holds the object.
        key: where.
        path: of the file.
        offset: the first byte.
        size: how many bytes; None for all that follow.

    Raises:
        StorageError: there is no such object, it comes short, or the disk has no room.
    """
    left = size
    with store.open(key, offset) as stream, _writing_copy(path) as write:
        while left != 0 and (chunk := stream.read(BUFFER_BYTES if left is None else min(left, BUFFER_BYTES))):
            write(chunk)
            left = None if left is None else left - len(chunk)
    if left:
        raise too_short(store.locate(key), offset + (size or 0), offset + (size or 0) - left)


@contextmanager
def _writing_copy(path: Path) -> Iterator[Callable[[bytes], object]]:
    try:
        with path.open("wb") as file:
            yield file.write
    except OSError as error:
        remedy = "Name another folder in TMPDIR."
        raise explain_os(error, "A copy must have its place on this machine", str(path), remedy) from error


def buffered(stream: ObjectStream) -> BinaryIO:
    """Read a stream in large pieces."""
    return cast("BinaryIO", io.BufferedReader(stream, BUFFER_BYTES))


def too_short(where: str, offset: int, size: int) -> StorageError:
    """Return the error of an object that ends before a byte that it must have."""
    return StorageError(
        f"An object must reach to byte {offset:,}, got {size:,} bytes ({where}). It was cut short: restore it."
    )
