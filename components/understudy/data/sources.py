"""Read users' files of texts or labels row by row: a faulty row is refused with its reason, a faulty file ends the run.

CSV (comma, semicolon or tab), JSONL and Parquet; a file, a folder of them, or `s3://bucket/key-or-prefix`. Rows are
counted as a spreadsheet shows them: the header of a CSV is row 1; the first line of JSONL and the first row of Parquet
are row 1 too.
"""

import csv
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from understudy.data import listing, parquet
from understudy.data.limits import (
    CHARS_FOR_KEYS,
    LINES_FOR_KEYS,
    LONGEST_HEADER,
    LONGEST_LINE,
    LONGEST_NAME,
    MOST_COLUMNS,
)
from understudy.data.lines import Lines, TooLong, records
from understudy.data.listing import Listing
from understudy.errors import BadData, BadInput, together
from understudy.store.address import parse_address
from understudy.store.hashing import hash_file
from understudy.store.leftovers import temporary_folder
from understudy.store.s3 import S3Store
from understudy.store.storage import Store, copy
from understudy.text.numbers import clipped

FOREIGN = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh91AY&SY": "bzip2",
    b"PK\x03\x04": "zip or Excel",
    b"%PDF": "PDF",
    b"\xd0\xcf\x11\xe0": "old Excel",
    b"ARROW1\0\0": "Arrow",
    b"Obj\x01": "Avro",
    b"SQLite format 3\0": "SQLite",
}
BYTE_ORDER_MARKS = {  # the longest first: UTF-32's begins like UTF-16's
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
SKIPPED_MARKS = (b"\xef\xbb\xbf", *BYTE_ORDER_MARKS)
JSON_LIST = re.compile(r"\[\s*[\[\]{]")
DELIMITERS = ",;\t"
FIRST_ROWS, ROWS_AT_ONCE = 1_000, 20_000
BYTES_AT_ONCE = 1 << 24  # of Parquet's cells that become Python's strings together
MOST_EXACT = 2**53  # the largest whole numbers that a float holds apart
BROKEN_QUOTES, TOO_LONG_LINE = "broken_quotes", "too_long"
WHOLE_FILE = 0  # the row of a refusal that is about a file
AT_THE_END = "unexpected end of data"  # what the module csv says of quotes that are open at the end of a file
BLANK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was refused, and why. `is_fault` is False for what is merely redundant or fenced off."""

    file: str
    row: int
    id: str | None
    reason: str
    detail: str
    is_fault: bool = True
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A sound row: its wanted cells, stripped; None for an empty one."""

    file: str
    number: int
    cells: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a source: its name for messages, where its bytes are, and how they read."""

    name: str
    path: Path
    kind: str
    encoding: str = "utf-8"
    delimiter: str = ","
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading begins: the number of the row before, and the byte after it (0 in Parquet)."""

    row: int = 0
    offset: int = 0


START = Place()


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
    """

    address: str
    files: tuple[File, ...]
    columns: tuple[str, ...]
    passed_over: tuple[str, ...] = ()

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
            yield from rows_from(file, START, self.columns, filled, Reading(max_chars, lenient))

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


@dataclass(frozen=True, slots=True)
class Reading:
    """How strictly cells are read.

    Attributes:
        max_chars: longest `text`, in characters.
        lenient: columns that are read as far as they can be, and cost no row.
    """

    max_chars: int | None = None
    lenient: Collection[str] = ()


def rows_from(
    file: File, place: Place, columns: Sequence[str], filled: Collection[str], reading: Reading = Reading()
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
    try:
        for row in READERS[file.kind](file, columns, place):
            yield _checked(row, file.name, columns, filled, reading)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise _cut_short(file, error) from error


def _cut_short(file: File, error: BaseException) -> BadData:
    return BadData(
        f"A file must be readable to its end, got {_said(error)} ({file.name}). Write it again, or fetch it again."
    )


def _said(error: BaseException) -> str:
    """Return the first line of an error, on one line of a message."""
    return clipped((str(_reason(error)).splitlines() or [type(error).__name__])[0], 200)


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
            unclosed = (place for place, row in zip(starts, read, strict=False) if _is_unclosed(row))
            yield Part(starts[-1], len(read), starts[-2], next(unclosed, None))
            start = starts[-1]
    except (OSError, UnicodeError) as error:
        raise _cut_short(file, error) from error


def _as_far_as_fresh(reader: Iterator["Read"], every: int) -> list["Read"]:
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


def is_blank(path: Path) -> bool:
    """Whether a file holds nothing but white space and a byte order mark."""
    with path.open("rb") as stream:
        start = stream.read(4)
        mark = next((mark for mark in SKIPPED_MARKS if start.startswith(mark)), b"")
        stream.seek(len(mark))
        blank = b" \t\r\n" + (b"\0" if mark in BYTE_ORDER_MARKS else b"")
        return not any(chunk.strip(blank) for chunk in iter(partial(stream.read, BLANK_BYTES), b""))


@contextmanager
def opened(address: str, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Source]:
    """Look at every file behind an address, before any row is read.

    Args:
        address: a file, a folder of files, or `s3://bucket/key-or-prefix`; what is on S3 is fetched first.
        required: columns that every file must have.
        optional: columns that are read when they are there.

    Raises:
        BadData: nothing is there, or a file is empty, unreadable or lacks a column; one sentence a file.
        BadInput: the bucket is missing, forbidden or not to be reached.
    """
    wanted = list(dict.fromkeys([*required, *optional]))
    with fetched(address) as found:
        looks = [lambda name=name, path=path: inspect(name, path, required, optional) for name, path in found.files]
        files = together(*looks)
        columns = tuple(name for name in wanted if any(name in file.columns for file in files))
        yield Source(address, tuple(files), columns, found.passed_over)


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


def inspect(name: str, path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> File:
    """Find out how a file reads, and check its columns.

    Args:
        name: the file in messages.
        path: where its bytes are.
        required: columns that it must have.
        optional: columns that are read when they are there.

    Raises:
        BadData: the file is missing, empty, unreadable or of a foreign kind, lacks a column, or has too many.
    """
    listing.require_plain(name, path)
    try:
        with path.open("rb") as stream:
            start = stream.read(65536)
        file = _with_columns(_recognised(name, path, start), required, {*required, *optional})
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise BadData(
            f"A file must be there and readable, got {_said(error)} ({name}). Mend the path, or write the file again."
        ) from error
    if len(file.columns) > MOST_COLUMNS:
        raise BadData(
            f"A file must have at most {MOST_COLUMNS:,} columns, got {len(file.columns):,} ({name}). Write one row a "
            "text, with the columns that are needed."
        )
    if missing := [column for column in required if column not in file.columns]:
        raise BadData(
            f"A file must have the columns {', '.join(required)}, got {_shown(file.columns)} ({name}). "
            f"Add or rename {', '.join(missing)}."
        )
    if twice := sorted(column for column, times in Counter(file.columns).items() if times > 1):
        raise BadData(f"A column must stand once, got {_shown(twice)} twice ({name}). Rename or drop one.")
    return file


def _reason(error: BaseException) -> object:
    """Return what is wrong, without the path, which an error of the system repeats."""
    return (isinstance(error, OSError) and error.strerror) or error


def _recognised(name: str, path: Path, start: bytes) -> File:
    if not start.removeprefix(b"\xef\xbb\xbf").strip():
        raise BadData(f"A file must hold rows, got an empty file ({name}). Write it again, with its header and rows.")
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise BadData(f"A file must be CSV, JSONL or Parquet, got {what} ({name}). Unpack or export it first.")
    if start.startswith(b"PAR1"):
        return File(name, path, "parquet")
    encoding = next((codec for mark, codec in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in start.partition(b"\n")[0]:
        raise BadData(f"A file must be UTF-8, got NUL bytes in its first line ({name}). Save it as UTF-8.")
    text = start.decode(encoding, "replace").lstrip("\ufeff").lstrip()
    kind = listing.KINDS.get(path.suffix.lower()) or ("jsonl" if text.startswith("{") else "csv")
    if JSON_LIST.match(text) or (kind != "csv" and text.startswith("[")):
        raise BadData(f"A JSON file must hold one object a line, got a list ({name}). Write it as JSONL.")
    return File(name, path, kind, encoding)


def _with_columns(file: File, required: Sequence[str], wanted: Collection[str]) -> File:
    if file.kind == "parquet":
        return replace(file, columns=_parquet_columns(file, wanted))
    if file.kind == "jsonl":
        return replace(file, columns=_jsonl_keys(file))
    with _text(file) as stream:
        line = stream.readline(LONGEST_HEADER + 1)
    if len(line) > LONGEST_HEADER:
        raise BadData(
            f"The first line of a CSV must be a header of at most {LONGEST_HEADER:,} characters, got more "
            f"({file.name}). Write the names of the columns first, and each row on a line of its own."
        )
    headers = {delimiter: _header(line, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda sign: (len(set(headers[sign]) & set(required)), len(headers[sign])))
    return replace(file, delimiter=best, columns=headers[best])


def _header(line: str, delimiter: str) -> tuple[str, ...]:
    with suppress(csv.Error):
        return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), []))
    return (line.strip()[:100],)


def _parquet_columns(file: File, wanted: Collection[str]) -> tuple[str, ...]:
    schema = parquet.schema(file.path)
    kind = schema.get("text", pl.String())
    if not isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        raise BadData(f"The column 'text' must hold strings, got {_said_kind(kind)} ({file.name}). Convert it first.")
    for name in sorted({*wanted} & {*schema}):
        if schema[name].is_nested() or isinstance(schema[name], pl.Binary | pl.Object):
            raise BadData(
                f"The column '{name}' must hold plain values, got {_said_kind(schema[name])} ({file.name}). "
                "Convert it to strings first."
            )
    return tuple(schema)


def _said_kind(kind: pl.DataType) -> str:
    return clipped(str(kind))


def _jsonl_keys(file: File) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    with _text(file) as stream:
        for line in _first_lines(Lines(stream, file.encoding, _errors(file))):
            item = _object(line)
            keys |= dict.fromkeys(item) if isinstance(item, dict) else {}
            if len(keys) > MOST_COLUMNS:
                break
    if not keys:
        raise BadData(
            f"A JSONL file must hold one JSON object a line, got none in its first lines ({file.name}). "
            "Write each row as one line."
        )
    return tuple(keys)


def _first_lines(lines: Lines) -> Iterator[str]:
    """Yield the lines whose keys stand for all; one that is too long is left out."""
    parsed = 0
    for line in islice(_lines_or_faults(lines), LINES_FOR_KEYS):
        if isinstance(line, str) and parsed <= CHARS_FOR_KEYS:
            parsed += len(line)
            yield line


def _shown(columns: Sequence[str]) -> str:
    shown = [column.encode("ascii", "backslashreplace").decode()[:40] for column in columns[:20]]
    return ", ".join(shown) + (", ..." if len(columns) > len(shown) else "")


def _text(file: File, offset: int = 0) -> TextIOWrapper:
    """Open a text file; bytes that are not UTF-8 become lone surrogates, which `_checked` finds."""
    stream = file.path.open("rb")
    start = stream.read(max(map(len, SKIPPED_MARKS)))
    stream.seek(offset or next((len(mark) for mark in SKIPPED_MARKS if start.startswith(mark)), 0))
    return TextIOWrapper(
        stream, encoding=file.encoding, errors=_errors(file), newline="" if file.kind == "csv" else "\n"
    )


def _errors(file: File) -> str:
    return "surrogateescape" if file.encoding == "utf-8" else "surrogatepass"


Cells = Mapping[str, Any] | Refusal


class Read(NamedTuple):
    """A row as it stands: the byte after it, its number, its cells, and whether a reader may begin after it."""

    offset: int
    number: int
    cells: Cells
    is_fresh: bool = True


def _is_unclosed(row: Read) -> bool:
    cells = row.cells
    return isinstance(cells, Refusal) and cells.reason == BROKEN_QUOTES and cells.detail.endswith(AT_THE_END)


def _csv_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    width = len(file.columns)
    positions = {name: file.columns.index(name) for name in wanted if name in file.columns}
    with _text(file, start.offset) as stream:
        found = records(Lines(stream, file.encoding, _errors(file)), file.delimiter)
        for number, record in enumerate(found, start=start.row + 1):
            if number == 1 or record.cells == []:
                continue
            yield Read(record.offset, number, _cells(file, number, record.cells, positions, width), record.is_fresh)


def _cells(
    file: File, number: int, record: list[str] | csv.Error | TooLong, positions: Mapping[str, int], width: int
) -> Cells:
    if isinstance(record, TooLong) and record.chars:
        return Refusal(file.name, number, None, TOO_LONG_LINE, str(record))
    if isinstance(record, csv.Error | TooLong):
        return Refusal(file.name, number, None, BROKEN_QUOTES, f"the quotes do not close: {record}")
    if len(record) < width or any(cell.strip() for cell in record[width:]):
        detail = f"{len(record)} cells where the header has {width}: quote cells that hold a '{file.delimiter}'"
        return Refusal(file.name, number, None, "cell_count", detail)
    return {name: record[position] for name, position in positions.items()}


def _jsonl_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    with _text(file, start.offset) as stream:
        lines = Lines(stream, file.encoding, _errors(file))
        for number, line in enumerate(_lines_or_faults(lines), start=start.row + 1):
            if isinstance(line, TooLong):
                yield Read(lines.offset, number, Refusal(file.name, number, None, TOO_LONG_LINE, str(line)))
                continue
            item = _object(line)
            if isinstance(item, dict):
                yield Read(lines.offset, number, {name: item.get(name) for name in wanted})
            elif line.strip():
                detail = item if isinstance(item, str) else "the line holds no object"
                yield Read(lines.offset, number, Refusal(file.name, number, None, "not_an_object", detail))


def _lines_or_faults(lines: Lines) -> Iterator[str | TooLong]:
    """Yield each line, or that it is too long."""
    while True:
        lines.begin()
        try:
            yield next(lines)
        except TooLong as error:
            yield error
        except StopIteration:
            return


def _object(line: str) -> dict[str, Any] | str | None:
    """Return a line's object; what is wrong with it as a string; None for other JSON."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    return item if isinstance(item, dict) else None


def _parquet_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    columns = [name for name in wanted if name in file.columns]
    offset, rows = start.row, FIRST_ROWS
    while len(part := parquet.rows(file.path, columns, offset, rows)):
        for number, cells in enumerate(_named_cells(file, part, offset), start=offset + 1):
            yield Read(0, number, cells)
        offset += len(part)
        rows = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE * len(part) // max(1, int(part.estimated_size()))))


def _named_cells(file: File, part: pl.DataFrame, before: int) -> Iterator[Cells]:
    """Yield the cells of each row; few at once where a string is long, which a file may hold once for many rows."""
    strings = [name for name, kind in part.schema.items() if isinstance(kind, pl.String)]
    sizes = part.select(pl.col(strings).str.len_bytes().fill_null(0))
    is_long = (sizes > LONGEST_LINE).sum_horizontal() > 0 if strings else pl.repeat(False, len(part), eager=True)
    part = part.with_columns(pl.when(~is_long).then(pl.col(strings)).name.keep()) if is_long.any() else part
    most = min(int(sizes.max_horizontal().max() or 0), LONGEST_LINE) if strings else 0  # type: ignore[arg-type]
    rows = part.iter_rows(named=True, buffer_size=max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(1, most))))
    for number, (cells, is_refused) in enumerate(zip(rows, is_long, strict=True), start=before + 1):
        detail = f"a cell of more than {LONGEST_LINE:,} bytes"
        yield Refusal(file.name, number, None, TOO_LONG_LINE, detail) if is_refused else cells


READERS: Mapping[str, Callable[[File, Sequence[str], Place], Iterator[Read]]] = {
    "csv": _csv_rows,
    "jsonl": _jsonl_rows,
    "parquet": _parquet_rows,
}


def _checked(row: Read, file: str, wanted: Sequence[str], filled: Collection[str], reading: Reading) -> Row | Refusal:
    """Return a row of stripped strings, or the first thing that is wrong with it."""
    cells = row.cells
    if isinstance(cells, Refusal):
        return cells
    values = {name: _string(cells.get(name), name) for name in wanted}
    for name in reading.lenient:
        if name in values:
            value = values[name]
            values[name] = mended(value) if isinstance(value, str) else None
    for name, value in values.items():
        found = ("not_a_string", value.what) if isinstance(value, _Odd) else _fault(name, value, reading.max_chars)
        if found is None and name in filled and value is None:
            found = f"empty_{name}", f"the cell '{name}' is empty"
        if found:
            return Refusal(file, row.number, _sound(values, "id"), *found, group=_sound(values, "group"))
    return Row(file, row.number, values)  # type: ignore[arg-type]  # no _Odd is left


def cell_of(name: str, value: Any) -> tuple[str | None, tuple[str, str] | None]:
    """Return a value as a cell: a stripped string, None for an empty one; and what is wrong with it.

    Args:
        name: of the column.
        value: as JSON or Parquet has it.

    Returns:
        the cell, and the reason and detail of a refusal, or None.
    """
    cell = _string(value, name)
    if isinstance(cell, _Odd):
        return None, ("not_a_string", cell.what)
    return cell, _fault(name, cell, None)


def mended(text: str) -> str:
    """Return a text that every table can hold, with a question mark for each sign that is none."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _sound(values: Mapping[str, "str | _Odd | None"], name: str) -> str | None:
    """Return a value when nothing is wrong with it."""
    value = values.get(name)
    return value if isinstance(value, str) and not _fault(name, value, None) else None


@dataclass(frozen=True, slots=True)
class _Odd:
    """A value that is neither a string nor can stand for one."""

    what: str


def _string(value: Any, name: str) -> str | _Odd | None:
    if isinstance(value, str):
        return value.strip() or None
    if value is None:
        return None
    if name == "text" or isinstance(value, dict | list | bytes):
        return _Odd(f"the cell '{name}' must be a string, got {type(value).__name__}")
    if isinstance(value, bool):
        return str(value).lower()
    return _written(value, name) if isinstance(value, float) else str(value)


def _written(value: float, name: str) -> str | _Odd | None:
    """Write a float as a string; what stands for no number is an empty cell."""
    if math.isnan(value):
        return None
    if math.isinf(value) or abs(value) > MOST_EXACT:
        return _Odd(f"the cell '{name}' must be a string or a whole number, got {value!r}, which has lost its digits")
    return str(int(value)) if value.is_integer() else str(value)


def _fault(name: str, value: str | None, max_chars: int | None) -> tuple[str, str] | None:
    if value is None:
        return None
    if name == "text" and max_chars is not None and len(value) > max_chars:
        return "too_long", f"{len(value):,} characters where {max_chars:,} are allowed"
    if name != "text" and len(value) > LONGEST_NAME:
        return "too_long", f"{len(value):,} characters in '{name}' where {LONGEST_NAME:,} are allowed"
    if "\0" in value:
        return "nul_byte", f"a NUL byte at character {value.index(chr(0)) + 1} of '{name}'"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        sign = ord(value[error.start])
        what = f"byte 0x{sign - 0xDC00:02x}" if 0xDC80 <= sign <= 0xDCFF else f"half a character (U+{sign:04X})"
        return "not_utf8", f"{what} at character {error.start + 1} of '{name}': save the file as UTF-8"
    return None
