"""Keep what people say on the review page, a line at once: answers, what they cannot say, and what they take back.

The lines of one sitting, of one person or several, are one object, which grows by compare and swap: whatever ends the
server, each line that it has confirmed is there. A line is never changed. One without a label takes back what the same
person said of the text before; where it has a reason, the person cannot say.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Required

import polars as pl
from typing_extensions import TypedDict

from understudy.review.origins import SITTING
from understudy.store import codecs
from understudy.store.layout import Family
from understudy.store.storage import Beaten, Store, contend, update

MOST_LINES = 500  # of one object: each line writes all of it anew
PERSON = ("id", "annotator", "guideline")


class Line(TypedDict, total=False):
    """What one person did with a text.

    `reason` is why they cannot say, `at` when they said it, `seconds` how long the text was before them.
    """

    id: Required[str]
    label: Required[str | None]
    annotator: Required[str | None]
    guideline: str | None
    split: str | None
    origin: str
    seconds: float
    at: str
    reason: str
    expected: str


@dataclass(slots=True)
class Sitting:
    """The growing object of one sitting.

    Attributes:
        store: where it lies.
        family: of its keys, which are numbered.
        fields: of the key, but for the number.
    """

    store: Store
    family: Family
    fields: Mapping[str, str]
    _key: str | None = None
    _lines: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, line: Line, *, is_over: bool = False) -> None:
        """Add a line behind all others; when this returns, the store has it.

        Of two segments the newer counts, so where another kind of segment came meanwhile, a new one is begun; and
        where another sitting began one, for a line over which its person has said something before (`is_over`).

        Raises:
            Conflict: others keep writing.
            StorageError: the store cannot be written.
        """
        data = codecs.as_lines([line])
        with self._lock:
            if self._key is not None and self._lines < MOST_LINES and self._is_newest(is_over=is_over):
                update(self.store, self._key, lambda before: (before or b"") + data, "A sitting of the review")
                self._lines += 1
                return
            where = self.store.locate(self.family.prefix(**self.fields))
            self._key = contend(lambda: self._begun(data), "A sitting of the review", where)
            self._lines = 1

    def _is_newest(self, *, is_over: bool) -> bool:
        kept = self.family.listed(self.store, **self._scope)
        others = [key for key, fields in kept if is_over or key == self._key or fields.get("name") != SITTING]
        return bool(others) and others[-1] == self._key

    def _begun(self, data: bytes) -> str:
        numbers = [int(fields["number"]) for _, fields in self.family.listed(self.store, **self._scope)]
        key = self.family.key(**self.fields, number=max(numbers, default=0) + 1)
        if not self.store.put_if_absent(key, data):
            raise Beaten
        return key

    @property
    def _scope(self) -> dict[str, str]:
        """The fields that number all segments together, whatever their kind."""
        return {name: value for name, value in self.fields.items() if name != "name"}


def standing(votes: pl.DataFrame) -> pl.DataFrame:
    """Leave out what its own person took back, or said anew in the same sitting.

    Args:
        votes: oldest first, columns `PERSON`, origin, segment, label (null: taken back, or cannot say), and `is_live`:
            whether the review page wrote it.

    Returns:
        the votes that have a label, without `is_live`. What is taken back of one queue leaves what was said in another
        of the same text, and what a labels file says stands until a file says otherwise.

    >>> votes = pl.DataFrame({"id": ["a", "b", "a", "b"], "annotator": ["ann"] * 4, "guideline": ["g"] * 4,
    ...     "origin": ["queue"] * 4, "segment": [0] * 4, "is_live": [True] * 4, "label": ["tip", "tip", None, "other"]})
    >>> standing(votes).select("id", "label").rows()
    [('b', 'other')]
    """
    place = pl.col("place")
    is_withdrawn = place < place.filter(pl.col("label").is_null()).max().over(*PERSON, "origin")
    is_replaced = pl.col("is_live") & (place < place.max().over(*PERSON, "segment"))
    is_past = is_withdrawn.fill_null(value=False) | is_replaced
    numbered = votes.with_row_index("place").with_columns(place.cast(pl.Int64))
    return numbered.filter(pl.col("label").is_not_null() & ~is_past).drop("place", "is_live")
