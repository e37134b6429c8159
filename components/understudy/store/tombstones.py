"""Keep tombstones of texts that somebody asked to forget, by hash, so that none comes back.

    forgotten/<SHA-256 of "id:<id>" or "group:<group>">.json

The shell command is `understudy forget`; `erasure.py` removes what is there already.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.text.context import COLUMN
from understudy.text.sentences import text_id_of

Kind = Literal["id", "group"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The tombstones of a store, as hashes."""

    hashes: frozenset[str]

    def covers(self, table: pl.DataFrame) -> pl.Series:
        """Tell for each row, by its columns id and group, whether its text must be forgotten. Shape (rows,).

        A text's id stands for its sentences too, which are named `<id>#<number>`.

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

        >>> gone = Forgotten(frozenset({tombstone("id", "r1")}))
        >>> gone.covers_text("r1", None), gone.covers_text("r1#2", None), gone.covers_text("r11#2", None)
        (True, True, False)
        """
        text = text_id_of(name) if self.hashes and name is not None else None
        return self._has("id", name) or self._has("id", text) or self._has("group", group)

    def without(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that need not be forgotten; no context of their groups stays, where they may stand."""
        if not self.hashes:
            return table
        is_gone = self.covers(table)
        kept = table.filter(~is_gone)
        if COLUMN not in kept.columns:
            return kept
        is_near = pl.col("group").is_in(table.filter(is_gone)["group"].unique().implode())
        return kept.with_columns(pl.when(~is_near).then(COLUMN).alias(COLUMN))

    def _has(self, kind: Kind, name: str | None) -> bool:
        return bool(self.hashes) and name is not None and tombstone(kind, name) in self.hashes


NOTHING = Forgotten(frozenset())


def tombstone(kind: Kind, name: str) -> str:
    """Return the hash that stands for an id or group."""
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()


def read(store: Store) -> Forgotten:
    """Read which texts must be forgotten; one listing, for the keys say it."""
    return Forgotten(frozenset(fields["hash"] for _, fields in layout.TOMBSTONES.listed(store)))


def remember_to_forget(store: Store, kind: Kind, names: Iterable[str], today: str) -> None:
    """Put tombstones; from then on no step takes these texts."""
    for name in names:
        said = codecs.canonical({"format": 1, "kind": kind, "asked": today})
        store.put_if_absent(layout.TOMBSTONES.key(hash=tombstone(kind, name)), said)
