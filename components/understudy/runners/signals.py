"""Let SIGINT and SIGTERM end a command alike, whatever it is doing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from understudy.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what runs inside, by `Stopped`; a second one ends the process at once."""

    def stop(number: int, _frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def signal_of(error: BaseException) -> signal.Signals | None:
    """Return the signal that ended a command, by `ended_by_signals` or by a step's own handler."""
    code = error.code if isinstance(error, SystemExit) else None
    return next((number for number in SIGNALS if code == 128 + number), None)
