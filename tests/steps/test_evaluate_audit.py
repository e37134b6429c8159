"""The student's own audit: where it errs more often than elsewhere, and what the card is asked then."""

import html

import numpy as np
import pytest
import yaml

from tests.conftest import card_yaml
from tests.evaluations import measured
from understudy.errors import BadCard
from understudy.reports import evaluation as report
from understudy.steps.evaluate import assemble
from understudy.task.card import Slice, parse_card

WORDS = [f"word{number}" for number in range(200)]


def audited(mark="late", recall=0.2, **changes):
    """Measure a student that finds four of five tips, but of those with a word another share."""
    rng = np.random.default_rng(3)
    kinds, texts = [], []
    for row in range(600):
        is_tip, is_marked = row % 2 == 0, rng.random() < 1 / 4
        found = rng.random() < (recall if is_marked else 0.8)
        kinds.append((1, is_tip, 0.9 if is_tip and found else 0.1, None))
        texts.append(" ".join([*rng.choice(WORDS, 8), *([mark] if is_marked else [])]))
    return assemble.evaluation(measured(kinds, texts=texts, **changes))


@pytest.fixture(scope="module")
def found():
    return audited()


def test_a_word_with_which_the_student_misses_more_is_found_on_labels_that_were_not_searched(found):
    (part,) = found["audit"]["found"]
    assert (part["name"], part["label"], part["direction"]) == ("late", "tip", "under-labels")
    assert part["wrong"] / part["tried"] > 0.6
    assert part["wrong_elsewhere"] / part["tried_elsewhere"] < 0.35
    assert part["sentence"].startswith("In 'late' 'tip' is missed in ")
    assert part["sentence"] in html.unescape(report.page(found))


def test_what_it_asks_can_be_put_on_the_card_which_then_wants_an_answer(found):
    (part,) = found["audit"]["found"]
    (named,) = yaml.safe_load(part["slice"])
    assert Slice(**named).name == "late"
    (question,) = yaml.safe_load(part["rule"])
    with pytest.raises(BadCard, match="A question of a new card must be answered, got 'which texts of the kind 'late'"):
        parse_card(card_yaml(rules=["A wish is no tip.", question]))
    assert "an example of the kind from the pool, not from this page" in part["advice"]


def test_a_slice_of_the_card_is_tested_by_itself_and_not_found_again(found):
    named = audited(card={"slices": [{"name": "delays", "pattern": "late"}]})["audit"]["found"]
    assert [(part["name"], part["slice"]) for part in named] == [("delays", None)]


def test_a_student_that_errs_alike_everywhere_is_said_to():
    audit = audited(recall=0.8)["audit"]
    assert audit["found"] == []
    assert audit["sentences"][0].startswith("No part of the texts was confirmed in which the student errs more often: ")
