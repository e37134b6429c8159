"""One run for each name: whatever is killed, cut, slow or doubled between the claim and the record of the run."""

import json
import threading
import time
from dataclasses import asdict

import pytest

from tests.services import kfp_api
from understudy.errors import BadInput
from understudy.runners.cluster import claims, submit
from understudy.runners.cluster.api import Unanswered
from understudy.runners.cluster.create import Target
from understudy.runners.request import Request
from understudy.runners.runs import Record
from understudy.store import runs
from understudy.store.runs import STARTED, SUBMITTED, key_of
from understudy.store.storage import open_store

NIGHT = "hotel-tips-nightly-2026-11-01"


def record(**changes):
    given = {"name": "n", "pipeline": "nightly", "runner": "cluster", "card": "c", "card_hash": "h", "arguments": {}}
    return Record(**{**given, "started": "2026-11-01T00:00:00Z", "artifacts": "", **changes})


def once(store, mine, find, create):
    return claims.submit_once(store, claims.claim(store, mine, str), find, create, str)


def test_an_answer_that_was_cut_off_after_the_run_was_created_makes_no_second_one(cluster, command):
    cluster.fault("cut", after=True)
    assert command(cluster, "nightly").returncode == 0
    assert len(cluster.backend.runs) == 1
    assert cluster.told(NIGHT).submitted["run_id"] == cluster.backend.runs[0]["run_id"]


@pytest.mark.parametrize("do", [500, 503, 429, "cut"])
def test_a_request_that_was_lost_is_made_again(cluster, command, do):
    cluster.fault(do)
    assert command(cluster, "nightly").returncode == 0
    assert len(cluster.backend.runs) == 1


def test_an_answer_that_is_too_slow_makes_no_second_run(cluster, command, monkeypatch):
    monkeypatch.setattr(claims, "SETTLE_S", 1.5)
    cluster.fault("slow", seconds=1.3)  # the limit is 1 s: the run is created after the client has gone
    assert command(cluster, "nightly").returncode == 0
    time.sleep(0.5)
    assert len(cluster.backend.runs) == 1


def test_a_server_that_never_answers_clearly_is_left_within_its_right(cluster, command):
    cluster.fault(500, times=99)
    begun = time.monotonic()
    done = command(cluster, "nightly")
    assert done.returncode == 1
    assert "got 500: 500 on demand" in done.stderr
    assert "Whether the run exists is not known. Give the same command again" in done.stderr
    assert time.monotonic() - begun < claims.RIGHT_S + 5
    cluster.backend.faults.clear()
    assert command(cluster, "nightly").returncode == 0
    assert len(cluster.backend.runs) == 1


def test_two_at_once_create_one_run(cluster):
    cluster.fault("slow", seconds=0.5)
    both = [cluster.start("nightly", right_s=20) for _ in range(2)]
    told = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(cluster.backend.runs) == 1
    assert len({out.split("Run: ")[1] for out, _ in told}) == 1


def start_until_created(cluster):
    """Start a submission and return it when its run has been created, but not yet answered for."""
    cluster.fault("slow", after=True, seconds=8)
    process = cluster.start("nightly", right_s=20)
    deadline = time.monotonic() + 240
    while not cluster.backend.runs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_retry_finds_the_run_that_a_killed_one_has_created(cluster, command):
    process = start_until_created(cluster)
    process.kill()
    process.communicate()
    assert cluster.told(NIGHT).submitted == {}
    done = command(cluster, "nightly")
    assert done.returncode == 0
    assert "waiting up to 6 s for what becomes of it" in done.stderr
    assert len(cluster.backend.runs) == 1


def test_retries_at_once_after_a_kill_before_the_creation_create_one_run(cluster):
    runs.put(cluster.store, NIGHT, STARTED, claim_of(cluster))
    runs.put(cluster.store, NIGHT, "creator.json", {"holder": "killed", "taken": "2026-11-01T00:00:00Z"})
    both = [cluster.start("nightly", right_s=5) for _ in range(2)]
    told = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(cluster.backend.runs) == 1


def claim_of(cluster):
    """What the night's claim says, as the command writes it."""
    options = cluster.options("nightly")
    given = dict(zip((word.removeprefix("--") for word in options[1::2]), options[2::2], strict=True))
    request = Request("nightly", given["card"], given["store"], texts=given["texts"], date=given["date"], name=NIGHT)
    target = Target(host=given["host"], version=given["version"])
    return asdict(submit.record_of(request, target, cluster.store))


def test_a_claim_without_a_right_to_create_is_taken_up_at_once(cluster, command):
    runs.put(cluster.store, NIGHT, STARTED, claim_of(cluster))
    done = command(cluster, "nightly")
    assert (done.returncode, done.stderr, len(cluster.backend.runs)) == (0, "", 1)


def test_a_retry_goes_on_with_what_was_claimed(cluster, command):
    claim = claim_of(cluster)
    claim["arguments"]["overrides"] = "watch.page_nights=5"
    runs.put(cluster.store, NIGHT, STARTED, claim)
    done = command(cluster, "nightly", "--set", "watch.page_nights=9")
    assert "The run goes on with what its first submission gave" in done.stderr
    assert cluster.backend.runs[0]["runtime_config"]["parameters"]["overrides"] == "watch.page_nights=5"


def test_a_retry_finds_the_run_where_the_first_submission_wanted_it(cluster, command):
    assert command(cluster, "nightly", "--experiment", "one", "--root", "s3://first/root").returncode == 0
    cluster.store.delete(key_of(NIGHT, SUBMITTED))  # as if it was killed before it wrote down where the run is
    done = command(cluster, "nightly", "--experiment", "two")
    assert (done.returncode, len(cluster.backend.runs)) == (0, 1)
    assert "The run goes on with what its first submission gave" in done.stderr
    assert cluster.told(NIGHT).place.startswith("s3://first/root/nightly/")


def test_a_claim_for_another_api_is_refused_with_its_address(cluster, command):
    claim = claim_of(cluster)
    claim["target"]["host"] = "http://elsewhere:8888"
    runs.put(cluster.store, NIGHT, STARTED, claim)
    done = command(cluster, "nightly")
    assert (done.returncode, cluster.backend.runs) == (2, [])
    assert f"got '{NIGHT}', claimed for http://elsewhere:8888" in done.stderr


def test_a_name_that_was_submitted_to_another_api_is_refused_with_its_address(cluster, command):
    command(cluster, "nightly")
    with kfp_api.Server(kfp_api.Backend(cluster.backend.catalogue, cluster.folder / "other.json")) as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        done = command(cluster, "nightly", host=other.url)
        other.shutdown()
    assert (done.returncode, done.stdout, other.backend.runs) == (2, "", [])
    assert f"got '{NIGHT}', claimed for {cluster.server.url}, namespace ''" in done.stderr


def test_of_two_targets_at_the_same_moment_the_first_holds_for_both(store):
    first, second = (record(target={"host": "h", "experiment": name}) for name in ("one", "two"))
    assert [claims.claim(store, mine, str) for mine in (first, second)] == [first, first]


def test_a_version_that_is_not_installed_claims_no_name(cluster, command):
    assert command(cluster, "nightly", version="nightly-none").returncode == 2
    assert command(cluster, "nightly").returncode == 0
    assert len(cluster.backend.runs) == 1


def test_a_name_that_belongs_to_something_else_is_refused(cluster, command):
    assert command(cluster, "nightly", "--name", "mine").returncode == 0
    done = command(cluster, "quality", "--name", "mine")
    assert done.returncode == 2
    assert "got 'mine', which is a run of nightly for the card 'hotel-tips' by the runner 'cluster'" in done.stderr
    assert len(cluster.backend.runs) == 1


@pytest.fixture
def short(monkeypatch):
    for name, value in {"RIGHT_S": 0.4, "MARGIN_S": 0.0, "SETTLE_S": 0.02, "LOOK_S": 0.01}.items():
        monkeypatch.setattr(claims, name, value)
    monkeypatch.setattr("understudy.runners.cluster.api.TIMEOUTS_S", (0.05, 0.05))


def test_of_many_at_once_one_creates(tmp_path, short):
    uri, made, lock = str(tmp_path), [], threading.Lock()

    def create():
        time.sleep(0.05)
        with lock:
            made.append({"run_id": str(len(made))})
        return made[-1]

    def submit():
        told.append(once(open_store(uri), record(), lambda: made[0] if made else None, create))

    told = []
    threads = [threading.Thread(target=submit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {about["run_id"] for about, _ in told} == {"0"}
    assert sum(is_new for _, is_new in told) == 1


def test_of_three_that_wait_for_a_dead_holder_one_creates(tmp_path, short, monkeypatch):
    monkeypatch.setattr(claims, "RIGHT_S", 1.5)
    monkeypatch.setattr(claims, "LOOK_S", 1.0)  # so seldom that all three see the dead one's time over
    monkeypatch.setattr("understudy.runners.cluster.api.TIMEOUTS_S", (0.1, 0.8))
    made, mine = [], record()
    runs.put(open_store(str(tmp_path)), "n", STARTED, asdict(mine))
    runs.put(open_store(str(tmp_path)), "n", "creator.json", {"holder": "dead"})

    def create():
        time.sleep(0.7)
        made.append({"run_id": str(len(made))})
        return made[-1]

    def submit(delay_s):
        time.sleep(delay_s)
        once(open_store(str(tmp_path)), mine, lambda: made[0] if made else None, create)

    threads = [threading.Thread(target=submit, args=(0.04 * index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.parametrize("ends", range(5))
def test_wherever_the_one_before_has_ended_the_next_makes_the_run_just_once(store, short, ends):
    """Before the claim, after it, after the right to create, after the creation, and after the record."""
    made, mine = [], record()

    def create():
        made.append({"run_id": "1"})
        return made[-1]

    if ends >= 1:
        runs.put(store, "n", STARTED, asdict(mine))
    if ends >= 2:
        store.put_if_absent(key_of("n", "creator.json"), b'{"holder": "gone"}')
    if ends >= 3:
        create()
    if ends >= 4:
        runs.put(store, "n", SUBMITTED, made[0])
    for _ in range(2):
        about, _ = once(store, mine, lambda: made[0] if made else None, create)
        assert about["run_id"] == "1"
    assert len(made) == 1


def test_a_clear_refusal_gives_the_right_back_and_an_unclear_answer_keeps_it(store, short):
    def refuse():
        raise BadInput("no")

    def lose():
        raise Unanswered("lost")

    with pytest.raises(BadInput):
        once(store, record(), lambda: None, refuse)
    assert "free" in json.loads(store.read(key_of("n", "creator.json")))
    with pytest.raises(Unanswered):
        once(store, record(), lambda: None, lose)
    assert "holder" in json.loads(store.read(key_of("n", "creator.json")))


def test_a_right_that_another_takes_over_is_waited_for_anew(store, short, monkeypatch):
    monkeypatch.setattr(claims, "RIGHT_S", 0.5)
    key = key_of("n", "creator.json")
    store.put_if_absent(key, b'{"holder": "a"}')
    timer = threading.Timer(0.3, lambda: store.compare_and_swap(key, b'{"holder": "b"}', store.read_tagged(key).tag))
    timer.start()
    begun = time.monotonic()
    once(store, record(), lambda: {"run_id": "1"}, dict)
    assert time.monotonic() - begun > 0.75


def test_sigterm_before_the_answer_ends_the_command_and_a_retry_finds_the_run(cluster, command):
    process = start_until_created(cluster)
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + 15, "")
    assert command(cluster, "nightly").returncode == 0
    assert len(cluster.backend.runs) == 1
