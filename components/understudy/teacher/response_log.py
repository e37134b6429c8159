"""Log the teacher's answers as they arrive: in the store, with a SQLite file as its cache.

A segment is an immutable object `judgements/<card>/<judge>/<id>.jsonl` with one answer a line. While a run asks, each
segment holds what arrived since the last one; every few seconds they are merged into one. The SQLite file can be lost:
it is filled again from the segments, and forgets what the store no longer has. It is named after the store's own id, so
a store that was made anew never meets the answers of its predecessor. Where it cannot be written (a full disk), the
book goes on in memory: the store has it all.

A request that was sent and whose answer never came is booked at the most that it can have cost, as an answer without a
label whose id ends in `.booked`; it counts for nothing once an answer with its id is found.
"""

import json
import math
import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from understudy.errors import BadInput, StorageError
from understudy.progress import say
from understudy.store import codecs, layout
from understudy.store.cache import cache_folder, open_database
from understudy.store.identity import find_id, make_id, stand_in
from understudy.store.lease import read_record
from understudy.store.storage import Store
from understudy.text.context import parted

TABLE = """CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY, judge TEXT NOT NULL, content TEXT NOT NULL, is_rehearsal INTEGER NOT NULL,
    cost_usd REAL NOT NULL, segment TEXT, line TEXT NOT NULL)"""
BOOKED = ".booked"
IMPORTED = "import"  # begins the judge and the id of an answer that was paid for elsewhere
UNANSWERED = "sent, but no answer came"
SPENT = f"""SELECT cost_usd FROM responses
    WHERE is_rehearsal = ? AND coalesce(json_extract(line, '$.role'), '') = ?
    AND id NOT LIKE '{IMPORTED}-%' AND NOT (id LIKE '%{BOOKED}' AND EXISTS
    (SELECT 1 FROM responses AS answer WHERE answer.id = substr(responses.id, 1, length(responses.id) - {len(BOOKED)})))
    ORDER BY id"""  # noqa: S608 - of constants
SMALL = """SELECT judge, segment FROM responses WHERE segment NOT NULL GROUP BY judge, segment HAVING count(*) < ?
    ORDER BY judge, segment"""
LARGE = 64  # answers in a segment that is left as it is
AT_ONCE = 16  # objects read or deleted at once
MERGE_FROM = 8  # segments
LISTINGS = 5
OPEN = "open"
Done = TypeVar("Done")
SAYS_NOTHING: Mapping[str, Any] = {  # what of a response is changed when its text is to be forgotten
    "label": None,
    "probabilities": None,
    "rationale": None,
    "failure": "forgotten",
    "said": "",
}


@dataclass(frozen=True, slots=True)
class Response:
    """One answer that the teacher gave, also one that could not be used: it cost money all the same.

    Attributes:
        id: unique.
        judge: who answered: model and prompt hash, stamped when it was a rehearsal.
        content: `content_key` of the text as it was sent; the text itself is not kept here.
        label: the answer, or None when it could not be used.
        probabilities: one a label of the card, or None when the server gave none.
        rationale: the reason given, or None.
        prompt_tokens: tokens billed for the request.
        completion_tokens: tokens billed for the answer.
        cost_usd: by the card's prices.
        is_rehearsal: whether a rehearsal teacher answered.
        failure: why the answer could not be used; empty when it could.
        guideline: hash of that by which it was given; empty where it is not known.
        left_to: host outside of the house that the text was sent to; empty where it stayed in it, None where the answer
            is older than this was kept.
        seconds: from sending to answer; None where it never came, or the answer is older than this was kept.
        form: how it was asked for and came, a key of `refusals.FORMS`; empty where it is not known.
        is_estimated: whether its tokens are our estimate, for the server did not count them.
        said: how it begins, where it could not be used.
        is_redacted: whether what the card names was taken out of the text before it was sent.
        stands_for: model of the card's teacher whose answer a file said this is (`imports`); empty for any other.
        imported: SHA-256 of the file that it came from; empty where the teacher was asked.
        is_unpriced: whether nobody says what it cost: `cost_usd` is 0 then, and no price.
        role: of the card's models, who was asked and whose cap paid for it; empty for the teacher.
    """

    id: str
    judge: str
    content: str
    label: str | None
    probabilities: list[float] | None
    rationale: str | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    is_rehearsal: bool
    failure: str = ""
    guideline: str = ""
    left_to: str | None = None
    seconds: float | None = None
    form: str = ""
    is_estimated: bool = False
    said: str = ""
    is_redacted: bool = False
    stands_for: str = ""
    imported: str = ""
    is_unpriced: bool = False
    role: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that may be sent: written to the store before it is. It does not name the text.

    Attributes:
        id: of the answer to come.
        judge: who is asked.
        most_usd: the most that it can cost.
        is_rehearsal: whether a rehearsal teacher is asked.
        left_to: host outside of the house that the text is sent to; empty where it stays in it, None where unknown.
        is_redacted: as in `Response`.
        role: as in `Response`.
    """

    id: str
    judge: str
    most_usd: float
    is_rehearsal: bool
    left_to: str | None = None
    is_redacted: bool = False
    role: str = ""

    def booked(self, content: str = "") -> Response:
        """Book the request at its highest price: whether it was answered is not known."""
        return Response(
            id=f"{self.id}{BOOKED}",
            judge=self.judge,
            content=content,
            label=None,
            probabilities=None,
            rationale=None,
            prompt_tokens=0,
            completion_tokens=0,
            cost_usd=self.most_usd,
            is_rehearsal=self.is_rehearsal,
            failure=UNANSWERED,
            left_to=self.left_to,
            is_redacted=self.is_redacted,
            role=self.role,
        )


def intents_in(record: Mapping[str, Any], where: str) -> list[Intent]:
    """Read the intents in a lease's record.

    Raises:
        StorageError: they are none.
    """
    try:
        intents = [
            Intent(
                str(one["id"]),
                str(one["judge"]),
                float(one["most_usd"]),
                bool(one["is_rehearsal"]),
                one.get("left_to"),
                bool(one.get("is_redacted")),
                str(one.get("role", "")),
            )
            for one in record.get(OPEN, [])
        ]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _no_intents(where) from error
    if not all(0 <= intent.most_usd < math.inf for intent in intents):
        raise _no_intents(where)
    return intents


def lease_key(card_name: str) -> str:
    """Name the lease of whoever asks for one card's labels; its record holds what may be under way."""
    return layout.TEACHER_LEASES.key(card=card_name)


def content_key(text: str) -> str:
    """SHA-256 of a text as it is sent: another letter case or space is another text to a teacher.

    Where turns are sent before it, their hash follows: after others a text is asked for anew, and `text_key` still
    tells whose answer it is.

    Args:
        text: as `seen.asked_of` gives it.
    """
    context, own = parted(text)
    parts = (own, context) if context else (own,)
    return "-".join(sha256(part.encode("utf-8", "surrogatepass")).hexdigest() for part in parts)


def text_key(key: str) -> str:
    """Return the part of a content key that is of the text alone."""
    return key.partition("-")[0]


def judge_folder(judge: str) -> str:
    """Write a judge's name so that it can be part of a key.

    >>> judge_folder("rehearsal:acme/teller-2:0a1b2c3d4e5f")
    'rehearsal-acme-teller-2-0a1b2c3d4e5f'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", judge)


class ResponseLog:
    """All answers that were bought for one card in one store; `keep` may be called from many threads.

    Args:
        store: where they are kept.
        card_name: of the card.
        is_dry_run: they are only read, so that a store without an id gets none.
    """

    def __init__(self, store: Store, card_name: str, *, is_dry_run: bool = False) -> None:
        self.store, self.lease_key, self._card_name = store, lease_key(card_name), card_name
        self._lock = threading.RLock()
        self._unstored: dict[str, Response] = {}
        self._is_in_memory = False
        self._cache = self._open_cache(card_name, is_dry_run=is_dry_run)
        self.follow()

    def close(self) -> None:
        """Put what is left into the store and close the cache."""
        try:
            self.flush()
        finally:
            self._cache.close()

    def follow(self) -> None:
        """Forget what the store no longer has, read what it has more, and bring it what an earlier run left behind."""
        self._follow_segments()
        self.flush()
        self._left = intents_in(read_record(self.store, self.lease_key), self.store.locate(self.lease_key))

    def _follow_segments(self) -> None:
        for _ in range(LISTINGS):
            stored = set(self.store.list(layout.JUDGEMENTS.prefix(card=self._card_name)))
            cached = {name for (name,) in self._rows("SELECT DISTINCT segment FROM responses WHERE segment NOT NULL")}
            self._write("DELETE FROM responses WHERE segment = ?", [(segment,) for segment in cached - stored])
            taken = [self._take(segment, data) for segment, data in self._read(sorted(stored - cached))]
            if all(taken):
                break

    def answers(self, judge: str) -> dict[str, Response]:
        """Return a judge's usable answers by the content key of their texts."""
        rows = self._rows("SELECT line FROM responses WHERE judge = ? ORDER BY id DESC", judge)
        answers = (_parse(line) for (line,) in rows)
        return {answer.content: answer for answer in answers if answer.label is not None}

    def has(self, answer_id: str) -> bool:
        """Tell whether an answer is kept."""
        return bool(self._rows("SELECT 1 FROM responses WHERE id = ?", answer_id))

    def failed(self, judge: str) -> set[str]:
        """Return the content keys of texts to which a judge once gave an answer that could not be used."""
        answers = (_parse(line) for (line,) in self._rows("SELECT line FROM responses WHERE judge = ?", judge))
        return {answer.content for answer in answers if answer.label is None}

    def imported(self, model: str, guideline: str) -> dict[str, Response]:
        """Return by content key the answers that files said are this model's, given by this guideline."""
        rows = self._rows(f"SELECT line FROM responses WHERE judge LIKE '{IMPORTED}:%' ORDER BY id")  # noqa: S608
        answers = (_parse(line) for (line,) in rows)
        return {one.content: one for one in answers if (one.stands_for, one.guideline) == (model, guideline)}

    def labels_by_guideline(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return the usable answers' labels by content key, for each model (a rehearsal's name says so) and guideline.

        The guideline is empty where it is not known.
        Where a model was asked in several ways by one guideline, one of its answers counts.
        """
        found: dict[tuple[str, str], dict[str, str]] = {}
        for (line,) in self._rows("SELECT line FROM responses ORDER BY id"):
            answer = _parse(line)
            if answer.label is not None:
                model = answer.judge.rpartition(":")[0]
                found.setdefault((model, answer.guideline), {})[answer.content] = answer.label
        return found

    def sent(self) -> dict[str, set[str | None]]:
        """Return where each text was sent that the store knows of, by content key: hosts as in `Response.left_to`."""
        hosts: dict[str, set[str | None]] = {}
        for (line,) in self._rows("SELECT line FROM responses WHERE content != ''"):
            answer = _parse(line)
            hosts.setdefault(answer.content, set()).add(answer.left_to)
        return hosts

    def sent_as_they_are(self) -> set[str]:
        """Return the content keys of the texts that left the house with nothing taken out, as far as is known."""
        answers = (_parse(line) for (line,) in self._rows("SELECT line FROM responses WHERE content != ''"))
        return {answer.content for answer in answers if answer.left_to and not answer.is_redacted}

    def spent_usd(self, *, is_rehearsal: bool, role: str = "") -> float:
        """Return the dollars that one of a card's models cost in this store; bought and rehearsed ones count apart.

        What another run has under way, or left so when it was killed, counts at its highest price. Answers that were
        imported were paid for before, and do not count.
        """
        costs = [cost for (cost,) in self._rows(SPENT, int(is_rehearsal), role)]
        whose = (is_rehearsal, role)
        open_usd = [one.most_usd for one in self.unanswered(self._left) if (one.is_rehearsal, one.role) == whose]
        return math.fsum([*costs, *open_usd])

    def keep(self, answer: Response) -> None:
        """Write an answer to the cache, where it survives the end of this process."""
        with self._lock:
            self._unstored[answer.id] = answer
            self._insert([(answer, None)])

    def book(self, intents: Sequence[Intent]) -> None:
        """Book what was sent, or may have been, and was never answered; the answers that are known stay as they are."""
        for intent in self.unanswered(intents):
            self.keep(intent.booked())
        self._left = []

    def flush(self) -> None:
        """Put the answers that the store lacks into it, one segment a judge."""
        rows = self._rows("SELECT judge, id, line FROM responses WHERE segment IS NULL ORDER BY judge, id")
        for judge, group in groupby(rows, key=lambda row: str(row[0])):
            part = list(group)
            segment = self._put(judge, [line for _, _, line in part])
            for _, row_id, _ in part:
                self._unstored.pop(row_id, None)
            self._write("UPDATE responses SET segment = ? WHERE id = ?", [(segment, row_id) for _, row_id, _ in part])

    def merge(self) -> None:
        """Make one segment of a judge's small ones, those included that a run left when it was killed.

        Where one of them has gone meanwhile, a text was forgotten: they stay as they are, and the merged one goes.
        """
        for judge, group in groupby(self._rows(SMALL, LARGE), key=lambda row: str(row[0])):
            segments = [str(segment) for _, segment in group]
            if len(segments) < MERGE_FROM:
                continue
            data = dict(self._read(segments))
            merged = self._put(judge, [line for part in data.values() for line in (part or b"").decode().splitlines()])
            folder = layout.JUDGEMENTS.prefix(card=self._card_name, judge=judge_folder(judge))
            if None in data.values() or not set(segments) <= set(self.store.list(folder)):
                self.store.delete(merged)
                continue
            self._write("UPDATE responses SET segment = ? WHERE segment = ?", [(merged, one) for one in segments])
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self.store.delete, segments))

    def _put(self, judge: str, lines: Iterable[str]) -> str:
        segment = layout.JUDGEMENTS.key(card=self._card_name, judge=judge_folder(judge), name=uuid.uuid4().hex)
        self.store.put_if_absent(segment, "".join(f"{line}\n" for line in lines).encode())
        return segment

    def _read(self, segments: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read segments, many at once; None for one that has gone since it was listed."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(self.store.read_tagged, segments)
            yield from ((segment, one.data if one else None) for segment, one in zip(segments, found, strict=True))

    def _take(self, segment: str, data: bytes | None) -> bool:
        """Take a segment's answers into the cache; False when it has gone, and others have come in its place."""
        if data is not None:
            self._insert([(answer, segment) for answer in _parse_segment(data, segment)])
        return data is not None

    def unanswered(self, intents: Sequence[Intent]) -> list[Intent]:
        """Return the intents that neither have an answer nor are booked already."""
        known = "SELECT 1 FROM responses WHERE id IN (?, ?)"
        return [one for one in intents if not self._rows(known, one.id, f"{one.id}{BOOKED}")]

    def _insert(self, answers: Iterable[tuple[Response, str | None]]) -> None:
        rows = [
            (
                answer.id,
                answer.judge,
                answer.content,
                int(answer.is_rehearsal),
                answer.cost_usd,
                segment,
                codecs.canonical(asdict(answer)).decode(),
            )
            for answer, segment in answers
        ]
        self._write("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _open_cache(self, card_name: str, *, is_dry_run: bool) -> sqlite3.Connection:
        store_id = (find_id(self.store) or stand_in(self.store)) if is_dry_run else make_id(self.store)
        path = cache_folder() / f"{store_id}-{card_name}.sqlite"
        try:
            return open_database(path, _connect)
        except (BadInput, StorageError, OSError) as error:
            self._is_in_memory = True
            return _in_memory(error.__cause__ or error)

    def _write(self, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
        def write() -> None:
            with self._cache:
                self._cache.executemany(query, rows)

        self._on_cache(write)

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        return self._on_cache(lambda: self._cache.execute(query, values).fetchall())

    def _on_cache(self, work: Callable[[], Done]) -> Done:
        """Read or change the cache; one that cannot be used any more (a full disk) is left for one in memory."""
        with self._lock:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if self._is_in_memory:
                    raise
                self._cache.close()
                self._cache, self._is_in_memory = _in_memory(error), True
                self._follow_segments()
                self._insert([(answer, None) for answer in self._unstored.values()])
                return work()


def _connect(path: Path | str) -> sqlite3.Connection:
    cache = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    try:
        cache.execute("PRAGMA journal_mode=WAL")
        cache.execute("PRAGMA synchronous=NORMAL")
        cache.execute(TABLE)
        cache.execute("SELECT count(*) FROM responses").fetchone()
    except sqlite3.DatabaseError:
        cache.close()
        raise
    return cache


def _in_memory(reason: BaseException) -> sqlite3.Connection:
    say(
        f"The cache of the teacher's answers cannot be written ({reason}; UNDERSTUDY_CACHE): this run keeps them in "
        "memory and in the store. Nothing is lost."
    )
    return _connect(":memory:")


def _no_intents(where: str) -> StorageError:
    return StorageError(
        f"The record of what may be under way must list requests with id, judge, most_usd and is_rehearsal, got "
        f"something else ({where}). Delete the object when no run is alive."
    )


def _parse_segment(data: bytes, segment: str) -> list[Response]:
    try:
        return [_parse(line) for line in data.decode().splitlines() if line]
    except (ValueError, TypeError, RecursionError) as error:
        raise StorageError(
            f"A segment of answers must hold one answer a line, got {error} ({segment}). Restore or delete the object."
        ) from error


def _parse(line: str) -> Response:
    fields: Mapping[str, Any] = json.loads(line)
    response = Response(**fields)
    if not 0 <= response.cost_usd < math.inf:
        raise ValueError(f"a cost of {response.cost_usd}")
    return response
