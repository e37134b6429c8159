"""A guideline that changes: which labels are old then, which of them wait for a second look, and which count."""

import csv
import json

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import CARD
from tests.steps.test_ingest import TWO, Desk, sentence, vote_table, write_csv
from understudy.cli.labels import _tally
from understudy.cli.main import app
from understudy.errors import BadCard, BadData, BadInput
from understudy.review import guidelines
from understudy.review import labels as label_store
from understudy.steps.ingest import votes as vote_rules
from understudy.store import tables
from understudy.store.storage import open_store
from understudy.task.card import load_card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace

RULES = [*CARD["rules"], "A price alone is no tip."]
NARROWER = [CARD["labels"][0], {**CARD["labels"][1], "definition": "Advice to act on tomorrow."}]


@pytest.fixture
def desk(tmp_path) -> Desk:
    """A desk whose labels came in by the card's first guideline."""
    desk = Desk(tmp_path)
    desk.run()
    return desk


def changed(desk: Desk, **changes) -> str:
    """Change the card, and return its guideline."""
    desk.card(ingest={"min_per_label": 1}, **changes)
    return guideline_of(desk)


def guideline_of(desk: Desk) -> str:
    return Guideline.of(load_card(desk.folder / "card.yaml")).hash


def command(*words: str) -> str:
    done = CliRunner().invoke(app, ["labels", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def outdated(desk: Desk, *more: str) -> str:
    return command("outdated", "--store", desk.store, "--card", str(desk.folder / "card.yaml"), *more)


def queues(desk: Desk) -> list[str]:
    return [key for key in open_store(desk.store).list("queues/") if key.endswith("queue.csv")]


def sheet(desk: Desk, key: str) -> list[dict[str, str]]:
    return list(csv.DictReader(open_store(desk.store).read(key).decode("utf-8-sig").splitlines(keepends=True)))


def answer(desk: Desk, key: str, **other: str) -> str:
    """Label a queue as the labels file does, but for some ids, and add the answers."""
    usual = {f"r{i}": "tip" if i % 3 == 0 else "other" for i in range(60)}
    rows = [{**row, "label": other.get(row["id"], usual[row["id"]])} for row in sheet(desk, key)]
    write_csv(desk.folder / "answered.csv", ",".join(rows[0]), [row.values() for row in rows])
    return command("add", str(desk.folder / "answered.csv"), "--store", desk.store)


def test_labels_are_kept_with_the_guideline_of_the_card_that_they_came_with(desk):
    kept = label_store.read_all(open_store(desk.store), "hotel-tips")
    assert set(kept["guideline"]) == {guideline_of(desk)}
    assert "guideline" not in desk.gold().columns


def test_the_same_file_again_does_not_become_newer_than_it_is(desk):
    first = guideline_of(desk)
    changed(desk, rules=RULES)
    result = desk.run()
    assert set(desk.gold()["guideline"]) == {first}
    assert result.metrics["labels_by_older_guideline"] == 60
    assert result.headline.endswith("60 labels by an older guideline (`understudy labels outdated` lists them)")
    assert len(open_store(desk.store).list("labels/")) == 1


def test_a_row_that_is_new_or_says_another_label_is_by_the_new_guideline(desk):
    first, second = guideline_of(desk), changed(desk, rules=RULES)
    rows = [(f"r{i}", "tip" if i % 3 == 0 or i == 1 else "other") for i in range(61)]
    desk.texts([(f"r{i}", sentence(i)) for i in range(61)])
    desk.labels(rows)
    assert desk.run().metrics["labels_by_older_guideline"] == 59
    by = dict(desk.gold().select("id", "guideline").iter_rows())
    assert {name for name, guideline in by.items() if guideline == second} == {"r1", "r60"}
    assert by["r0"] == first
    desk.labels([(name, "other" if name == "r1" else label) for name, label in rows])  # as it was at first
    desk.run()
    assert dict(desk.gold().select("id", "guideline").iter_rows())["r1"] == second


def test_a_labels_file_may_say_by_which_guideline_each_row_is(desk):
    second = changed(desk, rules=RULES)
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", "v1" if i < 10 else second) for i in range(60)]
    desk.labels(rows, "id,label,guideline")
    assert desk.run().metrics["labels_by_older_guideline"] == 10
    assert "10 labels by v1" in outdated(desk)
    assert "what it said is not known to this store, so any of them may be touched." in outdated(desk)


def without_guidelines(desk, versions: int):
    """Put labels into a store as it was kept before there were guidelines, with so many versions of the card."""
    store = open_store(desk.store)
    for number in range(versions):
        card = {**CARD, "rules": [*CARD["rules"], *["x"] * number]}
        store.put_if_absent(f"cards/hotel-tips/{number}.yaml", yaml.safe_dump(card).encode())
    said = [{"id": f"r{i}", "label": "tip" if i % 3 == 0 else "other"} for i in range(60)]
    lines = [json.dumps({**one, "annotator": None, "split": None, "origin": "labels"}) for one in said]
    store.put_if_absent("labels/hotel-tips/000001-labels.jsonl", "\n".join(lines).encode())


def test_labels_of_a_store_that_knew_no_guidelines_are_by_the_only_one_that_it_has(tmp_path):
    desk = Desk(tmp_path)
    without_guidelines(desk, versions=1)
    usual = [(f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(60)]
    against = [(name, "other" if label == "tip" else "tip", "carol") for name, label in usual]
    desk.labels([*((*row, person) for row in usual for person in ("ann", "bob")), *against], "id,label,annotator")
    result = desk.run()
    assert "refused_older_guideline" not in result.metrics
    assert dict(desk.gold().select("id", "label").iter_rows()) == dict(usual)
    assert "none by another one" in outdated(desk)


def test_labels_of_a_store_that_knew_no_guidelines_and_has_several_are_unknown(tmp_path):
    desk = Desk(tmp_path)
    without_guidelines(desk, versions=2)
    result = desk.run()
    assert result.metrics["labels_by_unknown_guideline"] == 60
    assert "60 labels of which nobody says the guideline: 'other' 40, 'tip' 20" in outdated(desk)


def test_a_changed_rule_is_told_with_all_labels_that_it_may_touch(desk):
    first, second = guideline_of(desk), changed(desk, rules=RULES)
    said = outdated(desk)
    assert f"labels: 0 labels by the card's guideline, {second}." in said
    assert f"60 labels by {first}: 'other' 40, 'tip' 20." in said
    assert "since then decision rule added: 'A price alone is no tip.'" in said
    assert "that may touch all of them." in said
    assert "--queue TEXTS queues those that may be touched for a second look." in said


def test_a_changed_definition_queues_its_own_labels_and_all_where_that_is_asked_for(desk):
    changed(desk, labels=NARROWER)
    texts = str(desk.folder / "texts.csv")
    said = outdated(desk, "--queue", texts)
    assert "by its words that is about 20 labels; the other 40 it touches only if" in said
    assert "20 texts queued for a second look" in said
    (key,) = queues(desk)
    assert {row["id"] for row in sheet(desk, key)} == {f"r{i}" for i in range(0, 60, 3)}
    assert "60 texts queued for a second look" in outdated(desk, "--queue", texts, "--all")
    assert len(queues(desk)) == 2


def test_a_second_look_is_shown_no_label_and_queued_once(desk):
    second = changed(desk, rules=RULES)
    write_csv(desk.folder / "fewer.csv", "id,text", [(f"r{i}", sentence(i)) for i in range(50)])
    for _ in range(2):
        said = outdated(desk, "--queue", str(desk.folder / "fewer.csv"))
        assert "50 texts queued for a second look; 10 texts of labels that wait stand not in it" in said
    (key,) = queues(desk)
    assert list(sheet(desk, key)[0]) == ["id", "group", "text", "guideline", "label"]
    assert {(row["guideline"], row["label"]) for row in sheet(desk, key)} == {(second, "")}
    folder = key.removesuffix("queue.csv")
    tasks = json.loads(open_store(desk.store).read(f"{folder}label-studio.json"))
    assert set(tasks[0]["data"]) == {"understudy_id", "id", "group", "text", "guideline"}
    assert json.loads(open_store(desk.store).read(f"{folder}queue.json"))["guideline"] == second


def test_a_second_look_counts_in_every_split_and_the_old_file_no_more(desk):
    first = guideline_of(desk)
    before = {split: len(desk.gold().filter(split=split)) for split in tables.SPLITS}
    changed(desk, rules=RULES)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    held = desk.gold().filter((pl.col("split") == "test") & (pl.col("label") == "tip"))["id"][0]
    (key,) = queues(desk)
    answer(desk, key, **{held: "other"})
    result = desk.run()
    gold = desk.gold()
    assert gold.filter(id=held).select("label", "split", "origin").row(0) == ("other", "test", "labels")
    assert {split: len(gold.filter(split=split)) for split in tables.SPLITS} == before
    assert (result.metrics["refused_older_guideline"], result.metrics["faults"]) == (60, 0)
    assert "labels_by_older_guideline" not in result.metrics
    assert "guideline" not in gold.columns
    said = outdated(desk)
    assert "none by another one." in said
    assert f"people labelled 60 texts by {first} and by the card's: the same label for 98%" in said
    assert "kappa 0.96 (0.8" in said


def test_the_old_label_of_a_text_that_nobody_looked_at_again_stays(desk):
    changed(desk, labels=NARROWER)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    answer(desk, queues(desk)[0])
    result = desk.run()
    assert result.metrics["labels"] == 60
    assert result.metrics["labels_by_older_guideline"] == 40


def test_a_second_look_stays_in_place_of_the_file_when_the_rules_change_once_more(desk):
    first, second = guideline_of(desk), changed(desk, labels=NARROWER)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    answer(desk, queues(desk)[0], r0="other")
    desk.run()
    changed(desk, labels=NARROWER, rules=RULES)
    result = desk.run()
    assert (result.metrics["labels"], result.metrics["labels_by_older_guideline"]) == (60, 60)
    assert dict(desk.gold().select("id", "label").iter_rows())["r0"] == "other"
    said = outdated(desk)
    assert f"40 labels by {first}: 'other' 40" in said
    assert f"20 labels by {second}: 'tip' 19, 'other' 1" in said
    desk.card(ingest={"min_per_label": 1})  # back to the first rules: their labels are the card's again
    assert "labels_by_older_guideline" not in desk.run().metrics
    assert dict(desk.gold().select("id", "label").iter_rows())["r0"] == "tip"


def test_answers_whose_columns_are_gone_are_by_the_guideline_of_their_queue(desk):
    second = changed(desk, rules=RULES)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    write_csv(desk.folder / "bare.csv", "id,label", [("r0", "other"), ("unheard", "tip")])
    said = command("add", str(desk.folder / "bare.csv"), "--store", desk.store)
    kept = label_store.read_all(open_store(desk.store), "hotel-tips").filter(pl.col("origin") != "labels")
    rows = kept.select("id", "origin", "guideline").sort("id").rows()
    assert rows == [("r0", "second_look", second), ("unheard", "queue", None)]
    assert "1 label by no known guideline" in said


def test_answers_are_by_the_only_guideline_where_there_never_was_another(desk):
    write_csv(desk.folder / "bare.csv", "id,label", [("unheard", "tip")])
    assert "guideline" not in command("add", str(desk.folder / "bare.csv"), "--store", desk.store)
    kept = label_store.read_all(open_store(desk.store), "hotel-tips")
    assert set(kept["guideline"]) == {guideline_of(desk)}


def test_a_label_that_is_added_is_given_by_a_second_look_before_any_run_knows_it(desk):
    changed(desk, labels=[*CARD["labels"], {"name": "warning", "definition": "Stay away."}])
    assert "label added: 'warning'" in outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    answer(desk, queues(desk)[0], r1="warning", r2="warning")
    assert desk.run().metrics["refused_older_guideline"] == 60
    assert set(desk.gold().filter(label="warning")["id"]) == {"r1", "r2"}


def test_a_second_look_at_labels_that_the_card_has_no_more_counts_in_every_split(tmp_path):
    desk = Desk(tmp_path)
    three = [*CARD["labels"], {"name": "warning", "definition": "Stay away."}]
    desk.card(ingest={"min_per_label": 1}, labels=three)
    desk.labels([(f"r{i}", ("tip", "other", "warning")[i % 3]) for i in range(60)])
    desk.run()
    before = desk.split_of()
    changed(desk)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"), "--all")
    answer(desk, queues(desk)[0])
    result = desk.run()
    assert desk.split_of() == before
    assert result.metrics["faults"] == 0
    assert result.metrics["refused_older_label"] == 2 * 20  # in the store, and in the file that is given again


def test_a_file_that_is_given_again_is_no_newer_to_the_list_either(desk):
    first, second = guideline_of(desk), changed(desk, rules=RULES)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    answer(desk, queues(desk)[0], r1="tip")
    desk.texts([(f"r{i}", sentence(i)) for i in range(70)])
    desk.labels([(f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(70)])
    desk.run()
    changed(desk, rules=[*RULES, "One more."])
    said = outdated(desk)
    assert f"70 labels by {second}" in said, said
    assert f"labels by {first}" not in said


def test_a_forgotten_text_leaves_a_second_look_too(desk):
    changed(desk, rules=RULES)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    CliRunner().invoke(app, ["forget", "--id", "r7", "--store", desk.store], catch_exceptions=False)
    (key,) = queues(desk)
    assert "r7" not in {row["id"] for row in sheet(desk, key)}
    assert "r7" not in open_store(desk.store).read(f"{key.removesuffix('queue.csv')}label-studio.json").decode()
    assert "r7" not in set(label_store.read_all(open_store(desk.store), "hotel-tips")["id"])
    again = outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    assert "59 texts queued" in again


def test_a_text_with_a_hundred_old_votes_is_what_one_new_vote_says():
    old = [("c", "train", "tip", "labels")] * 3
    votes = vote_rules.guarded(vote_table(*old, ("c", "train", "other", "labels"))).kept
    votes = votes.with_columns(guideline=pl.Series(["g0", None, "g0", "g1"]))
    found = vote_rules.by_newest_guideline(guidelines.ranked(votes, "g1"))
    assert vote_rules.decided(found.kept, TWO).kept.select("label", "annotators").rows() == [("other", 1)]
    assert found.refused.select("reason", "is_fault").rows() == [("older_guideline", False)] * 3


def test_a_new_vote_for_a_copy_in_train_does_not_take_the_tests_own_label_away():
    votes = vote_rules.guarded(vote_table(("c", "test", "tip", "labels"), ("c", "train", "tip", "labels"))).kept
    votes = guidelines.ranked(votes.with_columns(guideline=pl.Series(["g0", "g1"])), "g1")
    found = vote_rules.by_newest_guideline(votes)
    assert len(found.kept) == 2
    assert vote_rules.decided(found.kept, TWO).kept.select("id", "split").rows() == [("i0", "test")]


def test_a_second_look_at_an_answer_to_a_queue_teaches_and_never_measures():
    votes = pl.DataFrame(
        {
            "id": ["a", "a", "b", "b", "c"],
            "origin": ["labels", "second_look", "queue", "second_look", "queue"],
        }
    )
    found = vote_rules.of_two_origins(vote_rules.looked_at(votes))["origin"].to_list()
    assert found == ["labels", "labels", "queue", "queue", "queue"]


def test_a_card_of_another_kind_is_refused(desk):
    desk.card(ingest={"min_per_label": 1}, labels_per_text="many", positive_label=None, weak_rules=None)
    with pytest.raises(BadCard, match="labels_per_text must stay what it was"):
        outdated(desk)


def test_a_card_of_another_name_is_refused_with_the_names_that_the_store_holds(desk):
    desk.card(ingest={"min_per_label": 1}, name="renamed")
    with pytest.raises(BadInput, match=r"got 'renamed' .*: hotel-tips\)"):
        outdated(desk)


def test_a_file_without_the_texts_of_the_labels_that_wait_is_refused(desk):
    changed(desk, rules=RULES)
    other = write_csv(desk.folder / "other.csv", "id,text", [("x1", "Another text.")])
    with pytest.raises(BadData, match="got none of 60 texts"):
        outdated(desk, "--queue", other)
    assert queues(desk) == []


def test_an_old_card_says_that_newer_labels_do_not_count_by_it(desk):
    second = changed(desk, labels=NARROWER)
    outdated(desk, "--queue", str(desk.folder / "texts.csv"))
    answer(desk, queues(desk)[0])
    assert "do not count" not in outdated(desk)
    desk.card(ingest={"min_per_label": 1})
    assert f"20 texts also labelled by {second}, which came later than the card's" in outdated(desk)


def test_labels_by_a_guideline_that_no_card_of_the_store_has_are_said(desk):
    write_csv(desk.folder / "bare.csv", "id,label,guideline", [("r1", "tip", "0123456789ab")])
    said = command("add", str(desk.folder / "bare.csv"), "--store", desk.store)
    assert "'0123456789ab': the guideline of no version of the card in this store" in said


def test_labels_that_are_added_again_say_what_is_new(desk):
    write_csv(desk.folder / "bare.csv", "id,label,annotator", [("r1", "tip", "ann"), ("r2", "tip", "ann")])
    assert "2 labels, added to the card 'hotel-tips'; 0 rows" in command(
        "add", str(desk.folder / "bare.csv"), "--store", desk.store
    )
    write_csv(desk.folder / "bare.csv", "id,label,annotator", [("r1", "tip", "ann"), ("r2", "other", "ann")])
    assert "2 labels, added to the card 'hotel-tips', 1 of them new to it; 0 rows" in command(
        "add", str(desk.folder / "bare.csv"), "--store", desk.store
    )


def test_of_several_labels_each_is_counted_not_their_sets(tmp_path):
    said = pl.DataFrame({"label": ['["praise", "tip"]', '["tip"]', "[]"], "annotator": ["ann", None, None]})
    space = LabelSpace(("praise", "tip"), is_many=True)
    assert _tally(said, space) == "'tip' 2 (ann 1, nobody named 1), 'praise' 1 (ann 1), 'none of the labels' 1"
