"""The nightly pipeline as a person runs it: both runners, again, at once, after a kill, over dates."""

import time

import pytest
from click.testing import CliRunner

from tests.night_desk import make_desk, texts
from understudy.cli.main import app
from understudy.store import manifests

SMALL = ("--set", "shard.texts_per_shard=20", "--set", "infer.texts_per_segment=5")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def desk(tmp_path):
    made = make_desk(tmp_path)
    made.write("a.csv", texts(0, 60))
    return made


def words(desk, *options, **changes):
    given = {"card": desk.folder / "card.yaml", "texts": desk.source, "store": desk.uri, "work": desk.folder / "runs"}
    pairs = [part for name, value in {**given, **changes}.items() for part in (f"--{name}", str(value))]
    return ["-m", "understudy", "run", "nightly", *pairs, *options]


@pytest.fixture
def run(desk, warm):
    """Run a night in a process of its own to its end."""

    def run(*options, **changes):
        return warm.run(words(desk, *options, **changes), timeout=300)

    return run


def ids(desk, date):
    return desk.predictions(date)["id"].to_list()


def search(desk, *words):
    done = CliRunner().invoke(app, ["search", *words, "--store", desk.uri], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("runner", ["direct", "kfp"])
def test_a_night_labels_every_text_once_and_makes_it_searchable(desk, run, runner):
    done = run(*SMALL, date="2026-11-01", runner=runner, name="n1")
    assert done.returncode == 0, done.stderr
    assert ids(desk, "2026-11-01") == [name for name, _ in texts(0, 60)]
    steps = dict.fromkeys(line.split()[0].partition("-")[0] for line in done.stdout.splitlines()[1:])
    assert list(steps)[:3] == ["shard", "infer", "index"]
    assert "room number 42" in search(desk, "42", "--label", "tip")


def test_the_same_night_again_changes_nothing_and_the_next_one_takes_what_is_new(desk, run):
    assert run(date="2026-11-01", name="first").returncode == 0
    before = {key: desk.store.read(key) for key in desk.store.list("predictions/")}
    desk.write("b.csv", texts(60, 70))
    assert run(date="2026-11-01", name="again").returncode == 0
    assert {key: desk.store.read(key) for key in desk.store.list("predictions/")} == before
    assert run(date="2026-11-02", name="next").returncode == 0
    assert ids(desk, "2026-11-02") == [name for name, _ in texts(60, 70)]


def test_two_runs_of_one_date_at_once_leave_one_prediction_a_text(desk, warm):
    processes = [warm.start(words(desk, *SMALL, date="2026-11-01", name=f"run-{number}")) for number in range(2)]
    outcomes = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    assert ids(desk, "2026-11-01") == [name for name, _ in texts(0, 60)]
    assert len(desk.store.list(manifests.ORDER)) == 1


def test_a_night_that_was_killed_goes_on_by_resume(desk, run, warm):
    desk.write("a.csv", texts(0, 800))
    process = warm.start(words(desk, *SMALL, date="2026-11-01", name="killed"))
    deadline = time.monotonic() + 60
    while len(desk.store.list("predictions/")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = run(*SMALL, "--resume", date="2026-11-01")
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
    assert ids(desk, "2026-11-01") == [name for name, _ in texts(0, 800)]


def test_a_failing_worker_is_told_by_both_runners(desk, run):
    assert run(*SMALL, date="2026-11-01", name="first").returncode == 0
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    for shard in range(3):
        desk.store.delete(manifests.shard_key(manifest, shard))
    desk.store.delete(manifests.prediction_key(manifest, 1, 0))
    desk.store.put_if_absent(manifests.prediction_key(manifest, 1, 0), b"rubbish")
    for runner in ("direct", "kfp"):
        done = run(*SMALL, date="2026-11-01", name=f"by-{runner}", runner=runner)
        assert done.returncode == 2
        assert "A segment of predictions must be a Parquet table" in done.stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"date": "yesterday"}, "A night must be a date YYYY-MM-DD, got 'yesterday'"),
        ({"labels": "labels.csv"}, "nightly must be given what it takes, got --labels"),
        ({"texts": "nothing.csv"}, "nothing.csv"),
    ],
)
def test_what_cannot_serve_is_told_before_anything_runs(desk, run, changes, told):
    done = run(**changes)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (desk.folder / "runs").exists()


def test_training_still_asks_for_labels(desk, warm):
    given = {"card": desk.folder / "card.yaml", "texts": desk.source, "store": desk.uri}
    pairs = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    done = warm.run(["-m", "understudy", "run", "training", *pairs], timeout=300)
    assert done.returncode == 2
    assert "training must be given human labels, got none (--labels)" in done.stderr
