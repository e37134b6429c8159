"""Find out how a user's file reads: its kind, encoding, delimiter and columns."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from understudy.data import listing
from understudy.data.csv_rows import DELIMITERS, headers_of
from understudy.data.jsonl_rows import jsonl_keys
from understudy.data.limits import MOST_COLUMNS
from understudy.data.parquet import parquet_columns
from understudy.data.rows import File
from understudy.data.text_files import BYTE_ORDER_MARKS
from understudy.errors import BadData
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
JSON_LIST = re.compile(r"\[\s*[\[\]{]")


def inspect(
    name: str, path: Path, required: Sequence[str], optional: Sequence[str] = (), lists: Collection[str] = ()
) -> File:
    """Find out how a file reads, and check its columns.

    Args:
        name: the file in messages.
        path: where its bytes are.
        required: columns that it must have.
        optional: columns that are read when they are there.
        lists: columns that may hold lists of plain values.

    Raises:
        BadData: the file is missing, empty, unreadable or of a foreign kind, lacks a column, or has too many.
    """
    listing.require_plain(name, path)
    try:
        with path.open("rb") as stream:
            start = stream.read(65536)
        file = _with_columns(_recognised(name, path, start), required, {*required, *optional}, lists)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise BadData(
            f"A file must be there and readable, got {said(error)} ({name}). Mend the path, or write the file again."
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
        raise BadData(f"A JSON file must hold one object a line, got a list ({name}). Write it as JSONL.")
    return File(name, path, kind, encoding)


def _with_columns(file: File, required: Sequence[str], wanted: Collection[str], lists: Collection[str]) -> File:
    if file.kind == "parquet":
        return replace(file, columns=parquet_columns(file, wanted, lists))
    if file.kind == "jsonl":
        return replace(file, columns=jsonl_keys(file))
    headers = headers_of(file)
    best = max(DELIMITERS, key=lambda sign: (len(set(headers[sign]) & set(required)), len(headers[sign])))
    return replace(file, delimiter=best, columns=headers[best])


def _shown(columns: Sequence[str]) -> str:
    shown = [column.encode("ascii", "backslashreplace").decode()[:40] for column in columns[:20]]
    return ", ".join(shown) + (", ..." if len(columns) > len(shown) else "")
