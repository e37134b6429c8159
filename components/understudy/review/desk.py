"""Hand the texts of a queue to the people who label it, one at a time, and keep each answer at once.

The store's lines say where everybody stands; what is held here is only who looks at which text now, and what somebody
skipped. So a reload, a kill or a second server on the same store lose nothing.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from understudy.errors import BadInput
from understudy.review.journal import Journal
from understudy.review.label_studio import MOST_SECONDS
from understudy.review.sitting import Line
from understudy.review.waiting import Known, Queue, Text
from understudy.task import label_sets
from understudy.text.numbers import clipped

HELD = timedelta(minutes=10)  # a text that somebody looks at is nobody else's for so long
LONGEST_NAME, LONGEST_REASON = 64, 500  # characters
GOLD_EVERY = 10  # answers, of which one is to a text whose label is known

ById = dict[str, dict[str | None, Line]]


def newest(lines: Iterable[Line]) -> ById:
    """Keep of each text what each person said last; nothing of one who took it back.

    >>> lines = [Line(id="a", label="tip", annotator="ann"), Line(id="a", label=None, annotator="ann"),
    ...     Line(id="a", label="other", annotator="bob"), Line(id="b", label=None, annotator="bob", reason="Arabic")]
    >>> {name: list(said) for name, said in newest(lines).items()}
    {'a': ['bob'], 'b': ['bob']}
    """
    found: ById = {}
    for line in lines:
        of_text = found.setdefault(line["id"], {})
        of_text.pop(line["annotator"], None)
        if line["label"] is not None or "reason" in line:
            of_text[line["annotator"]] = line
    return found


@dataclass(slots=True)
class Desk:
    """A queue that several people answer at once.

    Attributes:
        queue: what waits.
        journal: keeps the lines.
        wanted: people who are to answer each text.
        known: texts whose labels are known, mixed in.
        now: the clock.
    """

    queue: Queue
    journal: Journal
    wanted: int = 1
    known: Sequence[Known] = ()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _held: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    _skipped: dict[str, list[str]] = field(default_factory=dict)
    _texts: Mapping[str, Text] = field(default_factory=dict)
    _labels: Mapping[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Look texts up by id."""
        self._texts = {text.id: text for text in (*self.queue.texts, *(known.text for known in self.known))}
        self._labels = {known.text.id: known.label for known in self.known}

    def texts_left(self) -> int:
        """Count the texts that somebody may still answer."""
        with self._lock:
            said = newest(self.journal.read())
            return sum(len(said.get(text.id, {})) < self.wanted for text in self.queue.texts)

    def show(self, person: str) -> dict[str, Any]:
        """Return what a person sees: the text before them, what they said last, and how far the queue is."""
        with self._lock:
            return self._view(person, newest(self.journal.read()))

    def answer(
        self, person: str, identity: str, given: Sequence[str] | None, reason: str = "", seconds: float | None = None
    ) -> dict[str, Any]:
        """Keep an answer, and return what the person sees next.

        Args:
            person: who answers.
            identity: of the text.
            given: names of its labels; None where the person cannot say.
            reason: why they cannot.
            seconds: that the text was before them.

        Raises:
            BadInput: no such text waits, or that is no answer to it.
        """
        text = self._texts.get(identity)
        if text is None or self.journal.is_forgotten(text):
            raise BadInput(f"An answer must be to a text of the queue, got '{clipped(identity)}'. Reload the page.")
        label = None if given is None else self._label(given)
        said: Line = {"label": label, "reason": _reason(reason)} if label is None else {"label": label}  # type: ignore[typeddict-item]
        if seconds is not None and 0 < seconds < MOST_SECONDS:
            said["seconds"] = round(seconds, 1)
        with self._lock:
            before = newest(self.journal.read()).get(identity, {}).get(person)
            if before is None or _said(before) != _said(said):
                self._keep(person, identity, said, is_over=before is not None)
            self._let_go(person, identity)
            return self._view(person, newest(self.journal.read()))

    def skip(self, person: str, identity: str) -> dict[str, Any]:
        """Put a text behind the others for one person, and return what they see next."""
        with self._lock:
            self._let_go(person, identity)
            self._skipped.setdefault(person, []).append(identity)
            return self._view(person, newest(self.journal.read()))

    def undo(self, person: str) -> dict[str, Any]:
        """Take back what a person said last, and put its text before them again."""
        with self._lock:
            last = self._last(person, newest(self.journal.read()))
            if last is not None:
                self._keep(person, last["id"], {"label": None}, is_over=True)  # type: ignore[typeddict-item]
                self._let_go(person)
                self._held[last["id"]] = (person, self.now())
            return self._view(person, newest(self.journal.read()))

    def _keep(self, person: str, identity: str, said: Line, *, is_over: bool) -> None:
        line: Line = {**said, "id": identity, "annotator": person, "guideline": self.queue.guideline.hash}
        line["at"] = self.now().isoformat(timespec="milliseconds")
        if identity in self._labels:
            self.journal.check({**line, "expected": self._labels[identity]}, is_over=is_over)
        else:
            self.journal.answer({**line, "origin": self.queue.origin, "split": None}, is_over=is_over)

    def _let_go(self, person: str, identity: str | None = None) -> None:
        """Forget that a person looks at a text, or at any."""
        mine = [name for name, (who, _) in self._held.items() if who == person and identity in {None, name}]
        for name in mine:
            del self._held[name]
        skipped = self._skipped.get(person, [])
        if identity in skipped:
            skipped.remove(identity)

    def _label(self, given: Sequence[str]) -> str:
        names = tuple(self.queue.guideline.labels)
        is_many = self.queue.guideline.is_many
        if not set(given) <= set(names) or (not is_many and len(given) != 1):
            listed = ", ".join(map(clipped, given)) or "none"
            rule = "labels of the card" if is_many else "one label of the card"
            raise BadInput(f"An answer must be {rule}, got {listed}. Reload the page.")
        return label_sets.written([name for name in names if name in given]) if is_many else given[0]

    def _view(self, person: str, said: ById) -> dict[str, Any]:
        text = self._next(person, said)
        if text is not None:
            self._held[text.id] = (person, self.now())
        last = self._last(person, said)
        return {
            "text": None if text is None else {"id": text.id, "text": text.text, "context": list(text.context)},
            "last": None if last is None else self._told(last),
            "progress": self._progress(person, said),
        }

    def _next(self, person: str, said: ById) -> Text | None:
        """Return the text that a person holds, else one whose label is known when it is time, else the next."""
        mine = {name for name, people in said.items() if person in people}
        held = [name for name, (who, _) in self._held.items() if who == person]
        answered = len([name for name in mine if name not in self._labels])
        checks = [known.text for known in self.known if known.text.id not in mine]
        is_due = answered // (GOLD_EVERY - 1) > len(mine) - answered
        waiting = self._open(person, said)
        skipped = self._skipped.get(person, [])
        later = {name: place for place, name in enumerate(skipped)}
        waiting.sort(key=lambda text: later.get(text.id, -1))
        ours = [text for text in waiting + checks if text.id in held]
        return next(iter([*ours, *(checks if is_due else []), *waiting]), None)

    def _open(self, person: str, said: ById) -> list[Text]:
        """List the queue's texts that a person may still answer, in its order."""
        since = self.now() - HELD
        others = {name for name, (who, at) in self._held.items() if who != person and at > since}
        found = []
        for text in self.queue.texts:
            people = said.get(text.id, {})
            taken = len(people) + (text.id in others)
            if person not in people and taken < self.wanted and not self.journal.was_forgotten(text):
                found.append(text)
        return found

    def _last(self, person: str, said: ById) -> Line | None:
        """Return what a person said last on the page, of what they did not take back."""
        mine = (people[person] for people in said.values() if person in people)
        return max((line for line in mine if "at" in line), key=lambda line: line["at"], default=None)

    def _told(self, line: Line) -> dict[str, Any]:
        """Tell a person what they said last, and only now what the teacher had said."""
        text, is_many = self._texts[line["id"]], self.queue.guideline.is_many
        is_asked = text.teacher_label is not None
        return {
            "text": text.text,
            "labels": None if line["label"] is None else _names(line["label"], is_many=is_many),
            "reason": line.get("reason"),
            "teacher": _names(str(text.teacher_label), is_many=is_many) if is_asked else None,
            "teacher_probability": text.teacher_probability,
        }

    def _progress(self, person: str, said: ById) -> dict[str, Any]:
        """Count answers, and say how long the rest takes at the person's own pace."""
        lines = [line for people in said.values() for line in people.values()]
        own = [line for line in lines if line["annotator"] == person]
        paces = [line["seconds"] for line in own if "seconds" in line] or [
            line["seconds"] for line in lines if "seconds" in line
        ]
        wanted = self.wanted * len(self.queue.texts)
        given = sum(min(self.wanted, len(said.get(text.id, {}))) for text in self.queue.texts)
        left = len(self._open(person, said))
        return {
            "given": given,
            "wanted": wanted,
            "mine": len(own),
            "cannot_say": sum("reason" in line for line in own),
            "left": left,
            "seconds_left": round(median(paces) * left) if paces and left else None,
        }


def _names(label: str, *, is_many: bool) -> list[str]:
    return list(label_sets.read(label)) if is_many else [label]


def _said(line: Line) -> tuple[str | None, str | None]:
    return line["label"], line.get("reason")


def _reason(reason: str) -> str:
    said = " ".join(reason.split())
    if not said or len(said) > LONGEST_REASON:
        raise BadInput(
            f"Why one cannot say must be 1 to {LONGEST_REASON} characters, got {len(said):,}. Give a reason."
        )
    return said


def name_of(given: str) -> str:
    """Return the name of a person as all lines have it.

    >>> name_of("  Ann  Lee ")
    'Ann Lee'

    Raises:
        BadInput: it is empty, too long, or has signs that cannot be printed.
    """
    name = " ".join(given.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadInput(f"A name must be 1 to {LONGEST_NAME} printable characters, got {len(name):,}. Give another.")
    return name
