"""The step ingest where a text may have several labels, or none."""

import json

import polars as pl
import pytest

from tests.steps.test_ingest import Desk, sentence, vote_table
from understudy.errors import BadArtifact, BadCard, TooFewLabels
from understudy.review import labels as label_store
from understudy.steps.ingest import votes as vote_rules
from understudy.store import tables
from understudy.store.storage import open_store
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip", "wishes, and hopes")
SPACE = LabelSpace(NAMES, is_many=True)
MANY = {
    "labels": [{"name": name, "definition": "x"} for name in NAMES],
    "labels_per_text": "many",
    "positive_label": None,
    "weak_rules": None,
    "ingest": {"min_per_label": 1},
}
ALL = '["praise", "tip", "wishes, and hopes"]'


def given(number: int) -> list[str]:
    """The labels of a text: every third a tip, every second praise, every tenth a wish, some nothing."""
    marks = (number % 2 == 0, number % 3 == 0, number % 10 == 0)
    return [name for name, mark in zip(NAMES, marks, strict=True) if mark]


@pytest.fixture
def desk(tmp_path) -> Desk:
    desk = Desk(tmp_path)
    desk.card(**MANY)
    desk.labels([(f"r{i}", json.dumps(given(i))) for i in range(60)])
    return desk


def labels_of(desk: Desk) -> dict[str, str]:
    return dict(desk.gold().select("id", "label").iter_rows())


def test_a_text_keeps_all_its_labels_and_one_may_have_none(desk):
    result = desk.run()
    assert labels_of(desk) == {f"r{i}": json.dumps(given(i)) for i in range(60)}
    assert result.metrics["refused"] == 0
    assert result.metrics["commonest_share"] == 0.5  # praise
    assert "% praise)" in result.headline


def test_a_card_keeps_how_many_labels_its_texts_may_have(desk):
    desk.run()
    kept = sorted(open_store(str(desk.folder / "store")).list())
    desk.card()
    desk.labels([(f"r{i}", "tip" if i % 3 else "other") for i in range(60)])
    with pytest.raises(BadCard, match="labels_per_text must stay what it was, got one where an earlier version"):
        desk.run()
    assert sorted(open_store(str(desk.folder / "store")).list()) == kept


def test_however_a_file_writes_several_labels_it_says_the_same(desk):
    desk.run()
    before = desk.gold()
    ways = [";", "|", "\n", " ; "]
    desk.labels([(f"r{i}", ways[i % 4].join(reversed(given(i))) or "[]") for i in range(60)])
    desk.run()
    assert desk.gold().equals(before)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_names_are_read_as_they_are(desk, kind):
    desk.run()
    before = desk.gold()
    table = pl.DataFrame({"id": [f"r{i}" for i in range(60)], "label": [given(i) for i in range(60)]})
    path = desk.folder / f"labels.{kind}"
    table.write_ndjson(path) if kind == "jsonl" else table.write_parquet(path)
    desk.run(labels=str(path))
    assert desk.gold().equals(before)


def test_a_list_that_is_none_of_names_costs_its_row_alone(desk):
    odd = [["tip", None], ["tip", ["praise"]], [{}], "tip, praise", {"tip": 1}]
    rows = [{"id": f"r{i}", "label": given(i)} for i in range(5, 60)]
    rows += [{"id": f"r{i}", "label": label} for i, label in enumerate(odd)]
    (desk.folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    desk.card(**{**MANY, "ingest": {"min_per_label": 1, "max_refused_share": 0.1}})
    desk.run(labels=str(desk.folder / "labels.jsonl"))
    assert desk.refused() == {"not_a_string": ["r0", "r1", "r2", "r4"]}
    assert labels_of(desk)["r3"] == '["praise", "tip"]'


def test_what_holds_an_unknown_label_is_refused_and_says_how_several_are_written(desk):
    rows = [(f"r{i}", json.dumps(given(i))) for i in range(58)]
    desk.labels([*rows, ("r58", "tip; tipp"), ("r59", ";")])
    desk.run()
    refused = tables.read(desk.out / "refused", tables.Refusals)
    assert refused["reason"].to_list() == ["unknown_label"] * 2
    assert refused["detail"][0] == (
        "'tip; tipp' is none of praise, tip, wishes, and hopes (several stand with ; between them or as a JSON list, "
        "and [] says none)"
    )


def test_each_split_gets_its_share_of_each_label_and_of_texts_without_any(desk):
    desk.texts([(f"r{i}", sentence(i)) for i in range(600)])
    desk.labels([(f"r{i}", json.dumps(given(i))) for i in range(600)])
    desk.run()
    shares = {"test": 0.35, "calibration": 0.2, "validation": 0.2, "train": 0.25}
    gold = desk.gold()
    codes = pl.DataFrame(SPACE.codes(gold["label"]), schema=NAMES).with_columns(split=gold["split"])
    codes = codes.with_columns(none=~pl.any_horizontal(NAMES))
    for name in (*NAMES, "none"):
        having = codes.filter(pl.col(name))
        for split, share in shares.items():
            assert len(having.filter(split=split)) / len(having) == pytest.approx(share, abs=0.05), (name, split)


def test_the_scarcest_of_a_groups_labels_is_its_kind_and_nothing_comes_last():
    columns = {"id": ["1", "2", "3", "4"], "label": ['["praise", "tip"]', '["praise"]', "[]", ALL]}
    votes = pl.DataFrame({**columns, "origin": ["labels"] * 4, "split": [None] * 4, "group": ["a", "a", "b", "c"]})
    order = vote_rules.scarcest_first(votes, SPACE)
    assert order == ["wishes, and hopes", "tip", "praise"]
    votes = votes.with_columns(pl.col("split").cast(pl.String))
    found = {group.name: (group.kind, group.of_kind) for group in vote_rules.groups(votes, order, SPACE)}
    assert found == {"a": (1, 1), "b": (3, 1), "c": (0, 1)}


def outcome(*rows) -> list[tuple]:
    decided = vote_rules.decided(vote_rules.guarded(vote_table(*rows)).kept, SPACE)
    return [*decided.kept.select("label", "annotators").rows(), *decided.refused["detail"].unique()]


def votes_for(*labels: str, split: str = "train") -> list[tuple]:
    return [("a", split, label, "labels") for label in labels]


def test_people_vote_on_each_label_apart():
    assert outcome(*votes_for('["praise", "tip"]', '["praise"]', '["tip"]')) == [('["praise", "tip"]', 3)]
    assert outcome(*votes_for('["praise"]', "[]", '["tip"]')) == [("[]", 3)]
    assert outcome(*votes_for("[]", "[]")) == [("[]", 2)]


def test_a_tie_on_any_label_refuses_them_all():
    assert outcome(*votes_for('["praise", "tip"]', '["praise"]')) == ["people disagree: 1 of 2 tip"]


def test_labels_of_copies_in_training_do_not_overrule_the_test_on_any_label():
    train = votes_for('["praise"]', '["praise"]', '["praise"]')
    assert outcome(*votes_for('["praise", "tip"]', split="test"), *train) == ["people disagree: 1 of 4 tip"]
    assert outcome(*votes_for("[]", split="test"), *train) == ["people disagree: 3 of 4 praise"]
    assert outcome(*votes_for('["praise"]', split="test"), *train) == [('["praise"]', 4)]


def test_the_store_keeps_labels_in_the_cards_order_and_another_order_changes_nothing(desk):
    desk.labels([(f"r{i}", "; ".join(reversed(given(i))) or "[]") for i in range(60)])
    desk.run()
    kept = label_store.read_all(open_store(desk.store), "hotel-tips")
    assert set(kept["label"]) == {json.dumps(given(i)) for i in range(60)}
    desk.card(**{**MANY, "labels": MANY["labels"][::-1]})
    desk.labels([("r0", "[]")])  # what the store holds of the others counts
    desk.run()
    assert labels_of(desk)["r10"] == '["wishes, and hopes", "praise"]'


def test_a_split_in_which_no_label_sets_texts_apart_is_too_small(desk):
    desk.labels([(f"r{i}", json.dumps(["praise", *([] if i else NAMES[1:])])) for i in range(60)])
    faults = desk.faults(TooFewLabels)
    assert " human labels with 'tip' and without it, got 0 'tip' and " in faults[0]
    assert " 'not tip' of 60 usable labels" in faults[0]


def test_a_label_that_every_text_has_is_no_hindrance_where_another_sets_texts_apart(desk):
    desk.labels([(f"r{i}", json.dumps(sorted({"praise", *given(i)}))) for i in range(60)])
    desk.run()
    assert all("praise" in label for label in labels_of(desk).values())


def test_a_label_that_nobody_gave_is_named(desk):
    desk.labels([(f"r{i}", json.dumps([name for name in given(i) if name != "tip"])) for i in range(60)])
    (fault,) = desk.faults(TooFewLabels)
    assert "got none of 'tip'" in fault or "got none of tip" in fault


def test_labels_that_a_damaged_table_leaves_empty_are_told_in_a_sentence():
    with pytest.raises(BadArtifact, match="must be a JSON list of names, got None"):
        SPACE.codes(['["tip"]', None])
