"""Retry what may pass: a name that is not found for a moment, a refused or cut connection, a busy server.

One loop, bounded in number and in time, for Elasticsearch, webhooks and what a step asks for. Only calls that may be
made twice belong in it: reads, and writes that leave the same whichever of them arrived. Three have loops of their own:
the teacher, where each try has a price (teacher/asking.py), the pipelines API, where a creation is looked up before it
is tried again (runners/cluster/api.py), and S3, whose client retries by itself.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")
BUSY = frozenset({408, 429, 502, 503, 504})  # and not 500: what is at fault there would fail again


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try again, and for how long.

    Attributes:
        retries: most further tries.
        longest_pause_s: longest wait before one; waits double from `first_pause_s`.
        total_s: no try is begun later than this after the first one.
        first_pause_s: longest wait before the second try.
    """

    retries: int
    longest_pause_s: float
    total_s: float
    first_pause_s: float = 0.5


def pauses(patience: Patience, clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
    """Return how long to wait before each further try, in seconds, until the tries or the time are used up.

    Each is between half and all of twice the one before: no two clients that failed together come back together.

    >>> waits = list(pauses(Patience(retries=3, longest_pause_s=1.5, total_s=60)))
    >>> [0.25 <= waits[0] <= 0.5, 0.5 <= waits[1] <= 1, 0.75 <= waits[2] <= 1.5, len(waits) == 3]
    [True, True, True, True]
    """
    started_s = clock()  # now, and not when the first pause is asked for: the first try takes time too

    def wait() -> Iterator[float]:
        for attempt in range(patience.retries):
            longest_s = min(patience.longest_pause_s, patience.first_pause_s * 2.0 ** min(attempt, 60))
            pause_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries
            if clock() - started_s + pause_s > patience.total_s:
                return
            yield pause_s

    return wait()


def patiently(
    call: Callable[[], Answer],
    is_passing: Callable[[Exception], bool],
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Return what a call returns, made again while its error is one that may pass.

    Args:
        call: what to do; it may be done twice.
        is_passing: whether the same call may succeed later, by its error.
        patience: how often and for how long.
        sleep: waits a number of seconds.
        clock: seconds that never go back.

    Raises:
        Exception: the last try's error, or the first that does not pass.
    """
    waits = pauses(patience, clock)
    while True:
        try:
            return call()
        except Exception as error:
            if not is_passing(error) or (pause_s := next(waits, None)) is None:
                raise
        sleep(pause_s)
