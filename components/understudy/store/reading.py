"""Read an object's bytes: counted, and resumed where a connection is cut.

A connection that is cut looks like the end of an object to whoever reads it. Here the end is where the server said that
it would be: what comes short is asked for again from the byte reached, a bounded number of times, and is an error then.
"""

import http.client
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from understudy.errors import StorageError

CUTS_IN_A_ROW = 6
BYTES_FOR_A_CUT = 1 << 20  # each such piece that arrived pays for one more cut: a long object may meet more of them
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.2


class Body(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""

    def close(self) -> Any:
        """Let go of the connection or file."""


class Changed(StorageError):
    """An object became another one while it was read."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of an object from a byte on.

    Attributes:
        body: gives its bytes.
        size: how many there are.
    """

    body: Body
    size: int


class ObjectStream(io.RawIOBase):
    """The bytes of one object from a place on: all of them, or an error.

    Args:
        rest: what is to be read.
        again: asks for what is left after so many bytes of `rest`; None where asking again is of no use.
        where: the object's address, for messages.
    """

    def __init__(self, rest: Rest, again: Callable[[int], Rest] | None, where: str) -> None:
        self._body, self._size, self._again, self._where = rest.body, rest.size, again, where
        self._reached, self._cuts = 0, 0

    def readable(self) -> bool:
        """Say that bytes can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; 0 bytes at the end of the object, and nowhere else.

        Raises:
            StorageError: the object does not come whole, or became another one.
        """
        wanted = min(len(buffer), self._size - self._reached)
        if not wanted:
            return 0
        while not (chunk := self._read(wanted)):
            self._go_on()
        buffer[: len(chunk)] = chunk
        self._reached += len(chunk)
        if self._reached == self._size:
            self._read(1)  # at its end a body compares its checksum, where the server gave one
        return len(chunk)

    def readall(self) -> bytes:
        """Read all that is left."""
        return b"".join(iter(partial(self.read, BYTES_FOR_A_CUT), b""))

    def close(self) -> None:
        """Let go of the connection."""
        if not self.closed:
            self._body.close()
        super().close()

    def _read(self, wanted: int) -> bytes:
        """Return bytes; none where the connection was cut."""
        from botocore.exceptions import BotoCoreError, FlexibleChecksumError
        from urllib3.exceptions import HTTPError

        try:
            return self._body.read(wanted)
        except FlexibleChecksumError as error:
            if self._reached == self._size:
                raise self._fault(f"bytes that differ from its checksum: {error}") from error
            self._cause = error
            return b""
        except (BotoCoreError, HTTPError, http.client.HTTPException, OSError) as error:
            self._cause = error
            return b""

    _cause: Exception | None = None

    def _go_on(self) -> None:
        """Ask for the rest from the byte reached; an answer that fails counts as one more cut."""
        while True:
            self._cuts += 1
            cause = self._cause or "a connection that was closed"
            if self._again is None or self._cuts > CUTS_IN_A_ROW + self._reached // BYTES_FOR_A_CUT:
                raise self._fault(f"{self._reached:,} of {self._size:,} bytes, then {cause}") from self._cause
            time.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._cuts - 1)))
            self._body.close()
            try:
                rest = self._again(self._reached)
            except Changed:
                raise
            except StorageError as error:
                self._cause = error
                continue
            if rest.size != self._size - self._reached:
                raise Changed(
                    f"An object must stay while it is read, got another length ({self._where}). Run it again."
                )
            self._body, self._cause = rest.body, None
            return

    def _fault(self, got: str) -> StorageError:
        return StorageError(f"An object must come whole, got {got} ({self._where}). Try again later.")
