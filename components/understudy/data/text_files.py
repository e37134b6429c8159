"""Open text files in the encoding that their first bytes name."""

from functools import partial
from io import TextIOWrapper
from pathlib import Path

from understudy.data.rows import File

BYTE_ORDER_MARKS = {  # the longest first: UTF-32's begins like UTF-16's
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
SKIPPED_MARKS = (b"\xef\xbb\xbf", *BYTE_ORDER_MARKS)
BLANK_BYTES = 1 << 16


def open_text(file: File, offset: int = 0) -> TextIOWrapper:
    """Open a text file; bytes that are not UTF-8 become lone surrogates, which `checked` finds."""
    stream = file.path.open("rb")
    start = stream.read(max(map(len, SKIPPED_MARKS)))
    stream.seek(offset or next((len(mark) for mark in SKIPPED_MARKS if start.startswith(mark)), 0))
    return TextIOWrapper(
        stream, encoding=file.encoding, errors=errors_of(file), newline="" if file.kind == "csv" else "\n"
    )


def errors_of(file: File) -> str:
    """Return what stands for bytes that are not of the encoding, for Python's decoder."""
    return "surrogateescape" if file.encoding == "utf-8" else "surrogatepass"


def is_blank(path: Path) -> bool:
    """Whether a file holds nothing but white space and a byte order mark."""
    with path.open("rb") as stream:
        start = stream.read(4)
        mark = next((mark for mark in SKIPPED_MARKS if start.startswith(mark)), b"")
        stream.seek(len(mark))
        blank = b" \t\r\n" + (b"\0" if mark in BYTE_ORDER_MARKS else b"")
        return not any(chunk.strip(blank) for chunk in iter(partial(stream.read, BLANK_BYTES), b""))
