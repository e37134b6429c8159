"""Turn what is packed, and JSON lists and Excel's sheets, into a file that is read row by row.

What is packed as .gz or .zst is CSV or JSONL; a list of objects in a .json becomes JSONL, a line for each; the first
sheet of an .xlsx becomes a CSV whose rows have its numbers. What a file is, its name says.
"""

import csv
import gzip
import io
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, NamedTuple

from understudy.data.limits import LARGEST_SHEET_BYTES, LONGEST_LINE, MOST_UNPACKED_BYTES
from understudy.errors import BadData
from understudy.text.numbers import clipped

CHUNK = 1 << 20
ZST_CHUNK = 1 << 10  # unpacked at once: it may become 32,000 times as much
FAULTS = (OSError, EOFError, zlib.error, UnicodeError)  # that tell of damage, and zstd's
BLANK = " \t\r\n"
BLANKS = re.compile(f"[{BLANK}]*")
DECODER = json.JSONDecoder()
LARGEST_WINDOW = 1 << 27  # of zstd: what a reader must hold in memory; its long mode asks for as much


def inner(name: str) -> str:
    """Return the name of what is packed in a file; its own where it is not packed.

    >>> inner("a/part.csv.gz"), inner("a/part.csv")
    ('a/part.csv', 'a/part.csv')
    """
    path = PurePosixPath(name)
    return name[: -len(path.suffix)] if path.suffix.lower() in OPENERS else name


def is_turned(name: str) -> bool:
    """Tell whether a file is read through a copy that is written here.

    >>> [is_turned(name) for name in ("a.csv.gz", "a.json", "a.xlsx", "a.csv", "a.parquet")]
    [True, True, True, False, False]
    """
    return inner(name) != name or _suffix(name) in DOCUMENTS


def turned(name: str, path: Path, folder: Path) -> Path:
    """Write a file as one that is read row by row, if it is none.

    Args:
        name: of the file, which says what it is.
        path: where its bytes are.
        folder: for what is written.

    Returns:
        the path of what is read: its own, or that of a copy whose name says how it reads.

    Raises:
        BadData: it is damaged, too large, or no list of objects.
    """
    for step, (suffix, turn) in enumerate(_turns(name)):
        target = folder / f"{step}{suffix}"
        try:
            turn(name, path, target)
        except FAULTS as error:
            raise _damaged(name, error) from error
        path = target
    return path


def _turns(name: str) -> Iterator[tuple[str, Callable[[str, Path, Path], None]]]:
    """Yield the steps by which a file is turned, each with the suffix of what it writes."""
    if (plain := inner(name)) != name:
        yield _suffix(plain), _unpack
    if found := DOCUMENTS.get(_suffix(plain)):
        yield found


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _damaged(name: str, error: BaseException) -> BadData:
    said = clipped(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
    return BadData(f"A packed file must be whole, got {said} ({name}). Pack it again, or give it unpacked.")


def _unpack(name: str, path: Path, target: Path) -> None:
    total = 0
    with path.open("rb") as packed, OPENERS[_suffix(name)](packed) as stream, target.open("wb") as out:
        while chunk := stream.read(CHUNK):
            total += len(chunk)
            if total > MOST_UNPACKED_BYTES:
                most = f"{MOST_UNPACKED_BYTES:,} bytes"
                raise BadData(f"A packed file must hold at most {most}, got more ({name}). Give it in parts.")
            out.write(chunk)


class _Zst(io.RawIOBase):
    """Bytes of a zstd stream; one that is cut is an error, which the library's own reader lets pass as its end."""

    def __init__(self, packed: BinaryIO) -> None:
        import zstandard  # only where a file asks for it

        self._frames = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        self._fault = zstandard.ZstdError
        self._packed, self._frame = packed, self._frames.decompressobj()
        self._ready, self._is_begun = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and self._advance():
            pass
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)

    def _advance(self) -> bool:
        """Unpack a little more; False at the end."""
        data = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame, self._is_begun = self._frames.decompressobj(), False
        data = data or self._packed.read(ZST_CHUNK)
        if not data:
            if self._is_begun:
                raise EOFError("its end before the end of what is packed")
            return False
        self._is_begun = True
        try:
            self._ready = self._frame.decompress(data)
        except self._fault as error:
            raise EOFError(str(error)) from error
        return True


def _zst(stream: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_Zst(stream), CHUNK)


def _gz(stream: BinaryIO) -> BinaryIO:
    return io.BufferedReader(gzip.GzipFile(fileobj=stream), CHUNK)


def _from_json(name: str, path: Path, target: Path) -> None:
    """Write a JSON list as JSONL, an item a line; what is no list stays as it is, for it may be JSONL already."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        if _first_sign(stream) != "[":
            shutil.copyfile(path, target)
            return
        stream.seek(0)
        with target.open("w", encoding="ascii") as out:
            out.writelines(json.dumps(item) + "\n" for item in _items(name, stream))


def _first_sign(stream: IO[str]) -> str:
    while chunk := stream.read(CHUNK):
        if found := chunk.lstrip(BLANK):
            return found[0]
    return ""


def _items(name: str, stream: IO[str]) -> Iterator[Any]:
    """Yield the items of a JSON list, holding no more of it than one item needs.

    Raises:
        BadData: it is cut, or holds an item that is no JSON or longer than a line may be.
    """
    text, number = stream.read(CHUNK), 1
    place = text.index("[") + 1
    while True:
        found = _item_at(text, place)
        if isinstance(found, _Item):
            if found.is_end:
                return
            yield found.value
            place, number = found.place, number + 1
            continue
        left = len(text) - place
        more = "" if left > LONGEST_LINE else stream.read(max(CHUNK, left))
        if not more:
            raise BadData(
                f"A JSON list must hold whole objects with commas between them, got {found} at item {number:,} "
                f"({name}). Write it again, or as JSONL."
            )
        text, place = text[place:] + more, 0


class _Item(NamedTuple):
    """An item of a list and the place behind its comma, or the list's end."""

    value: Any
    place: int
    is_end: bool = False


def _item_at(text: str, place: int) -> _Item | str:
    """Read the item at a place; what stands in the way, where it is not whole."""
    place = _skip(text, place)
    if text[place : place + 1] == "]":
        return _Item(None, place, is_end=True)
    try:
        value, end = DECODER.raw_decode(text, place)
    except (ValueError, RecursionError) as error:
        return clipped(str(error), 200)
    end = _skip(text, end)
    if text[end : end + 1] == ",":
        return _Item(value, end + 1)
    if text[end : end + 1] == "]":
        return _Item(value, end)
    return f"{text[end : end + 1]!a}" if text[end:] else "its end"


def _skip(text: str, place: int) -> int:
    return BLANKS.match(text, place).end()  # type: ignore[union-attr]  # it matches nothing too


def _from_sheet(name: str, path: Path, target: Path) -> None:
    """Write the first sheet of an Excel file as a CSV, a row for each of its own, blank ones too."""
    from python_calamine import CalamineError, CalamineWorkbook  # only where a file asks for it

    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > LARGEST_SHEET_BYTES:
            raise BadData(
                f"An Excel file must hold at most {LARGEST_SHEET_BYTES:,} bytes, got {size:,} ({name}). Save it as CSV."
            )
        rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, zipfile.BadZipFile) as error:
        raise BadData(
            f"An Excel file must be readable and have no password, got {clipped(str(error), 200)} ({name}). Save it as "
            "CSV."
        ) from error
    with target.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([_cell(value) for value in row] for row in rows)


def _cell(value: str | float | bool | date | time | timedelta) -> str:
    """Write a cell as a CSV has it: whole numbers without a point, dates as ISO 8601.

    >>> _cell(7.0), _cell(0.5), _cell(True), _cell(date(2026, 11, 1)), _cell("tip")
    ('7', '0.5', 'true', '2026-11-01', 'tip')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


OPENERS: Mapping[str, Callable[[BinaryIO], BinaryIO]] = {".gz": _gz, ".zst": _zst}
DOCUMENTS: Mapping[str, tuple[str, Callable[[str, Path, Path], None]]] = {
    ".json": (".jsonl", _from_json),
    ".xlsx": (".csv", _from_sheet),
}
