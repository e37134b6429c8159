"""Put the turns before each text of a shard beside it, as if its file's rows were read from the night's first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from understudy.data.rows import Refusal, Row
from understudy.errors import BadData
from understudy.store.manifests import Range, TextObject
from understudy.store.tombstones import Forgotten, tombstone
from understudy.task.card import Context
from understudy.text.context import COLUMN, TURN_HASHES, Turns, contexts, preceding, turns_before

Reader = Callable[[Range], Iterator[Row | Refusal]]
Before = tuple[str | None, list[str]]  # what is read before a text, and the ids of its turns


def with_context(
    part: Range, night: Sequence[Range], read: Reader, context: Context, forgotten: Forgotten
) -> Iterator[Row | Refusal]:
    """Read a range with the column context in each row: the turns before it in its group, file and night.

    A cell turn_hashes has the hashes of their ids, with blanks between them.

    What the ranges of the file before this one hold is read too, so that a text has the same turns however the night
    was dealt out; with an order of the texts' own, all ranges are read, for an earlier turn may stand behind a later.

    Args:
        part: the range.
        night: all ranges of its file in this night, in order.
        read: reads a range, with the columns of `context`.
        context: of the bundle's card.
        forgotten: what somebody asked to forget, which is no turn.
    """
    if context.order is not None:
        yield from _ordered(part, night, read, context, forgotten)
        return
    earlier = [one for one in night if one.first_row < part.first_row]
    groups = _groups(read(part)) if earlier else set()
    turns = Turns(context.turns, context.words)
    for row in (row for one in earlier for row in read(one)):
        if isinstance(row, Row) and row.cells["group"] in groups:
            _before(turns, row, forgotten)
    for row in read(part):
        yield _with(row, _before(turns, row, forgotten)) if isinstance(row, Row) else row


def _groups(rows: Iterator[Row | Refusal]) -> set[str | None]:
    return {row.cells["group"] for row in rows if isinstance(row, Row)} - {None}


def _before(turns: Turns, row: Row, forgotten: Forgotten) -> Before:
    if _is_gone(row, forgotten):
        return None, []
    return turns.before(row.cells["group"], row.cells["text"] or "", row.cells["id"] or "")


def _ordered(
    part: Range, night: Sequence[Range], read: Reader, context: Context, forgotten: Forgotten
) -> Iterator[Row | Refusal]:
    groups = _groups(read(part))
    members: list[tuple[int, str | None, str | None, str, str | None]] = []
    for row in (row for one in night for row in read(one)):
        if isinstance(row, Row) and row.cells["group"] in groups and not _is_gone(row, forgotten):
            text = preceding([row.cells["text"] or ""], context.words)  # no more of it is ever shown
            members.append((row.number, row.cells["id"], row.cells["group"], text, row.cells[context.order or ""]))
    numbers, ids, of_groups, texts, values = zip(*members, strict=True) if members else ((), (), (), (), ())
    read_before = contexts(of_groups, texts, values, context.turns, context.words)
    names = [[ids[turn] for turn in one] for one in turns_before(of_groups, values, context.turns)]
    found = dict(zip(numbers, zip(read_before, names, strict=True), strict=True))
    for row in read(part):
        yield _with(row, found.get(row.number, (None, []))) if isinstance(row, Row) else row


def _with(row: Row, before: Before) -> Row:
    context, names = before
    hashes = " ".join(tombstone("id", name) for name in names)
    return replace(row, cells={**row.cells, COLUMN: context, TURN_HASHES: hashes})


def _is_gone(row: Row, forgotten: Forgotten) -> bool:
    return forgotten.covers_text(row.cells["id"], row.cells["group"] or row.cells["id"])


def require_columns(name: str, about: TextObject, context: Context) -> None:
    """Refuse a file that lacks what the turns are made of.

    Raises:
        BadData: it does.
    """
    if missing := [column for column in context.columns if not about.has(column)]:
        raise BadData(
            f"Texts of a bundle with context must have the columns {', '.join(context.columns)}, got no "
            f"{', '.join(missing)} ({name}). Add or rename it, and begin the night again."
        )
