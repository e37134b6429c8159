"""A label design is checked by what people said: where they part, and where rules, examples and near copies do."""

import polars as pl
import pytest

from tests.conftest import card_yaml
from understudy.review import design, labelled
from understudy.task.card import parse_card

QUIET, LOUD = "Ask for a quiet room at the back.", "The room was loud and the bed was hard."


def votes(*rows):
    """Make votes of (id, text, label)."""
    return pl.DataFrame(rows, schema=["id", "text", "label"], orient="row")


def checked(card=None, *rows):
    return design.check(parse_card(card or card_yaml()), votes(*rows))


def test_people_who_agree_and_people_who_do_not_are_told_apart():
    alike = [(f"t{n}", f"Text {n}", "tip" if n % 2 else "other") for n in range(40) for _ in range(3)]
    parted = [(f"t{n}", f"Text {n}", "tip" if n % 2 == person else "other") for n in range(40) for person in range(2)]
    assert checked(None, *alike)["agreement"]["alpha"]["value"] == 1.0
    found = checked(None, *parted)["agreement"]
    assert found["alpha"]["value"] < 0
    assert found["sentence"].startswith("People do not agree enough")


def twice(agreed, parted):
    """Make votes of two people who agree on some texts and part on others."""
    same = [(f"a{n}", f"Text {n}", "tip" if n % 2 else "other") for n in range(agreed) for _ in range(2)]
    other = [(f"b{n}", f"Other {n}", "tip" if person else "other") for n in range(parted) for person in range(2)]
    return [*same, *other]


@pytest.mark.parametrize(
    ("agreed", "parted", "begins"),
    [
        (2, 0, "Too few texts to tell whether people agree"),
        (0, 2, "Too few texts to tell whether people agree"),
        (29, 0, "Too few texts to tell whether people agree"),
        (30, 0, "People agree (Krippendorff's alpha 1.00"),
        (37, 3, "Whether people agree enough is open (Krippendorff's alpha 0.85"),
        (28, 12, "Whether people agree enough is open (Krippendorff's alpha 0.41"),
        (185, 15, "People agree so far that a figure is tentative (Krippendorff's alpha 0.85"),
        (20, 20, "People do not agree enough"),
    ],
)
def test_what_is_said_of_agreement_is_certain_by_its_interval(agreed, parted, begins):
    assert checked(None, *twice(agreed, parted))["agreement"]["sentence"].startswith(begins)


def test_one_label_a_text_shows_no_agreement_and_says_what_would():
    found = checked(None, ("a", QUIET, "tip"), ("b", LOUD, "other"))["agreement"]
    assert (found["texts"], found["alpha"]) == (0, None)
    assert "Let a second person label 50 of them" in found["sentence"]


def test_labels_that_people_confuse_come_with_the_texts():
    rows = [("a", QUIET, "tip"), ("a", QUIET, "other"), ("b", LOUD, "other"), ("c", LOUD + " Avoid.", "tip")]
    found = checked(None, *rows)
    assert found["confused"] == [{"first": "other", "second": "tip", "texts": 1, "share": 1 / 3, "shown": (QUIET,)}]
    assert found["contested"] == 1


def test_near_copies_with_different_labels_are_found_and_those_with_the_same_are_not():
    rows = [("a", QUIET, "tip"), ("b", QUIET + "!", "other"), ("c", LOUD, "other"), ("d", LOUD + "!", "other")]
    found = checked(None, *rows)["torn"]
    assert [(pair["first_label"], pair["second_label"], pair["first"]) for pair in found] == [("tip", "other", QUIET)]


def test_a_rule_that_no_example_shows_is_named():
    card = card_yaml(rules=["Advice on a quiet room is a tip.", "Praise of breakfast is no tip."])
    assert checked(card, ("a", QUIET, "tip"))["unshown_rules"] == ["Praise of breakfast is no tip."]


def test_an_example_that_a_weak_rule_gives_another_label_is_a_contradiction():
    labels = [
        {"name": "other", "definition": "No tip.", "examples": ["Ask me not why we came."]},
        {"name": "tip", "definition": "A tip.", "examples": ["Ask for a quiet room.", "Nice."]},
    ]
    found = checked(card_yaml(labels=labels), ("a", QUIET, "tip"))["contradictions"]
    assert [(one["example"], one["label"], one["other"]) for one in found] == [
        ("Ask me not why we came.", "other", "tip")
    ]
    labels[0]["examples"] = ["nice!"]
    found = checked(card_yaml(labels=labels), ("a", QUIET, "tip"))["contradictions"]
    assert [(one["example"], one["by"]) for one in found] == [("Nice.", "it is an example of both")]


def test_weak_rules_are_measured_on_peoples_labels():
    rules = [
        {"name": "ask", "pattern": r"\bask\b", "label": "tip"},
        {"name": "back", "pattern": r"\bback\b", "label": "other"},
        {"name": "never", "pattern": "zzz", "label": "tip"},
    ]
    rows = [("a", QUIET, "tip"), ("b", "Ask.", "other"), ("c", "Back again.", "other"), ("d", LOUD, "other")]
    found = checked(card_yaml(weak_rules=rules), *rows)
    ask = found["weak_rules"][0]
    assert (ask["matched"], ask["coverage"], ask["overlaps"], ask["conflicts"], ask["right"]) == (2, 0.5, 0.25, 0.25, 1)
    assert ask["precision"]["value"] == 0.5
    assert found["unmet_weak_rules"] == ["never"]


def test_where_a_text_may_have_several_labels_people_agree_label_by_label():
    labels = [{"name": name, "definition": name} for name in ("praise", "tip")]
    card = card_yaml(labels=labels, labels_per_text="many", positive_label=None, weak_rules=None)
    sets = ['["praise"]', '["praise", "tip"]', "[]", '["tip"]']
    rows = [(f"t{n}", f"Text {n}", sets[n % 4]) for n in range(20) for _ in range(2)]
    assert checked(card, *rows)["agreement"]["alpha"]["value"] == 1.0
    rows += [(f"t{n}", f"Text {n}", '["tip"]') for n in range(0, 20, 4)]
    found = checked(card, *rows)
    assert 0 < found["agreement"]["alpha"]["value"] < 1
    assert (found["confused"][0]["first"], found["confused"][0]["second"]) == ("praise", "tip")


@pytest.fixture
def files(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_a_person_who_labels_a_text_twice_counts_once_and_what_is_left_out_is_said(files):
    address = files(
        "labels.csv",
        "id,label,annotator",
        "a,tip,ann",
        "a,other,ann",
        "a,tip,ben",
        "b,nonsense,ann",
        "c,,ann",
        "d,TIP,",
    )
    texts = files("texts.csv", "id,text", f"a,{QUIET}", f"d,{LOUD}")
    found = labelled.read(address, texts, parse_card(card_yaml()))
    assert sorted(found.votes.select("id", "text", "annotator", "label").rows(), key=str) == [
        ("a", QUIET, "ann", "other"), ("a", QUIET, "ben", "tip"), ("d", LOUD, None, "tip"),
    ]  # fmt: skip
    assert found.notes == ("1 row without a label", "1 label that the card does not have, such as 'nonsense'")


def test_texts_without_ids_are_the_same_text_when_they_read_the_same(files):
    address = files("labels.csv", "text,label", f"{QUIET},tip", f"{QUIET},other", f"{LOUD},other")
    found = labelled.read(address, None, parse_card(card_yaml()))
    assert found.votes["id"].n_unique() == 2
