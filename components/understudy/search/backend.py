"""Define what every index can do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from understudy.search.query import Answer, Query
from understudy.store.tombstones import Forgotten


@dataclass(frozen=True, slots=True)
class Letter:
    """A document that the index refused: the text's id and why. The text itself stays in the predictions."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a segment's documents.

    Attributes:
        written: now in the index as they were sent.
        older: left out, for the index holds a newer answer about the text.
        letters: refused.
    """

    written: int = 0
    older: int = 0
    letters: tuple[Letter, ...] = ()


class Index(Protocol):
    """Documents of one card, each once, by whichever answer about its text is the newest."""

    can_refuse: bool  # whether there may be dead letters

    @property
    def place(self) -> str:
        """Where it is, in words for a log line."""

    @property
    def key(self) -> str:
        """What the store calls it: notes and dead letters of an index are kept under this name."""

    def missing(self, segments: Sequence[str]) -> list[str]:
        """Return those of the segments that were not added yet."""

    def add(self, segment: str, documents: pl.DataFrame, *, is_whole: bool = True) -> Taken:
        """Write documents; when they are the whole segment and none is refused, remember that it was added."""

    def settle(self, segment: str) -> None:
        """Remember that a segment was added, but for its dead letters: after the verdict on what was refused."""

    def search(self, query: Query) -> Answer:
        """Find documents, newest first."""

    def count(self) -> int:
        """Return how many documents there are."""

    def remove(self, ids: Collection[str], groups: Collection[str] = (), split: Collection[str] = ()) -> int:
        """Remove the documents of these texts, groups, and sentences of split texts; return how many there were."""

    def remove_forgotten(self, gone: Forgotten) -> None:
        """Remove what was forgotten without this index being told, by a command on another machine."""

    def expire(self, before: str) -> int:
        """Remove the documents of nights before a date, and return how many there were."""

    def forget_progress(self) -> None:
        """Take it that no segment was added yet."""

    def finish(self) -> None:
        """Let searches see all that was added."""

    def close(self) -> None:
        """Give back connections."""
