"""Erase a text and all derived from it from the store, the teacher's cache and the search index.

The tombstone comes first, so that a run that goes on meanwhile does not bring the text back. Every object that can name
a text is read and, where it does, written anew without it. A model that learned from the text is no such object: only
training again makes one that did not.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Required

import polars as pl
from typing_extensions import TypedDict

from understudy.errors import BadArtifact, BadInput, BadSetting, IndexFailed, StorageError
from understudy.privacy.watch_words import forget_words
from understudy.progress import track
from understudy.review.spreadsheet import raw_cell
from understudy.search import opening
from understudy.stats.drift.words import words_of
from understudy.store import codecs, layout, tombstones
from understudy.store.layout import Erasure
from understudy.store.leftovers import sweep_temporary
from understudy.store.predictions import FORGOTTEN
from understudy.store.s3 import MARKER
from understudy.store.segments import parse_record
from understudy.store.storage import Beaten, Store, contend, update
from understudy.teacher.response_log import PurchaseBook, content_key


class Answer(TypedDict, total=False):
    """What of a teacher's answer is about a text."""

    content: Required[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must go: ids and groups of texts, the hashes of what they say, and its words in lower case."""

    ids: frozenset[str]
    groups: frozenset[str]
    contents: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    def names(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is about one of the texts; what they say counts where a row has no id, or copies would go."""
        is_its_answer = "id" not in row and row.get("content") in self.contents
        return row.get("id") in self.ids or row.get("group") in self.groups or is_its_answer


@dataclass(frozen=True, slots=True)
class Erased:
    """What went: rows by the store's top folder, and documents of its indices."""

    rows: Mapping[str, int]
    documents: int


def forget(
    store: Store, ids: Collection[str], groups: Collection[str], today: str, servers: Collection[str] = ()
) -> Erased:
    """Forget texts; doing it again, after a kill too, ends what is left to do.

    Args:
        store: the store whose nights and training runs met the texts.
        ids: of the texts.
        groups: reviews, threads or dialogues to forget whole.
        today: written into the tombstones.
        servers: every Elasticsearch that holds the store's texts, beside the one that the environment names.

    Raises:
        BadSetting: nothing is named.
        BadInput: there is no store; or it says that a server holds its texts which nobody named: all else is removed.
        IndexFailed: an index cannot be reached; all else is removed then.
        StorageError: an object is damaged, or others keep changing it.
    """
    if not ids and not groups:
        raise BadSetting("What to forget must be named, got neither --id nor --group. Name at least one.")
    if store.read_tagged(MARKER) is None and not store.list():
        raise BadInput(f"A store to forget in must exist, got nothing ({store.uri}). Mend its address (--store).")
    store.remove_leftovers(everywhere=True)
    sweep_temporary()
    tombstones.remember_to_forget(store, "id", ids, today)
    tombstones.remember_to_forget(store, "group", groups, today)
    keys = [key for key in store.list() if layout.erasure_of(key) in ERASERS]
    wanted = _complete(store, keys, Wanted(frozenset(ids), frozenset(groups)))
    forget_words(store, wanted.words)  # first: whoever does this again after a kill still finds the texts' words
    rows: Counter[str] = Counter()
    with track(len(keys), "forget: objects read") as progress:
        for key in keys:
            rows[_top(key)] += _erase(store, key, wanted)
            progress.advance()
    rows[_top(layout.JUDGEMENTS.folder)] += _erase_merged(store, keys, wanted)
    _mend_records(store)
    _follow_judgements(store)
    # last: a run that goes on has read segments before they were erased
    documents = _forget_in_indices(store, wanted, servers)
    return Erased({name: count for name, count in sorted(rows.items()) if count}, documents)


def _complete(store: Store, keys: Collection[str], wanted: Wanted) -> Wanted:
    """Find the texts of the groups, and what all say: answers are kept by its hash, and the watch shows words."""
    ids, texts = set(wanted.ids), set()
    for key in keys:
        if layout.erasure_of(key) is Erasure.ROWS:
            for row in _named(store, key, wanted):
                ids |= {str(row["id"])} if row.get("id") else set()
                texts |= {str(row["text"])} if row.get("text") else set()
    words = words_of(pl.Series(sorted(texts), dtype=pl.String))["word"]
    return Wanted(frozenset(ids), wanted.groups, frozenset(map(content_key, texts)), frozenset(words))


def _named(store: Store, key: str, wanted: Wanted) -> Iterator[dict[str, Any]]:
    table = _table(store.read(key), store.locate(key), is_cache=layout.SCORED.fields(key) is not None)
    columns = [name for name in ("id", "group", "text") if name in table.columns]
    if "id" not in columns and "group" not in columns:
        return
    try:
        named = table.select(columns).filter(_mask(table, wanted))
    except pl.exceptions.PolarsError as error:
        raise StorageError(f"An object must be readable, got {error} ({store.locate(key)}). Restore it.") from error
    yield from named.iter_rows(named=True)


def _forget_in_indices(store: Store, wanted: Wanted, servers: Collection[str]) -> int:
    """Remove the documents from this machine's own index and from every server that whoever runs names.

    The store says where its nights went, but no key goes to an address that a store names.
    """
    removed, faults = 0, []
    for card_name, url in opening.places(store, servers):
        try:
            with opening.opened_as_is(store, card_name, url) as index:
                removed += index.remove(wanted.ids, wanted.groups)
        except IndexFailed as error:
            faults.append(str(error))
    unnamed, where = opening.unnamed_servers(store, servers), store.locate(opening.SERVING)
    if unnamed:
        faults.append(
            f"Every server that holds the store's texts must be named, got none for {', '.join(unnamed)} ({where}). "
            "If it is yours, name it with --index-url."
        )
    if faults:
        told = f"All else has forgotten. Run it again, or take the address of a server that is no more out of {where}."
        kind = BadInput if len(faults) == bool(unnamed) else IndexFailed
        raise kind("\n".join([*faults, told]))
    return removed


def _erase(store: Store, key: str, wanted: Wanted) -> int:
    """Write one object anew without the texts, and return how many rows went."""
    if (erasure := layout.erasure_of(key)) is None:
        return 0

    def write() -> int:
        found = store.read_tagged(key)
        if found is None:
            return 0
        try:
            data, rows = ERASERS[erasure](found.data, wanted, store.locate(key))
        except (ValueError, TypeError, csv.Error, pl.exceptions.PolarsError) as error:
            raise StorageError(f"An object must be readable, got {error} ({store.locate(key)}). Restore it.") from error
        if not rows:
            return 0
        if erasure is Erasure.BLANKED:  # under a new name, so that every cache of it is renewed
            digest = hashlib.sha256(data).hexdigest()[:32]
            store.put_if_absent(layout.JUDGEMENTS.key_from(layout.JUDGEMENTS, key, name=digest), data)
            store.delete(key)
            return rows
        if not store.compare_and_swap(key, data, found.tag):
            raise Beaten
        return rows

    return contend(write, "An object", store.locate(key))


def _erase_merged(store: Store, known: Collection[str], wanted: Wanted) -> int:
    """Go on with segments of answers that came meanwhile: a run that asks merges small ones into new ones."""
    rows, seen = 0, set(known)
    while new := [key for key in store.list(layout.JUDGEMENTS.folder) if key not in seen and _is_answers(key)]:
        rows += sum(_erase(store, key, wanted) for key in new)
        seen |= set(new)
    return rows


def _is_answers(key: str) -> bool:
    return layout.erasure_of(key) is Erasure.BLANKED


def _without_rows(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """Parquet."""
    table = _table(data, where)
    kept = table.filter(~_mask(table, wanted))
    return codecs.as_parquet(kept), len(table) - len(kept)


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
    kept = records[:1] + [record for record, row in zip(records[1:], rows, strict=True) if not wanted.names(row)]
    if len(kept) == len(records):
        return data, 0
    written = io.StringIO(newline="")
    written.write("\ufeff" if data.startswith(b"\xef\xbb\xbf") else "")
    csv.writer(written).writerows(kept)
    return written.getvalue().encode(), len(records) - len(kept)


def _without_items(data: bytes, wanted: Wanted, where: str) -> tuple[bytes, int]:
    """JSON: an item of a list that names a text, itself or in its `data`, goes."""
    gone = 0

    def pruned(value: Any) -> Any:
        nonlocal gone
        if isinstance(value, dict):
            return {name: pruned(item) for name, item in value.items()}
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
    gone = {"content": "", "label": None, "probabilities": None, "rationale": None, "failure": "forgotten"}
    blank = [{**answer, **gone} if answer["content"] in wanted.contents else answer for answer in answers]
    changed = sum(one != other for one, other in zip(answers, blank, strict=True))
    return codecs.as_lines(blank), changed


ERASERS: Mapping[Erasure | None, Callable[[bytes, Wanted, str], tuple[bytes, int]]] = {
    Erasure.ROWS: _without_rows,
    Erasure.LINES: _without_lines,
    Erasure.CELLS: _without_cells,
    Erasure.ITEMS: _without_items,
    Erasure.BLANKED: _blank_answers,
}


def _is_about(item: Any, wanted: Wanted) -> bool:
    return isinstance(item, dict) and (
        wanted.names(item) or (isinstance(item.get("data"), dict) and wanted.names(item["data"]))
    )


def _table(data: bytes, where: str, *, is_cache: bool = False) -> pl.DataFrame:
    try:
        with codecs.of_cache() if is_cache else nullcontext():
            return codecs.read_table(data, where)
    except BadArtifact as error:
        raise StorageError(str(error)) from error


def _mask(table: pl.DataFrame, wanted: Wanted) -> pl.Series:
    """Tell which rows are about a text, as `Wanted.names` does."""
    by_content = {} if "id" in table.columns else {"content": wanted.contents}
    named = {"id": wanted.ids, "group": wanted.groups, **by_content}
    masks = [
        table[name].cast(pl.String, strict=False).is_in(sorted(names))
        for name, names in named.items()
        if name in table.columns and names
    ]
    found = pl.Series([False] * len(table), dtype=pl.Boolean)
    for mask in masks:
        found = found | mask.fill_null(value=False)
    return found


def _mend_records(store: Store) -> None:
    """Let the records of shards say again what their segments hold."""
    for key, _ in layout.SHARD_RECORDS.listed(store):
        _replace(store, key, partial(_mended, store, key))


def _mended(store: Store, key: str, data: bytes) -> bytes:
    record = parse_record(data, store, key).model_dump(mode="json", exclude_unset=True)
    segments = [_described(store, part) for part in record["segments"]]
    if segments == record["segments"]:
        return data
    rows = sum(part["rows"] for part in segments)
    gone = record["refused"].get(FORGOTTEN, 0) + record["rows"] - rows  # labelled and refused stay all that was read
    refused = {**record["refused"], **({FORGOTTEN: gone} if gone else {})}
    return codecs.as_json({**record, "segments": segments, "rows": rows, "refused": refused})


def _described(store: Store, part: dict[str, Any]) -> dict[str, Any]:
    found = store.read_tagged(part["key"])
    if found is None or hashlib.sha256(found.data).hexdigest() == part["sha256"]:
        return part
    rows = len(_table(found.data, store.locate(part["key"])))
    return {**part, "sha256": hashlib.sha256(found.data).hexdigest(), "rows": rows}


def _replace(store: Store, key: str, change: Callable[[bytes], bytes]) -> None:
    update(store, key, lambda data: None if data is None else change(data), "A record")


def _follow_judgements(store: Store) -> None:
    """Let this machine's cache of the teacher's answers follow the store; other machines' do at their next run."""
    for card_name in sorted({fields["card"] for _, fields in layout.JUDGEMENTS.listed(store)}):
        PurchaseBook(store, card_name).close()


def _top(key: str) -> str:
    return layout.folder_of(key).rstrip("/")
