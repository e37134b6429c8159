"""Print one line a step on the terminal, and send what steps and libraries print to a log file."""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from understudy.errors import Stopped, UnderstudyError
from understudy.runners.signals import ended_by_signals
from understudy.secrets.keys import redact
from understudy.secrets.sinks import guard_streams, hiding

if TYPE_CHECKING:  # the list of commands shall not wait for what events need
    from understudy.runners.events import Event

TAIL_BYTES = 4096
LINE_EVERY_S = 30.0  # where the lines of a run go to a file or a pipe


@contextlib.contextmanager
def noise_to(log: Path) -> Iterator[TextIO]:
    """Send what this process and its children print to a log file, and the traceback of what goes wrong.

    Yields:
        the real standard output.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    copies = [os.dup(1), os.dup(2)]
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace"))
        opened = stack.enter_context(log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1))
        real, file = stack.enter_context(hiding(terminal)), stack.enter_context(hiding(opened))
        stack.callback(_put_back, copies)
        for descriptor in (1, 2):
            os.dup2(opened.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(file))
        stack.enter_context(contextlib.redirect_stderr(file))
        try:
            yield real
        except BaseException:
            traceback.print_exc(file=file)
            raise


def _put_back(copies: list[int]) -> None:
    for descriptor, copy in zip((1, 2), copies, strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)


class Board:
    """Shows the steps of a run: a line for each that has ended, and what the running one does.

    On a terminal that is a line which is drawn again and again, elsewhere one more line every half a minute.
    """

    def __init__(self, stream: TextIO, log: Path) -> None:
        self._console = Console(file=stream, soft_wrap=True, highlight=False, markup=False)
        self._log = log
        self._live: Live | None = None
        self._is_over: threading.Event | None = None
        self._since = time.monotonic()
        self._task = ""

    def show(self, event: "Event") -> None:
        """Show what happened to a task."""
        self.rest()
        if event.state == "started":
            self._since, self._task = time.monotonic(), event.task
            self._watch(event.task)
        else:
            self._task = ""
            took = "kept" if event.state == "kept" else duration(time.monotonic() - self._since)
            self.say(line_of(event.task, took, str(event.provenance["headline"])))

    def __enter__(self) -> Self:
        """Begin with nothing shown."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Show that the running step did not come to its end, when something went wrong."""
        self.rest()
        if kind is not None and self._task:
            ended = "failed" if issubclass(kind, Exception) else "stopped"
            self.say(line_of(self._task, duration(time.monotonic() - self._since), ended))

    def say(self, text: str) -> None:
        """Print a text as it is."""
        self._console.print(text)

    def rest(self) -> None:
        """Take away what shows the running step."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._is_over is not None:
            self._is_over.set()
            self._is_over = None

    def _watch(self, task: str) -> None:
        running = Running(task, self._log, self._since)
        if self._console.is_terminal:
            self._live = Live(
                running,
                console=self._console,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._is_over = threading.Event()
            threading.Thread(target=self._tell_often, args=(running, self._is_over), daemon=True).start()

    def _tell_often(self, running: "Running", is_over: threading.Event) -> None:
        while not is_over.wait(LINE_EVERY_S):
            self.say(running.line())


class Running:
    """The line of the running step, drawn again and again: its time so far and the last line of its progress."""

    def __init__(self, task: str, log: Path, since: float) -> None:
        self._task, self._log, self._since = task, log, since

    def line(self) -> str:
        """Write the line."""
        took = duration(time.monotonic() - self._since)
        return line_of(self._task, took, last_progress(self._log, self._task))

    def __rich__(self) -> Text:
        """Draw the line."""
        return Text(self.line(), no_wrap=True, overflow="ellipsis", style="dim")


def line_of(task: str, took: str, text: str) -> str:
    """Write a step's line.

    >>> line_of("ingest", "2.1 s", "2,120 texts")
    'ingest        2.1 s   2,120 texts'
    """
    return f"{task:<10} {took:>8}   {text}".rstrip()


def duration(seconds: float) -> str:
    """Write a duration as people read it.

    >>> duration(2.14), duration(75.2), duration(5400)
    ('2.1 s', '75 s', '90 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def last_progress(log: Path, task: str) -> str:
    """Return what a step has last written about its progress: the end of its last line "<step>: ..."."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return next((line.partition(": ")[2] for line in reversed(lines) if line.startswith(f"{task}: ")), "")


def say(text: str) -> None:
    """Print a text on standard output as it is, at once."""
    print(redact(text), flush=True)  # noqa: T201 - what a command answers


def tell(text: str) -> None:
    """Print a text on standard error as it is."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(redact(text))


def front_door(command: Callable[[], object]) -> None:
    """Run a command so that no secret is shown; an error raised on purpose, and a signal, is a sentence and a code."""
    guard_streams()
    try:
        with ended_by_signals():
            command()
    except Stopped as error:
        tell(f"Stopped by {error.name}.")
        raise
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)
