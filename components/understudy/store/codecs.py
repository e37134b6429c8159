"""Read and write typed JSON, JSON lines and tables, bounded, with one error sentence each.

Others may write there too, so what is read is sound and of bounded size. A record is read only below a limit on bytes,
depth and digits; it has no key twice, no NaN and no half of a surrogate pair, and it has the type that its reader asked
for. Anything else is one error in one sentence.
"""

import io
import json
import math
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadArtifact
from understudy.text.numbers import clipped

if TYPE_CHECKING:
    import polars as pl

MOST_BYTES = 16 << 20  # of a record; the largest ones, evaluations and series, have some hundred kilobytes
MOST_NIGHT_BYTES = 512 << 20  # of a night's manifest, which names every object that the source ever had
MOST_LINES_BYTES = 256 << 20  # of a segment of JSON lines
MOST_DEPTH = 32  # Python recurses on a few hundred; no record of ours nests deeper than eight
MOST_INTEGER = 2**63 - 1  # what tables hold; Python itself takes no more than 4,300 digits
FAULTS_SHOWN = 3
READ, RESTORE = "What is read from a store or an artifact", "Restore it."  # how the one sentence begins and ends
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
REMADE = "Delete it: what is lost is time, for it is made again."  # of a cache
T = TypeVar("T")


def read_json(data: bytes, where: str, most_bytes: int = MOST_BYTES) -> Any:
    """Read a JSON value.

    Args:
        data: as it lies there.
        where: the object's address, for the message.
        most_bytes: refused before it is read when it is longer.

    Raises:
        BadArtifact: it is too long or too deep, no JSON in UTF-8, or says what no reader of ours can hold.

    >>> read_json(b'{"rows": 3}', "00.json")
    {'rows': 3}
    """
    require_size(len(data), where, most_bytes)
    try:
        text = data.decode()
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_refuse,
            object_pairs_hook=_mapping,
        )
        _require_shallow(value)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise unreadable("JSON", _plain(error), where) from error
    return value


def read_mapping(data: bytes, where: str, kind: Any = None, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read a JSON mapping, with all that it says.

    Args:
        data: as it lies there.
        where: the object's address, for the message.
        kind: type that it must have, a TypedDict; keys that the type does not name are kept.
        most_bytes: refused before it is read when it is longer.

    Raises:
        BadArtifact: as `read_json`, or it is something else.
    """
    value = read_json(data, where, most_bytes)
    if not isinstance(value, dict):
        raise unreadable("a JSON mapping", f"a {type(value).__name__}", where)
    if kind is not None:
        _validated(kind, data, where)
    return value


@contextmanager
def of_cache() -> Iterator[None]:
    """Let an error of what is read within tell to delete it: it can be made again."""
    try:
        yield
    except BadArtifact as error:
        raise BadArtifact(f"{str(error).removesuffix(RESTORE).rstrip()} {REMADE}") from error


def read_as(kind: type[T], data: bytes, where: str, most_bytes: int = MOST_BYTES) -> T:
    """Read a JSON record as a dataclass, a pydantic model or any other type, without turning one type into another.

    Raises:
        BadArtifact: as `read_json`, or it is no such record.

    >>> read_as(dict[str, int], b'{"rows": 3}', "00.json")
    {'rows': 3}
    """
    read_json(data, where, most_bytes)
    return _validated(kind, data, where)


def _validated(kind: type[T], data: bytes, where: str) -> T:
    try:
        record: T = _adapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        raise unreadable("a whole record", faults_of(error), where) from error
    return record


def read_lines(data: bytes, where: str, kind: type[T], most_bytes: int = MOST_LINES_BYTES) -> list[T]:
    """Read JSON lines, each as one record. Raises BadArtifact as `read_as` does, and names the line."""
    return [read_as(kind, line, place) for line, place in _lines(data, where, most_bytes)]


def read_mappings(data: bytes, where: str, kind: Any, most_bytes: int = MOST_LINES_BYTES) -> list[dict[str, Any]]:
    """Read JSON lines, each as `read_mapping` does."""
    return [read_mapping(line, place, kind) for line, place in _lines(data, where, most_bytes)]


def _lines(data: bytes, where: str, most_bytes: int) -> Iterator[tuple[bytes, str]]:
    """Give each line that is not blank, and its place."""
    require_size(len(data), where, most_bytes)
    lines = enumerate(data.split(b"\n"), start=1)
    yield from ((line, f"{where}, line {number}") for number, line in lines if line.strip())


def read_file(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Read a file of a folder that others may write.

    Raises:
        BadArtifact: it is missing, no plain file (a pipe would never end), or longer than allowed.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise unreadable("a plain file", "something else", str(path))
        require_size(found.st_size, str(path), most_bytes)
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise unreadable("a readable file", _plain(error), str(path)) from error
    require_size(len(data), str(path), most_bytes)
    return data


def read_text(data: bytes, where: str, most_bytes: int = MOST_BYTES) -> str:
    """Read text in UTF-8. Raises BadArtifact when it is none, or too long."""
    require_size(len(data), where, most_bytes)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise unreadable("text in UTF-8", _plain(error), where) from error


def read_table(
    source: bytes | Path,
    where: str,
    schema: "Mapping[str, Any] | None" = None,
    *,
    maybe: "Mapping[str, Any] | None" = None,
    most_rows: int | None = None,
    what: str = READ,
    advice: str = RESTORE,
) -> "pl.DataFrame":
    """Read a Parquet table.

    Args:
        source: the bytes as they lie there, or a path.
        where: the object's address, for the message.
        schema: columns to read, with their types; None for the table as it is.
        maybe: columns to read too where the table has them.
        most_rows: refused before it is read when it says that it has more; a small file may claim any number.
        what: is read, as the message begins.
        advice: what to do when it is damaged.

    Raises:
        BadArtifact: it is missing, damaged or too long, or lacks a column or its type.
    """
    import polars as pl

    from understudy.store.parquet import scanned

    try:
        with scanned(source) as table:
            _require_form(table, schema, most_rows)
            if schema is None:
                return table.collect()
            there = set(table.collect_schema()) if maybe else ()
            wanted = {**schema, **{name: kind for name, kind in (maybe or {}).items() if name in there}}
            return table.select(list(wanted)).collect().cast(pl.Schema(wanted))
    except (pl.exceptions.PolarsError, OSError, ValueError, MemoryError) as error:
        raise unreadable("a Parquet table", _plain(error), where, what, advice) from error


def _require_form(table: "pl.LazyFrame", schema: "Mapping[str, Any] | None", most_rows: int | None) -> None:
    import polars as pl

    if most_rows is not None and (rows := table.select(pl.len()).collect().item()) > most_rows:
        raise ValueError(f"{rows:,} rows, above {most_rows:,}")
    columns = table.collect_schema()
    if lacking := [name for name in schema or () if name not in columns]:
        raise ValueError(f"no column {lacking[0]}")


def read_document(path: Path, maker: str) -> dict[str, Any]:
    """Read a JSON document of an artifact folder.

    Args:
        path: where it lies.
        maker: the step that writes it, named in the error.

    Raises:
        BadArtifact: it is missing, unreadable or no mapping.
    """
    try:
        return read_mapping(read_file(path), str(path))
    except BadArtifact as error:
        raise BadArtifact(f"The document must be readable JSON ({path}). Run {maker} again. {error}") from error


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON document of an artifact folder; the same content gives the same bytes."""
    path.write_bytes(as_json(content, is_ascii=False))


def as_json(content: Any, *, is_sorted: bool = True, is_ascii: bool = True, errors: str = "strict") -> bytes:
    r"""Write a JSON record, indented, with a line break at its end; the same content gives the same bytes.

    Args:
        content: what to write.
        is_sorted: by keys; False where people read it in the order in which it was made.
        is_ascii: whether all other signs are escaped.
        errors: of the encoding, as of `str.encode`.

    Raises:
        ValueError: a number is none that JSON has.

    >>> as_json({"rows": 3})
    b'{\n  "rows": 3\n}\n'
    """
    text = json.dumps(content, indent=2, sort_keys=is_sorted, allow_nan=False, ensure_ascii=is_ascii)
    return f"{text}\n".encode(errors=errors)


def canonical(content: Any, *, is_ascii: bool = True) -> bytes:
    """Write JSON in its one canonical form, in which it is hashed: on one line, sorted by keys.

    Raises:
        ValueError: a number is none that JSON has.

    >>> canonical({"b": 1, "a": [True]})
    b'{"a": [true], "b": 1}'
    """
    return json.dumps(content, sort_keys=True, allow_nan=False, ensure_ascii=is_ascii).encode()


def as_lines(rows: Iterable[Any]) -> bytes:
    """Write JSON lines, each in its canonical form."""
    return b"".join(canonical(row) + b"\n" for row in rows)


def as_parquet(table: "pl.DataFrame") -> bytes:
    """Write a Parquet table; the same rows give the same bytes."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def require_size(size: int, where: str, most_bytes: int) -> None:
    """Refuse an object that is longer than its kind ever is, before it is read into records.

    Raises:
        BadArtifact: it is longer.
    """
    if size > most_bytes:
        raise unreadable(f"at most {most_bytes:,} bytes", f"{size:,}", where)


def unreadable(rule: str, value: str, where: str, what: str = READ, advice: str = RESTORE) -> BadArtifact:
    """Return the error of an object that is not what it must be."""
    return BadArtifact(f"{what} must be {rule}, got {value} ({where}). {advice}")


def faults_of(error: ValidationError) -> str:
    """Say the first faults that pydantic found, each with its place, without the values."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    said = [f"{clipped('.'.join(map(str, fault['loc'])))}: {_rule(fault)}" for fault in faults[:FAULTS_SHOWN]]
    more = len(faults) - len(said)
    return "; ".join([*said, *([f"{more:,} more"] if more else [])])


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def _rule(fault: Mapping[str, Any]) -> str:
    return "no name of its kind" if fault["type"] == "string_pattern_mismatch" else clipped(str(fault["msg"]))


def _plain(error: BaseException) -> str:
    return clipped(str(error) or type(error).__name__)


def _integer(digits: str) -> int:
    if len(digits) > len(str(MOST_INTEGER)) + 1 or abs(int(digits)) > MOST_INTEGER:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number that is too large")
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name}, which is no JSON")


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key twice")
    return mapping


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH):
        nested = [item for item in level if isinstance(item, (dict, list))]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ValueError(f"values nested deeper than {MOST_DEPTH}")
