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

Kind = Literal["id", "group"]


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
        found = [self._has("id", row[0]) or self._has("group", row[1]) for row in table.select("id", "group").rows()]
        return pl.Series(found, dtype=pl.Boolean)

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
        return name is not None and tombstone(kind, name) in self.hashes


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
