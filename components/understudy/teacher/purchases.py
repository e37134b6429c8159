"""The teacher's answers, kept as they arrive: in a SQLite file at once, in the store as segments every few seconds.

A segment is an immutable object `judgements/<card>/<judge>/<id>.jsonl` with one answer a line. The SQLite file is a
cache that can be lost: it is filled again from the segments, and forgets what the store no longer has. It is named
after the store's own id, so a store that was made anew never meets the answers of its predecessor.
"""

import json
import math
import re
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from understudy.cache import cache_folder, open_database
from understudy.errors import StorageError
from understudy.storage import Store
from understudy.store.identity import parse_store_id

STORE_ID = "judgements/.store-id"
TABLE = """CREATE TABLE IF NOT EXISTS purchases (
    id TEXT PRIMARY KEY, judge TEXT NOT NULL, content TEXT NOT NULL, is_rehearsal INTEGER NOT NULL,
    cost_usd REAL NOT NULL, segment TEXT, line TEXT NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One answer that the teacher gave, also one that could not be used: it cost money all the same.

    Attributes:
        id: unique.
        judge: who answered: model and prompt hash, stamped when it was a rehearsal.
        content: SHA-256 of the text as it was sent; the text itself is not kept here.
        label: the answer, or None when it could not be used.
        probabilities: one a label of the card, or None when the server gave none.
        rationale: the reason given, or None.
        prompt_tokens: tokens billed for the request.
        completion_tokens: tokens billed for the answer.
        cost_usd: by the card's prices.
        is_rehearsal: whether a rehearsal teacher answered.
        failure: why the answer could not be used; empty when it could.
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


def content_key(text: str) -> str:
    """SHA-256 of a text as it is sent: another letter case or space is another text to a teacher."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def judge_folder(judge: str) -> str:
    """Write a judge's name so that it can be part of a key.

    >>> judge_folder("rehearsal:acme/teller-2:0a1b2c3d4e5f")
    'rehearsal-acme-teller-2-0a1b2c3d4e5f'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", judge)


class PurchaseBook:
    """All answers that were bought for one card in one store; `keep` may be called from many threads."""

    def __init__(self, store: Store, card_name: str) -> None:
        self._store, self._prefix = store, f"judgements/{card_name}/"
        self._lock = threading.Lock()
        self._cache = open_database(cache_folder() / f"{_store_id(store)}-{card_name}.sqlite", _connect)
        self._follow_store()

    def close(self) -> None:
        """Put what is left into the store and close the cache."""
        try:
            self.flush()
        finally:
            self._cache.close()

    def answers(self, judge: str) -> dict[str, Purchase]:
        """Return a judge's usable answers by the content key of their texts."""
        rows = self._rows("SELECT line FROM purchases WHERE judge = ? ORDER BY id DESC", judge)
        answers = (_parse(line) for (line,) in rows)
        return {answer.content: answer for answer in answers if answer.label is not None}

    def spent_usd(self, *, is_rehearsal: bool) -> float:
        """Return the dollars spent in this store on this card; bought and rehearsed dollars are counted apart."""
        rows = self._rows("SELECT cost_usd FROM purchases WHERE is_rehearsal = ? ORDER BY id", int(is_rehearsal))
        return math.fsum(cost for (cost,) in rows)

    def keep(self, answer: Purchase) -> None:
        """Write an answer to the cache, where it survives the end of this process."""
        self._insert([(answer, None)])

    def flush(self) -> None:
        """Put the answers that the store lacks into it, one segment a judge."""
        rows = self._rows("SELECT judge, id, line FROM purchases WHERE segment IS NULL ORDER BY judge, id")
        for judge, group in groupby(rows, key=lambda row: str(row[0])):
            part = list(group)
            segment = f"{self._prefix}{judge_folder(judge)}/{uuid.uuid4().hex}.jsonl"
            self._store.put_if_absent(segment, "".join(f"{line}\n" for _, _, line in part).encode())
            with self._lock, self._cache:
                self._cache.executemany(
                    "UPDATE purchases SET segment = ? WHERE id = ?", [(segment, row_id) for _, row_id, _ in part]
                )

    def _follow_store(self) -> None:
        """Forget what the store no longer has, read what it has more, and bring it what an earlier run left behind."""
        stored = set(self._store.list(self._prefix))
        cached = {segment for (segment,) in self._rows("SELECT DISTINCT segment FROM purchases WHERE segment NOT NULL")}
        with self._lock, self._cache:
            gone = [(segment,) for segment in cached - stored]
            self._cache.executemany("DELETE FROM purchases WHERE segment = ?", gone)
        for segment in sorted(stored - cached):
            self._insert([(answer, segment) for answer in _parse_segment(self._store.read(segment), segment)])
        self.flush()

    def _insert(self, answers: Iterable[tuple[Purchase, str | None]]) -> None:
        rows = [
            (
                answer.id,
                answer.judge,
                answer.content,
                int(answer.is_rehearsal),
                answer.cost_usd,
                segment,
                json.dumps(asdict(answer), sort_keys=True),
            )
            for answer, segment in answers
        ]
        with self._lock, self._cache:
            self._cache.executemany("INSERT OR REPLACE INTO purchases VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._cache.execute(query, values).fetchall()


def _store_id(store: Store) -> str:
    store.put_if_absent(STORE_ID, uuid.uuid4().hex.encode())
    return parse_store_id(store.read(STORE_ID), store.locate(STORE_ID))


def _connect(path: Path) -> sqlite3.Connection:
    cache = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    try:
        cache.execute("PRAGMA journal_mode=WAL")
        cache.execute("PRAGMA synchronous=NORMAL")
        cache.execute(TABLE)
        cache.execute("SELECT count(*) FROM purchases").fetchone()
    except sqlite3.DatabaseError:
        cache.close()
        raise
    return cache


def _parse_segment(data: bytes, segment: str) -> list[Purchase]:
    try:
        return [_parse(line) for line in data.decode().splitlines() if line]
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"A segment of answers must hold one answer a line, got {error} ({segment}). Restore or delete the object."
        ) from error


def _parse(line: str) -> Purchase:
    fields: Mapping[str, Any] = json.loads(line)
    return Purchase(**fields)
