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
        self.total, self.what, self.done, self.kept, self.note = total, what, 0, 0, ""

    def advance(self, items: int = 1, note: str | None = None, *, is_kept: bool = False) -> None:
        """Count items as done.

        Args:
            items: how many more are done.
            note: a few words to show beside the count, such as the money spent; None keeps the last ones.
            is_kept: an earlier try has done them; they tell nothing of how long the rest takes.
        """
        self.done += items
        self.kept += items if is_kept else 0
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
            say(progress_line(self.what, self.done, self.total, now - self._started, self.note, self.kept))


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


def progress_line(what: str, done: int, total: int, seconds: float, note: str = "", kept: int = 0) -> str:
    """Write one line of progress; what is left takes as long as what this try has done, not what it found done.

    >>> progress_line("label: texts judged", 500, 2000, 10.0, "$0.12 of $20.00")
    'label: texts judged: 500 of 2,000, 10 s, about 30 s left, $0.12 of $20.00'
    >>> progress_line("train: updates", 900, 1000, 10.0, kept=800)
    'train: updates: 900 of 1,000, 10 s, about 10 s left'
    """
    parts = [f"{what}: {done:,} of {total:,}", f"{seconds:.0f} s"]
    if kept < done < total:
        parts.append(f"about {seconds / (done - kept) * (total - done):.0f} s left")
    return ", ".join([*parts, note] if note else parts)
