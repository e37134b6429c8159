"""Waiting for a submitted run, the retrain trigger, and the list of what ran."""

import json
import time
from datetime import date

import pytest
from click.testing import CliRunner

from tests.runners.clusters import end_when_there
from understudy.cli.main import app
from understudy.errors import BadArtifact
from understudy.runners.cluster import follow, retrain
from understudy.store import runs
from understudy.store.runs import DECISION, ENDED, STARTED, SUBMITTED, Told

NIGHT = "hotel-tips-nightly-2026-11-01"


def task(name, state, **more):
    return {"task_id": name, "display_name": name, "state": state, **more}


def test_a_night_that_ends_well_is_0_with_a_line_for_each_step(cluster, command):
    end_when_there(cluster, "SUCCEEDED", [task("shard", "SUCCEEDED"), task("shard-driver", "SUCCEEDED")])
    done = command(cluster, "nightly", "--wait")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2].split()[1:] == ["shard", "succeeded"]
    assert done.stdout.endswith(f"Done: {NIGHT}\n")
    assert "driver" not in done.stdout
    assert cluster.told(NIGHT).outcome == "done"


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_run_that_fails_or_is_cancelled_is_1_and_says_which_step_and_why(cluster, command, state):
    end_when_there(cluster, state, [task("shard", "FAILED", error={"code": 2, "message": "no texts"})])
    done = command(cluster, "nightly", "--wait")
    assert done.returncode == 1
    assert "shard failed: no texts" in done.stderr
    assert f"The run has ended as {state}." in done.stderr
    assert cluster.told(NIGHT).outcome == state.lower()


@pytest.mark.parametrize(
    ("decision", "code", "sentence", "outcome"),
    [
        ({"decision": "publish", "reason": "", "headline": "F1 0.8"}, 0, "Published: F1 0.8", "published"),
        (
            {"decision": "refuse", "reason": "F1 0.4 is below 0.6"},
            3,
            "Not published (refuse): F1 0.4 is below 0.6",
            "not published (refuse)",
        ),
        (
            {"decision": "keep-the-teacher", "reason": "cheaper"},
            3,
            "Not published (keep-the-teacher)",
            "not published (keep-the-teacher)",
        ),
    ],
)
def test_a_training_ends_as_evaluate_has_decided(cluster, command, decision, code, sentence, outcome):
    end_when_there(cluster, "SUCCEEDED", decision=decision)
    done = command(cluster, "training", "--wait", "--name", "t")
    assert done.returncode == code
    assert sentence in done.stdout
    assert cluster.backend.runs[0]["runtime_config"]["parameters"]["record"] == f"{cluster.store_uri}/runs/t/{DECISION}"
    assert cluster.told("t").outcome == outcome


def test_a_training_whose_teacher_was_hopeless_is_3_with_the_steps_own_sentence(cluster, command):
    fault = {"step": "label", "exit_code": 3, "message": "The teacher must agree with people, got kappa -0.10."}
    end_when_there(cluster, "FAILED", [task("label", "FAILED")], fault=fault)
    done = command(cluster, "training", "--wait", "--name", "t")
    assert done.returncode == 3
    assert "Its step label said: The teacher must agree with people, got kappa -0.10." in done.stderr


def test_a_training_that_leaves_no_decision_is_1(cluster, command):
    end_when_there(cluster, "SUCCEEDED")
    for name in ("t", "rerun-mine-x"):  # a whole training is one under any name
        done = command(cluster, "training", "--wait", "--name", name)
        assert done.returncode == 1
        assert "must leave evaluate's decision in the store, got none" in done.stderr


def test_evaluate_leaves_its_decision_where_it_is_told_and_keeps_the_first(tmp_path):
    from understudy.runtime.shell import Result
    from understudy.steps.evaluate.step import _leave

    record = str(tmp_path / "runs/t/decision.json")
    _leave(record, Result("refuse: F1 0.4", parameters={"decision": "refuse", "reason": "F1"}))
    _leave(record, Result("publish", parameters={"decision": "publish", "reason": ""}))
    kept = json.loads((tmp_path / "runs/t/decision.json").read_text())
    assert kept == {"decision": "refuse", "reason": "F1", "headline": "refuse: F1 0.4"}


def test_the_same_command_again_waits_for_the_run_that_is_there(cluster, command):
    command(cluster, "nightly")
    end_when_there(cluster, "SUCCEEDED")
    assert command(cluster, "nightly", "--wait").returncode == 0
    assert len(cluster.backend.runs) == 1


def test_a_server_that_is_away_for_a_while_does_not_end_the_waiting(cluster, command, monkeypatch):
    end_when_there(cluster, "SUCCEEDED")
    cluster.fault(503, on="GET", path="/runs/", times=9)
    assert command(cluster, "nightly", "--wait").returncode == 0
    monkeypatch.setattr(follow, "PATIENCE_S", 0.0)
    cluster.fault(503, on="GET", path="/runs/", times=99)
    done = command(cluster, "nightly", "--wait")
    assert done.returncode == 1
    assert "must be able to read a run, got 503" in done.stderr


def test_sigterm_while_waiting_leaves_the_run_alone(cluster):
    process = cluster.start("nightly", "--wait")
    while not any(it["operation"] == "RunService_GetRun" for it in cluster.backend.requests):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + 15
    assert f"Stopped waiting; the run goes on: {cluster.told(NIGHT).submitted['url']}" in err
    assert {it["operation"] for it in cluster.backend.requests} & {"RunService_TerminateRun"} == set()
    assert cluster.backend.runs[0]["state"] == "PENDING"


def ask(cluster, night):
    cluster.store.put_if_absent(f"watch/retrain/{night}.json", b'{"card": "hotel-tips"}')


def test_no_training_is_submitted_until_a_night_asks(cluster, command):
    done = command(cluster, "training", "--when-asked")
    assert (done.returncode, cluster.backend.runs) == (0, [])
    assert done.stdout == "Nothing to do: no night has asked for a training of the model that serves.\n"


def test_a_night_that_asks_gets_one_training_however_often_the_command_runs(cluster, command):
    ask(cluster, "2026-11-01")
    first, second = (command(cluster, "training", "--when-asked") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert [run["display_name"] for run in cluster.backend.runs] == ["hotel-tips-retrain-2026-11-01"]
    assert "was answered by the training of" in second.stdout


def test_no_second_training_while_one_is_under_way(cluster, command):
    ask(cluster, "2026-11-01")
    command(cluster, "training", "--when-asked")
    ask(cluster, "2099-01-01")
    busy = command(cluster, "training", "--when-asked", "--at-most-every-days", "0")
    assert "the training run hotel-tips-retrain-2026-11-01 is under way" in busy.stdout
    cluster.backend.become(cluster.backend.runs[0]["run_id"], "FAILED")
    assert "Submitted: " in command(cluster, "training", "--when-asked", "--at-most-every-days", "0").stdout
    assert cluster.told("hotel-tips-retrain-2026-11-01").outcome == "failed"


def test_a_training_whose_run_was_deleted_is_not_waited_for(cluster, command):
    ask(cluster, "2026-11-01")
    command(cluster, "training", "--when-asked")
    cluster.backend.runs.clear()
    ask(cluster, "2099-01-01")
    assert command(cluster, "training", "--when-asked", "--at-most-every-days", "0").returncode == 0
    assert len(cluster.backend.runs) == 1


def test_when_asked_is_for_training_alone(cluster, command):
    done = command(cluster, "nightly", "--when-asked")
    assert done.returncode == 2
    assert "--when-asked is for training" in done.stderr


def training(name, day, begins_at="", **more):
    started = {"pipeline": "training", "card": "c", "started": f"{day}T10:00:00Z", "runner": "cluster"}
    started["begins_at"] = begins_at
    return Told(name=name, started={**started, "card_hash": "h", "artifacts": ""}, **more)


def done(name, day, state="SUCCEEDED", begins_at=""):
    return training(name, day, begins_at, submitted={"run_id": "1"}, ended={"state": state})


FAILED_TWICE = [done(f"c-retrain-2026-11-09{number}", "2026-11-09", "FAILED") for number in ("", "-2")]


@pytest.mark.parametrize(
    ("nights", "trainings", "name"),
    [
        ([], [], ""),
        (["2026-11-01"], [], "c-retrain-2026-11-01"),
        (["2026-11-01", "2026-11-03"], [], "c-retrain-2026-11-03"),
        (["2026-11-01"], [training("x", "2026-11-02", submitted={"run_id": "1"})], ""),  # answered by another
        (["2026-11-09"], [training("x", "2026-11-05", submitted={"run_id": "1"})], ""),  # within seven days
        (["2026-11-09"], [training("x", "2026-11-03", submitted={"run_id": "1"})], "c-retrain-2026-11-09"),
        (["2026-11-09"], [training("c-retrain-2026-11-09", "2026-11-10")], "c-retrain-2026-11-09"),  # killed midway
        (["2026-11-08", "2026-11-09"], [training("c-retrain-2026-11-08", "2026-11-08")], "c-retrain-2026-11-08"),
        (["2026-11-09"], [training("by-hand", "2026-11-08")], "c-retrain-2026-11-09"),  # which was never created
        (["2026-11-08"], [training("c-retrain-2026-11-08", "2026-11-08"), done("x", "2026-11-09")], ""),
        (["2026-11-08"], [done("x", "2026-11-09", begins_at="train")], ""),
        (["2026-11-08"], [done("x", "2026-11-09", begins_at="evaluate")], "c-retrain-2026-11-08"),  # the old student
        (["2026-11-08"], [done("rerun-mine-x", "2026-11-09")], ""),  # a whole one, whatever its name is
        (["2026-11-09"], [done("c-retrain-2026-11-09", "2026-11-09", "FAILED")], "c-retrain-2026-11-09-2"),
        (["2026-11-09"], FAILED_TWICE, "c-retrain-2026-11-09-3"),
        (["2026-11-09"], [training("c-retrain-2026-11-09-mine", "2026-11-09")], "c-retrain-2026-11-09"),  # no try of it
        (["2026-11-09"], [done("c-retrain-2026-11-09", "2026-11-10", "FAILED")], ""),  # today
        (["2026-11-09"], [done("c-retrain-2026-11-09", "2026-11-09", "CANCELED")], ""),  # by a person
    ],
)
def test_the_newest_night_that_asks_gets_a_training_unless_one_answers_it_or_was_lately(nights, trainings, name):
    assert retrain.decide("c", nights, trainings, 7, date(2026, 11, 10)).name == name


def test_a_night_that_judged_a_model_which_was_replaced_since_asks_for_nothing(store):
    current = {"version": "b", "previous": "a", "generation": 2, "published": "2026-11-03T00:00:00Z", "card": "c"}
    current |= {
        "card_hash": "0" * 64,
        "report": f"bundles/b/papers/{0:012x}/report.html",
        "is_rehearsal": False,
        "is_forced": False,
    }
    store.put_if_absent("current.json", json.dumps(current).encode())
    for night, generation in (("2026-11-02", 1), ("2026-11-04", 2)):
        store.put_if_absent(f"watch/retrain/{night}.json", json.dumps({"generation": generation}).encode())
    assert retrain.asking(store) == ["2026-11-04"]
    store.put_if_absent("watch/retrain/2026-11-05.json", b"[]")
    with pytest.raises(BadArtifact, match=r"What a night has asked must be readable.*2026-11-05"):
        retrain.asking(store)


def test_a_training_that_failed_is_tried_again_a_day_later_under_a_name_of_its_own(cluster, command, monkeypatch):
    ask(cluster, "2026-11-01")
    command(cluster, "training", "--when-asked")
    cluster.backend.become(cluster.backend.runs[0]["run_id"], "FAILED")
    today = command(cluster, "training", "--when-asked")
    assert "the last training failed on" in today.stdout
    monkeypatch.setattr(retrain, "DAYS_AFTER_FAILURE", 0)
    assert command(cluster, "training", "--when-asked").returncode == 0
    names = [run["display_name"] for run in cluster.backend.runs]
    assert names == ["hotel-tips-retrain-2026-11-01", "hotel-tips-retrain-2026-11-01-2"]


def test_understudy_runs_lists_what_ran_and_how_it_ended(store):
    given = {"card": "tips", "card_hash": "a" * 64, "arguments": {}, "artifacts": "/runs/here", "runner": "direct"}
    runs.put(store, "here", STARTED, {**given, "pipeline": "training", "started": "2026-11-01T00:00:00Z"})
    runs.put(store, "here", ENDED, {"decision": "refuse"})
    runs.put(store, "night", STARTED, {**given, "pipeline": "nightly", "started": "2026-11-02T00:00:00Z"})
    runs.put(store, "night", SUBMITTED, {"run_id": "1", "url": "https://kfp/1", "artifacts": ""})
    done = CliRunner().invoke(app, ["runs", "--store", store.uri])
    assert [line.split("  ")[0] for line in done.output.splitlines()] == ["name", "night", "here"]
    assert "tips@aaaaaaaaaaaa" in done.output
    night, here = done.output.splitlines()[1:]
    assert night.endswith("https://kfp/1")
    assert "submitted" in night
    assert here.endswith("/runs/here")
    assert "not published (refuse)" in here


def test_understudy_runs_says_so_when_there_are_none(store):
    assert "No run was started" in CliRunner().invoke(app, ["runs", "--store", store.uri]).output


def test_a_damaged_record_is_told_with_its_place(store):
    store.put_if_absent("runs/x/started.json", b"{")
    with pytest.raises(BadArtifact, match=r"runs/x/started\.json"):
        runs.read_all(store)
