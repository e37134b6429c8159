"""Send documents to Elasticsearch in bulk: what is busy is sent again, what is refused is told apart."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import elasticsearch
import polars as pl

from understudy.errors import IndexFailed
from understudy.runtime.retry import BUSY, Patience, pauses
from understudy.search.backend import Letter, Taken
from understudy.search.connection import explained, explanation, is_busy
from understudy.search.documents import DOCUMENT_ID, DOCUMENT_VERSION, FIELDS
from understudy.search.settings import IndexConfig
from understudy.text.numbers import count

NEWER_STANDS, TOO_LARGE = 409, 413
OF_THE_INDEX = frozenset({401, 403, 404})  # no key, a block on writes, no index: no fault of a document
TOTAL_S = 900.0
ROW_OVERHEAD_BYTES = 600  # an action line and the fields beside the text, roughly
ANSWER_PARTS = "items.*.status,items.*.error"
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bulk request with its action: the text's id, and both as JSON."""

    id: str
    action: bytes
    document: bytes


class Sender:
    """Sends documents to one index, several requests at a time.

    Args:
        client: without retries of its own.
        url: for messages.
        index: name of the concrete index.
        config: how many at once, how large, how often again.
        sleep: waits a number of seconds.
    """

    def __init__(
        self,
        client: elasticsearch.Elasticsearch,
        url: str,
        index: str,
        config: IndexConfig,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._url, self._index, self._config, self._sleep = client, url, index, config, sleep
        self._pool = ThreadPoolExecutor(config.workers, thread_name_prefix="bulk")

    def send(self, documents: pl.DataFrame) -> Taken:
        """Send all documents and return what became of them.

        Raises:
            IndexFailed: the server stayed busy or away through all retries; what it acknowledged stays.
            BadInput: the server refuses the key, or is not Elasticsearch 9.
        """
        parts = list(pieces(documents, self._config.documents_per_request, round(self._config.request_mb * 1e6)))
        return total(list(self._pool.map(lambda part: self.deliver(items(part)), parts)))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def deliver(self, batch: Sequence[Item]) -> Taken:
        """Send one request, and again what was busy, until every document is in, older or refused."""
        done, waiting, reason = Taken(), list(batch), ""
        waits = pauses(patience_of(self._config))
        while True:
            outcomes = self._request(waiting)
            if outcomes is None:  # the request was too large for the server
                middle = len(waiting) // 2
                return total([done, self.deliver(waiting[:middle]), self.deliver(waiting[middle:])])
            self._require_open(outcomes)
            done = total([done, sorted_out(waiting, outcomes)])
            left = [(item, why) for item, (status, why) in zip(waiting, outcomes, strict=True) if status in BUSY]
            if not left:
                return done
            waiting, reason = [item for item, _ in left], left[0][1]
            if (pause_s := next(waits, None)) is None:
                break
            self._sleep(pause_s)
        raise IndexFailed(
            f"Elasticsearch must take every document within {self._config.retries} retries, got {reason} for "
            f"{count(len(waiting), 'document')} ({self._url}). What was sent is kept; run it again."
        )

    def _request(self, batch: Sequence[Item]) -> list[tuple[int, str]] | None:
        """Return status and reason of each document; None when the request must be cut."""
        operations: Any = [line for item in batch for line in (item.action, item.document)]  # JSON already
        try:
            answer = self._client.bulk(operations=operations, index=self._index, filter_path=ANSWER_PARTS)
        except Exception as error:
            if isinstance(error, elasticsearch.ApiError) and error.status_code == TOO_LARGE:
                return None if len(batch) > 1 else [(TOO_LARGE, "the document is larger than a request may be")]
            if not is_busy(error):
                raise explanation(self._url, error) from error
            status = error.status_code if isinstance(error, elasticsearch.ApiError) else 503
            return [(status, f"{type(error).__name__}: {error}"[:LONGEST_REASON])] * len(batch)
        with explained(self._url):
            outcomes = [outcome(one) for item in answer["items"] for one in item.values()]
            if len(outcomes) != len(batch):
                raise ValueError(f"{len(batch) - len(outcomes)} of {len(batch)} documents")
            return outcomes

    def _require_open(self, outcomes: Sequence[tuple[int, str]]) -> None:
        """Refuse to go on where the index takes nothing at all: its documents are no dead letters, they wait."""
        closed = [reason for status, reason in outcomes if status in OF_THE_INDEX]
        if closed:
            raise IndexFailed(
                f"The index must be open for writing, got {closed[0]} for {count(len(closed), 'document')} "
                f"({self._index} at {self._url}). Lift the block or mend the key's rights; what was sent is kept."
            )


def pieces(documents: pl.DataFrame, most_documents: int, most_bytes: int) -> Iterator[pl.DataFrame]:
    """Cut a table into requests by number and size; a longer text is a request of its own."""
    sizes = documents["text"].str.len_bytes().to_list()
    start = size = 0
    for row, length in enumerate(sizes):
        size += length + ROW_OVERHEAD_BYTES
        if row > start and (row - start == most_documents or size > most_bytes):
            yield documents[start:row]
            start, size = row, length + ROW_OVERHEAD_BYTES
    if start < len(documents):
        yield documents[start:]


def items(documents: pl.DataFrame) -> list[Item]:
    """Write documents as JSON lines, each with the action that puts it at its id and version."""
    action = pl.struct(
        pl.struct(
            pl.col(DOCUMENT_ID).alias("_id"),
            pl.col(DOCUMENT_VERSION).alias("version"),
            pl.lit("external_gte").alias("version_type"),
        ).alias("index")
    ).alias("action")
    actions = documents.select(action).unnest("action").write_ndjson().encode().splitlines()
    bodies = documents.select(FIELDS).write_ndjson().encode().splitlines()
    return [Item(*row) for row in zip(documents["id"], actions, bodies, strict=True)]


def sorted_out(batch: Sequence[Item], outcomes: Sequence[tuple[int, str]]) -> Taken:
    """Tell what is settled by a request's answer; what is busy is not.

    >>> one = Item("a", b"", b"")
    >>> sorted_out([one, one, one], [(201, ""), (409, ""), (429, "busy")])
    Taken(written=1, older=1, letters=())
    """
    settled = [(item.id, status, reason) for item, (status, reason) in zip(batch, outcomes, strict=True)]
    return Taken(
        written=sum(status < 300 for _, status, _ in settled),
        older=sum(status == NEWER_STANDS for _, status, _ in settled),
        letters=tuple(
            Letter(name, reason)
            for name, status, reason in settled
            if status >= 300 and status != NEWER_STANDS and status not in BUSY
        ),
    )


def total(parts: Sequence[Taken]) -> Taken:
    """Add up."""
    return Taken(
        sum(part.written for part in parts),
        sum(part.older for part in parts),
        tuple(letter for part in parts for letter in part.letters),
    )


def outcome(item: Mapping[str, Any]) -> tuple[int, str]:
    """Return the status of one document in a bulk answer, and why it was refused."""
    error = item.get("error")
    if not isinstance(error, dict):
        return int(item["status"]), str(error or "")
    cause = error.get("caused_by") or {}
    reasons = [str(part.get("reason")) for part in (cause, error) if part]
    return int(item["status"]), f"{error.get('type')}: {'; '.join(reasons)}"[:LONGEST_REASON]


def patience_of(config: IndexConfig) -> Patience:
    """Return how long the server may be busy or away."""
    return Patience(config.retries, config.max_backoff_s, TOTAL_S)
