"""Write an object of the store anew without texts, by its kind."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Required

import polars as pl
from typing_extensions import TypedDict

from understudy.errors import BadArtifact, StorageError
from understudy.privacy import shard_records
from understudy.review.spreadsheet import raw_cell
from understudy.store import codecs, layout, tombstones
from understudy.store.base import Tagged
from understudy.store.layout import Erasure, Family
from understudy.store.storage import Beaten, Store, contend
from understudy.teacher.response_log import SAYS_NOTHING, text_key
from understudy.text.context import COLUMN
from understudy.text.sentences import SENTENCE_ID, text_id_of


class Answer(TypedDict, total=False):
    """What of a teacher's answer is about a text."""

    content: Required[str]


class Order(TypedDict, total=False):
    """What of a batch's request is about a text."""

    content: Required[str]


class Ordered(TypedDict, total=False):
    """What of a batch is about texts."""

    orders: Required[list[Order]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must go: ids and groups of texts, the hashes of what they say, and its words in lower case.

    `split` are ids that somebody named, of which all sentences must go too, whatever is known of them.
    `near` are ids of texts that stay, but for their contexts: one of the texts was a turn before them.
    """

    ids: frozenset[str]
    groups: frozenset[str]
    contents: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    split: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()

    def is_near(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has a context in which one of the texts may stand."""
        return bool(row.get(COLUMN)) and _as_text(row.get("id")) in self.near

    def names(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is about one of the texts; what they say counts where a row has no id, or copies would go."""
        is_its_answer = "id" not in row and _as_text(row.get("content")) in self.contents
        name = _as_text(row.get("id"))
        is_its_sentence = name is not None and text_id_of(name) in self.split
        is_of_it = name in self.ids or is_its_sentence or is_its_answer
        return is_of_it or _as_text(row.get("group")) in self.groups


def _as_text(value: Any) -> str | None:
    """Write an id or group as text, a number as `mask` casts one: whoever asks to forget names texts by text.

    Raises:
        TypeError: it is a list or mapping, of which nobody knows whether it names a text.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return json.dumps(value)
    raise TypeError(f"an id, group or content that is a {type(value).__name__}")


def erase(store: Store, key: str, wanted: Wanted) -> int:
    """Write one object anew without the texts, and return how many rows went.

    Raises:
        StorageError: the object is damaged, or others keep changing it.
    """
    if (erasure := layout.erasure_of(key)) not in ERASERS:
        return 0
    replace = next((REPLACERS[family] for family in layout.families_of(key) if family in REPLACERS), _swapped)

    def write() -> int:
        found = store.read_tagged(key)
        if found is None:
            return 0
        try:
            data, rows = ERASERS[erasure](found.data, wanted, store.locate(key))
        except (ValueError, TypeError, csv.Error, pl.exceptions.PolarsError) as error:
            raise StorageError(f"An object must be readable, got {error} ({store.locate(key)}). Restore it.") from error
        if rows and not replace(store, key, found, data):
            raise Beaten
        return rows

    return contend(write, "An object", store.locate(key))


def erase_what_was_asked_meanwhile(store: Store, keys: Collection[str], texts: pl.DataFrame) -> Wanted:
    """Erase from objects that were just put what somebody asked to forget while they were made.

    Who asks later finds the objects in the store, and erases the texts there.

    Args:
        store: where the objects lie.
        keys: theirs.
        texts: that they name; columns id and group, and turn_hashes where they have contexts.

    Returns:
        what had to go, by ids.
    """
    gone = tombstones.read(store)
    ids, near = (frozenset(texts.filter(mask)["id"]) for mask in (gone.covers(texts), gone.stands_before(texts)))
    wanted = Wanted(ids, frozenset(), near=near)
    erase_all(store, keys, wanted)
    return wanted


def erase_all(store: Store, keys: Collection[str], wanted: Wanted) -> None:
    """Write some objects anew without the texts; see `erase`."""
    for key in keys if wanted.ids or wanted.near else ():
        erase(store, key, wanted)


def _without_rows(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """Parquet."""
    table = read_table(data, where)
    kept = table.filter(~mask(table, wanted))
    gone = len(table) - len(kept)
    if wanted.near and {"id", COLUMN} <= {*kept.columns}:
        is_near = kept["id"].cast(pl.String, strict=False).is_in(sorted(wanted.near)) & kept[COLUMN].is_not_null()
        kept = kept.with_columns(pl.when(~is_near.fill_null(value=False)).then(COLUMN).alias(COLUMN))
        gone += int(is_near.sum())
    return codecs.as_parquet(kept), gone


def _without_lines(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """JSON lines."""
    rows = codecs.read_lines(data, where, dict[str, Any])
    lines = [line for line in data.decode().split("\n") if line.strip()]
    kept = [line for line, row in zip(lines, rows, strict=True) if not wanted.names(row)]
    return "".join(f"{line}\n" for line in kept).encode(), len(lines) - len(kept)


def _without_cells(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """CSV."""
    text = codecs.read_text(data, where, codecs.MOST_LINES_BYTES).removeprefix("\ufeff")
    records = list(csv.reader(io.StringIO(text, newline="")))
    header = records[0] if records else []
    rows = [dict(zip(header, map(raw_cell, record), strict=False)) for record in records[1:]]
    pairs = [(record, row) for record, row in zip(records[1:], rows, strict=True) if not wanted.names(row)]
    kept = records[:1] + [_without_context(record, header) if wanted.is_near(row) else record for record, row in pairs]
    gone = len(records) - len(kept) + sum(wanted.is_near(row) for _, row in pairs)
    if not gone:
        return data, 0
    written = io.StringIO(newline="")
    written.write("\ufeff" if data.startswith(b"\xef\xbb\xbf") else "")
    csv.writer(written).writerows(kept)
    return written.getvalue().encode(), gone


def _without_context(record: Sequence[str], header: Sequence[str]) -> list[str]:
    return ["" if name == COLUMN else cell for name, cell in zip(header, record, strict=False)]


def _without_items(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """JSON: an item of a list that names a text, itself or in its `data`, goes."""
    gone = 0

    def pruned(value: Any) -> Any:
        nonlocal gone
        if isinstance(value, dict):
            is_near = wanted.is_near(value)
            gone += is_near
            return {name: "" if is_near and name == COLUMN else pruned(item) for name, item in value.items()}
        if not isinstance(value, list):
            return value
        kept = [item for item in value if not _is_about(item, wanted)]
        gone += len(value) - len(kept)
        return [pruned(item) for item in kept]

    content = pruned(codecs.read_json(data, where, codecs.MOST_LINES_BYTES))
    return codecs.as_json(content, is_sorted=False, is_ascii=False), gone


def _blank_answers(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """Answers of the teacher: what they cost stays on the books, what they say goes, for a copy of the text too."""
    answers = codecs.read_mappings(data, where, Answer)
    gone = {"content": "", **SAYS_NOTHING}
    blank = [{**answer, **gone} if text_key(answer["content"]) in wanted.contents else answer for answer in answers]
    changed = sum(one != other for one, other in zip(answers, blank, strict=True))
    return codecs.as_lines(blank), changed


def _blank_orders(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """What a batch asks for: the server answers and bills it, and nobody knows any more which text it was."""
    batch = codecs.read_mapping(data, where, Ordered)
    orders = batch["orders"]
    blank = [{**order, "content": ""} if text_key(order["content"]) in wanted.contents else order for order in orders]
    changed = sum(one != other for one, other in zip(orders, blank, strict=True))
    return codecs.canonical({**batch, "orders": blank}), changed


ERASERS: Mapping[Erasure | None, Callable[[bytes, Wanted, str], tuple[bytes, int]]] = {
    Erasure.ROWS: _without_rows,
    Erasure.LINES: _without_lines,
    Erasure.CELLS: _without_cells,
    Erasure.ITEMS: _without_items,
    Erasure.BLANKED: _blank_answers,
    Erasure.ORDERS: _blank_orders,
}


def _swapped(store: Store, key: str, found: Tagged, data: bytes) -> bool:
    """Put an object's new content in place of the old; False when another writer was first."""
    return store.compare_and_swap(key, data, found.tag)


def _intended(store: Store, key: str, found: Tagged, data: bytes) -> bool:
    """Put a segment's new content in place of the old, once its shard's record says what it is about to be."""
    shard_records.intend(store, key, found.data, data)
    return _swapped(store, key, found, data)


def _renamed(store: Store, key: str, _: Tagged, data: bytes) -> bool:
    """Put answers under a new name, so that every cache of them is renewed; no writer can be first."""
    name = hashlib.sha256(data).hexdigest()[:32]
    store.put_if_absent(layout.JUDGEMENTS.key_from(layout.JUDGEMENTS, key, name=name), data)
    store.delete(key)
    return True


REPLACERS: Mapping[Family, Callable[[Store, str, Tagged, bytes], bool]] = {  # all others are swapped
    layout.SEGMENTS: _intended,
    layout.JUDGEMENTS: _renamed,
}


def _is_about(item: Any, wanted: Wanted) -> bool:
    return isinstance(item, dict) and (
        wanted.names(item) or (isinstance(item.get("data"), dict) and wanted.names(item["data"]))
    )


def read_table(data: bytes, where: str, *, is_cache: bool = False) -> pl.DataFrame:
    """Read a table of any columns. Raises StorageError when it is damaged."""
    try:
        with codecs.of_cache() if is_cache else nullcontext():
            return codecs.read_table(data, where)
    except BadArtifact as error:
        raise StorageError(str(error)) from error


def mask(table: pl.DataFrame, wanted: Wanted) -> pl.Series:
    """Tell which rows are about a text, as `Wanted.names` does."""
    by_content = {} if "id" in table.columns else {"content": wanted.contents}
    named = {"id": wanted.ids, "group": wanted.groups, **by_content}
    masks = [
        table[name].cast(pl.String, strict=False).is_in(sorted(names))
        for name, names in named.items()
        if name in table.columns and names
    ]
    if "id" in table.columns and wanted.split:
        text_ids = table["id"].cast(pl.String, strict=False).str.extract(SENTENCE_ID)
        masks.append(text_ids.is_in(sorted(wanted.split)))
    found = pl.Series([False] * len(table), dtype=pl.Boolean)
    for mask in masks:
        found = found | mask.fill_null(value=False)
    return found
