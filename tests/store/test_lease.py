"""A lease in the store, on a folder and on a real S3 server."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.errors import Conflict, StorageError
from understudy.store.folder import FolderStore
from understudy.store.lease import Holder, Lease, State, held, read_record
from understudy.store.storage import Store, open_store

KEY = "leases/teacher/card.json"
TERM_S = 1.0
CHILD = """
import sys, time
from understudy.store.storage import open_store
from understudy.store.lease import held
with held(open_store(sys.argv[1]), sys.argv[2], "child", print, term_s=float(sys.argv[3])) as lease:
    lease.write({"under way": 7})
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["folder", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path) -> Store:
    """Open a store that processes can share."""
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(f"{request.getfixturevalue('s3_url')}/team")


@pytest.fixture
def child(shared) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds the lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, shared.uri, KEY, str(TERM_S)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_one_holds_it_at_a_time_and_the_other_is_told_for_whom_it_waits(shared):
    inside, most, told = 0, 0, []
    lock = threading.Lock()

    def work(name: str) -> None:
        nonlocal inside, most
        with held(shared, KEY, name, told.append, term_s=TERM_S):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(2 * TERM_S)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work, args=(name,)) for name in ("label", "mine")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(told) == 1
    assert f"process {os.getpid()}" in told[0]
    assert "waiting for 'label' on " in told[0] or "waiting for 'mine' on " in told[0]


def test_who_is_killed_is_followed_at_once_on_the_same_machine_and_what_it_had_under_way_is_read(shared, child):
    child.send_signal(signal.SIGKILL)
    child.wait()
    started = time.monotonic()
    with held(shared, KEY, "next", print, term_s=30.0) as lease:
        assert lease.record == {"under way": 7}
    assert time.monotonic() - started < 5


def test_who_is_alive_is_waited_for(shared, child):
    taken = threading.Event()

    def take() -> None:
        with held(shared, KEY, "next", lambda _: None, term_s=TERM_S):
            taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.wait(2.5 * TERM_S)
    child.kill()
    assert taken.wait(5)
    thread.join()


def test_a_holder_elsewhere_is_followed_when_the_object_has_not_changed_for_a_term(shared):
    elsewhere = {"host": "pod-1", "pid": 1, "run": "label", "place": "other/1", "started": "5"}
    state = {"format": 1, "nonce": "x", "beat": 3, "holder": elsewhere, "record": {"under way": 1}}
    shared.put_if_absent(KEY, json.dumps(state).encode())
    told: list[str] = []
    started = time.monotonic()
    with held(shared, KEY, "next", told.append, term_s=TERM_S) as lease:
        assert time.monotonic() - started >= TERM_S
        assert lease.record == {"under way": 1}
    assert "'label' on pod-1, process 1" in told[0]


def test_who_was_let_through_beside_another_waits_for_it(tmp_path, monkeypatch):
    """A server that looks at a condition and writes in two steps lets two through; the later write stands."""
    store, other = FolderStore(tmp_path), State("other", 0, Holder("elsewhere", 1, "label"))
    swap, late = FolderStore.compare_and_swap, []

    def hooked(to, key, data, tag):
        is_ours = swap(to, key, data, tag)
        if not late:
            late.append(threading.Timer(0.02, lambda: swap(to, key, other.data(), to.read_tagged(key).tag)))
            late[0].start()
        return is_ours

    monkeypatch.setattr(FolderStore, "compare_and_swap", hooked)
    monkeypatch.setattr(FolderStore, "settle_s", 0.1)
    told: list[str] = []
    with held(store, KEY, "mine", told.append, term_s=TERM_S) as lease:
        lease.write({"under way": 1})
    assert told == [f"mine: waiting for {other.holder}, which has the lease {store.locate(KEY)}."]


def test_a_holder_that_slept_for_a_term_cannot_write_any_more(shared, child):
    child.send_signal(signal.SIGSTOP)
    lost: list[Lease] = []
    with held(shared, KEY, "first", print, term_s=TERM_S) as first:
        lost.append(first)
        stolen = json.loads(shared.read(KEY)) | {"nonce": "another"}
        found = shared.read_tagged(KEY)
        assert shared.compare_and_swap(KEY, json.dumps(stolen).encode(), found.tag)
        with pytest.raises(Conflict, match="hold its lease until it ends, got it taken over by 'first' on"):
            first.write({})
        stolen = json.loads(shared.read(KEY)) | {"nonce": first._state.nonce}
        assert shared.compare_and_swap(KEY, json.dumps(stolen).encode(), shared.read_tagged(KEY).tag)
        first.write({"again": 1})
    assert read_record(shared, KEY) == {"again": 1}


def test_renewing_goes_on_while_the_holder_works(shared):
    with held(shared, KEY, "label", print, term_s=TERM_S):
        first = shared.read_tagged(KEY)
        time.sleep(TERM_S / 2)
        assert shared.read_tagged(KEY).tag != first.tag


@pytest.mark.parametrize(
    "data", [b"", b"\0\0", b"[]", b'{"holder": 3}', b"[" * 100_000, b'{"holder": {"pid": "../x"}}']
)
def test_a_damaged_lease_is_named(store, data):
    store.put_if_absent(KEY, data)
    with (
        pytest.raises(StorageError, match=r"lease must be JSON .*leases/teacher/card\.json"),
        held(store, KEY, "x", print),
    ):
        pass


class SlowStore(FolderStore):
    """A folder whose swaps take as long as a bucket's, so that a beat waits while a record is written."""

    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        time.sleep(0.05)
        return super().compare_and_swap(key, data, tag)


def test_a_beat_that_waits_for_a_write_does_not_bring_back_the_record_before_it(tmp_path: Path) -> None:
    store = SlowStore(tmp_path)
    with held(store, "leases/a.json", "label", print, term_s=0.3) as lease:
        for number in range(20):
            lease.write({"open": [number]})
            time.sleep(0.12)  # whoever waited has written too
            assert read_record(store, "leases/a.json") == {"open": [number]}
