"""A run of index that is killed, or has no room, and what the next one then does."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import card_yaml
from tests.nights import prediction, put_segment
from tests.search.conftest import QUICK
from understudy.search import opening, sync
from understudy.search.query import Query

SEGMENTS, ROWS, KILLS = 120, 25, 10


@pytest.fixture
def command(place, store, tmp_path, monkeypatch):
    """Return the command that indexes a store of many small segments."""
    url, name = place
    if url:
        monkeypatch.setenv("ELASTICSEARCH_URL", url)
    for number in range(SEGMENTS):
        put_segment(store, [prediction(f"{number}-{row}") for row in range(ROWS)], number)
    card = tmp_path / "card.yaml"
    card.write_text(card_yaml(name=name), encoding="utf-8")
    out = tmp_path / "indexed"
    return [
        *("-m", "understudy", "index", "--card", str(card), "--store", store.uri),
        *("--indexed", str(out), "--set", "index.replicas=0"),
    ]


def test_killed_at_ten_random_moments_it_leaves_one_document_a_text(command, place, store, warm):
    chance = random.Random(5)  # noqa: S311 - moments, not secrets
    with opening.opened(store, place[1], place[0], QUICK) as index:
        left = killed = 0
        for _ in range(KILLS):
            left = len(index.missing(sync.list_segments(store)))
            killed += kill_after(
                warm.start(command), index, store, left - chance.randrange(1, 8), chance.random() * 0.02
            )
        assert killed == KILLS, "every run was killed while it had work left"
        assert 0 < len(index.missing(sync.list_segments(store))) < SEGMENTS
        warm.run(command, check=True)
        assert index.count() == SEGMENTS * ROWS
        answer = index.search(Query(limit=SEGMENTS * ROWS))
    assert len({found["id"] for found in answer.documents}) == answer.total == SEGMENTS * ROWS


def kill_after(run, index, store, left, pause_s):
    """Kill a run some moments after it has brought the missing segments down to `left`; True when killed."""
    segments = sync.list_segments(store)
    while run.poll() is None and len(index.missing(segments)) > left:
        time.sleep(0.001)
    time.sleep(pause_s)
    run.send_signal(signal.SIGKILL)
    return run.wait() == -signal.SIGKILL


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_disk_without_room_is_one_sentence_and_with_room_it_goes_on(command, place, store, warm):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    full = subprocess.run(
        [sys.executable, *command],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=little_room,
    )
    assert full.returncode == 1
    assert "The index must be a file that SQLite can read and write" in full.stderr
    assert "Traceback" not in full.stderr
    warm.run(command, check=True)
    with opening.opened(store, place[1], "", QUICK) as index:
        assert index.count() == SEGMENTS * ROWS


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_damaged_file_is_filled_again_from_the_store(command, place, store, warm):
    warm.run(command, check=True)
    (file,) = Path(os.environ["UNDERSTUDY_CACHE"], "index").glob("*.sqlite")
    file.write_bytes(b"not a database" * 1000)
    warm.run(command, check=True)
    with opening.opened(store, place[1], "", QUICK) as index:
        assert index.count() == SEGMENTS * ROWS


def environment():
    components = str(Path(__file__).parents[2] / "components")
    return {**os.environ, "PYTHONPATH": components}
