"""Throttle requests: as many at once as the card says, fewer on a slow server, one pause for all.

A request that waits longer than `timeout_s` is not cut off at once, for the server may work on it and bill it: the
limit halves, nothing new is sent above it, and the request is waited for as long as the server answers others. It is
given up when many that were sent after it have been answered, or when the server has been silent for `WIDEST` times as
long. The limit rises again by one after a while.

Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from understudy.teacher.client import Busy

Answer = TypeVar("Answer")
WIDEST = 8
LOOKS = 4  # times that a late request is looked at in each `timeout_s`
OVERTAKEN = 2  # a request that as many times the limit have overtaken is lost
GIVEN_UP = 6  # requests above `most`, with no answer to any between them, until the server counts as gone
RISE_AFTER = 8  # answers at each place until the limit rises by one again


@dataclass(slots=True)
class Turn:
    """One request under way.

    Attributes:
        number: in the order of sending.
        since: time of sending, on the monotonic clock.
        overtaken: answers to requests that were sent later.
    """

    number: int
    since: float
    overtaken: int = 0


class Throttle:
    """The places for requests under way; used by the tasks of one event loop.

    Args:
        most: places on a server that keeps up.
        timeout_s: seconds after which a server is slow.
        tell: takes a sentence when the limit falls.
        starts_alone: send one request and wait for its answer before the others.
    """

    def __init__(self, most: int, timeout_s: float, tell: Callable[[str], None], *, starts_alone: bool = False) -> None:
        self._most, self._timeout_s, self._tell, self._starts_alone = most, timeout_s, tell, starts_alone
        self.limit = 1 if starts_alone else most
        self._under_way: dict[int, Turn] = {}
        self._sent = self._halved_at = self._in_time = self._given_up = 0
        self._heard = time.monotonic()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Turn]:
        """Hold a place for one request, waiting until there is one."""
        while len(self._under_way) >= self.limit:
            self._changed.clear()
            await self._changed.wait()
        self._sent += 1
        turn = self._under_way[self._sent] = Turn(self._sent, time.monotonic())
        try:
            yield turn
        finally:
            del self._under_way[turn.number]
            self._changed.set()

    async def patiently(self, turn: Turn, sending: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for the answer to a request as long as that makes sense.

        Raises:
            Busy: the answer did not come; it may be billed all the same.
        """
        request = asyncio.ensure_future(sending)
        try:
            await self._wait(turn, request)
            self._heard, self._given_up = time.monotonic(), 0
            answer = request.result()
            self._count_answer(turn)
            return answer
        finally:
            request.cancel()
            await asyncio.wait({request})
            _ = request.cancelled() or request.exception()  # taken note of, or asyncio logs it when the run is ended

    async def _wait(self, turn: Turn, request: "asyncio.Future[Answer]") -> None:
        await asyncio.wait({request}, timeout=self._timeout_s)
        while not request.done():
            self._slow_down(turn)
            silent_s = time.monotonic() - max(turn.since, self._heard)
            if silent_s >= WIDEST * self._timeout_s or turn.overtaken >= OVERTAKEN * self._most:
                self._given_up += 1
                is_silent = self._given_up > self._most + GIVEN_UP
                raise Busy("no answer in time", may_be_billed=True, is_silent=is_silent)
            await asyncio.wait({request}, timeout=self._timeout_s / LOOKS)

    def _slow_down(self, turn: Turn) -> None:
        """Halve the limit, once for all that were sent under the old one."""
        if turn.number <= self._halved_at:
            return
        self._halved_at, self._in_time = self._sent, 0
        if self.limit > 1:
            self.limit = max(1, self.limit // 2)
            self._tell(
                f"The teacher's server needs longer than {self._timeout_s:g} s: {self.limit} at once from here on "
                "(teacher.timeout_s, teacher.concurrency)."
            )

    def _count_answer(self, turn: Turn) -> None:
        for other in self._under_way.values():
            other.overtaken += other.number < turn.number
        if self._starts_alone:
            self._starts_alone, self.limit = False, self._most
        self._in_time += time.monotonic() - turn.since < self._timeout_s
        if self.limit < self._most and self._in_time >= RISE_AFTER * self.limit:
            self.limit, self._in_time = self.limit + 1, 0


class Pause:
    """One pause for all: a server that asks one request to wait means all."""

    def __init__(self) -> None:
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        """Let nobody send before `seconds` from now."""
        self._until = max(self._until, time.monotonic() + seconds)

    async def hold(self) -> None:
        """Wait for the end of the pause."""
        while (left := self._until - time.monotonic()) > 0:
            await asyncio.sleep(left)
