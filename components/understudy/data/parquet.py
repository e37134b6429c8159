"""Read users' Parquet files: columns, length, and some of the rows."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from understudy.data.limits import LONGEST_LINE
from understudy.data.rows import TOO_LONG_LINE, Cells, File, Place, Read, Refusal
from understudy.errors import BadData
from understudy.store.parquet import scanned
from understudy.text.numbers import clipped

FIRST_ROWS, ROWS_AT_ONCE = 1_000, 20_000
BYTES_AT_ONCE = 1 << 24  # of Parquet's cells that become Python's strings together


def schema_of(path: Path) -> pl.Schema:
    """Read the names and types of a file's columns."""
    with scanned(path) as table:
        return table.collect_schema()


def length(path: Path) -> int:
    """Count a file's rows."""
    with scanned(path) as table:
        return int(table.select(pl.len()).collect().item())


def columns_of(path: Path, wanted: Collection[str]) -> tuple[str, ...]:
    """Read the names of a file's columns, and which wanted paths into columns of structures lead somewhere.

    Args:
        path: of the file.
        wanted: names that may be such paths, as "message.body".
    """
    schema = schema_of(path)
    paths = sorted(name for name in wanted if name not in schema and _type_at(schema, name) is not None)
    return (*schema, *paths)


def _type_at(schema: pl.Schema, name: str) -> pl.DataType | None:
    """Return the type of a column, or of the field to which a path leads; None where there is none."""
    if name in schema:
        return schema[name]
    first, *fields = name.split(".")
    kind: Any = schema.get(first)
    for field in fields:
        inner = {one.name: one.dtype for one in kind.fields} if isinstance(kind, pl.Struct) else {}
        kind = inner.get(field)
    return kind if kind is None or isinstance(kind, pl.DataType) else kind()


def _expression(schema: pl.Schema, own: str, name: str) -> pl.Expr:
    """Return what reads a column, or the field to which a path leads, under our name."""
    first, *fields = [own] if own in schema else own.split(".")
    expression = pl.col(first)
    for field in fields:
        expression = expression.struct.field(field)
    return expression.alias(name)


def some_rows(path: Path, columns: Sequence[pl.Expr], offset: int, most: int) -> pl.DataFrame:
    """Read some columns of some rows of a file, from one of them on."""
    with scanned(path) as table:
        return table.select(columns).slice(offset, most).collect()


def require_plain(file: File, wanted: Collection[str], lists: Collection[str] = ()) -> None:
    """Check the types of a file's columns.

    Args:
        file: a Parquet file whose columns are known.
        wanted: columns of ours that will be read.
        lists: those of them that may hold lists of plain values.

    Raises:
        BadData: the texts are no strings, or a wanted column holds lists, mappings or bytes.
    """
    schema = schema_of(file.path)
    text = file.own("text")
    kind = _type_at(schema, text) or pl.String()
    if not isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        raise BadData(f"The column '{text}' must hold strings, got {_said_kind(kind)} ({file.name}). Convert it first.")
    for name in sorted(name for name in wanted if file.has(name)):
        own = file.own(name)
        given = _type_at(schema, own) or pl.Null()
        kind = _held(given) if name in lists else given
        if kind.is_nested() or isinstance(kind, pl.Binary | pl.Object):
            raise BadData(
                f"The column '{own}' must hold plain values, got {_said_kind(given)} ({file.name}). "
                "Convert it to strings first."
            )


def _held(kind: pl.DataType) -> pl.DataType:
    """Return the type of what lists hold; of what is no list, its own."""
    inner = kind.inner if isinstance(kind, pl.List) else kind
    return inner if isinstance(inner, pl.DataType) else inner()


def _said_kind(kind: pl.DataType) -> str:
    return clipped(str(kind))


def parquet_rows(file: File, wanted: Sequence[str], start: Place) -> Iterator[Read]:
    """Read the wanted cells of each row from a place on."""
    schema = schema_of(file.path)
    columns = [_expression(schema, file.own(name), name) for name in wanted if file.has(name)]
    offset, rows = start.row, FIRST_ROWS
    while len(part := some_rows(file.path, columns, offset, rows)):
        for number, cells in enumerate(_named_cells(file, part, offset), start=offset + 1):
            yield Read(0, number, cells)
        offset += len(part)
        rows = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE * len(part) // max(1, int(part.estimated_size()))))


def _bytes_of(name: str, kind: pl.DataType) -> pl.Expr:
    """Count the bytes of each string, or of all in a list."""
    if isinstance(kind, pl.List):
        return pl.col(name).list.eval(pl.element().cast(pl.String).str.len_bytes()).list.sum().fill_null(0)
    return pl.col(name).str.len_bytes().fill_null(0)


def _named_cells(file: File, part: pl.DataFrame, before: int) -> Iterator[Cells]:
    """Yield the cells of each row; few at once where a string is long, which a file may hold once for many rows."""
    strings = [name for name, kind in part.schema.items() if isinstance(kind, pl.String | pl.List)]
    sizes = part.select(_bytes_of(name, part.schema[name]) for name in strings)
    is_long = (sizes > LONGEST_LINE).sum_horizontal() > 0 if strings else pl.repeat(False, len(part), eager=True)
    part = part.with_columns(pl.when(~is_long).then(pl.col(strings)).name.keep()) if is_long.any() else part
    most = min(int(sizes.max_horizontal().max() or 0), LONGEST_LINE) if strings else 0  # type: ignore[arg-type]
    rows = part.iter_rows(named=True, buffer_size=max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(1, most))))
    for number, (cells, is_refused) in enumerate(zip(rows, is_long, strict=True), start=before + 1):
        detail = f"a cell of more than {LONGEST_LINE:,} bytes"
        yield Refusal(file.name, number, None, TOO_LONG_LINE, detail) if is_refused else cells
