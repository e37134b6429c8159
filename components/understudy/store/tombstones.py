"""Keep tombstones of texts that somebody asked to forget, by hash, so that none comes back.

    forgotten/<SHA-256 of "id:<id>", "group:<group>" or "sentences:<id>">.json

The third kind stands for all sentences of a text, and is put only where texts are split: elsewhere `case#2` is a text
of its own, and stays when `case` goes.

The shell command is `understudy forget`; `erasure.py` removes what is there already.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.text.context import COLUMN, TURN_HASHES
from understudy.text.sentences import text_id_of

Kind = Literal["id", "group", "sentences"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The tombstones of a store, as hashes."""

    hashes: frozenset[str]

    def covers(self, table: pl.DataFrame) -> pl.Series:
        """Tell for each row, by its columns id and group, whether its text must be forgotten. Shape (rows,).

        >>> gone = Forgotten(frozenset({tombstone("group", "g2")}))
        >>> gone.covers(pl.DataFrame({"id": ["a", "b"], "group": ["g1", "g2"]})).to_list()
        [False, True]
        """
        if not self.hashes:
            return pl.Series([False] * len(table), dtype=pl.Boolean)
        found = [self.covers_text(name, group) for name, group in table.select("id", "group").rows()]
        return pl.Series(found, dtype=pl.Boolean)

    def covers_text(self, name: str | None, group: str | None) -> bool:
        """Tell whether the text or sentence of an id and group must be forgotten.

        >>> gone = Forgotten(frozenset({tombstone("id", "r1"), tombstone("sentences", "r2")}))
        >>> [gone.covers_text(name, None) for name in ("r1", "r1#2", "r2#2", "r22#2")]
        [True, False, True, False]
        """
        text = text_id_of(name) if self.hashes and name is not None else None
        return self._has("id", name) or self._has("sentences", text) or self._has("group", group)

    def without(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that need not be forgotten, without the contexts in which a text that must be may stand.

        The hashes of their turns stay: whoever forgets the text again finds by them what was made of the contexts.
        """
        if not self.hashes:
            return table
        kept = table.filter(~self.covers(table))
        if TURN_HASHES not in kept.columns:
            return kept
        return kept.with_columns(pl.when(~self.stands_before(kept)).then(COLUMN).alias(COLUMN))

    def reaches(self, table: pl.DataFrame) -> bool:
        """Tell whether a row, or a context, must leave a table: whether `without` returns another one.

        >>> gone = Forgotten(frozenset({tombstone("id", "r1")}))
        >>> talk = pl.DataFrame({"id": ["r2"], "group": ["g"], "context": ["No."]})
        >>> talk = talk.with_columns(turn_hashes=pl.Series([[tombstone("id", "r1")]]))
        >>> gone.reaches(talk), gone.reaches(gone.without(talk))
        (True, False)
        """
        if not self.hashes:
            return False
        has_context = COLUMN in table.columns and bool((self.stands_before(table) & table[COLUMN].is_not_null()).any())
        return has_context or bool(self.covers(table).any())

    def stands_before(self, table: pl.DataFrame) -> pl.Series:
        """Tell for each row, by its column turn_hashes, whether a text to be forgotten was a turn before it.

        >>> gone = Forgotten(frozenset({tombstone("id", "r1")}))
        >>> gone.stands_before(pl.DataFrame({"turn_hashes": [[tombstone("id", "r1")], [], None]})).to_list()
        [True, False, False]
        """
        column = table[TURN_HASHES] if TURN_HASHES in table.columns else None
        if column is None or column.dtype != pl.List(pl.String):
            return pl.Series([False] * len(table), dtype=pl.Boolean)
        found = [not self.hashes.isdisjoint(hashes or ()) for hashes in column.to_list()]
        return pl.Series(found, dtype=pl.Boolean)

    def _has(self, kind: Kind, name: str | None) -> bool:
        return bool(self.hashes) and name is not None and tombstone(kind, name) in self.hashes


NOTHING = Forgotten(frozenset())


def tombstone(kind: Kind, name: str) -> str:
    """Return the hash that stands for an id, a group, or the sentences of an id."""
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()


def read(store: Store) -> Forgotten:
    """Read which texts must be forgotten; one listing, for the keys say it."""
    return Forgotten(frozenset(fields["hash"] for _, fields in layout.TOMBSTONES.listed(store)))


def remember_to_forget(store: Store, kind: Kind, names: Iterable[str], today: str) -> None:
    """Put tombstones; from then on no step takes these texts."""
    for name in names:
        said = codecs.canonical({"format": 1, "kind": kind, "asked": today})
        store.put_if_absent(layout.TOMBSTONES.key(hash=tombstone(kind, name)), said)
