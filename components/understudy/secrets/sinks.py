"""Guard the streams where text leaves the program: no known secret is shown."""

import codecs
import io
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO, cast

from understudy.secrets import keys

LONGEST_LINE = 1 << 16  # characters held back until their line ends


class HidingStream(io.TextIOBase):
    """A text stream that hides secrets in every line before it passes it on.

    A line is held back until it ends or is flushed, so that a secret which is written in pieces is seen whole.
    """

    def __init__(self, stream: TextIO, hide: Callable[[str], str]) -> None:
        super().__init__()
        self._stream, self._hide, self._held = stream, hide, ""
        self._lock = threading.RLock()  # again by the same thread: a signal's handler may print

    def write(self, text: str) -> int:
        """Pass on the lines that have ended."""
        with self._lock:
            held = self._held + text
            end = max(held.rfind("\n"), held.rfind("\r")) + 1
            if not end and len(held) > LONGEST_LINE:
                end = len(held)
            self._held = held[end:]
            if end:
                self._stream.write(self._hide(held[:end]))
        return len(text)

    def flush(self) -> None:
        """Pass on all that was written."""
        with self._lock:
            held, self._held = self._held, ""
            if self._stream.closed:
                return
            if held:
                self._stream.write(self._hide(held))
            self._stream.flush()

    def writable(self) -> bool:
        """Say that it takes text."""
        return True

    def isatty(self) -> bool:
        """Tell whether a person looks at it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor below; what is written there itself is not seen here."""
        return self._stream.fileno()

    def close(self) -> None:
        """Pass on the rest; the stream below is closed by who opened it."""
        if not self.closed:
            self.flush()
        super().close()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Name the encoding of the stream below; never ASCII, for which click would go round this stream."""
        return "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Say what becomes of signs that cannot be written."""
        return self._stream.errors


def hiding(stream: TextIO, hide: Callable[[str], str] = keys.redact) -> TextIO:
    """Return a stream on which no secret is shown; one that hides already is returned as it is."""
    return stream if isinstance(stream, HidingStream) else cast("TextIO", HidingStream(stream, hide))


def guard_streams() -> None:
    """Let this process show no secret from here to its end, in tracebacks, warnings and logs too.

    Each front door calls it first: a command, a module that is run, and the shell of a component. Standard output may
    carry people's own texts, in which known secrets alone are hidden. What a terminal cannot write is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if is_ascii else None, errors="backslashreplace")
    sys.stdout = cast("Any", hiding(sys.stdout, keys.hide))
    sys.stderr = cast("Any", hiding(sys.stderr))
