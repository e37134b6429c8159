"""Read the rows of a JSONL file: one object a line."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from understudy.data.limits import CHARS_FOR_KEYS, LINES_FOR_KEYS, MOST_COLUMNS
from understudy.data.lines import Lines, TooLong
from understudy.data.rows import TOO_LONG_LINE, File, Place, Read, Refusal
from understudy.data.text_files import errors_of, open_text
from understudy.errors import BadData


def jsonl_keys(file: File, wanted: Collection[str]) -> tuple[str, ...]:
    """Read the keys that stand in the first lines of a file.

    Args:
        file: of lines.
        wanted: names that may be paths to a value within values, such as "message.body"; those that lead to one count
            as keys.

    Raises:
        BadData: none of them holds an object.
    """
    keys: dict[str, None] = {}
    with open_text(file) as stream:
        for line in _first_lines(Lines(stream, file.encoding, errors_of(file))):
            item = _object(line)
            if isinstance(item, dict):
                keys |= dict.fromkeys([*item, *(path for path in wanted if "." in path and _leads(item, path))])
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


def jsonl_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    """Read the wanted values of each line from a place on."""
    with open_text(file, start.offset) as stream:
        lines = Lines(stream, file.encoding, errors_of(file))
        for number, line in enumerate(_lines_or_faults(lines), start=start.row + 1):
            if isinstance(line, TooLong):
                yield Read(lines.offset, number, Refusal(file.name, number, None, TOO_LONG_LINE, str(line)))
                continue
            item = _object(line)
            if isinstance(item, dict):
                yield Read(lines.offset, number, {name: _value(item, file.own(name)) for name in wanted})
            elif line.strip():
                detail = item if isinstance(item, str) else "the line holds no object"
                yield Read(lines.offset, number, Refusal(file.name, number, None, "not_an_object", detail))


def _value(item: Mapping[str, Any], name: str) -> Any:
    """Return the value under a key, or where a path of keys with points between them leads; None where none is.

    >>> _value({"a": {"b": 1}, "a.c": 2}, "a.b"), _value({"a": {"b": 1}, "a.c": 2}, "a.c"), _value({}, "a.b")
    (1, 2, None)
    """
    if name in item or "." not in name:
        return item.get(name)
    value: Any = item
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _leads(item: Mapping[str, Any], path: str) -> bool:
    """Tell whether a path of keys leads to a key that is there, though its value may be null."""
    *before, last = path.split(".")
    within = _value(item, ".".join(before))
    return isinstance(within, dict) and last in within


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
