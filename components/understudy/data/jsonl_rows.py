"""Read the rows of a JSONL file: one object a line."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from understudy.data.limits import CHARS_FOR_KEYS, LINES_FOR_KEYS, MOST_COLUMNS
from understudy.data.lines import Lines, TooLong
from understudy.data.rows import TOO_LONG_LINE, File, Place, Read, Refusal
from understudy.data.text_files import errors_of, open_text
from understudy.errors import BadData


def jsonl_keys(file: File) -> tuple[str, ...]:
    """Read the keys that stand in the first lines of a file.

    Raises:
        BadData: none of them holds an object.
    """
    keys: dict[str, None] = {}
    with open_text(file) as stream:
        for line in _first_lines(Lines(stream, file.encoding, errors_of(file))):
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
                yield Read(lines.offset, number, {name: item.get(file.own(name)) for name in wanted})
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
