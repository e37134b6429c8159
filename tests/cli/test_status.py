"""`understudy status`: where a loop stands, what waits for whom, what it took so far, and its page."""

from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.queues import put_queue
from tests.review.test_standing import answers, cycle
from understudy.cli.main import app
from understudy.errors import BadInput
from understudy.review import labels
from understudy.store import codecs, cycles, layout, runs
from understudy.task.card import parse_card
from understudy.task.guideline import Guideline
from understudy.teacher.response_log import Intent


@pytest.fixture
def looped(store, monkeypatch, tmp_path):
    """A store with three cycles, a queue of four texts, one of them answered, and a run under way."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    text = card_yaml(name="hotel-tips", goals={"f1": 0.99}, budget={"teacher_usd": 5.0, "human_labels": 900})
    card = parse_card(text)
    store.put_if_absent("store.json", b"{}")
    for number, right in enumerate([0.6, 0.68, 0.74]):
        cycles.put(store, cycle(number, 100 + 100 * number), answers(right))
    put_queue(store, text, {name: name for name in ("t0", "t1", "t2", "t3")}, "q1")
    (tmp_path / "said.csv").write_text("id,label\nt2,tip\n")
    labels.add(store, str(tmp_path / "said.csv"))
    record = {"name": "third", "pipeline": "training", "card": card.name, "card_hash": card.hash, "artifacts": "/a"}
    runs.put(store, "third", runs.STARTED, {**record, "started": "2026-12-01T00:00:00Z"})
    return store


def status(store, *options):
    return CliRunner().invoke(app, ["status", "--store", store.uri, *options], catch_exceptions=False)


def test_a_loop_says_where_it_stands_what_waits_for_whom_and_what_it_took(looped):
    lines, taught = status(looped).output.splitlines(), "taught by 300 labels of people"
    assert lines[:5] == [
        f"cycle: 3 ended, the last on 2026-12-01T00:00:00Z ({taught}; publish, a rehearsal); no version serves",
        f"people: 3 texts of the queue q1 to label: disagreements ({looped.uri}/queues/hotel-tips/q1/queue.csv)",
        "run: third (training) begun on 2026-12-01T00:00:00Z, not ended",
        "teacher: $0.00 of $5.00",
        "labels: 1 of 900 texts that people may label; no hours measured",
    ]
    assert lines[5].startswith("go on: the chance that 100 more labels gain 0.01 F1 or more is")
    assert lines[6].startswith("the last cycle gained")
    assert lines[7].startswith("the next 100 labels cost about $200.00 of people and would buy")


def test_a_second_look_waits_though_its_texts_have_labels_and_the_test_split_waits_for_nobody(looped):
    (card_key,) = looped.list("cards/")
    text = looped.read(card_key).decode()
    looked = {"t2": "t2", "held out": "held out"}
    put_queue(looped, text, looked, "again", earlier_guideline=Guideline.of(parse_card(text)).hash)
    split = {"group": "held out", "split": "test", "by": "hash"}
    looped.put_if_absent(layout.SPLITS.key(card="hotel-tips", number=1), codecs.as_lines([split]))
    said = status(looped).output
    assert f"people: 1 text of the queue again to label: second look ({looped.uri}/queues/hotel-tips/again/" in said


def test_each_of_the_cards_models_is_told_with_its_own_budget(looped):
    editor = {"model": "small", "budget_usd": 2.0, "input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
    text = card_yaml(name="hotel-tips", budget={"teacher_usd": 5.0, "human_labels": 900}, models={"editor": editor})
    card = parse_card(text)
    looped.put_if_absent(layout.CARDS.key(card=card.name, name=card.hash), text.encode())
    record = {"name": "fourth", "pipeline": "training", "card": card.name, "card_hash": card.hash, "artifacts": "/a"}
    runs.put(looped, "fourth", runs.STARTED, {**record, "started": "2026-12-02T00:00:00Z"})
    line = asdict(Intent("1", "j", 0.5, is_rehearsal=False, role="editor").booked("c"))
    looped.put_if_absent(layout.JUDGEMENTS.key(card=card.name, judge="j", name="1"), codecs.as_lines([line]))
    lines = status(looped).output.splitlines()
    assert [line for line in lines if "$" in line][:2] == ["teacher: $0.00 of $5.00", "editor: $0.50 of $2.00"]


def test_texts_to_look_at_again_wait_though_they_have_labels_and_those_that_measure_do_not(looped):
    text = card_yaml(name="hotel-tips", goals={"f1": 0.99}, budget={"teacher_usd": 5.0, "human_labels": 900})
    put_queue(looped, text, {"t2": "t2"}, "again", earlier_guideline="g0")
    sampled = pl.DataFrame({"id": ["t0", "t1"], "text": ["t0", "t1"]})
    looped.put_if_absent(layout.SAMPLE_TABLES.key(day="2026-11-01", name="sample"), codecs.as_parquet(sampled))
    people = [line.partition(" (")[0] for line in status(looped).output.splitlines() if line.startswith("people")]
    assert sorted(people) == [
        "people: 1 text of the queue again to label: second look",
        "people: 1 text of the queue q1 to label: disagreements",
    ]


def test_whoever_may_only_read_the_store_can_look(looped):
    (Path(looped.uri) / "store.json").unlink()  # by which those prove themselves who write
    before = {key: looped.tag_of(key) for key in looped.list()}
    assert status(looped).exit_code == 0
    assert {key: looped.tag_of(key) for key in looped.list()} == before


def test_nothing_at_an_address_is_said(tmp_path):
    found = CliRunner().invoke(app, ["status", "--store", str(tmp_path / "none")])
    assert isinstance(found.exception, BadInput)
    assert not (tmp_path / "none").exists()


def test_the_page_draws_the_learning_curve(looped, tmp_path):
    done = status(looped, "--page", str(tmp_path / "loop.html"))
    assert done.exit_code == 0, done.output
    page = (tmp_path / "loop.html").read_text()
    assert page.count("<circle") == 3
    assert "F1 by labels" in page
    assert "<h1>Go on</h1>" in page
    assert "Rehearsal." in page
    assert ".band" in page  # the interval is drawn in a colour of the page
    assert "The chance that 100 more labels gain 0.01 F1 or more is" in page


def test_a_store_without_a_training_says_what_to_do(store, tmp_path):
    store.put_if_absent("store.json", b"{}")
    store.put_if_absent(layout.CARDS.key(card="hotel-tips", name="a" * 64), card_yaml(name="hotel-tips").encode())
    found = CliRunner().invoke(app, ["status", "--store", store.uri])
    assert "must have a training run that got past ingest" in str(found.exception)
