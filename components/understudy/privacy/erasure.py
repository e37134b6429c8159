"""Erase a text and all derived from it from the store, the teacher's cache and the search index.

The tombstone comes first, so that a run that goes on meanwhile does not bring the text back. Every object that can name
a text is read and, where it does, written anew without it. A model that learned from the text is no such object: only
training again makes one that did not.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from understudy.errors import BadInput, BadSetting, IndexFailed, StorageError
from understudy.privacy import shard_records
from understudy.privacy.objects import ERASERS, Wanted, erase, mask, read_table
from understudy.privacy.sentences import holds_sentences
from understudy.privacy.watch_words import forget_words
from understudy.progress import track
from understudy.search import opening
from understudy.stats.drift.words import words_of
from understudy.store import layout, tombstones
from understudy.store.layout import Erasure, Family
from understudy.store.leftovers import sweep_temporary
from understudy.store.s3 import MARKER
from understudy.store.storage import Store
from understudy.store.tombstones import Forgotten, tombstone
from understudy.teacher.response_log import ResponseLog, content_key

# Families whose objects no eraser of rows can mend: what does it, before any rows go, from the texts' words ...
BEFORE_ROWS: Mapping[Family, Callable[[Store, frozenset[str]], None]] = {
    layout.WATCH_SERIES: forget_words,
    layout.WATCH_PAGES: forget_words,
    layout.WATCH_NEWEST: forget_words,
}
# ... or once all rows went, in the objects that were there before; it returns a sentence on what it could not follow
AFTER_ROWS: Mapping[Family, Callable[[Store, Collection[str]], list[str]]] = {layout.SHARD_RECORDS: shard_records.book}


@dataclass(frozen=True, slots=True)
class Erased:
    """What went: rows by the store's top folder, and documents of its indices."""

    rows: Mapping[str, int]
    documents: int


def forget(
    store: Store, ids: Collection[str], groups: Collection[str], today: str, servers: Collection[str] = ()
) -> Erased:
    """Forget texts; doing it again, after a kill too, ends what is left to do.

    In this order. A kill leaves undone what comes after it, and whoever names the texts again ends it:

    1. Tombstones. From here on no run takes the texts, and a night that goes on takes them out of its own segments.
    2. What was derived from their words (`BEFORE_ROWS`), the watch's pages before its records: these still say what
       is left to do. All tables still stand, in which the words are found again.
    3. Rows, object by object: first those that name a text by id or hash, with the answers that a run merges meanwhile,
       then the tables that say what it says, in which ids and hashes are found again. A segment is written anew once
       its shard's record says what it will be.
    4. What follows the rows (`AFTER_ROWS`): until then a shard's record counts rows that its segments lack, which those
       who read a night allow for once there are tombstones. Whoever forgets any text counts them.
    5. This machine's cache of the teacher's answers, which any run that opens it ends too.
    6. The search indices; one in SQLite, on this machine or another, forgets too when it is next opened.

    Args:
        store: the store whose nights and training runs met the texts.
        ids: of the texts, all of whose sentences go with them where texts are split, or of single sentences.
        groups: reviews, threads or dialogues to forget whole.
        today: written into the tombstones.
        servers: every Elasticsearch that holds the store's texts, beside the one that the environment names.

    Raises:
        BadSetting: nothing is named.
        BadInput: there is no store; or it says that a server holds its texts which nobody named: all else is removed.
        IndexFailed: an index cannot be reached; all else is removed then.
        StorageError: an object is damaged, or others keep changing it; or a shard's record is damaged, or a segment not
            what that names: all else is removed then.
    """
    if not ids and not groups:
        raise BadSetting("What to forget must be named, got neither --id nor --group. Name at least one.")
    if store.read_tagged(MARKER) is None and not store.list():
        raise BadInput(f"A store to forget in must exist, got nothing ({store.uri}). Mend its address (--store).")
    store.remove_leftovers()
    sweep_temporary()
    split = frozenset(ids) if holds_sentences(store) else frozenset()
    tombstones.remember_to_forget(store, "sentences", sorted(split), today)
    tombstones.remember_to_forget(store, "id", ids, today)
    tombstones.remember_to_forget(store, "group", groups, today)
    found = store.list()
    keys = [key for key in found if layout.erasure_of(key) in ERASERS]
    there = {family: [key for key in found if family.fields(key)] for family in AFTER_ROWS}
    wanted = _complete(store, keys, Wanted(frozenset(ids), frozenset(groups), split=split))
    for forget_derived in dict.fromkeys(BEFORE_ROWS.values()):
        forget_derived(store, wanted.words)
    rows = _erase_rows(store, keys, wanted)
    faults = [fault for family, follow in AFTER_ROWS.items() for fault in follow(store, there[family])]
    _follow_judgements(store)
    # last: a run that goes on has read segments before they were erased
    documents = _forget_in_indices(store, wanted, servers)
    if faults:
        raise StorageError("\n".join([*faults, "All else has forgotten."]))
    return Erased({name: gone for name, gone in sorted(rows.items()) if gone}, documents)


def _complete(store: Store, keys: Collection[str], wanted: Wanted) -> Wanted:
    """Find the texts of the groups, and what all say: answers are kept by its hash, and the watch shows words.

    What a night scored is kept by the hash of the text after its turns, which its prediction has. Whose turn one of the
    texts was, the table of a queue says, also where their contexts went already: a kill may have left them elsewhere.
    """
    gone = Forgotten(frozenset(tombstone("id", name) for name in wanted.ids))
    ids, texts, contents, near = set(wanted.ids), set(), set(), set()
    for key in keys:
        if layout.erasure_of(key) is Erasure.ROWS:
            table = _table(store, key)
            near |= {
                str(row["id"]) for row in table.filter(gone.stands_before(table)).iter_rows(named=True) if "id" in row
            }
            for row in _named(table, wanted, store.locate(key)):
                ids |= {str(row["id"])} if row.get("id") else set()
                texts |= {str(row["text"])} if row.get("text") else set()
                contents |= {str(row["content"])} if row.get("content") else set()
    words = words_of(pl.Series(sorted(texts), dtype=pl.String))["word"]
    contents |= {*map(content_key, texts)}
    all_ids, all_contents = frozenset(ids), frozenset(contents)
    return replace(wanted, ids=all_ids, contents=all_contents, words=frozenset(words), near=frozenset(near))


def _table(store: Store, key: str) -> pl.DataFrame:
    return read_table(store.read(key), store.locate(key), is_cache=layout.SCORED.fields(key) is not None)


def _named(table: pl.DataFrame, wanted: Wanted, where: str) -> Iterator[dict[str, Any]]:
    columns = [name for name in ("id", "group", "text", "content") if name in table.columns]
    if "id" not in columns and "group" not in columns:
        return
    try:
        named = table.select(columns).filter(mask(table, wanted))
    except pl.exceptions.PolarsError as error:
        raise StorageError(f"An object must be readable, got {error} ({where}). Restore it.") from error
    yield from named.iter_rows(named=True)


def _erase_rows(store: Store, keys: Sequence[str], wanted: Wanted) -> Counter[str]:
    """Erase object by object, those that say what texts say last: whoever begins again finds hashes there alone."""
    rows: Counter[str] = Counter()
    telling = [key for key in keys if layout.erasure_of(key) is Erasure.ROWS and layout.SCORED.fields(key) is None]
    with track(len(keys), "forget: objects read") as progress:
        for part in (sorted({*keys} - {*telling}), telling):
            for key in part:
                rows[_top(key)] += erase(store, key, wanted)
                progress.advance()
            rows[_top(layout.JUDGEMENTS.folder)] += _erase_merged(store, keys, wanted)
    return rows


def _forget_in_indices(store: Store, wanted: Wanted, servers: Collection[str]) -> int:
    """Remove the documents from this machine's own index and from every server that whoever runs names.

    The store says where its nights went, but no key goes to an address that a store names.
    """
    removed, faults = 0, []
    for card_name, url in opening.places(store, servers):
        try:
            with opening.opened_as_is(store, card_name, url) as index:
                removed += index.remove(wanted.ids, wanted.groups, wanted.split)
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


def _erase_merged(store: Store, known: Collection[str], wanted: Wanted) -> int:
    """Go on with segments of answers that came meanwhile: a run that asks merges small ones into new ones."""
    rows, seen = 0, set(known)
    while new := [key for key in store.list(layout.JUDGEMENTS.folder) if key not in seen and _is_answers(key)]:
        rows += sum(erase(store, key, wanted) for key in new)
        seen |= set(new)
    return rows


def _is_answers(key: str) -> bool:
    return layout.erasure_of(key) is Erasure.BLANKED


def _follow_judgements(store: Store) -> None:
    """Let this machine's cache of the teacher's answers follow the store; other machines' do at their next run."""
    for card_name in sorted({fields["card"] for _, fields in layout.JUDGEMENTS.listed(store)}):
        ResponseLog(store, card_name).close()


def _top(key: str) -> str:
    return layout.folder_of(key).rstrip("/")
