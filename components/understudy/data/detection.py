"""Find out how a user's file reads: its kind, encoding, delimiter and columns."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from understudy.data import listing
from understudy.data.csv_rows import DELIMITERS, headers_of
from understudy.data.jsonl_rows import jsonl_keys
from understudy.data.limits import MOST_COLUMNS
from understudy.data.parquet import columns_of, require_plain
from understudy.data.rows import File
from understudy.data.text_files import BYTE_ORDER_MARKS
from understudy.errors import BadData
from understudy.task.sections import ColumnsConfig
from understudy.task.settings import field_names
from understudy.text.numbers import clipped
from understudy.text.signs import folded

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
NAMEABLE = field_names(ColumnsConfig)
JSON_LIST = re.compile(r"\[\s*[\[\]{]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a file's columns.

    Attributes:
        required: columns that it must have.
        optional: columns that are read when they are there.
        lists: columns that may hold lists of plain values.
        called: what the files call these, where it is another name; a file may have our name all the same.
        makes_ids: a file without ids may do, if it has texts: rows get an id of their text.
    """

    required: Sequence[str]
    optional: Sequence[str] = ()
    lists: Collection[str] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    makes_ids: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, each once."""
        return tuple(dict.fromkeys([*self.required, *self.optional]))

    @property
    def own_names(self) -> set[str]:
        """What a file may call these columns."""
        return {*self.names, *self.called.values()}

    def needed_of(self, file: File) -> list[str]:
        """Return the columns that a file must have: no ids, where these can be made of its texts."""
        is_made = self.makes_ids and file.has("text")
        return [name for name in self.required if not (is_made and name == "id")]

    def found_in(self, columns: Sequence[str]) -> dict[str, str]:
        """Return by our names what a file calls our columns, where it is another name.

        Of a column that it must have, letters in another case and other blanks are forgiven, if one alone is meant.
        """
        found = {}
        for name in self.names:
            ours = [self.called.get(name, name), name]
            exact = next((column for column in ours if column in columns), None)
            column = exact or (_alike(ours, columns) if name in self.required else None)
            if column is not None and column != name:
                found[name] = column
        return found

    def told(self) -> str:
        """Name the columns that a file must have, with what they are said to be called."""
        return ", ".join(f"{name} (or {self.called[name]})" if name in self.called else name for name in self.required)


def _alike(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return the column that differs from a name by case and blanks alone; None where there is none or several."""
    wanted = {folded(name) for name in names}
    found = [column for column in columns if folded(column) in wanted]
    return found[0] if len(found) == 1 else None


def inspect(name: str, path: Path, wanted: Wanted) -> File:
    """Find out how a file reads, and check its columns.

    Args:
        name: the file in messages.
        path: where its bytes are.
        wanted: its columns.

    Raises:
        BadData: the file is missing, empty, unreadable or of a foreign kind, lacks a column, or has too many.
    """
    listing.require_plain(name, path)
    try:
        with path.open("rb") as stream:
            start = stream.read(65536)
        file = _with_columns(_recognised(name, path, start), wanted)
        if file.kind == "parquet":
            require_plain(file, wanted.names, wanted.lists)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise BadData(
            f"A file must be there and readable, got {said(error)} ({name}). Mend the path, or write the file again."
        ) from error
    if len(file.columns) > MOST_COLUMNS:
        raise BadData(
            f"A file must have at most {MOST_COLUMNS:,} columns, got {len(file.columns):,} ({name}). Write one row a "
            "text, with the columns that are needed."
        )
    if missing := [column for column in wanted.needed_of(file) if not file.has(column)]:
        raise BadData(
            f"A file must have the columns {wanted.told()}, got {_shown(file.columns)} ({name}). "
            f"Add or rename {', '.join(missing)}{_or_call(missing)}."
        )
    if twice := sorted(column for column, times in Counter(file.columns).items() if times > 1):
        raise BadData(f"A column must stand once, got {_shown(twice)} twice ({name}). Rename or drop one.")
    return file


def _or_call(missing: Sequence[str]) -> str:
    """Say that the card can tell what a column is called, where one of those is missing."""
    return ", or say in the card's section columns what it is called" if {*missing} & {*NAMEABLE} else ""


def said(error: BaseException) -> str:
    """Return the first line of an error, on one line of a message."""
    return clipped((str(_reason(error)).splitlines() or [type(error).__name__])[0], 200)


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
        raise BadData(
            f"A JSON file must hold one object a line, got a list ({name}). Write it as JSONL, or name it as a file "
            "called .json."
        )
    return File(name, path, kind, encoding)


def _with_columns(file: File, wanted: Wanted) -> File:
    if file.kind == "csv":
        headers = headers_of(file)
        known = {*wanted.required, *wanted.called.values()}
        best = max(DELIMITERS, key=lambda sign: (len(set(headers[sign]) & known), len(headers[sign])))
        file = replace(file, delimiter=best, columns=headers[best])
    else:
        names = wanted.own_names
        columns = columns_of(file.path, names) if file.kind == "parquet" else jsonl_keys(file, names)
        file = replace(file, columns=columns)
    return replace(file, called=wanted.found_in(file.columns))


def _shown(columns: Sequence[str]) -> str:
    shown = [column.encode("ascii", "backslashreplace").decode()[:40] for column in columns[:20]]
    return ", ".join(shown) + (", ..." if len(columns) > len(shown) else "")
