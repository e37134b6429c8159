"""Keep the lines of a queue in the store, and see what others wrote meanwhile."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from understudy.review.origins import SITTING
from understudy.review.sitting import Line, Sitting
from understudy.review.waiting import SAMPLE, Known, Queue, Text
from understudy.store import codecs, layout, names, tombstones
from understudy.store.layout import Family
from understudy.store.storage import Store
from understudy.store.tombstones import NOTHING, Forgotten, tombstone
from understudy.text.sentences import text_id_of

REFRESH_S = 10.0
FILE = "labels"  # origin of what a labels file says: it answers a queue too


@dataclass(slots=True)
class Journal:
    """The lines on a queue's texts, and on those whose labels are known.

    What this server wrote is known at once, what others did within `REFRESH_S`.
    """

    store: Store
    card_name: str
    queue: Queue
    known: Sequence[Known] = ()
    _answers: Sitting = field(init=False)
    _checks: Sitting = field(init=False)
    _lines: list[Line] = field(default_factory=list)
    _read: dict[str, tuple[str | None, list[Line]]] = field(default_factory=dict)
    _forgotten: Forgotten = NOTHING
    _refreshed_s: float | None = None

    def __post_init__(self) -> None:
        """Open the sittings; a sitting without lines leaves nothing in the store."""
        if self.queue.origin == SAMPLE:
            self._answers = Sitting(self.store, layout.SAMPLE_ANSWERS, {"day": names.night_of("")})
        else:
            self._answers = Sitting(self.store, layout.LABELS, {"card": self.card_name, "name": SITTING})
        self._checks = Sitting(self.store, layout.CHECKS, {"card": self.card_name})

    def read(self) -> list[Line]:
        """Return all lines by the queue's guideline, oldest first.

        Raises:
            BadArtifact: a line in the store is damaged.
        """
        if self._refreshed_s is None or time.monotonic() - self._refreshed_s > REFRESH_S:
            self._refresh()
        return self._lines

    def answer(self, line: Line, *, is_over: bool = False) -> None:
        """Keep a line on a text of the queue; when this returns, the store has it.

        Args:
            line: what is said.
            is_over: whether the same person has said something of this text before.
        """
        self._append(self._answers, line, is_over=is_over)

    def check(self, line: Line, *, is_over: bool = False) -> None:
        """Keep a line on a text whose label is known, apart from all labels."""
        self._append(self._checks, line, is_over=is_over)

    def was_forgotten(self, text: Text) -> bool:
        """Tell whether somebody had asked to forget a text when the store was last looked at."""
        return self._forgotten.covers_text(text.id, text.group)

    def is_forgotten(self, text: Text) -> bool:
        """Tell whether somebody asked to forget a text by now."""
        stones = [tombstone("id", text.id), tombstone("group", text.group)]
        if (whole := text_id_of(text.id)) is not None:
            stones.append(tombstone("sentences", whole))
        return any(self.store.tag_of(layout.TOMBSTONES.key(hash=stone)) is not None for stone in stones)

    def _append(self, sitting: Sitting, line: Line, *, is_over: bool) -> None:
        sitting.append(line, is_over=is_over)
        self._lines.append(line)

    def _refresh(self) -> None:
        """Read what is new in the store."""
        self._forgotten = tombstones.read(self.store)
        ids, checked = ({text.id for text in self.queue.texts}, {known.text.id for known in self.known})
        if self.queue.origin == SAMPLE:
            lines = self._of(layout.SAMPLE_ANSWERS, ids, {})
        else:
            lines = self._of(layout.LABELS, ids, {"card": self.card_name})
        self._lines = lines + self._of(layout.CHECKS, checked, {"card": self.card_name})
        self._refreshed_s = time.monotonic()

    def _of(self, family: Family, ids: Collection[str], scope: dict[str, str]) -> list[Line]:
        found: list[Line] = []
        for key, fields in family.listed(self.store, **scope):
            grows = fields.get("name", SITTING) == SITTING
            tag = self.store.tag_of(key) if grows else None
            if key not in self._read or self._read[key][0] != tag:
                lines = codecs.read_lines(self.store.read(key), self.store.locate(key), Line)
                self._read[key] = tag, [line for line in lines if line["id"] in ids and self._counts(line)]
            found += self._read[key][1]
        return found

    def _counts(self, line: Line) -> bool:
        """Tell whether a line answers this queue: by its guideline, and not another kind of queue on the same text."""
        is_ours = line.get("origin", SAMPLE) in {self.queue.origin, SAMPLE} or "expected" in line
        is_file = line.get("origin") == FILE and self.queue.origin != "second_look"
        return line.get("guideline") == self.queue.guideline.hash and (is_ours or is_file)


def checks(store: Store, card_name: str) -> list[Line]:
    """Read all that people said of texts whose labels are known, oldest first.

    Raises:
        BadArtifact: a line in the store is damaged.
    """
    kept = layout.CHECKS.listed(store, card=card_name)
    return [line for key, _ in kept for line in codecs.read_lines(store.read(key), store.locate(key), Line)]
