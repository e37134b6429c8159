"""What failed is entered again without a person, within bounds; what only a person can mend is not, until it is."""

import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.runners.clusters import ROOT
from understudy.cli.main import app
from understudy.runners.cluster import repeats
from understudy.runners.runs import Record
from understudy.store import runs
from understudy.store.runs import FAULT
from understudy.store.storage import open_store, update

FIRST, SECOND = "2026-11-01", "2026-11-02"
BASE = "hotel-tips-nightly-2026-11-01"
CRON = "--tries=3"


def names(cluster):
    return [run["display_name"] for run in cluster.backend.runs]


def fail(cluster, name, fault=""):
    """Let a run end as one does whose step failed; with a fault, as its step tells one that a person must mend."""
    (run,) = [run for run in cluster.backend.runs if run["display_name"] == name]
    if fault:
        where = run["runtime_config"]["parameters"]["fault"]
        store = open_store(where.rpartition("/")[0])
        store.put_if_absent(FAULT, runs.as_bytes({"step": "shard", "exit_code": 2, "message": fault}))
    cluster.backend.become(run["run_id"], "FAILED")


def test_the_next_nights_job_enters_a_failed_night_again_until_it_was_tried_three_times(cluster, command):
    assert command(cluster, "nightly", CRON, date=FIRST).returncode == 0
    fail(cluster, BASE)
    for number, day in ((2, SECOND), (3, "2026-11-03")):
        assert command(cluster, "nightly", CRON, date=day).returncode == 0
        assert names(cluster)[-1] == f"{BASE}-{number}"
        (run,) = [run for run in cluster.backend.runs if run["display_name"] == f"{BASE}-{number}"]
        assert run["runtime_config"]["parameters"]["date"] == FIRST
        fail(cluster, f"{BASE}-{number}")
    assert command(cluster, "nightly", CRON, date="2026-11-04").returncode == 0
    assert [name for name in names(cluster) if name.startswith(BASE)] == [BASE, f"{BASE}-2", f"{BASE}-3"]
    assert len(cluster.backend.runs) == 6  # and each night's own


def test_the_same_job_again_enters_its_own_failed_night_again_and_then_needs_a_person(cluster, command):
    for number in (1, 2, 3):
        assert command(cluster, "nightly", CRON, date=FIRST).returncode == 0
        assert command(cluster, "nightly", CRON, date=FIRST).returncode == 0  # one that goes on stays one
        assert len(cluster.backend.runs) == number
        fail(cluster, names(cluster)[-1])
    done = command(cluster, "nightly", CRON, date=FIRST)
    assert (done.returncode, len(cluster.backend.runs)) == (2, 3)
    assert f"submit it with --name {BASE}-4 --date {FIRST}" in done.stderr


@pytest.mark.parametrize("state", ["SUCCEEDED", "RUNNING", "CANCELED"])
def test_a_night_that_goes_on_went_well_or_was_cancelled_by_a_person_is_left_alone(cluster, command, state):
    command(cluster, "nightly", CRON, date=FIRST)
    cluster.backend.become(cluster.backend.runs[0]["run_id"], state)
    assert command(cluster, "nightly", CRON, date=SECOND).returncode == 0
    assert names(cluster) == [BASE, "hotel-tips-nightly-2026-11-02"]


def test_a_night_that_was_claimed_and_never_created_is_created_by_the_next_job(cluster, command):
    cluster.fault(503, times=99)
    assert command(cluster, "nightly", CRON, date=FIRST).returncode == 1
    cluster.backend.faults.clear()
    assert command(cluster, "nightly", CRON, date=SECOND).returncode == 0
    assert sorted(names(cluster)) == [BASE, "hotel-tips-nightly-2026-11-02"]


def test_what_only_a_person_can_mend_is_not_repeated_until_something_has_changed(cluster, command):
    command(cluster, "nightly", CRON, date=FIRST)
    fail(cluster, BASE, "A file of texts must have the columns id, text, got a, b.")
    done = command(cluster, "nightly", CRON, date=SECOND)
    assert (done.returncode, names(cluster)) == (
        0,
        [BASE, "hotel-tips-nightly-2026-11-02"],
    )  # tonight is not kept from it
    assert "whose step shard said: A file of texts must have the columns id, text" in done.stderr
    again = command(cluster, "nightly", CRON, date=FIRST)
    assert (again.returncode, len(cluster.backend.runs)) == (2, 2)
    assert "add --again" in again.stderr
    (cluster.folder / "card.yaml").write_text(card_yaml(question="Is this sentence good advice for travellers?"))
    assert command(cluster, "nightly", CRON, date="2026-11-03").returncode == 0
    assert f"{BASE}-2" in names(cluster)


def test_what_the_store_says_of_a_fault_is_shown_cut_and_without_keys(cluster, command):
    command(cluster, "nightly", CRON, date=FIRST)
    fail(cluster, BASE, f"A row is broken.\x1b[2J http://me:opensesame@host {'long ' * 1_000}")
    done = command(cluster, "nightly", CRON, date=FIRST)
    listed = CliRunner().invoke(app, ["runs", "--store", cluster.store_uri], catch_exceptions=False).stdout
    for shown in (done.stderr, listed):
        assert "step shard said: A row is broken." in shown
        assert "\x1b" not in shown
        assert "opensesame" not in shown
        assert len(shown) < 3_000


def test_texts_that_were_mended_where_they_lie_are_seen(cluster, command):
    command(cluster, "nightly", CRON, date=FIRST)
    fail(cluster, BASE, "A row is broken.")
    assert command(cluster, "nightly", CRON, date=FIRST).returncode == 2
    source = open_store(cluster.store_uri.removesuffix("/store"))
    assert source.compare_and_swap("texts.csv", b"id,text\n1,mended\n", source.read_tagged("texts.csv").tag)
    assert command(cluster, "nightly", CRON, date=FIRST).returncode == 0
    assert names(cluster) == [BASE, f"{BASE}-2"]


def test_whoever_says_so_enters_it_again_as_it_is(cluster, command):
    command(cluster, "nightly", CRON, date=FIRST)
    fail(cluster, BASE, "The key of the teacher is wrong.")
    assert command(cluster, "nightly", "--name", "mine", date=FIRST).returncode == 2
    assert command(cluster, "nightly", "--name", "mine", "--again", date=FIRST).returncode == 0
    assert names(cluster) == [BASE, "mine"]


def test_a_training_with_too_few_labels_is_not_paid_for_again_until_there_are_more(cluster, command):
    assert command(cluster, "training").returncode == 0
    (name,) = names(cluster)
    fail(cluster, name, "The calibration split must hold at least 50 texts of each label, got 31 of 'tip'.")
    done = command(cluster, "training")
    assert (done.returncode, len(cluster.backend.runs)) == (2, 1)
    assert "got 31 of 'tip'" in done.stderr
    cluster.store.put_if_absent("labels/hotel-tips/000001-labels.jsonl", b"{}\n")  # ingest's copy of the labels file
    assert command(cluster, "training").returncode == 2
    cluster.store.put_if_absent("labels/hotel-tips/000002-queue.jsonl", b"{}\n")  # what a person has added
    assert command(cluster, "training").returncode == 0


def test_answers_on_the_review_page_are_seen_while_their_object_grows(store):
    record = Record("run", "training", "cluster", "hotel-tips", "a" * 64, {}, "2026-11-01T00:00:00+00:00", "")
    key = "labels/hotel-tips/000001-review.jsonl"
    store.put_if_absent(key, b"{}\n")
    before = repeats.inputs_of(record, store)
    assert repeats.inputs_of(record, store) == before
    update(store, key, lambda data: (data or b"") + b"{}\n", "A sitting")
    assert repeats.inputs_of(record, store) != before


def test_no_more_than_a_week_is_looked_back_on():
    assert repeats.days_before("2026-11-08") == [f"2026-11-0{day}" for day in range(1, 8)]


def test_the_cronjobs_ask_for_it(cluster):
    jobs = yaml.safe_load_all((ROOT / "manifests/base/cronjobs/cronjobs.yaml").read_text())
    args = {job["metadata"]["name"]: job["spec"]["jobTemplate"]["spec"]["template"]["spec"] for job in jobs}
    for name in ("understudy-nightly", "understudy-quality"):
        assert CRON in args[name]["containers"][0]["args"]
