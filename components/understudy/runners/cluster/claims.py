"""Claim a run's name, so that it is created once however often and by however many it is asked for.

The pipelines API has no key that would make a second creation harmless, so the store says who may create:

1. `started.json` is put if absent. It claims the name, and fixes the card, the arguments and the target (API,
   namespace, experiment, version, account, root): whoever comes later goes on with those, whatever it was given itself,
   so that all look for the run in one place. Who asks another API is refused.
2. `creator.json` is the right to create, taken by compare and swap, so by one process at a time. Whoever finds it taken
   waits until the run is there, or until the object has not changed for RIGHT_S by the waiter's own clock, and then
   takes it over.
3. Its holder looks for a run of that name at the API, and creates one only if there is none. It begins to create only
   while more than a request's time is left of its right, so nobody takes over while its request is under way.
4. `submitted.json` says where the run is. Whoever finds it is done.

A lease of `store/lease.py` does not serve, as its dead holder is followed at once, and it is given back however its
holder ends: a request may still create after its process has gone, so the right must last its whole time.

A process may be killed anywhere: before 1, nothing has happened. After 1, the next one takes the right at once. After
2, the next one waits for the right, looks the name up, finds nothing and creates. After the creation (also when its
answer never came), the next one waits, looks the name up and finds the run. After 4, the next one reads it.

After an unclear answer (a time limit, a cut connection, an error of the server) the holder looks for the run for
SETTLE_S before it asks again: the server may still be at work. One hole is left, which only the server could close: a
server that takes longer than TIMEOUTS_S and SETTLE_S together to create what it was asked for, and then does so. A
process that is stopped (not ended) for longer than its right lasts, just as it begins to create, is the same hole.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from understudy.errors import BadInput, UnderstudyError
from understudy.runners.cluster import api
from understudy.runners.cluster.api import Unanswered
from understudy.runners.runs import Record, read_record, utc_now
from understudy.store import codecs
from understudy.store.base import Tagged, take
from understudy.store.runs import STARTED, SUBMITTED, as_bytes, key_of, put, read
from understudy.store.storage import Store

RIGHT_S = 120.0  # how long it lasts
SETTLE_S = 15.0
LOOK_S = 2.0
MARGIN_S = 10.0
CREATOR = "creator.json"
RUNNER = "cluster"

About = dict[str, Any]
Find = Callable[[], About | None]
Create = Callable[[], About]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Right:
    """The right to create a run, for a while."""

    tag: str
    until: float

    def has_time(self) -> bool:
        """Tell whether a request that begins now ends before the right does."""
        return time.monotonic() + sum(api.TIMEOUTS_S) + MARGIN_S < self.until


def claim(store: Store, record: Record, tell: Tell) -> Record:
    """Claim a name, and return the claim that holds: that of whoever was first.

    Raises:
        BadInput: the name belongs to something else, or to a run at another API.
    """
    put(store, record.name, STARTED, asdict(record))
    first = claimed(store, record.name)
    require_same(record, first)
    require_same_api(record, first)
    if (first.arguments, first.target) != (record.arguments, record.target):
        tell(f"The run goes on with what its first submission gave ({store.locate(key_of(record.name, STARTED))}).")
    return first


def submit_once(store: Store, first: Record, find: Find, create: Create, tell: Tell) -> tuple[About, bool]:
    """See that the run of a claim is there, once.

    Args:
        store: where names are claimed.
        first: the claim.
        find: looks for the run at the API; returns what `submitted.json` is to say of it.
        create: creates it.
        tell: says to a person what is going on.

    Returns:
        what `submitted.json` says, and whether this call made it so.

    Raises:
        Unanswered: whether the run is there could not be found out.
    """
    with right_to_create(store, first.name, tell) as right:
        if right is not None:
            about = _made(find, create, right)
            put(store, first.name, SUBMITTED, {**about, "submitted": utc_now()})
    return read(store, first.name, SUBMITTED) or {}, right is not None


def submitted(store: Store, record: Record) -> About | None:
    """Read where the run of a name is; None when nobody has submitted it.

    Raises:
        BadInput: the name belongs to something else, or to a run at another API.
    """
    found = read(store, record.name, SUBMITTED)
    if found is not None:
        first = claimed(store, record.name)
        require_same(record, first)
        require_same_api(record, first)
    return found


def claimed(store: Store, name: str) -> Record:
    """Read who claimed a name, and for what."""
    return read_record(store.read(key_of(name, STARTED)), store.locate(key_of(name, STARTED)))


def require_same(record: Record, first: Record) -> None:
    """Check that a name was claimed for the same pipeline and task, on a cluster.

    Raises:
        BadInput: it was not.
    """
    wanted, found = ((it.runner, it.pipeline, it.card) for it in (record, first))
    if wanted != found:
        raise BadInput(
            f"A run's name must be new or of the same pipeline and card, got '{record.name}', which is a run of "
            f"{first.pipeline} for the card '{first.card}' by the runner '{first.runner}' (--name). Choose another."
        )


def require_same_api(record: Record, first: Record) -> None:
    """Check that a name was claimed for the API and the namespace that are asked now.

    Raises:
        BadInput: it was not.
    """
    wanted, found = (tuple(it.target.get(key) for key in ("host", "namespace")) for it in (record, first))
    if wanted != found:
        raise BadInput(
            f"A run's name must be new or claimed for the same API, got '{record.name}', claimed for {found[0]}, "
            f"namespace '{found[1]}' (--host, --namespace). Name that API, or choose another --name."
        )


def _made(find: Find, create: Create, right: Right) -> About:
    """Find the run, or create it and, after an unclear answer, look for it before trying again."""
    found, unclear = find(), "no time to ask it"
    while found is None:
        if not right.has_time():
            raise Unanswered(
                f"{unclear}\nWhether the run exists is not known. Give the same command again: it looks for the run "
                "before it creates one."
            )
        try:
            return create()
        except Unanswered as error:
            unclear = str(error)
            found = _settled(find)
    return found


def _settled(find: Find) -> About | None:
    """Look for what a request may have created, until the server must be done with it."""
    until = time.monotonic() + SETTLE_S
    while (found := find()) is None and time.monotonic() < until:
        time.sleep(LOOK_S)
    return found


@contextmanager
def right_to_create(store: Store, name: str, tell: Tell) -> Iterator[Right | None]:
    """Hold the right to create a run; None when another has created it meanwhile.

    The right is given back early when creation was clearly refused; after anything else it runs out.
    """
    right = _awaited(store, name, tell)
    try:
        yield right
    except Unanswered:
        raise
    except UnderstudyError:
        if right is not None:
            store.compare_and_swap(key_of(name, CREATOR), as_bytes({"free": secrets.token_hex(8)}), right.tag)
        raise


def _awaited(store: Store, name: str, tell: Tell) -> Right | None:
    """Wait for the right to create a run, or for the run."""
    key, seen, since = key_of(name, CREATOR), "", time.monotonic()
    while read(store, name, SUBMITTED) is None:
        found = store.read_tagged(key)
        is_over = found is not None and found.tag == seen and time.monotonic() - since > RIGHT_S
        if found is None or is_over or "free" in codecs.read_mapping(found.data, store.locate(key)):
            if (right := _swapped(store, key, found)) is not None:
                return right
        elif found.tag != seen:
            if not seen:
                tell(f"Another submission of '{name}' has begun; waiting up to {RIGHT_S:.0f} s for what becomes of it.")
            seen, since = found.tag, time.monotonic()
        time.sleep(min(LOOK_S, RIGHT_S / 10))
    return None


def _swapped(store: Store, key: str, found: Tagged | None) -> Right | None:
    """Take a right that is free or has run out, unless somebody else is faster."""
    until = time.monotonic() + RIGHT_S
    content = as_bytes({"holder": secrets.token_hex(8), "taken": utc_now()})
    ours = take(store, key, content, found.tag if found else None)
    return Right(ours.tag, until) if ours is not None else None
