"""What test labels can show, before people label and after; and the noise beside a calibration error."""

import numpy as np
import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.evaluations import measured
from understudy.reports import evaluation as report
from understudy.runners.local import forecast
from understudy.stats import metrics
from understudy.steps.evaluate import assemble, needed, step
from understudy.store import tables
from understudy.task.card import parse_card

CLOSE = [(48, True, 0.9, True), (3, True, 0.9, False), (2, True, 0.1, True), (300, False, 0.1, False)]


def card(**changes):
    return parse_card(card_yaml(**changes))


def test_before_people_label_it_is_said_what_so_many_labels_show_at_the_cards_goal():
    said = needed.beforehand(card(goals={"f1": 0.84}), {"tip": 0.08, "other": 0.92}, 500)
    assert said == (
        "500 human labels, 8% of them 'tip', show with a chance of 80% that a student at the goal, F1 0.84, is ahead "
        "of its teacher where it leads by 0.21; a lead of 0.10 takes about 1,900 and 0.05 takes about 6,600 (half as "
        "many show it as likely as not)."
    )


def test_the_dry_run_says_it_of_the_test_split(tmp_path):
    labels = ["tip"] * 3 + ["other"] * 27
    rows = {"id": [str(row) for row in range(60)], "group": "g", "text": "Ask.", "label": labels * 2}
    split = ["test"] * 30 + ["train"] * 30
    tables.write(pl.DataFrame({**rows, "split": split, "annotators": 1, "origin": "labels"}), tables.Gold, tmp_path)
    (line,) = forecast._test_labels(card(goals={"f1": 0.8}), tmp_path)
    assert line.startswith("test split: 30 human labels, 10% of them 'tip', show with a chance of 80%")
    assert forecast._test_labels(card(goals=None), tmp_path) == []


def test_too_few_labels_cannot_show_any_lead():
    said = needed.beforehand(card(goals={"f1": 0.84}), {"tip": 0.1, "other": 0.9}, 4)
    assert said.startswith("4 human labels, 10% of them 'tip', cannot show that a student at the goal, F1 0.84, is")


def test_where_all_labels_matter_alike_it_is_of_macro_f1():
    changes = {"labels": [{"name": name, "definition": name} for name in "abc"], "positive_label": None}
    task = card(**changes, weak_rules=None, goals={"macro_f1": 0.8})
    said = needed.beforehand(task, dict.fromkeys("abc", 1 / 3), 300)
    assert said.startswith("300 human labels show with a chance of 80% that a student at the goal, macro F1 0.80, is")
    assert needed.beforehand(task, {"a": 0.5, "b": 0.5}, 300) == ""  # nothing is known of c


@pytest.mark.parametrize("changes", [{"goals": {"recall": 0.8}}, {"goals": None}])
def test_of_a_card_without_a_goal_nothing_is_said(changes):
    assert needed.beforehand(card(**changes), {"tip": 0.1, "other": 0.9}, 300) == ""


def test_the_report_says_how_many_labels_are_missing_where_nothing_is_told_apart():
    found = assemble.evaluation(measured(CLOSE, card={"goals": {"f1": 0.97}}))
    told, goal = found["missing"]
    assert told.startswith(
        "Which of student and teacher is better is not shown by 353 test labels: if it is as measured"
    )
    assert goal.startswith("Whether F1 reaches 0.97 is not shown by 353 test labels: if it is as measured, ")
    assert told in report.page(found)
    assert goal in report.summary_lines(found)


def test_nothing_is_missing_where_all_is_shown():
    assert assemble.evaluation(measured([(90, True, 0.9, False), (90, False, 0.1, True)]))["missing"] == []


def test_more_labels_of_the_same_kind_make_what_is_missing_smaller_not_what_is_needed():
    few, many = (assemble.compare(measured([(times * number, *kind) for number, *kind in CLOSE])) for times in (1, 2))
    one, other = (needed.missing(found, [], found.texts) for found in (few, many))
    numbers_of = [int(said[0].split("about ")[1].split()[0].replace(",", "")) for said in (one, other)]
    assert numbers_of[0] == pytest.approx(numbers_of[1], rel=0.15)


def test_the_noise_of_a_calibration_error_stands_beside_it_everywhere():
    found = assemble.evaluation(measured(CLOSE, card={"goals": {"f1": 0.9}}))
    error = next(one for one in found["systems"] if one["name"] == "student")["figures"]["ece"]
    own = f"{error['value']:.3f} (noise {error['floor']:.3f})"
    assert own in report.page(found)
    assert any(own in line for line in report.summary_lines(found))
    told = step.result(found)
    assert told.metrics["ece_floor"] == error["floor"]
    assert f"calibration error {error['value']:.3f}, where chance alone gives {error['floor']:.3f}" in told.headline


def test_probabilities_that_hold_have_a_calibration_error_of_about_the_noise_and_others_more():
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 8, 400)
    floor = metrics.ece_floor(probability)
    draws = [metrics.ece(probability, rng.random(400) < probability) for _ in range(300)]
    assert np.mean(draws) == pytest.approx(floor, rel=0.05)
    assert metrics.ece(probability, rng.random(400) < np.minimum(1, 3 * probability)) > 3 * floor


def test_texts_of_one_probability_share_a_bin_so_that_their_order_plays_no_part():
    rng = np.random.default_rng(0)
    probability, truth = np.repeat([0.1, 0.4], 50), rng.random(100) < 0.3
    order = rng.permutation(100)
    assert metrics.ece(probability, truth) == pytest.approx(metrics.ece(probability[order], truth[order]))
