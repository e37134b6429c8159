"""The week's sample on the direct runner, with real steps."""

import csv
import json
import shutil

import pytest

from tests.watched import make_texts, publish, put_night
from understudy.runners.local import run as local
from understudy.runners.request import Request
from understudy.store.storage import open_store


@pytest.fixture
def store(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # nobody listens there
    opened = open_store(str(tmp_path / "store"))
    version = publish(opened, tmp_path / "bundle")
    for number in (1, 2):
        put_night(opened, f"2026-11-0{number}", make_texts(200, 0.2, seed=number), version)
    from understudy.runtime import shell

    given = {"card": tmp_path / "bundle", "store": opened.uri, "date": "2026-11-02"}
    shell.execute("watch", {**given, "watched": tmp_path / "watched", "page": tmp_path / "page"})
    shutil.copy(tmp_path / "bundle/card.yaml", tmp_path / "card.yaml")
    return opened.uri


def run(tmp_path, store, day, **given) -> int:
    card = str(tmp_path / "card.yaml")
    request = Request(
        pipeline="quality", card=card, store=store, date=day, work=tmp_path / "runs", name=f"week-{day}", **given
    )
    return local.run(request)


def test_a_week_draws_a_sample_and_the_next_one_takes_its_answers_in(tmp_path, store, capfd):
    assert run(tmp_path, store, "2026-11-03") == 0
    queue = tmp_path / "runs/week-2026-11-03/sample/sample/queue.csv"
    rows = list(csv.DictReader(queue.open(encoding="utf-8-sig")))
    answers = tmp_path / "answers.csv"
    with answers.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *((row["id"], "other") for row in rows)])
    capfd.readouterr()
    assert run(tmp_path, store, "2026-11-10", answers=str(answers)) == 0
    said = (
        f"fine: No series has changed. F1 by people 0.00 (0.00 to 0.00), by {len(rows)} answers to the sample of 2026-"
    )
    assert said in capfd.readouterr().out
    found = json.loads((tmp_path / "runs/week-2026-11-10/watch/watched/quality.json").read_text())
    assert found["samples"][0]["answered"] == len(rows)
    assert found["samples"][0]["labels"]["tip"]["precision"]["value"] == 0.0
    page = (tmp_path / "runs/week-2026-11-10/report.html").read_text()
    assert "What people say" in page


def test_what_a_pipeline_does_not_take_is_refused(tmp_path, store, capsys):
    assert run(tmp_path, store, "2026-11-03", texts="texts.csv") == 2
    assert "quality must be given what it takes, got --texts" in capsys.readouterr().err


def test_a_week_beside_a_night_that_is_running_takes_the_newest_whole_one(tmp_path, store):
    opened = open_store(store)
    version = json.loads(opened.read("current.json"))["version"]
    put_night(opened, "2026-11-03", make_texts(50, 0.2, seed=3), version, shards=((), ()))
    assert run(tmp_path, store, "2026-11-03") == 0
    about = json.loads(opened.read("samples/2026-11-03/sample.json"))
    assert (about["nights"][-1], about["left_out"]) == ("2026-11-02", ["2026-11-03"])
    shown = json.loads((tmp_path / "runs/week-2026-11-03/watch/watched/series.json").read_text())
    assert shown["date"] == "2026-11-02"
