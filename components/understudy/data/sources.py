"""Read users' files of texts or labels row by row: a faulty row is refused with its reason, a faulty file ends the run.

CSV (comma, semicolon or tab), JSONL and Parquet; a file, a folder of them, or `s3://bucket/key-or-prefix`. CSV and
JSONL may be packed, and a file that is named itself may be a JSON list or Excel's (`unpacking`). Rows are counted as a
spreadsheet shows them: the header of a CSV is row 1, and so is the first line of JSONL and the first row of Parquet.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from understudy.data import listing, parquet, unpacking
from understudy.data.csv_rows import csv_rows, is_unclosed
from understudy.data.detection import Wanted, inspect, said
from understudy.data.jsonl_rows import jsonl_rows
from understudy.data.listing import Listing
from understudy.data.rows import BROKEN_QUOTES, START, STRICT, File, Place, Read, Reading, Refusal, Row, checked
from understudy.errors import BadData, BadInput, together
from understudy.store.address import parse_address
from understudy.store.hashing import hash_file
from understudy.store.leftovers import temporary_folder
from understudy.store.s3 import S3Store
from understudy.store.storage import Store, copy

ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file that can be read apart.

    Attributes:
        end: where they end.
        rows: how many.
        last: where the last of them begins.
        unclosed: where the first begins whose quotes are still open at the file's end; None where there is none.
    """

    end: Place
    rows: int
    last: Place
    unclosed: Place | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Files that were looked at and can be read.

    Attributes:
        address: where they lie.
        files: in order.
        columns: those of the wanted ones that any file has.
        passed_over: names of files that lie beside them and are not read, since their names do not say how.
        lists: columns whose cells may be lists of names, which are read as JSON.
        makes_ids: rows of a file without ids get an id of their text.
    """

    address: str
    files: tuple[File, ...]
    columns: tuple[str, ...]
    passed_over: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    makes_ids: bool = False

    @property
    def without_ids(self) -> list[str]:
        """Names of the files whose rows get ids of their texts."""
        return [file.name for file in self.files if self.makes_ids and not file.has("id")]

    @property
    def sha256(self) -> str:
        """Hash of what was given: of the file, or of the names and hashes of several."""
        hashes = [hash_file(file.path) for file in self.files]
        if len(hashes) == 1:
            return hashes[0]
        lines = [f"{file.name} {digest}" for file, digest in zip(self.files, hashes, strict=True)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def rows(
        self, filled: Collection[str], max_chars: int | None = None, lenient: Collection[str] = ()
    ) -> Iterator[Row | Refusal]:
        """Read all rows in order.

        Args:
            filled: columns whose cell must not be empty.
            max_chars: longest `text`, in characters.
            lenient: columns that are read as far as they can be, and cost no row.

        Raises:
            BadData: a file ends in the middle or cannot be read on.
        """
        for file in self.files:
            yield from rows_from(
                file, START, self.columns, filled, Reading(max_chars, lenient, self.lists, self.makes_ids)
            )

    def read(
        self, filled: Collection[str], max_chars: int | None = None, lenient: Collection[str] = ()
    ) -> tuple[pl.DataFrame, list[Refusal]]:
        """Read all rows into a table: `file`, `row` and the columns, all strings but `row`.

        Args:
            filled: columns whose cell must not be empty.
            max_chars: longest `text`, in characters.
            lenient: columns that are read as far as they can be, and cost no row.
        """
        schema = {"file": pl.String, "row": pl.Int64} | dict.fromkeys(self.columns, pl.String)
        parts, refusals = [pl.DataFrame(schema=schema)], []
        rows = self.rows(filled, max_chars, lenient)
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            refusals += [row for row in batch if isinstance(row, Refusal)]
            sound = [(row.file, row.number, *row.cells.values()) for row in batch if isinstance(row, Row)]
            parts.append(pl.DataFrame(sound, schema=schema, orient="row"))
        return pl.concat(parts, rechunk=True), refusals


def rows_from(
    file: File, place: Place, columns: Sequence[str], filled: Collection[str], reading: Reading = STRICT
) -> Iterator[Row | Refusal]:
    """Read the rows of one file from a place on, in order.

    Args:
        file: what `inspect` returned.
        place: where to begin.
        columns: the wanted ones; None for one that the file lacks.
        filled: columns whose cell must not be empty.
        reading: how strictly.

    Raises:
        BadData: the file ends in the middle or cannot be read on.
    """
    reading = replace(reading, makes_ids=reading.makes_ids and not file.has("id"))
    try:
        for row in READERS[file.kind](file, columns, place):
            yield checked(row, file.name, columns, filled, reading)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise _cut_short(file, error) from error


def _cut_short(file: File, error: BaseException) -> BadData:
    return BadData(
        f"A file must be readable to its end, got {said(error)} ({file.name}). Write it again, or fetch it again."
    )


def parts(file: File, start: Place, every: int) -> Iterator[Part]:
    """Cut the rest of a file into parts that can be read apart.

    Args:
        file: what `inspect` returned.
        start: where to begin.
        every: most rows of a part.

    Yields:
        the parts; the last one ends where the file does.

    Raises:
        BadData: the file ends in the middle or cannot be read on.
    """
    if file.kind == "parquet":
        total = _parquet_length(file)
        ends = [*range(start.row + every, total, every), total] if total > start.row else []
        bounds = zip([start.row, *ends], ends, strict=False)
        yield from (Part(Place(end), end - before, Place(end - 1)) for before, end in bounds)
        return
    try:
        reader = READERS[file.kind](file, (), start)
        while read := _as_far_as_fresh(reader, every):
            starts = [start, *(Place(row.number, row.offset) for row in read)]
            unclosed = (place for place, row in zip(starts, read, strict=False) if is_unclosed(row))
            yield Part(starts[-1], len(read), starts[-2], next(unclosed, None))
            start = starts[-1]
    except (OSError, UnicodeError) as error:
        raise _cut_short(file, error) from error


def _as_far_as_fresh(reader: Iterator[Read], every: int) -> list[Read]:
    """Take so many rows, and those up to the next place where a reader may begin."""
    read = list(islice(reader, every))
    while read and not read[-1].is_fresh and (row := next(reader, None)):
        read.append(row)
    return read


def _parquet_length(file: File) -> int:
    try:
        return parquet.length(file.path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _cut_short(file, error) from error


def is_unclosed_at(file: File, place: Place) -> bool:
    """Whether the quotes of the row at a place do not close, or close where they may not."""
    row = next(READERS[file.kind](file, (), place), None)
    return row is None or (isinstance(row.cells, Refusal) and row.cells.reason == BROKEN_QUOTES)


@contextmanager
def opened(
    address: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    lists: Sequence[str] = (),
    *,
    called: Mapping[str, str] | None = None,
    makes_ids: bool = False,
) -> Iterator[Source]:
    """Look at every file behind an address, before any row is read.

    Args:
        address: a file, a folder of files, or `s3://bucket/key-or-prefix`; what is on S3 is fetched first.
        required: columns that every file must have.
        optional: columns that are read when they are there.
        lists: columns whose cells may be lists of names.
        called: what the files call these columns, where it is another name; a file may have our name all the same.
        makes_ids: rows of a file that has texts and no ids get an id of their text.

    Raises:
        BadData: nothing is there, or a file is empty, unreadable or lacks a column; one sentence a file.
        BadInput: the bucket is missing, forbidden or not to be reached.
    """
    wanted = Wanted(required, optional, lists, called or {}, makes_ids)
    with ExitStack() as stack:
        found = stack.enter_context(fetched(address))
        looks = [partial(_looked_at, stack, name, path, wanted) for name, path in found.files]
        files = together(*looks)
        columns = tuple(name for name in wanted.names if any(file.has(name) or _makes(name, wanted) for file in files))
        yield Source(address, tuple(files), columns, found.passed_over, tuple(lists), makes_ids)


def _looked_at(stack: ExitStack, name: str, path: Path, wanted: Wanted) -> File:
    """Look at a file, or at the copy through which it is read, which stands as long as the stack."""
    if unpacking.is_turned(name):
        listing.require_plain(name, path)
        path = unpacking.turned(name, path, stack.enter_context(temporary_folder()))
    return inspect(name, path, wanted)


def _makes(name: str, wanted: Wanted) -> bool:
    return wanted.makes_ids and name == "id"


@contextmanager
def fetched(address: str) -> Iterator[Listing]:
    """List the files behind an address; what is on S3 is copied here meanwhile.

    Raises:
        BadData: nothing is there.
        BadInput: the address is none, or the bucket is missing, forbidden or not to be reached.
    """
    if not parse_address(address, "the file").is_s3:
        yield listed(address)
        return
    with temporary_folder() as folder:
        yield _from_s3(address, folder)


def local_path(address: str) -> Path:
    """Return the path of an address that is not on S3: a path, or a file:// address.

    Raises:
        BadInput: it is on S3, or cannot be a path.
    """
    path = parse_address(address, "the file").path
    if path is None:
        raise BadInput(f"An address must be on this machine, got '{address}'. Write a path.")
    return path


def listed(address: str) -> Listing:
    """List a file, or the files of data in a folder.

    Raises:
        BadData: the folder holds none, or the path leads to what is no file.
    """
    path = local_path(address)
    listing.require_plain(address, path)
    is_folder = os.path.isdir(path)  # noqa: PTH112 - no error where a folder above it may not be looked into
    return listing.in_folder(path, address) if is_folder else Listing(((address, path),))


def _from_s3(address: str, folder: Path) -> Listing:
    """Copy an object, or every file under a prefix, into a folder."""
    place = parse_address(address, "the file")
    store = S3Store(place.bucket, "")
    keys, passed_over = keys_under(store, place.key, address)
    found = [(store.locate(name), folder / f"{index:06d}{suffix_of(name)}") for index, name in enumerate(keys)]
    for name, (_, path) in zip(keys, found, strict=True):
        copy(store, name, path)
    return Listing(tuple(found), passed_over)


def suffix_of(name: str) -> str:
    """Return the ending of a name that says how a file reads; none for any other, which may be of any length."""
    suffix = Path(name).suffix
    return suffix if suffix.lower() in listing.KINDS else ""


def keys_under(store: Store, key: str, address: str) -> tuple[list[str], tuple[str, ...]]:
    """List the keys of an object, or of every file of data under a prefix, and the names of what is passed over there.

    Raises:
        BadData: nothing is there.
    """
    under = store.list(key)
    if key in under:
        return [key], ()
    return listing.under_prefix([name for name in under if not key or name.startswith(f"{key}/")], key, address)


READERS: Mapping[str, Callable[[File, Sequence[str], Place], Iterator[Read]]] = {
    "csv": csv_rows,
    "jsonl": jsonl_rows,
    "parquet": parquet.parquet_rows,
}
