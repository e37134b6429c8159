"""Check one row of a user's file: what its cells say, or why it is refused."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from understudy.data.encodings import remedy
from understudy.data.limits import LONGEST_NAME

MOST_EXACT = 2**53  # the largest whole numbers that a float holds apart
BROKEN_QUOTES, TOO_LONG_LINE, NOT_UTF8 = "broken_quotes", "too_long", "not_utf8"
HALF_CHARACTER = "half_character"  # of a surrogate pair, escaped in JSON: no encoding mends it
ID_SIGNS = 20  # of an id made from a text: among a billion texts two meet by chance once in a million times
WHOLE_FILE = 0  # the row of a refusal that is about a file


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was refused, and why. `is_fault` is False for what is merely redundant or kept out of training."""

    file: str
    row: int
    id: str | None
    reason: str
    detail: str
    is_fault: bool = True
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A sound row: its wanted cells, stripped; None for an empty one. `lead`: blanks that stood before its text."""

    file: str
    number: int
    cells: Mapping[str, str | None]
    lead: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """One file of a source: its name for messages, where its bytes are, and how they read.

    `columns` are the file's own names; `called` says which of them stand for ours, where these are other names.
    """

    name: str
    path: Path
    kind: str
    encoding: str = "utf-8"
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)

    def own(self, name: str) -> str:
        """Return what the file calls one of our columns."""
        return self.called.get(name, name)

    def has(self, name: str) -> bool:
        """Tell whether the file has one of our columns."""
        return self.own(name) in self.columns


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading begins: the number of the row before, and the byte after it (0 in Parquet)."""

    row: int = 0
    offset: int = 0


START = Place()


@dataclass(frozen=True, slots=True)
class Reading:
    """How strictly cells are read.

    Attributes:
        max_chars: longest `text`, in characters.
        lenient: columns that are read as far as they can be, and cost no row.
        lists: columns whose cells may be lists of names, which become JSON.
        makes_ids: rows have no ids of their own, and get one of their text.
    """

    max_chars: int | None = None
    lenient: Collection[str] = ()
    lists: Collection[str] = ()
    makes_ids: bool = False


STRICT = Reading()
Cells = Mapping[str, Any] | Refusal


class Read(NamedTuple):
    """A row as it stands: the byte after it, its number, its cells, and whether a reader may begin after it."""

    offset: int
    number: int
    cells: Cells
    is_fresh: bool = True


def checked(row: Read, file: str, wanted: Sequence[str], filled: Collection[str], reading: Reading) -> Row | Refusal:
    """Return a row of stripped strings, or the first thing that is wrong with it."""
    cells = row.cells
    if isinstance(cells, Refusal):
        return cells
    values = {name: _string(_unlisted(cells.get(name), name, reading.lists), name) for name in wanted}
    for name in reading.lenient:
        if name in values:
            value = values[name]
            values[name] = mended(value) if isinstance(value, str) else None
    if reading.makes_ids:
        values["id"] = id_of(values.get("text"))
    is_made = reading.makes_ids  # an id that is made of the text has no fault of its own: what is wrong is the text
    for name, value in ((name, value) for name, value in values.items() if not (is_made and name == "id")):
        found = ("not_a_string", value.what) if isinstance(value, _Odd) else _fault(name, value, reading.max_chars)
        if found is None and value is None and (name in filled or (is_made and name == "text")):
            found = f"empty_{name}", f"the cell '{name}' is empty"
        if found:
            reason, detail = found
            detail += f": {remedy(str(value), file)}" if reason == NOT_UTF8 else ""
            return Refusal(file, row.number, _sound(values, "id"), reason, detail, group=_sound(values, "group"))
    text = cells.get("text")
    lead = len(text) - len(text.lstrip()) if isinstance(text, str) else 0
    return Row(file, row.number, values, lead)  # type: ignore[arg-type]  # no _Odd is left


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


def id_of(text: "str | _Odd | None") -> str | None:
    """Name a text by what it says: the same text has the same name in every file."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:ID_SIGNS] if isinstance(text, str) else None


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


def _unlisted(value: Any, name: str, lists: Collection[str]) -> Any:
    """Write a list of names, where a column may hold them, as JSON; what else there is stays."""
    if name not in lists or not isinstance(value, list):
        return value
    names = [_string(each, name) for each in value]
    odd = next((each for each in names if not isinstance(each, str)), None)
    if odd is None and all(isinstance(each, str) for each in names):
        return json.dumps(names, ensure_ascii=False)
    return odd or _Odd(f"the cell '{name}' must be a list of names, got one with nothing in the place of a name")


def _string(value: Any, name: str) -> str | _Odd | None:
    if isinstance(value, str):
        return value.strip() or None
    if value is None or isinstance(value, _Odd):
        return value
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
    if name not in ("text", "context") and len(value) > LONGEST_NAME:
        return "too_long", f"{len(value):,} characters in '{name}' where {LONGEST_NAME:,} are allowed"
    if "\0" in value:
        return "nul_byte", f"a NUL byte at character {value.index(chr(0)) + 1} of '{name}'"
    return _half_or_byte(name, value)


def _half_or_byte(name: str, value: str) -> tuple[str, str] | None:
    """Say where a string holds what no UTF-8 has: a byte of another encoding, or half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        sign = ord(value[error.start])
        where = f"at character {error.start + 1} of '{name}'"
        if 0xDC80 <= sign <= 0xDCFF:
            return NOT_UTF8, f"byte 0x{sign - 0xDC00:02x} {where}"
        return HALF_CHARACTER, f"half a character (U+{sign:04X}) {where}: write both halves of the pair, or none"
    return None
