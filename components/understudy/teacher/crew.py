"""Work off a list of items with a few threads, stop early and cleanly, and hear of every result as it comes."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from understudy.errors import UnderstudyError

Item = TypeVar("Item")
Done = TypeVar("Done")
TICK_S = 0.5
AHEAD = 2  # items a worker may be ahead of the caller, who decides from results whether to stop


class _Ended:
    """Says that one worker has ended."""


class Stopped(UnderstudyError):
    """The crew was told to stop while this item waited."""


def work_off(
    work: Callable[[Item, threading.Event], Done], items: Sequence[Item], workers: int, grace_s: float
) -> Generator[Done | None, None, None]:
    """Yield results in the order in which they are done, and None when nothing happened for a moment.

    Workers run at most a few items ahead of what the caller has taken. When a piece of work raises, or the caller
    closes the generator, no new item is begun; those under way get `grace_s` seconds to end, and then the error is
    raised.

    Args:
        work: does one item; it looks at the event where it waits, and raises `Stopped` once that is set.
        items: begun in this order.
        workers: threads.
        grace_s: longest wait for work under way after a stop.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    done: queue.SimpleQueue[Done | BaseException | _Ended] = queue.SimpleQueue()
    stop = threading.Event()
    ahead = threading.Semaphore(AHEAD * workers)
    for item in items:
        waiting.put(item)
    crew = [
        threading.Thread(target=_work, args=(work, waiting, done, stop, ahead), daemon=True)
        for _ in range(min(workers, len(items)))
    ]
    for worker in crew:
        worker.start()
    try:
        yield from _results(len(crew), done, ahead)
    finally:
        stop.set()
        deadline = time.monotonic() + grace_s
        for worker in crew:
            worker.join(max(deadline - time.monotonic(), 0.0))


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block like an error, so that what must be kept is kept; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _work(
    work: Callable[[Item, threading.Event], Done],
    waiting: "queue.SimpleQueue[Item]",
    done: "queue.SimpleQueue[Done | BaseException | _Ended]",
    stop: threading.Event,
    ahead: threading.Semaphore,
) -> None:
    try:
        while _may_begin(stop, ahead):
            done.put(work(waiting.get_nowait(), stop))
    except (queue.Empty, Stopped):
        pass
    except BaseException as error:  # it is raised again in the caller's thread
        stop.set()
        done.put(error)
    finally:
        done.put(_Ended())


def _may_begin(stop: threading.Event, ahead: threading.Semaphore) -> bool:
    """Wait until the caller has seen enough results; False once there is nothing more to begin."""
    while not stop.is_set():
        if ahead.acquire(timeout=TICK_S):
            return True
    return False


def _results(
    workers: int, done: "queue.SimpleQueue[Done | BaseException | _Ended]", ahead: threading.Semaphore
) -> Iterator[Done | None]:
    """Yield until every worker has ended; the first error comes last."""
    error: BaseException | None = None
    while workers:
        try:
            result = done.get(timeout=TICK_S)
        except queue.Empty:
            yield None
            continue
        if isinstance(result, _Ended):
            workers -= 1
        elif isinstance(result, BaseException):
            error = error or result
        else:
            yield result
            ahead.release()
    if error is not None:
        raise error
