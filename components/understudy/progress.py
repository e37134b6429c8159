"""Show progress: a bar on a terminal, a plain line every few seconds in a pod's log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0


class Track:
    """Counts what is done of one piece of work; made by `track`."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done, self.note = total, what, 0, ""

    def advance(self, items: int = 1, note: str | None = None) -> None:
        """Count items as done.

        Args:
            items: how many more are done.
            note: a few words to show beside the count, such as the money spent; None keeps the last ones.
        """
        self.done += items
        self.note = self.note if note is None else note
        self.show()

    def show(self) -> None:
        """Bring the count to the reader's eye."""


class LineTrack(Track):
    """Writes at most one line every few seconds; quick work writes none."""

    def __init__(self, total: int, what: str) -> None:
        super().__init__(total, what)
        self._started = self._shown = time.monotonic()

    def show(self) -> None:
        """Write a line when the last one is some seconds old."""
        now = time.monotonic()
        if now - self._shown >= LINE_EVERY_S:
            self._shown = now
            say(progress_line(self.what, self.done, self.total, now - self._started, self.note))


class BarTrack(Track):
    """Moves a bar on the terminal."""

    def __init__(self, total: int, what: str, bar: Progress) -> None:
        super().__init__(total, what)
        self._bar = bar
        self._task = bar.add_task(what, total=total, note="")

    def show(self) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=self.done, note=self.note)


@contextmanager
def track(total: int, what: str) -> Iterator[Track]:
    """Show the progress of one piece of work.

    Args:
        total: how many items there are.
        what: what is done, with the step first, such as "label: texts judged".

    Yields:
        a `Track`; call its `advance` from one thread.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield LineTrack(total, what)
        return
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bar:
        yield BarTrack(total, what, bar)


def say(line: str) -> None:
    """Write one plain line to standard error, now."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def progress_line(what: str, done: int, total: int, seconds: float, note: str = "") -> str:
    """Write one line of progress.

    >>> progress_line("label: texts judged", 500, 2000, 10.0, "$0.12 of $20.00")
    'label: texts judged: 500 of 2,000, 10 s, about 30 s left, $0.12 of $20.00'
    """
    parts = [f"{what}: {done:,} of {total:,}", f"{seconds:.0f} s"]
    if 0 < done < total:
        parts.append(f"about {seconds / done * (total - done):.0f} s left")
    return ", ".join([*parts, note] if note else parts)
