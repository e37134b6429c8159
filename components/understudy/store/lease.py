"""Hold a lease in the store: one process at a time may do a thing, and a dead one is followed by the next.

The object is taken, renewed and given back by compare and swap. Its holder renews it in the background; whoever waits
watches that it changes, by its own clock alone: an object that stayed the same for a whole term has lost its holder.
A holder on the same machine whose process has ended is followed at once. `Lease.write` keeps a record in the same
object, so a holder that was followed without knowing it (it slept, or its network did) cannot write it any more, and
the next holder finds what the last one had under way.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import Conflict, StorageError
from understudy.store import codecs
from understudy.store.base import Tagged, take
from understudy.store.storage import Beaten, Store, contend
from understudy.text.numbers import clipped

TERM_S = 30.0
BEATS = 5  # renewals in one term
LOOK_S = 0.5
FORMAT = 1
LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: name of the machine or pod.
        pid: process there.
        run: what it does, such as "label".
        place: what tells one machine's processes from another's; empty where that cannot be known.
        started: what tells a process from a later one with its number.
    """

    host: str
    pid: int
    run: str
    place: str = ""
    started: str = ""

    def __str__(self) -> str:
        return f"'{self.run}' on {self.host}, process {self.pid}"

    def is_gone(self) -> bool:
        """Whether the process has ended; False where that cannot be seen from here."""
        return bool(self.place) and self.place == _place() and _started(self.pid) != self.started


@dataclass(frozen=True, slots=True)
class State:
    """What the object says.

    Attributes:
        nonce: new with every holder.
        beat: rises with every renewal.
        holder: None when the lease is free.
        record: what the holder has under way.
    """

    nonce: str
    beat: int = 0
    holder: Holder | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> bytes:
        """Write it as JSON."""
        return codecs.as_lines([{"format": FORMAT, **asdict(self)}])


class Lease:
    """A lease that this process holds; made by `held`, used from any thread."""

    def __init__(self, store: Store, key: str, state: State, tag: str, term_s: float) -> None:
        self._store, self._key, self._state, self._tag = store, key, state, tag
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._fault: StorageError | None = None
        self._beats = threading.Thread(target=self._renew, args=(term_s / BEATS,), daemon=True)
        self._beats.start()

    @property
    def record(self) -> Mapping[str, Any]:
        """What was written last; at first what the last holder left under way."""
        return self._state.record

    def write(self, record: Mapping[str, Any]) -> None:
        """Renew the lease with another record.

        Raises:
            Conflict: another process holds it now.
            StorageError: the store does not answer.
        """
        with self._lock:
            self._put(State(self._state.nonce, self._state.beat + 1, self._state.holder, record))

    def release(self) -> None:
        """Give the lease back; the record stays for the next holder."""
        self._ended.set()
        self._beats.join()
        with self._lock:
            self._put(State(self._state.nonce, self._state.beat + 1, None, self._state.record))

    def _renew(self, every_s: float) -> None:
        """Renew until the end; a fault is kept for the next write, which meets it too if it has not passed."""
        while not self._ended.wait(every_s):
            try:
                with self._lock:  # a beat that waited for a write says what was written, not what was before it
                    self._put(State(self._state.nonce, self._state.beat + 1, self._state.holder, self._state.record))
            except Conflict:
                return
            except StorageError as fault:
                self._fault = fault

    def _put(self, state: State) -> None:
        """Write the lease's object; an answer that was lost makes a write of ours look like another's."""

        def write() -> None:
            if self._store.compare_and_swap(self._key, state.data(), self._tag):
                self._state, self._fault = state, None
            found, holder = _read(self._store, self._key)
            if found is None or holder is None or holder.nonce != state.nonce:
                raise self._lost(holder)
            self._tag = found.tag
            if found.data != state.data():
                raise Beaten
            self._state = state

        contend(write, "A lease", self._store.locate(self._key))

    def _lost(self, now: State | None) -> Conflict:
        who = f"got it taken over by {now.holder}" if now and now.holder else "got it given away"
        slept = f" after {self._fault}" if self._fault else ""
        return Conflict(
            f"The process must hold its lease until it ends, {who}{slept} ({self._store.locate(self._key)}). "
            "Run it again: what was done is kept."
        )


@contextmanager
def held(store: Store, key: str, run: str, tell: Callable[[str], None], *, term_s: float = TERM_S) -> Iterator[Lease]:
    """Hold a lease for the length of a `with` block, waiting for whoever holds it.

    Args:
        store: where it lies.
        key: its object, ending in ".json".
        run: what this process does, for those who wait.
        tell: takes one sentence when there is somebody to wait for.
        term_s: seconds for which the object stays unchanged until its holder counts as dead.

    Raises:
        Conflict: (from `write`) the lease was taken over meanwhile.
        StorageError: the store does not answer, or the object is damaged.
    """
    lease = _taken(store, key, run, tell, term_s)
    try:
        yield lease
    finally:
        lease.release()


def read_record(store: Store, key: str) -> Mapping[str, Any]:
    """Read what the holder of a lease has under way, or the last one left; empty when there was none."""
    state = _read(store, key)[1]
    return state.record if state else {}


def _taken(store: Store, key: str, run: str, tell: Callable[[str], None], term_s: float) -> Lease:
    us = Holder(socket.gethostname(), os.getpid(), run, _place(), _started(os.getpid()))
    nonce, seen, since, told = secrets.token_hex(8), "", time.monotonic(), ""
    while True:
        found, state = _read(store, key)
        if found is not None and found.tag != seen:
            seen, since = found.tag, time.monotonic()
        is_over = time.monotonic() - since >= term_s
        if state is None or state.holder is None or state.holder.is_gone() or is_over:
            ours = State(nonce, 0, us, state.record if state else {})
            if (now := take(store, key, ours.data(), found.tag if found else None)) is not None:
                return Lease(store, key, ours, now.tag, term_s)
        elif state.nonce != told:
            told = state.nonce
            tell(f"{run}: waiting for {state.holder}, which has the lease {store.locate(key)}.")
        time.sleep(min(LOOK_S, term_s / 10))


def _read(store: Store, key: str) -> tuple[Tagged | None, State | None]:
    found = store.read_tagged(key)
    if found is None:
        return None, None
    try:
        content = json.loads(found.data)
        holder = None if content["holder"] is None else _holder(content["holder"])
        return found, State(str(content["nonce"]), int(content["beat"]), holder, dict(content["record"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StorageError(
            f"A lease must be JSON with nonce, beat, holder and record, got {type(error).__name__} "
            f"({store.locate(key)}). Delete the object when no run is alive."
        ) from error


def _holder(content: Mapping[str, Any]) -> Holder:
    """Read who holds a lease; what others wrote is printed, so it is cut and made printable."""
    names = ("host", "run", "place", "started")
    return Holder(pid=int(content["pid"]), **{name: clipped(str(content[name]), LONGEST_NAME) for name in names})


def _place() -> str:
    """Name this machine's process table, so that a process number can be looked up; empty where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; empty when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
