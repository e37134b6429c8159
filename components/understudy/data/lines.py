"""Read lines and CSV records with the byte after each, within limits and in linear time.

A line that is too long costs itself alone, and so does a quote that is never closed: what follows it is read again from
the next line on. Were a record of many lines read again after each of them, a file could hold a reader up for days; the
lines of such a failed record are therefore read one by one, and whoever cuts a file into parts does not cut there.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import NamedTuple

from understudy.data.limits import LONGEST_LINE, MOST_LINES

LINES_READ_AGAIN = 50  # a record that failed over so few lines is read again as if it had not been there
TOO_LONG = f"a row of more than {LONGEST_LINE:,} characters or {MOST_LINES:,} lines: a quote that is never closed?"


class TooLong(Exception):
    """A line, or a record of several, passes the limits; `chars` of a line alone."""

    def __init__(self, chars: int) -> None:
        super().__init__(f"a line of {chars:,} characters where {LONGEST_LINE:,} are allowed" if chars else TOO_LONG)
        self.chars = chars


@dataclass(frozen=True, slots=True)
class _Overlong:
    """Stands for a line that is not kept: its length in characters and bytes."""

    chars: int
    size: int


class Record(NamedTuple):
    """A record of CSV, or why there is none; the byte after it, and whether a reader may begin there."""

    offset: int
    cells: list[str] | csv.Error | TooLong
    is_fresh: bool


class Lines:
    """Reads lines and knows at which byte it is; lines can be put back.

    Args:
        stream: at the place where reading begins.
        encoding: of its bytes.
        errors: how bytes that are none of the encoding are kept.
    """

    def __init__(self, stream: TextIOWrapper, encoding: str, errors: str) -> None:
        self._encoding, self._errors, self._is_utf8 = encoding, errors, encoding == "utf-8"
        self._stream, self._pending = stream, deque[str | _Overlong]()
        self.offset = stream.tell()
        self.taken: list[str | _Overlong] = []
        self._chars = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._pending.popleft() if self._pending else self._stream.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        if isinstance(line, _Overlong) or len(line) > LONGEST_LINE:
            raise TooLong(self._taken_overlong(line).chars)
        self.taken.append(line)
        self._chars += len(line)
        self.offset += self._size(line)
        if self._chars > LONGEST_LINE or len(self.taken) > MOST_LINES:
            raise TooLong(0)
        return line

    def begin(self) -> None:
        """Begin a record: what was taken is done with."""
        self.taken.clear()
        self._chars = 0

    def keep_first(self) -> list[str | _Overlong]:
        """Put back all lines of the record but the first, and return them."""
        again = self.taken[1:]
        self._pending.extendleft(reversed(again))
        self.offset -= sum(map(self._size, again))
        return again

    def _taken_overlong(self, line: str | _Overlong) -> _Overlong:
        """Take a line that is too long to be kept, read to its end where only its beginning is."""
        if isinstance(line, str):
            chars = size = 0
            while line:
                chars, size = chars + len(line), size + self._size(line)
                if line.endswith(("\n", "\r")):
                    break
                line = self._stream.readline(LONGEST_LINE)
            line = _Overlong(chars, size)
        self.taken.append(line)
        self.offset += line.size
        return line

    def _size(self, line: str | _Overlong) -> int:
        if isinstance(line, _Overlong):
            return line.size
        if self._is_utf8 and line.isascii():
            return len(line)
        return len(line.encode(self._encoding, self._errors))


def records(lines: Lines, delimiter: str) -> Iterator[Record]:
    """Split CSV into records; a quote that is never closed costs its own line, not all that follow it."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, TooLong) as error:
            again = lines.keep_first()
            alone = len(again) - 1 if len(again) > LINES_READ_AGAIN else 0
            fault = TooLong(0) if isinstance(error, TooLong) and again else error
            yield Record(lines.offset, fault, not alone)
            yield from _one_by_one(lines, delimiter, alone)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        else:
            yield Record(lines.offset, cells, is_fresh=True)


def _one_by_one(lines: Lines, delimiter: str, count: int) -> Iterator[Record]:
    """Read so many lines as records of their own."""
    for left in range(count - 1, -1, -1):
        lines.begin()
        cells: list[str] | csv.Error | TooLong
        try:
            cells = next(csv.reader([next(lines)], delimiter=delimiter, strict=True))
        except TooLong as error:
            cells = error
        except csv.Error:
            cells = csv.Error("they do not close on their line, which follows others that are open")
        yield Record(lines.offset, cells, is_fresh=not left)
