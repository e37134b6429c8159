"""The people who label: what is exported of them, and what is measured."""

import csv
import json

import polars as pl
import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.queues import put_queue
from tests.steps.test_ingest import Desk as Bench
from tests.steps.test_ingest import sentence
from understudy.cli.main import app
from understudy.errors import BadInput
from understudy.review import export, labels, people, waiting
from understudy.review.desk import Desk
from understudy.review.journal import Journal
from understudy.review.waiting import Known, Text
from understudy.store.storage import open_store
from understudy.task.card import parse_card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace

CARD = "hotel-tips"
TWO = LabelSpace(("other", "tip"), "tip")
TEXTS = {f"r{number}": f"Text number {number}." for number in range(8)}
KNOWN = [Known(Text(f"g{number}", f"g{number}", f"Known {number}."), "tip") for number in range(4)]


@pytest.fixture
def labelled(store):
    """Ann and Bob answer the same eight texts and differ on two; Bob misses two known labels of four."""
    put_queue(store, card_yaml(), TEXTS)
    (queue,) = waiting.read_all(store, CARD)
    desk = Desk(queue, Journal(store, CARD, queue, KNOWN), 2, KNOWN)
    for number, name in enumerate(TEXTS):
        desk.answer("ann", name, ["tip" if number % 2 else "other"], seconds=90)
        desk.answer("bob", name, ["tip" if number % 2 or number < 3 else "other"], seconds=30)
    for number, known in enumerate(KNOWN):
        desk.answer("ann", known.text.id, ["tip"], seconds=90)
        desk.answer("bob", known.text.id, ["tip" if number < 2 else "other"])
    return store


def command(*words: str) -> str:
    done = CliRunner().invoke(app, ["labels", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_people_are_measured_by_known_labels_and_by_one_another(labelled):
    ann, bob = people.people(labelled, CARD)
    assert (ann.name, ann.answers, ann.checked, ann.median_s) == ("ann", 8, 4, 90)
    assert ann.hours == pytest.approx(12 * 90 / 3600)
    assert [person.right.value for person in (ann, bob) if person.right] == [1.0, 0.5]
    agreed = people.agreement(labelled, CARD, TWO)
    assert agreed.texts == 8
    # by hand: 2 of 8 texts differ; 10 of 16 votes are tip, so chance differs on 2 * 10 * 6 / (16 * 15) = 1/2
    assert agreed.alpha.value == pytest.approx(0.5)
    assert people.even(export.counting(labelled, CARD), TWO) == ["r0", "r2"]


def test_hours_are_priced_and_texts_on_which_people_are_even_are_queued(labelled):
    said = command("people", "--store", labelled.uri, "--queue")
    assert "ann: 8 labels, 0.3 hours ($7.50) for 12 answers, 90 seconds at the median, right on 100%" in said
    assert "8 texts labelled by several people, alpha 0.5" in said
    assert "2 texts on which people are even" in said
    name = said.split("--queue ")[1].strip()
    queue = waiting.choose(waiting.read_all(labelled, CARD), name, lambda _: 2)
    assert ([text.id for text in queue.texts], queue.origin) == (["r0", "r2"], "second_look")
    desk = Desk(queue, Journal(labelled, CARD, queue))
    for identity in ("r0", "r2"):
        desk.answer("carol", identity, ["other"])
    assert people.even(export.counting(labelled, CARD), TWO) == []
    decided = export.counting(labelled, CARD).filter(pl.col("id") == "r0")
    assert decided.select("label", "annotator", "origin").rows() == [("other", "carol", "second_look")]
    assert people.agreement(labelled, CARD, TWO).alpha.value == pytest.approx(0.5)  # as it was before she decided


def test_who_cannot_say_is_counted_and_what_was_taken_back_is_not(labelled):
    (queue,) = waiting.read_all(labelled, CARD)
    desk = Desk(queue, Journal(labelled, CARD, queue), 3)
    desk.answer("dan", "r0", None, reason="Arabic")
    desk.answer("dan", "r1", None, reason="Arabic")
    desk.undo("dan")
    dan = next(person for person in people.people(labelled, CARD) if person.name == "dan")
    assert (dan.answers, dan.cannot_say, dan.right) == (0, 1, None)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_export_says_who_when_how_long_and_by_which_guideline(labelled, tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    assert "16 labels of the card 'hotel-tips' written" in command("export", str(path), "--store", labelled.uri)
    table = {
        "csv": lambda: pl.read_csv(path),
        "jsonl": lambda: pl.read_ndjson(path),
        "parquet": lambda: pl.read_parquet(path),
    }[ending]()
    row = table.filter((pl.col("id") == "r1") & (pl.col("annotator") == "ann")).row(0, named=True)
    assert (row["label"], row["split"], row["origin"], row["seconds"]) == ("tip", "train", "queue", 90)
    assert row["guideline"] == waiting.read_all(labelled, CARD)[0].guideline.hash
    assert row["at"].startswith("20")
    assert labelled.read(row["file"])


def test_everything_that_was_ever_said_is_exported_where_that_is_asked_for(labelled, tmp_path):
    (queue,) = waiting.read_all(labelled, CARD)
    desk = Desk(queue, Journal(labelled, CARD, queue))
    desk.undo("ann")
    command("export", str(tmp_path / "all.jsonl"), "--store", labelled.uri, "--all")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert (len(lines), lines[-1]["id"], lines[-1]["label"]) == (17, "r7", None)


def test_no_cell_of_an_exported_csv_is_a_formula(store, tmp_path):
    put_queue(store, card_yaml(), {"=1+1": "A text."})
    (queue,) = waiting.read_all(store, CARD)
    Desk(queue, Journal(store, CARD, queue)).answer("=cmd()", "=1+1", ["tip"])
    command("export", str(tmp_path / "out.csv"), "--store", store.uri)
    (row,) = csv.DictReader((tmp_path / "out.csv").open(newline=""))
    assert (row["id"], row["annotator"]) == ("'=1+1", "'=cmd()")
    assert labels.add(store, str(tmp_path / "out.csv")).labels == 1  # and comes back under its own id
    with pytest.raises(BadInput, match=r"must end in one of \.csv, \.jsonl, \.parquet, got 'out\.xlsx'"):
        export.written(export.counting(store, CARD), "out.xlsx")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_exported_goes_through_ingest_as_it_was(tmp_path, ending):
    bench = Bench(tmp_path)
    bench.texts([(f"r{i}", sentence(i)) for i in range(64)])
    bench.run()
    (tmp_path / "queue.csv").write_text("id,label,annotator\nr61,tip,ann\nr62,other,bob\nr63,tip,ann\nr63,tip,bob\n")
    labels.add(open_store(bench.store), str(tmp_path / "queue.csv"))
    bench.run()
    before = bench.gold()
    path = tmp_path / f"out.{ending}"
    command("export", str(path), "--store", bench.store)
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    other.texts([(f"r{i}", sentence(i)) for i in range(64)])
    result = other.run(labels=str(path))
    after = other.gold()
    assert result.metrics["faults"] == 0
    said = [sorted(gold.select("id", "label", "annotators").iter_rows()) for gold in (before, after)]
    assert said[0] == said[1]
    assert set(after.filter(pl.col("id").is_in(["r61", "r62", "r63"]))["split"]) == {"train"}


def test_a_second_look_at_the_test_split_is_neither_taken_nor_exported_nor_carried_there(tmp_path):
    bench = Bench(tmp_path)
    bench.run()
    store, before = open_store(bench.store), bench.gold()
    looked = {split: before.filter(pl.col("split") == split)["id"][0] for split in ("test", "train")}
    rules = Guideline.of(parse_card((tmp_path / "card.yaml").read_text())).hash
    rows = [(name, name, sentence(int(name[1:])), rules, rules) for name in looked.values()]
    columns = ["id", "group", "text", "guideline", "earlier_guideline"]
    waiting.put_table(store, CARD, pl.DataFrame(rows, schema=columns, orient="row"))
    (tmp_path / "sheet.csv").write_text("id,label\n" + "".join(f"{name},other\n" for name in looked.values()))
    done = labels.add(store, str(tmp_path / "sheet.csv"))
    assert (done.labels, done.held_out) == (1, 1)
    again = pl.DataFrame({"id": [looked["test"]], "label": ["other"], "annotator": [None], "guideline": [rules]})
    labels.put(store, CARD, again, "second_look")  # as an older release kept it
    kept = dict(export.counting(store, CARD).select("id", "label").iter_rows())
    assert (kept[looked["test"]], kept[looked["train"]]) == ("tip", "other")
    (tmp_path / "out.csv").write_bytes(export.written(export.counting(store, CARD), "out.csv"))
    (tmp_path / "other").mkdir()
    for there in (bench, Bench(tmp_path / "other")):
        assert there.run(labels=str(tmp_path / "out.csv")).metrics["faults"] == 0
        after = {name: (label, split) for name, label, split in there.gold().select("id", "label", "split").iter_rows()}
        assert after[looked["train"]] == ("other", "train")
        assert after[looked["test"]][0] == "tip"
