"""The command that runs a pipeline here: its lines, its exit codes, its record, and going on after a kill."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import toys
from tests.conftest import card_yaml
from understudy.runtime import provenance
from understudy.store import hashing
from understudy.store.storage import open_store
from understudy.task.card import parse_card


def test_each_step_gets_one_tidy_line_with_time_and_headline(finished):
    desk, done = finished
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [re.sub(r"\d+\.\d s", "_", line) for line in lines] == [
        "Log: runs/first/run.log",
        "gather        _   4 texts",
        "double        _   x2: [8, 4]",
        "decide        _   sum 12",
        f"ship          _   shipped to {desk.folder}/store, 35 characters",
        "Report: runs/first/report.html",
        "Published: first",
    ]
    assert done.stderr == ""


def test_what_steps_print_goes_to_the_log_only(finished):
    desk, done = finished
    log = (desk.runs / "first/run.log").read_text()
    assert "noise of double" in log
    assert "noise" not in done.stdout + done.stderr


def test_a_run_that_fails_after_its_report_was_made_shows_it(desk, run):
    done = run(desk, "--name", "failed", env={"TOY_FAIL": "ship"})
    assert "Report: runs/failed/report.html" in done.stderr
    assert (desk.runs / "failed/report.html").read_text() == "<!doctype html><title>sum</title>12"


def test_the_report_opens_as_a_page(finished):
    desk, _ = finished
    assert (desk.runs / "first/report.html").read_text() == "<!doctype html><title>sum</title>12"


def test_a_run_is_recorded_in_the_store_before_and_after(finished):
    desk, _ = finished
    started = json.loads((desk.folder / "store/runs/first/started.json").read_text())
    ended = json.loads((desk.folder / "store/runs/first/ended.json").read_text())
    assert (started["pipeline"], started["card"], started["runner"]) == ("training", "toy", "direct")
    assert started["card_hash"] == parse_card((desk.folder / "card.yaml").read_text()).hash
    assert started["artifacts"] == str(desk.runs / "first")
    assert started["arguments"]["texts"] == str(desk.folder / "texts.csv")
    assert (ended["decision"], ended["parameters"]["decide"]["decision"]) == ("publish", "publish")


def test_the_name_of_a_run_is_used_once(finished, run):
    desk, _ = finished
    again = run(desk, "--name", "first")
    assert again.returncode == 2
    assert "A run's name must be new, got 'first' (--name)" in again.stderr
    elsewhere = run(desk, "--name", "first", work=desk.folder / "elsewhere")
    assert elsewhere.returncode == 2, "the store knows the name, too"
    assert not (desk.folder / "elsewhere").exists()


def test_a_finished_run_is_not_resumed(finished, run):
    desk, _ = finished
    again = run(desk, "--resume")
    assert again.returncode == 2
    assert "got no unfinished run" in again.stderr


def test_a_gate_that_refuses_ends_with_3_and_its_reason(desk, run):
    (desk.folder / "texts.csv").write_text("id,text\n1,a\n")
    done = run(desk)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "Not published (refuse): the sum is 8"
    assert "ship" not in desk.ran()


def test_faults_of_the_request_are_told_together_before_any_step(desk, run):
    (desk.folder / "card.yaml").write_text(card_yaml(name="toy", rules=None, surprise=1))
    (desk.folder / "labels.csv").write_text("id,answer\n1,tip\n")
    (desk.folder / "file").write_text("a file is no store")
    done = run(desk, "--set", "train.epoch=2", texts="nowhere.csv", store="file/store")
    assert done.returncode == 2
    assert desk.ran() == []
    assert not desk.runs.exists()
    told = done.stderr
    for fault in ("card.yaml:", "nowhere.csv", "columns id, label, got id, answer", "The store must be writable"):
        assert fault in told
    assert "'epoch' (--set train.epoch)" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden"])
def test_a_name_that_cannot_name_a_folder_is_refused(desk, name, run):
    done = run(desk, "--name", name)
    assert done.returncode == 2
    assert "A run's name must be letters" in done.stderr
    assert desk.ran() == []


def test_a_run_with_its_store_on_s3_is_recorded_there(desk, run, s3_url):
    done = run(desk, "--name", "first", store=f"{s3_url}/deep")
    assert done.returncode == 0, done.stderr
    store = open_store(f"{s3_url}/deep")
    assert store.list("runs/") == ["runs/first/ended.json", "runs/first/started.json"]
    assert json.loads(store.read("runs/first/started.json"))["arguments"]["store"] == f"{s3_url}/deep"


def test_a_card_on_s3_is_read_there(desk, run, s3_url):
    open_store(s3_url).put_if_absent("card.yaml", card_yaml(name="toy", rules=None).encode())
    done = run(desk, card=f"{s3_url}/card.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{s3_url}/card.yaml:1: ")


def test_sources_on_s3_are_looked_for_before_any_step(desk, run, s3_url):
    sources = {"texts": f"{s3_url}/nothing.csv", "labels": "s3://no-such-bucket-here/labels.csv"}
    done = run(desk, card=f"{s3_url}/card.yaml", **sources)
    assert done.returncode == 2
    assert f"A source must exist, got nothing at {s3_url}/nothing.csv (--texts)" in done.stderr
    assert f"A card must exist, got nothing at {s3_url}/card.yaml (--card)" in done.stderr
    assert "no bucket 'no-such-bucket-here'" in done.stderr
    assert desk.ran() == []


def test_an_override_that_breaks_a_rule_only_beside_the_card_is_found_before_any_step(desk, run):
    (desk.folder / "card.yaml").write_text(card_yaml(name="toy", calibrate={"objective": "recall"}))
    done = run(desk, "--set", "calibrate.min_precision=7")
    assert done.returncode == 2
    assert "min_precision must" in done.stderr
    assert desk.ran() == []


@pytest.mark.parametrize("runner", ["direct", "kfp"])
def test_bad_input_that_a_step_finds_ends_with_2_and_its_sentence(desk, runner):
    process = desk.start("--runner", runner, "--name", "bad", TOY_FAIL="double")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[0] == "A toy must work, got TOY_FAIL (double). Unset it."
    assert err.splitlines()[-1] == "Log: runs/bad/run.log"
    assert re.fullmatch(r"double +\d+\.\d s   failed", out.splitlines()[-1])
    assert "Traceback" in (desk.runs / "bad/run.log").read_text()
    assert desk.ran() == ["gather", "double"]


@pytest.mark.parametrize("runner", ["direct", "kfp"])
def test_a_defect_ends_with_1_and_one_sentence(desk, runner):
    process = desk.start("--runner", runner, TOY_CRASH="double")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ZeroDivisionError: a defect" in err.splitlines()[0]
    assert "Traceback" not in err


def test_after_a_kill_a_run_goes_on_and_nothing_is_done_twice(desk, run):
    process = desk.start_until("double", "--name", "killed", TOY_SLEEP="double")
    process.kill()
    process.communicate()
    assert desk.ran() == ["gather", "double"]

    done = run(desk, "--resume")
    assert done.returncode == 0, done.stderr
    assert desk.ran() == ["gather", "double", "double", "decide", "ship"]
    assert re.search(r"^gather +kept   4 texts$", done.stdout, flags=re.MULTILINE)
    assert not list((desk.runs / "killed").rglob(".~*"))


KILL = """
import os, signal
from pathlib import Path
from understudy.runners import runs
from understudy.runners.local import run as local

write, put = runs._write, runs.put

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(file, content):
    file.with_name(f".~{file.name}").write_bytes(content[:9])
    killed()

def claimed(*given):
    put(*given)
    killed()

point = os.environ["KILL_AT"]
runs._write = {"folder": killed, "half": half}.get(point, write)
runs.put = {"record": killed, "claim": claimed}.get(point, put)
from understudy.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("point", "new", "resumed"), [("folder", 0, 2), ("half", 0, 2), ("record", 0, 0), ("claim", 2, 0)]
)
def test_wherever_a_beginning_is_killed_its_name_is_free_or_can_be_resumed(desk, run, point, new, resumed):
    """Between the folder, the record in it and the claim in the store; whoever is refused is told the other way."""
    for name, code, options in (("a", new, []), ("b", resumed, ["--resume"])):
        env = toys.environment(TOY_LOG=desk.log, KILL_AT=point)
        begun = subprocess.run(
            [sys.executable, "-c", KILL, "run", *desk.options("--name", name)],
            cwd=desk.folder, env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert begun.returncode == -signal.SIGKILL, begun.stderr
        done = run(desk, "--name", name, *options)
        assert done.returncode == code, done.stderr
        assert code == 0 or "--resume" in done.stderr


def test_a_name_that_an_earlier_release_only_claimed_can_be_resumed(desk, run):
    """It claimed the name before it made the folder."""
    run(desk, "--name", "burnt")
    shutil.rmtree(desk.runs / "burnt")
    (desk.folder / "store/runs/burnt/ended.json").unlink()
    assert run(desk, "--name", "burnt").returncode == 2
    assert run(desk, "--resume", "--name", "burnt").returncode == 0


def test_a_name_that_another_machine_has_claimed_meanwhile_is_not_resumed(desk, run):
    run(desk, "--name", "mine", env={"TOY_FAIL": "ship"})
    file = desk.folder / "store/runs/mine/started.json"
    file.write_text(file.read_text().replace(str(desk.runs), "/of/another"))
    done = run(desk, "--resume", "--name", "mine")
    assert done.returncode == 2
    assert "which another run has claimed in the store" in done.stderr


@pytest.mark.parametrize("given", ["store", "texts", "labels", "card"])
def test_a_run_is_resumed_only_with_what_it_was_begun_with(desk, run, given):
    run(desk, "--name", "first", env={"TOY_FAIL": "ship"})
    place = {"store": "store", "texts": "texts.csv", "labels": "labels.csv", "card": "card.yaml"}[given]
    other = desk.folder / f"other-{place}"
    (shutil.copytree if other.suffix == "" else shutil.copy)(desk.folder / place, other)
    if given == "card":
        other.write_text(other.read_text() + "# another\nlabel: {texts: 7}\n")
    desk.log.unlink()
    done = run(desk, "--resume", **{given: other.name})
    assert done.returncode == 2
    assert f"got --{given} {other} where it was {desk.folder / place} ('first', --resume)" in done.stderr
    assert not desk.log.exists()
    assert run(desk, "--resume").returncode == 0


def test_of_several_unfinished_runs_the_one_that_was_given_the_same_is_resumed(desk, run):
    shutil.copy(desk.folder / "texts.csv", desk.folder / "others.csv")
    run(desk, "--name", "first", env={"TOY_FAIL": "ship"})
    run(desk, "--name", "second", env={"TOY_FAIL": "ship"}, texts="others.csv")
    assert run(desk, "--resume").returncode == 0
    assert (desk.runs / "first/ended.json").exists()
    assert not (desk.runs / "second/ended.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_how_to_go_on(desk, number, code):
    process = desk.start_until("double", "--name", "stopped", TOY_SLEEP="double")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"Stopped by {number.name}; what was done is kept." in err
    assert "--resume --name stopped" in err
    assert re.fullmatch(r"double +\d+\.\d s   stopped", out.splitlines()[-1])
    assert not list((desk.runs / "stopped").rglob(".~*"))


def test_a_resumed_run_does_again_what_comes_after_a_change(desk, run):
    run(desk, "--name", "failed", env={"TOY_FAIL": "ship"})
    desk.log.unlink()
    resumed = run(desk, "--resume", "--name", "failed", "--set", "export.int8=false")
    assert resumed.returncode == 0, resumed.stderr
    assert desk.ran() == ["ship"], "a setting of another step changes nothing"

    run(desk, "--name", "again", env={"TOY_FAIL": "ship"})
    desk.log.unlink()
    (desk.folder / "texts.csv").write_text("id,text\n1,a\n2,b\n3,c\n4,d\n")
    resumed = run(desk, "--resume")
    assert desk.ran() == ["gather", "double", "decide", "ship"]
    assert "sum 14" in resumed.stdout


def test_a_run_is_worked_on_by_one_process(desk, run):
    process = desk.start_until("double", "--name", "busy", TOY_SLEEP="double")
    second = run(desk, "--resume")
    process.kill()
    process.communicate()
    assert second.returncode == 2
    assert "one process at a time" in second.stderr


def test_both_runners_make_the_same_artifacts(finished):
    desk, _ = finished
    process = desk.start("--runner", "kfp", "--name", "second")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [line.split()[0] for line in out.splitlines()[1:5]] == ["gather", "double", "decide", "ship"]
    (made,) = (desk.runs / "second/kfp").iterdir()
    for output in ("gather/numbers", "double/doubled", "decide/evaluation", "decide/page", "ship/release"):
        assert hashing.hash_tree(made / output) == hashing.hash_tree(desk.runs / "first" / output)
    told = [provenance.read(folder / "double/doubled") for folder in (made, desk.runs / "first")]
    assert told[0]["arguments"] == told[1]["arguments"]
    assert provenance.read(made / "double/doubled")["inputs"]["numbers"]["uri"] == str(made / "gather/numbers")


def test_a_run_by_kfps_runner_is_not_resumed(desk, run):
    done = run(desk, "--runner", "kfp", "--resume")
    assert done.returncode == 2
    assert done.stderr.startswith("--resume must be used with the direct runner, got --runner kfp.")


def test_stopping_kfps_runner_leaves_no_process_behind(desk):
    process = desk.start_until("double", "--runner", "kfp", TOY_SLEEP="double", TOY_MARK=desk.folder)
    assert workers(desk) > 1
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Stopped by SIGTERM" in err
    assert workers(desk) == 0


def test_when_the_command_is_killed_kfps_runner_ends_too(desk):
    process = desk.start_until("double", "--runner", "kfp", TOY_SLEEP="double", TOY_MARK=desk.folder)
    process.kill()
    process.communicate()
    for _ in range(100):
        if workers(desk) == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the runner is still there")


def workers(desk):
    """Count the processes that were started for this desk."""
    mark = f"TOY_MARK={desk.folder}\0".encode()
    return sum(mark in environment_of(process) for process in Path("/proc").glob("[0-9]*"))


def environment_of(process):
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
