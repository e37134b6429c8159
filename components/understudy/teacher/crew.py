"""Work off a list of items with a task group: a few at once, prepared a little ahead, ended early and cleanly."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from understudy.errors import BudgetSpent, Stopped, UnderstudyError

Item = TypeVar("Item")
Request = TypeVar("Request")
Result = TypeVar("Result")


class Crew(Generic[Item, Request, Result]):
    """Tasks that share a list of items; one crew works one list off.

    When a piece of work raises, or the process is told to end, nothing new is begun. What is under way, inside of
    `busy`, gets `grace_s` seconds to end; all else is cancelled at once. The caller raises `error` then, outside of the
    event loop, which a SystemExit would tear down.

    Args:
        prepare: gets items ready to be worked on: the first of those given, and as many more as it can at once;
            BudgetSpent from it ends the list here.
        work: does one item.
        done: hears of each result.
        workers: tasks.
        ahead: items that may be ready before a worker is free.
        grace_s: longest wait for work under way after a stop.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[Item]], Awaitable[Sequence[Request]]],
        work: Callable[[Request], Awaitable[Result]],
        done: Callable[[Result], None],
        *,
        workers: int,
        ahead: int,
        grace_s: float,
    ) -> None:
        self._prepare, self._work, self._done = prepare, work, done
        self._workers, self._grace_s = workers, grace_s
        self._requests: asyncio.Queue[Request | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(ahead)
        self._busy: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self.error: BaseException | None = None
        self.is_budget_spent = False

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new may be begun."""
        return self._stop.is_set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark what a stop should let come to its end."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._busy.add(task)
        try:
            yield
        finally:
            self._busy.discard(task)

    def end(self, error: BaseException) -> None:
        """Stop, for this reason; the first one counts."""
        self.error = self.error or error
        self._stop.set()

    async def work_off(self, items: Sequence[Item]) -> None:
        """Work the items off, or as many as there were until `error`."""
        with _ended_by_signals(self.end):
            async with asyncio.TaskGroup() as group:
                crew = {group.create_task(self._work_requests()) for _ in range(min(self._workers, len(items)))}
                clerk = group.create_task(self._prepare_requests(items, len(crew)))
                watch = group.create_task(self._watch(clerk, crew))
                if crew:
                    await asyncio.wait(crew)
                watch.cancel()
                clerk.cancel()

    async def _prepare_requests(self, items: Sequence[Item], workers: int) -> None:
        begun = 0
        try:
            while begun < len(items):
                await self._room.acquire()
                room = 1
                while begun + room < len(items) and not self._room.locked():
                    await self._room.acquire()
                    room += 1
                ready = await self._prepare(items[begun : begun + room])
                for request in ready:
                    self._requests.put_nowait(request)
                for _ in range(room - len(ready)):
                    self._room.release()
                begun += len(ready)
        except BudgetSpent:
            self.is_budget_spent = True
        except UnderstudyError as error:
            self.end(error)
        for _ in range(workers):
            self._requests.put_nowait(None)

    async def _work_requests(self) -> None:
        while not self.is_stopping and (request := await self._requests.get()) is not None:
            self._room.release()
            try:
                self._done(await self._work(request))
            except UnderstudyError as error:
                self.end(error)

    async def _watch(self, clerk: "asyncio.Task[None]", crew: "set[asyncio.Task[None]]") -> None:
        """Wait for a stop, and see that all end."""
        await self._stop.wait()
        clerk.cancel()
        for task in crew - self._busy:
            task.cancel()
        await asyncio.wait(crew, timeout=self._grace_s)
        for task in crew:
            task.cancel()


@contextmanager
def _ended_by_signals(end: Callable[[BaseException], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the work like an error, so that what must be kept is kept; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def leave(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(end, Stopped(number))

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
