"""Read users' files of texts or labels row by row: a faulty row is refused with its reason, a faulty file ends the run.

CSV (comma, semicolon or tab), JSONL and Parquet; a file, a folder of them, or `s3://bucket/key-or-prefix`. Rows are
counted as a spreadsheet shows them: the header of a CSV is row 1; the first line of JSONL and the first row of Parquet
are row 1 too.
"""

import csv
import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from understudy.errors import BadData, BadInput, together
from understudy.provenance import hash_file
from understudy.storage import S3Store, Store, copy
from understudy.store.address import parse_address
from understudy.store.leftovers import temporary_folder

KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
FOREIGN = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip or Excel", b"%PDF": "PDF", b"\xd0\xcf\x11\xe0": "old Excel"}
BYTE_ORDER_MARKS = {  # the longest first: UTF-32's begins like UTF-16's
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
SKIPPED_MARKS = (b"\xef\xbb\xbf", *BYTE_ORDER_MARKS)
JSON_LIST = re.compile(r"\[\s*[\[\]{]")
DELIMITERS = ",;\t"
LONGEST_CELL = 1 << 27  # 128 MiB: a longer cell is a quote that was never closed
LINES_FOR_KEYS = 1000  # JSONL has no header: the keys of the first lines stand for it
ROWS_AT_ONCE = 20_000
BROKEN_QUOTES = "broken_quotes"
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
    """Files that were looked at and can be read; `columns` are those of the wanted ones that any file has."""

    address: str
    files: tuple[File, ...]
    columns: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of what was given: of the file, or of the names and hashes of several."""
        hashes = [hash_file(file.path) for file in self.files]
        if len(hashes) == 1:
            return hashes[0]
        lines = [f"{file.name} {digest}" for file, digest in zip(self.files, hashes, strict=True)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def rows(self, filled: Collection[str], max_chars: int | None = None) -> Iterator[Row | Refusal]:
        """Read all rows in order.

        Args:
            filled: columns whose cell must not be empty.
            max_chars: longest `text`, in characters.

        Raises:
            BadData: a file ends in the middle or cannot be read on.
        """
        for file in self.files:
            yield from rows_from(file, START, self.columns, filled, max_chars)

    def read(self, filled: Collection[str], max_chars: int | None = None) -> tuple[pl.DataFrame, list[Refusal]]:
        """Read all rows into a table: `file`, `row` and the columns, all strings but `row`.

        Args:
            filled: columns whose cell must not be empty.
            max_chars: longest `text`, in characters.
        """
        schema = {"file": pl.String, "row": pl.Int64} | dict.fromkeys(self.columns, pl.String)
        parts, refusals = [pl.DataFrame(schema=schema)], []
        rows = self.rows(filled, max_chars)
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            refusals += [row for row in batch if isinstance(row, Refusal)]
            sound = [(row.file, row.number, *row.cells.values()) for row in batch if isinstance(row, Row)]
            parts.append(pl.DataFrame(sound, schema=schema, orient="row"))
        return pl.concat(parts, rechunk=True), refusals


def rows_from(
    file: File, place: Place, columns: Sequence[str], filled: Collection[str], max_chars: int | None = None
) -> Iterator[Row | Refusal]:
    """Read the rows of one file from a place on, in order.

    Args:
        file: what `inspect` returned.
        place: where to begin.
        columns: the wanted ones; None for one that the file lacks.
        filled: columns whose cell must not be empty.
        max_chars: longest `text`, in characters.

    Raises:
        BadData: the file ends in the middle or cannot be read on.
    """
    try:
        for _, number, cells in READERS[file.kind](file, columns, place):
            yield _checked(file.name, number, cells, columns, filled, max_chars)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise BadData(f"A file must be readable to its end, got {error} ({file.name}).") from error


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
        total = pl.scan_parquet(file.path).select(pl.len()).collect().item()
        ends = [*range(start.row + every, total, every), total] if total > start.row else []
        bounds = zip([start.row, *ends], ends, strict=False)
        yield from (Part(Place(end), end - before, Place(end - 1)) for before, end in bounds)
        return
    try:
        reader = READERS[file.kind](file, (), start)
        while read := list(islice(reader, every)):
            starts = [start, *(Place(number, offset) for offset, number, _ in read)]
            unclosed = (place for place, row in zip(starts, read, strict=False) if _is_unclosed(row))
            yield Part(starts[-1], len(read), starts[-2], next(unclosed, None))
            start = starts[-1]
    except (OSError, UnicodeError) as error:
        raise BadData(f"A file must be readable to its end, got {error} ({file.name}).") from error


def is_unclosed_at(file: File, place: Place) -> bool:
    """Whether the quotes of the row at a place do not close, or close where they may not."""
    row = next(READERS[file.kind](file, (), place), None)
    return row is None or (isinstance(row[2], Refusal) and row[2].reason == BROKEN_QUOTES)


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
        files = together(*[lambda name=name, path=path: inspect(name, path, required) for name, path in found])
        columns = tuple(name for name in wanted if any(name in file.columns for file in files))
        yield Source(address, tuple(files), columns)


@contextmanager
def fetched(address: str) -> Iterator[list[tuple[str, Path]]]:
    """List the files behind an address as (name for messages, path); what is on S3 is copied here meanwhile.

    Raises:
        BadData: the address is empty, or nothing is there.
        BadInput: the bucket is missing, forbidden or not to be reached.
    """
    require_address(address)
    if not parse_address(address, "the file").is_s3:
        yield listed(address)
        return
    with temporary_folder() as folder:
        yield _from_s3(address, folder)


def require_address(address: str, option: str = "the file") -> None:
    """Refuse an empty address, which a shell makes of an unset variable and a path takes for the current folder.

    Args:
        address: where something is to be read from.
        option: what it was given as, in the message.

    Raises:
        BadData: it is empty.
    """
    if not address.strip():
        raise BadData(
            f"An address must name a file, a folder or s3://bucket/key, got an empty one ({option}). "
            "Check that the variable is set; '.' names the current folder."
        )


def local_path(address: str) -> Path:
    """Return the path of an address that is not on S3: a path, or a file:// address.

    Raises:
        BadInput: it is on S3, or cannot be a path.
    """
    path = parse_address(address, "the file").path
    if path is None:
        raise BadInput(f"An address must be on this machine, got '{address}'. Write a path.")
    return path


def listed(address: str) -> list[tuple[str, Path]]:
    """List a file, or the files of data in a folder, as (name for messages, path).

    Raises:
        BadData: the folder holds none.
    """
    path = local_path(address)
    if not path.is_dir():
        return [(address, path)]
    inside = ((file.relative_to(path), file) for file in sorted(path.rglob("*")) if file.is_file())
    found = [(str(file), file) for name, file in inside if _is_data(name.parts)]
    if not found:
        raise BadData(_nothing_in("folder", address))
    return found


def _from_s3(address: str, folder: Path) -> list[tuple[str, Path]]:
    """Copy an object, or every file under a prefix, into a folder."""
    place = parse_address(address, "the file")
    store = S3Store(place.bucket, "")
    keys = keys_under(store, place.key, address)
    found = [(store.locate(name), folder / f"{index:06d}{Path(name).suffix}") for index, name in enumerate(keys)]
    for name, (_, path) in zip(keys, found, strict=True):
        copy(store, name, path)
    return found


def keys_under(store: Store, key: str, address: str) -> list[str]:
    """List the keys of an object, or of every file of data under a prefix.

    Raises:
        BadData: nothing is there.
    """
    under = store.list(key)
    keys = [key] if key in under else [name for name in under if not key or name.startswith(f"{key}/")]
    if key not in keys:
        keys = [name for name in keys if _is_data(Path(name.removeprefix(key)).parts)]
    if not keys:
        raise BadData(_nothing_in("bucket", address))
    return keys


def _is_data(parts: Sequence[str]) -> bool:
    """Whether a path below a folder names data: no hidden part (".git", "_SUCCESS"), and a known suffix."""
    return Path(parts[-1]).suffix.lower() in KINDS and not any(part.startswith((".", "_")) for part in parts)


def _nothing_in(place: str, address: str) -> str:
    return (
        f"A {place} must hold {', '.join(sorted(KINDS))} files, got none ({address}). "
        "Mend the address, or name the files so."
    )


def inspect(name: str, path: Path, required: Sequence[str]) -> File:
    """Find out how a file reads, and check its columns.

    Args:
        name: the file in messages.
        path: where its bytes are.
        required: columns that it must have.

    Raises:
        BadData: the file is missing, empty, unreadable or of a foreign kind, or lacks a column.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(65536)
        file = _with_columns(_recognised(name, path, start), required)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise BadData(
            f"A file must be there and readable, got {_reason(error)} ({name}). Mend the path, or write the file again."
        ) from error
    if missing := [column for column in required if column not in file.columns]:
        raise BadData(
            f"A file must have the columns {', '.join(required)}, got {_shown(file.columns)} ({name}). "
            f"Add or rename {', '.join(missing)}."
        )
    if twice := sorted({column for column in file.columns if file.columns.count(column) > 1}):
        raise BadData(f"A column must stand once, got {', '.join(twice)} twice ({name}). Rename or drop one.")
    return file


def _reason(error: Exception) -> object:
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
    kind = KINDS.get(path.suffix.lower()) or ("jsonl" if text.startswith("{") else "csv")
    if JSON_LIST.match(text) or (kind != "csv" and text.startswith("[")):
        raise BadData(f"A JSON file must hold one object a line, got a list ({name}). Write it as JSONL.")
    return File(name, path, kind, encoding)


def _with_columns(file: File, required: Sequence[str]) -> File:
    if file.kind == "parquet":
        return replace(file, columns=_parquet_columns(file))
    if file.kind == "jsonl":
        return replace(file, columns=_jsonl_keys(file))
    with _text(file) as stream:
        line = stream.readline(LONGEST_CELL)
    headers = {delimiter: _header(line, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda sign: (len(set(headers[sign]) & set(required)), len(headers[sign])))
    return replace(file, delimiter=best, columns=headers[best])


def _header(line: str, delimiter: str) -> tuple[str, ...]:
    with suppress(csv.Error):
        return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), []))
    return (line.strip()[:100],)


def _parquet_columns(file: File) -> tuple[str, ...]:
    schema = pl.read_parquet_schema(file.path)
    kind = schema.get("text", pl.String())
    if not isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        raise BadData(f"The column 'text' must hold strings, got {kind} ({file.name}). Convert it first.")
    return tuple(schema)


def _jsonl_keys(file: File) -> tuple[str, ...]:
    with _text(file) as stream:
        objects = [_object(line) for line in islice(stream, LINES_FOR_KEYS)]
    keys = [key for item in objects if isinstance(item, dict) for key in item]
    if not keys:
        raise BadData(
            f"A JSONL file must hold one JSON object a line, got none in its first lines ({file.name}). "
            "Write each row as one line."
        )
    return tuple(dict.fromkeys(keys))


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
Read = tuple[int, int, Cells]  # byte after the row, number of the row, cells


def _is_unclosed(row: Read) -> bool:
    cells = row[2]
    return isinstance(cells, Refusal) and cells.reason == BROKEN_QUOTES and cells.detail.endswith(AT_THE_END)


class _Lines:
    """Reads lines and knows at which byte it is; lines can be put back."""

    def __init__(self, file: File, stream: TextIOWrapper) -> None:
        self._encoding, self._errors = file.encoding, _errors(file)
        self._stream, self._pending = stream, deque[str]()
        self.offset = stream.tell()
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._pending.popleft() if self._pending else self._stream.readline()
        if not line:
            raise StopIteration
        self.offset += self._size(line)
        self.taken.append(line)
        return line

    def keep_first(self) -> None:
        """Put back all lines since `taken` was cleared but the first."""
        self._pending.extendleft(reversed(self.taken[1:]))
        self.offset -= sum(map(self._size, self.taken[1:]))

    def _size(self, line: str) -> int:
        return (
            len(line)
            if line.isascii() and self._encoding == "utf-8"
            else len(line.encode(self._encoding, self._errors))
        )


def _csv_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    width = len(file.columns)
    positions = {name: file.columns.index(name) for name in wanted if name in file.columns}
    with _text(file, start.offset) as stream:
        for number, (offset, record) in enumerate(_records(_Lines(file, stream), file.delimiter), start=start.row + 1):
            if number == 1 or record == []:
                continue
            yield offset, number, _cells(file, number, record, positions, width)


def _cells(file: File, number: int, record: list[str] | csv.Error, positions: Mapping[str, int], width: int) -> Cells:
    if isinstance(record, csv.Error):
        return Refusal(file.name, number, None, BROKEN_QUOTES, f"the quotes do not close: {record}")
    if len(record) < width or any(cell.strip() for cell in record[width:]):
        detail = f"{len(record)} cells where the header has {width}: quote cells that hold a '{file.delimiter}'"
        return Refusal(file.name, number, None, "cell_count", detail)
    return {name: record[position] for name, position in positions.items()}


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Split CSV into records; a quote that is never closed costs its own line, not all that follow it."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.taken.clear()
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.keep_first()
            yield lines.offset, error
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        else:
            yield lines.offset, record


def _jsonl_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    with _text(file, start.offset) as stream:
        lines = _Lines(file, stream)
        for number, line in enumerate(lines, start=start.row + 1):
            lines.taken.clear()
            item = _object(line)
            if isinstance(item, dict):
                yield lines.offset, number, {name: item.get(name) for name in wanted}
            elif line.strip():
                detail = item if isinstance(item, str) else "the line holds no object"
                yield lines.offset, number, Refusal(file.name, number, None, "not_an_object", detail)


def _object(line: str) -> dict[str, Any] | str | None:
    """Return a line's object; what is wrong with it as a string; None for other JSON."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    return item if isinstance(item, dict) else None


def _parquet_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    scan = pl.scan_parquet(file.path).select([name for name in wanted if name in file.columns])
    offset = start.row
    while len(part := scan.slice(offset, ROWS_AT_ONCE).collect()):
        yield from ((0, number, cells) for number, cells in enumerate(part.iter_rows(named=True), start=offset + 1))
        offset += len(part)


READERS: Mapping[str, Callable[[File, Sequence[str], Place], Iterator[Read]]] = {
    "csv": _csv_rows,
    "jsonl": _jsonl_rows,
    "parquet": _parquet_rows,
}


def _checked(
    file: str, number: int, cells: Cells, wanted: Sequence[str], filled: Collection[str], max_chars: int | None
) -> Row | Refusal:
    """Return a row of stripped strings, or the first thing that is wrong with it."""
    if isinstance(cells, Refusal):
        return cells
    values = {name: _string(cells.get(name), name) for name in wanted}
    for name, value in values.items():
        found = ("not_a_string", value.what) if isinstance(value, _Odd) else _fault(name, value, max_chars)
        if found is None and name in filled and value is None:
            found = f"empty_{name}", f"the cell '{name}' is empty"
        if found:
            return Refusal(file, number, _sound(values, "id"), *found, group=_sound(values, "group"))
    return Row(file, number, values)  # type: ignore[arg-type]  # no _Odd is left


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
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _fault(name: str, value: str | None, max_chars: int | None) -> tuple[str, str] | None:
    if value is None:
        return None
    if name == "text" and max_chars is not None and len(value) > max_chars:
        return "too_long", f"{len(value):,} characters where {max_chars:,} are allowed"
    if "\0" in value:
        return "nul_byte", f"a NUL byte at character {value.index(chr(0)) + 1} of '{name}'"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        sign = ord(value[error.start])
        what = f"byte 0x{sign - 0xDC00:02x}" if 0xDC80 <= sign <= 0xDCFF else f"half a character (U+{sign:04X})"
        return "not_utf8", f"{what} at character {error.start + 1} of '{name}': save the file as UTF-8"
    return None
