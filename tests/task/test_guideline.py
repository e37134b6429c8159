"""What a guideline is, and what a change of it may touch."""

import pytest
import yaml

from understudy.task.card import parse_card
from understudy.task.guideline import Guideline

LABELS = [
    {"name": "other", "definition": "Anything else.", "examples": ["Lovely staff.", "We came late."]},
    {"name": "tip", "definition": "Advice that a later guest can act on."},
]


def guideline(make_card, **changes) -> Guideline:
    return Guideline.of(parse_card(make_card(**{"labels": LABELS, "rules": ["First.", "Second."], **changes})))


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": {"teacher_usd": 7}},
        {"goals": {"f1": 0.5}},
        {"prior": 0.2},
        {"labels": LABELS[::-1]},
        {"labels": [{**LABELS[0], "aliases": ["0"], "examples": ["We came late.", "Lovely staff."]}, LABELS[1]]},
        {"rules": ["First. ", "Second."]},
        {"weak_rules": None},
    ],
)
def test_what_nobody_labels_by_is_no_part_of_it(make_card, changes):
    assert guideline(make_card, **changes).hash == guideline(make_card).hash


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "Is it a tip at all?"},
        {"rules": ["First."]},
        {"rules": ["Second.", "First."]},
        {"labels": [LABELS[0], {**LABELS[1], "definition": "Advice."}]},
        {"labels": [{**LABELS[0], "examples": ["Lovely staff."]}, LABELS[1]]},
        {"labels": [*LABELS, {"name": "warning", "definition": "Stay away."}]},
        {"labels_per_text": "many", "positive_label": None},
    ],
)
def test_all_that_people_label_by_is_part_of_it(make_card, changes):
    old, now = guideline(make_card), guideline(make_card, **changes)
    assert now.hash != old.hash
    assert len(old.change_to(now).sentences) == 1


def test_a_cards_yaml_has_the_guideline_of_the_card(make_card):
    text = make_card(labels=LABELS)
    assert Guideline.of_content(yaml.safe_load(text)).hash == Guideline.of(parse_card(text)).hash


def test_lines_that_are_broken_otherwise_change_nothing(make_card):
    folded = Guideline.of_content({"question": "Is it\n  a tip?", "rules": ["A\nb"], "labels": LABELS})
    assert folded.hash == Guideline.of_content({"question": "Is it a tip?", "rules": ["A b"], "labels": LABELS}).hash


def test_a_hash_is_no_number_in_a_spreadsheet(make_card):
    name = guideline(make_card).hash
    assert (name[0], len(name)) == ("g", 13)
    assert set(name[1:]) <= set("0123456789abcdef")


def test_a_changed_definition_is_about_texts_of_its_label_alone(make_card):
    changed = [LABELS[0], {**LABELS[1], "definition": "Advice.", "examples": ["Ask for room 9."]}]
    change = guideline(make_card).change_to(guideline(make_card, labels=changed))
    assert change.sentences == (
        "the definition of 'tip' was 'Advice that a later guest can act on.' and is 'Advice.'",
        "example of 'tip' added: 'Ask for room 9.'",
    )
    assert (change.touches(["tip"]), change.touches(["other"]), change.touches([])) == (True, False, False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rules": ["First.", "Third."]}, ("decision rule taken out: 'Second.'", "decision rule added: 'Third.'")),
        ({"rules": ["Second.", "First."]}, ("the 2 decision rules stand in another order",)),
        ({"labels": [*LABELS, {"name": "new", "definition": "x"}]}, ("label added: 'new'",)),
    ],
)
def test_a_changed_rule_or_a_new_label_may_touch_any_text(make_card, changes, says):
    change = guideline(make_card).change_to(guideline(make_card, **changes))
    assert change.sentences == says
    assert change.touches(["other"])


def test_a_label_that_is_taken_out_touches_its_own_texts(make_card):
    more = guideline(make_card, labels=[*LABELS, {"name": "new", "definition": "x"}])
    change = more.change_to(guideline(make_card))
    assert change.sentences == ("label taken out: 'new'",)
    assert (change.touches(["new"]), change.touches(["tip"])) == (True, False)
