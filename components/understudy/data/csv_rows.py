"""Read the rows of a CSV file: commas, semicolons or tabs."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from understudy.data.limits import LONGEST_HEADER, LONGEST_LINE
from understudy.data.lines import Lines, TooLong, records
from understudy.data.rows import BROKEN_QUOTES, TOO_LONG_LINE, Cells, File, Place, Read, Refusal
from understudy.data.text_files import errors_of, open_text
from understudy.errors import BadData

DELIMITERS = ",;\t"
AT_THE_END = "unexpected end of data"  # what the module csv says of quotes that are open at the end of a file


def headers_of(file: File) -> dict[str, tuple[str, ...]]:
    """Read the header as each delimiter would cut it.

    Raises:
        BadData: it is too long to be one.
    """
    with open_text(file) as stream:
        line = stream.readline(LONGEST_HEADER + 1)
    if len(line) > LONGEST_HEADER:
        raise BadData(
            f"The first line of a CSV must be a header of at most {LONGEST_HEADER:,} characters, got more "
            f"({file.name}). Write the names of the columns first, and each row on a line of its own."
        )
    return {delimiter: _header(line, delimiter) for delimiter in DELIMITERS}


def _header(line: str, delimiter: str) -> tuple[str, ...]:
    with suppress(csv.Error):
        return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), []))
    return (line.strip()[:100],)


def csv_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    """Read the wanted cells of each row from a place on."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    width = len(file.columns)
    positions = {name: file.columns.index(file.own(name)) for name in wanted if file.has(name)}
    with open_text(file, start.offset) as stream:
        found = records(Lines(stream, file.encoding, errors_of(file)), file.delimiter)
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


def is_unclosed(row: Read) -> bool:
    """Tell whether a row's quotes are still open at the end of the file."""
    cells = row.cells
    return isinstance(cells, Refusal) and cells.reason == BROKEN_QUOTES and cells.detail.endswith(AT_THE_END)
