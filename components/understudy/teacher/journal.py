"""Journal each request in the store: that it may be sent, before it is, and its answer, before the next.

A request keeps its place until the store has its answer, so what is sent and not yet stored is never more than
`concurrency`; a kill at any moment costs at most those a second time. Many requests share one write: while the store
takes one, the others gather for the next.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Generic, TypeVar

from understudy.store.lease import Lease
from understudy.teacher.response_log import BOOKED, OPEN, Intent, Response, ResponseLog

Item = TypeVar("Item")


class Commits(Generic[Item]):
    """Writes items in a thread, all that have gathered at once."""

    def __init__(self, write: Callable[[Sequence[Item]], None]) -> None:
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> None:
        """Return once the item is written. Raises what the writing raised."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await written

    async def drain(self) -> None:
        """Wait for the write under way."""
        if self._writer is not None:
            await asyncio.wait({self._writer})

    async def _write_all(self) -> None:
        while self._waiting:
            gathered, self._waiting = self._waiting, []
            fault: BaseException | None = None
            try:
                await asyncio.to_thread(self._write, [item for item, _ in gathered])
            except Exception as error:  # raised again by each `put` that waits
                fault = error
            for _, written in gathered:
                if not written.done():
                    written.set_result(None) if fault is None else written.set_exception(fault)


class Journal:
    """The requests of one run: which may be sent, which were, and what came back; used by the tasks of one event loop.

    Args:
        book: takes the answers.
        lease: its record lists what may be under way.
        merge_s: seconds between two mergers of small segments.
    """

    def __init__(self, book: ResponseLog, lease: Lease, merge_s: float) -> None:
        self._book, self._lease, self._merge_s = book, lease, merge_s
        self._open: dict[str, Intent] = {}
        self._sent: set[str] = set()
        self._merged = time.monotonic()
        self._merger: asyncio.Task[None] | None = None
        self._intents: Commits[Intent] = Commits(self._write_intents)
        self._answers: Commits[str] = Commits(self._write_answers)

    async def intend(self, intent: Intent) -> None:
        """Return once the store knows that this request may be sent."""
        self._open[intent.id] = intent
        await self._intents.put(intent)

    def send(self, intent: Intent) -> None:
        """Note that the request is being sent."""
        self._sent.add(intent.id)

    def unsend(self, intent: Intent) -> None:
        """Note that the server did not take the request, so that it costs nothing; it may be sent again."""
        self._sent.discard(intent.id)

    def drop(self, intent: Intent) -> None:
        """Give an intent up that came to nothing and costs nothing."""
        self._sent.discard(intent.id)
        self._open.pop(intent.id, None)

    async def keep(self, answer: Response) -> None:
        """Return once the store has an answer, or the booking of one that never came."""
        self._book.keep(answer)
        await self._answers.put(answer.id)
        self._merge_when_due()
        self._sent.discard(intent_id := answer.id.removesuffix(BOOKED))
        self._open.pop(intent_id, None)

    async def drain(self) -> None:
        """Wait for the writes under way. Raises what a merger raised."""
        await self._intents.drain()
        await self._answers.drain()
        if self._merger is not None:
            await self._merger

    def close(self) -> None:
        """Book what was sent and has no answer, bring the store all that it lacks, and leave nothing under way."""
        self._book.book([intent for intent in self._open.values() if intent.id in self._sent])
        self._book.flush()
        self._book.merge()
        self._open.clear()
        self._lease.write({OPEN: []})

    def _write_intents(self, _: Sequence[Intent]) -> None:
        self._lease.write({OPEN: [asdict(intent) for intent in dict(self._open).values()]})

    def _write_answers(self, _: Sequence[str]) -> None:
        self._book.flush()

    def _merge_when_due(self) -> None:
        """Merge small segments in a thread, while others go on."""
        is_under_way = self._merger is not None and not self._merger.done()
        if is_under_way or time.monotonic() - self._merged < self._merge_s:
            return
        if self._merger is not None:
            self._merger.result()
        self._merged = time.monotonic()
        self._merger = asyncio.create_task(asyncio.to_thread(self._book.merge))
