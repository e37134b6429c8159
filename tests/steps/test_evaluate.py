"""What a bundle is worth on human labels, and what is decided."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle, make_card
from tests.conftest import CARD
from tests.evaluations import measured
from understudy.errors import BadArtifact, BadData
from understudy.reports import evaluation as report
from understudy.runtime import shell
from understudy.stats import metrics
from understudy.stats.metrics import Interval
from understudy.steps.evaluate import assemble, costs, curves, gates, speed, step
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.store import tables
from understudy.task.card import parse_card
from understudy.teacher.answers import Spent, write_sent

# Of 100 tips the student finds 90 and the teacher 60; both raise few false alarms.
BETTER = [
    (55, True, 0.9, True), (35, True, 0.8, False), (5, True, 0.2, True), (5, True, 0.1, False),
    (10, False, 0.7, False), (10, False, 0.3, True), (380, False, 0.05, False),
]  # fmt: skip
# The other way round: the student finds 60, the teacher 95.
WORSE = [
    (60, True, 0.9, True), (35, True, 0.2, True), (5, True, 0.1, False),
    (30, False, 0.6, False), (370, False, 0.05, False),
]  # fmt: skip


def evaluation(kinds, **changes):
    return assemble.evaluation(measured(kinds, **changes))


def system(found, name):
    return next(one for one in found["systems"] if one["name"] == name)


def goals(**asked):
    return {"card": {"goals": asked}}


# Comparison with the teacher


def test_a_better_student_is_called_better_with_both_figures_and_the_interval():
    found = evaluation(BETTER)["comparison"]
    # Student: tp 90, fp 10, fn 10. Teacher: tp 60, fp 10, fn 40.
    assert found["student_f1"] == pytest.approx(180 / 200)
    assert found["teacher_f1"] == pytest.approx(120 / 170)
    assert found["verdict"] == "better"
    assert found["sentence"].startswith(
        "The student is better than its teacher on 500 human-labelled test texts (F1 0.90 against 0.71, "
        "difference +0.19, 95% interval +0.1"
    )


def test_a_worse_student_is_called_worse_plainly():
    found = evaluation(WORSE)["comparison"]
    assert found["sentence"].startswith("The student is worse than its teacher on 500 human-labelled test texts")
    assert found["chance"] < 0.01


def test_a_small_gap_is_not_called_a_difference():
    kinds = [(48, True, 0.9, True), (3, True, 0.9, False), (2, True, 0.1, True), (300, False, 0.1, False)]
    found = evaluation(kinds)["comparison"]
    assert found["student_f1"] > found["teacher_f1"]
    assert found["verdict"] == "not told apart"
    assert found["sentence"].startswith("The student and its teacher are not told apart on 353")


def test_student_and_teacher_are_compared_on_the_texts_that_both_answered():
    kinds = [*BETTER, (40, True, 0.1, None), (10, False, 0.1, None)]
    found = evaluation(kinds)
    assert found["comparison"]["texts"] == 500
    assert found["comparison"]["student_f1"] == pytest.approx(180 / 200)
    assert system(found, "student")["texts"] == 550
    assert system(found, "student_taught")["figures"]["f1"]["value"] == pytest.approx(180 / 200)
    assert system(found, "teacher")["texts"] == 500


def test_without_the_teachers_answers_there_is_no_comparison():
    found = evaluation([(20, True, 0.9, None), (80, False, 0.1, None)])
    assert found["comparison"] is None
    assert [one["name"] for one in found["systems"]] == ["student", "rules", "majority"]
    assert found["costs"]["teacher_per_1k_usd"] is None


def test_the_commonest_label_is_measured_on_the_same_texts():
    found = system(evaluation(BETTER), "majority")
    assert found["figures"]["recall"]["value"] == 0.0
    assert found["figures"]["macro_f1"]["value"] == pytest.approx((0 + 2 * 400 / 900) / 2, abs=1e-6)
    assert found["undefined"]["precision"] == "no text is flagged"


def test_the_cards_rules_are_a_baseline():
    kinds = [(10, True, 0.9, True), (10, False, 0.1, False)]
    texts = ["Ask for a room."] * 10 + ["Ask again later."] * 5 + ["Nice."] * 5
    found = system(evaluation(kinds, texts=texts), "rules")
    assert found["figures"]["precision"]["value"] == pytest.approx(10 / 15, abs=1e-6)


def test_several_weak_rules_are_a_baseline_together_too_and_a_bad_one_counts_against_its_label():
    kinds = [(40, True, 0.9, True), (40, False, 0.1, False)]
    texts = ["Ask for a room."] * 40 + ["Bring me a room, they said."] * 20 + ["Nice."] * 20
    weak = [{"name": word, "pattern": f"^{word}", "label": "tip"} for word in ("ask", "bring")]
    found = evaluation(kinds, texts=texts, card={"weak_rules": weak})
    assert [one["name"] for one in found["systems"]][-3:] == ["rules", "rules_combined", "majority"]
    assert system(found, "rules")["figures"]["precision"]["value"] == pytest.approx(40 / 60, abs=1e-6)
    assert system(found, "rules_combined")["figures"]["f1"]["value"] == 1.0
    assert found["rivals"]["rules_combined"]["verdict"] == "not told apart"


# Whatever is best is named

# Of 100 tips and 100 other texts the student finds 80 and takes 20 for tips, the teacher finds 60; a rule finds all.
BEHIND_RULES = [
    (60, True, 0.9, True), (20, True, 0.9, False), (20, True, 0.1, False), (20, False, 0.9, False),
    (80, False, 0.1, False),
]  # fmt: skip
RULED = ["Ask for a room."] * 100 + ["Nice."] * 100


def test_rules_that_are_better_than_the_student_are_named_as_the_best_with_the_arithmetic():
    found = evaluation(BEHIND_RULES, texts=RULED)
    best = found["best"]
    assert (best["name"], best["value"], best["verdict"]) == ("rules", 1.0, "better")
    assert best["sentence"].startswith(
        "F1 is highest of the card's weak rules: 1.00 against 0.80 of the student, difference +0.20, 95% interval +0.1"
    )
    assert best["sentence"].endswith(
        "certainly better than the student. That costs nothing: use it in the student's place."
    )
    told = step.result(found)
    assert "best the card's weak rules with F1 1.00, certainly better than the student" in told.headline


def test_a_reason_to_publish_says_that_something_that_costs_nothing_is_better():
    found = evaluation(BEHIND_RULES, texts=RULED, **goals(f1=0.5))
    assert found["decision"] == "publish"
    assert found["reason"].startswith(
        "Every goal of the card is met: F1. But the card's weak rules are certainly better"
    )
    assert "But" not in evaluation(BETTER, **goals(f1=0.5))["reason"]


def test_a_student_that_is_best_is_named_with_the_others():
    best = evaluation(BETTER)["best"]
    assert (best["name"], best["verdict"]) == ("student", None)
    assert best["sentence"].startswith("F1 is highest of the student, 0.90 (the teacher 0.71, ")


def test_a_teacher_that_is_best_is_named():
    best = evaluation(WORSE)["best"]
    assert (best["name"], best["verdict"]) == ("teacher", "better")
    assert "costs nothing" not in best["sentence"]


def test_one_label_for_every_text_may_be_the_best():
    best = evaluation([(60, True, 0.9, False), (60, True, 0.1, False), (20, False, 0.9, True)])["best"]
    assert (best["name"], best["verdict"]) == ("majority", "better")


def test_calibration_figures_need_probabilities():
    found = evaluation(BETTER)
    assert {"ece", "brier"} <= set(system(found, "student")["figures"])
    assert system(found, "teacher")["undefined"] == {
        "ece": "there are no probabilities",
        "brier": "there are no probabilities",
    }


# Goals


def test_a_goal_is_compared_with_the_point_estimate():
    found = evaluation(BETTER, **goals(f1=0.88, recall=0.95))["gates"]
    assert [(gate["name"], gate["is_met"]) for gate in found] == [("f1", True), ("recall", False)]


def test_a_strict_goal_is_compared_with_the_interval():
    config = EvaluateConfig(samples=400, strict=True)
    (gate,) = evaluation(BETTER, config=config, **goals(f1=0.88))["gates"]
    assert gate["figure"]["low"] < 0.88 < gate["figure"]["value"]
    assert not gate["is_met"]


def test_the_chance_that_a_goal_is_met_is_near_one_half_at_the_estimate():
    (gate,) = evaluation(BETTER, **goals(f1=0.9))["gates"]
    assert 0.35 < gate["chance"] < 0.65
    assert "95% interval" in gate["sentence"]


def test_latency_and_cost_must_stay_below_their_goals():
    found = evaluation(BETTER, **goals(p95_latency_ms=5.9, cost_per_1k_usd=0.00001))["gates"]
    # Latencies run evenly from 2 to 6 ms, so P95 is 5.8; 0.085 / 3600 / 400 * 1000 is 0.000059 dollars.
    assert [gate["is_met"] for gate in found] == [True, False]
    assert found[0]["figure"]["value"] == pytest.approx(5.8)
    assert found[1]["figure"]["value"] == pytest.approx(0.085 / 3600 / 400 * 1000, rel=1e-4)
    assert found[1]["chance"] is None


def busy(computed: float) -> speed.Timing:
    """A machine whose other work makes every text take 60 ms, of which the student computes less."""
    return speed.Timing(wall_ms=np.full((3, 100), 60.0), processor_ms=np.full((3, 100), computed))


def test_a_latency_goal_that_a_busy_machine_cannot_judge_refuses_nothing_and_is_said():
    found = evaluation(BETTER, timing=busy(40.0), **goals(f1=0.8, p95_latency_ms=50.0))
    (gate,) = (gate for gate in found["gates"] if gate["name"] == "p95_latency_ms")
    assert (gate["is_met"], gate["is_judged"]) == (False, False)
    assert found["decision"] == "publish"
    assert found["reason"].startswith("Met: F1. P95 latency must be at most 50 ms, got 60 ms")
    assert "on a machine too busy to judge it. Run evaluate again where nothing else runs" in found["reason"]
    assert "P95 60 ms (the machine is too busy to judge its goal)" in report.headline(found)
    assert "2 goals could not be judged on this busy machine" in report.page(found)
    assert ">not judged<" in report.page(found)


def test_a_latency_goal_that_computing_alone_misses_is_missed_on_a_busy_machine_too():
    found = evaluation(BETTER, timing=busy(51.0), **goals(p95_latency_ms=50.0))
    assert found["decision"] == "refuse"
    assert found["gates"][0]["is_judged"]


@pytest.mark.parametrize(
    ("goal", "timing", "decision"),
    [
        # $0.36 an hour at 100 texts a second are $0.001 per 1,000, and half of it where the machine does nothing else.
        (0.0011, busy(40.0), "publish"),
        (0.0008, busy(40.0), "publish"),
        (0.0004, busy(40.0), "refuse"),
        (0.0008, busy(60.0), "refuse"),
    ],
    ids=["met", "not judged", "missed by computing alone", "missed on a calm machine"],
)
def test_a_cost_goal_is_missed_only_where_the_machines_other_work_is_not_why(goal, timing, decision):
    changes = goals(cost_per_1k_usd=goal)
    changes["card"] |= {"prices": {"instance_usd_per_hour": 0.36}}
    found = evaluation(BETTER, timing=timing, texts_per_second=100.0, **changes)
    assert found["decision"] == decision
    is_unjudged = (decision, found["gates"][0]["is_met"]) == ("publish", False)
    assert ("on a machine too busy to judge it" in found["reason"]) == is_unjudged
    assert report.headline(found).endswith("per 1,000 (the machine is too busy to judge its goal)") == is_unjudged


def test_a_calm_machine_judges_every_latency_goal():
    found = evaluation(BETTER, timing=busy(59.0), **goals(p95_latency_ms=59.5))
    assert found["decision"] == "refuse"


def test_the_fastest_round_of_each_text_counts():
    wall = np.array([[10.0, 90.0], [90.0, 10.0], [90.0, 90.0]])
    found = evaluation(BETTER, timing=speed.Timing(wall, wall / 2), **goals(p95_latency_ms=11.0))
    assert (found["decision"], found["gates"][0]["figure"]["value"]) == ("publish", 10.0)
    assert found["speed"]["p95_latency_ms_under_load"] == 90.0


def test_a_missed_goal_refuses_beside_one_that_cannot_be_judged():
    found = evaluation(BETTER, timing=busy(40.0), **goals(f1=0.95, p95_latency_ms=50.0))
    assert found["decision"] == "refuse"
    assert "P95" not in found["reason"]


def test_the_chance_to_stay_below_a_goal_is_that_of_being_lower():
    chances = [evaluation(BETTER, **goals(p95_latency_ms=goal))["gates"][0]["chance"] for goal in (3.0, 6.5)]
    assert chances == [0.0, 1.0]


def test_an_undefined_figure_meets_no_goal():
    found = evaluation([(100, False, 0.1, False)], **goals(recall=0.5))
    assert found["decision"] == "refuse"
    assert found["gates"][0]["sentence"] == "Recall must be at least 0.50, got n/a."


def test_no_positive_text_leaves_figures_undefined_and_the_json_finite():
    found = evaluation([(100, False, 0.1, False)])
    json.dumps(found, allow_nan=False)
    assert system(found, "student")["undefined"]["f1"] == "no text is positive and none is flagged"
    metrics_found = step.result(found).metrics
    assert "f1" not in metrics_found
    assert all(map(math.isfinite, metrics_found.values()))


# The decision


def test_all_goals_met_is_publish():
    found = evaluation(BETTER, **goals(f1=0.8, recall=0.8))
    assert (found["decision"], found["reason"]) == ("publish", "Every goal of the card is met: F1 and Recall.")


def test_a_missed_goal_is_refuse_with_the_goal_as_its_reason():
    found = evaluation(BETTER, **goals(f1=0.95, recall=0.8))
    assert found["decision"] == "refuse"
    assert found["reason"].startswith("F1 must be at least 0.95, got 0.90")
    assert "Recall" not in found["reason"]


def test_the_teacher_is_kept_when_it_is_certainly_better_and_cheaper():
    found = evaluation(WORSE, card={"texts_per_month": 1000, "goals": {"f1": 0.1}})
    assert found["decision"] == "keep-the-teacher"
    assert "the teacher is cheaper by" in found["reason"]


def test_a_better_teacher_that_costs_more_does_not_stop_a_student_that_meets_its_goals():
    found = evaluation(WORSE, card={"texts_per_month": 10_000_000, "goals": {"f1": 0.1}})
    assert found["decision"] == "publish"
    assert "worse than its teacher" in found["comparison"]["sentence"]


def test_a_cheaper_teacher_that_is_not_certainly_better_is_not_kept():
    found = evaluation(BETTER, card={"texts_per_month": 1000})
    assert found["decision"] == "publish"


# Costs


def test_a_month_is_what_runs_waits_and_is_sampled_and_a_share_of_the_one_off_cost():
    card = parse_card(
        make_card(
            more="texts_per_month: 2000000\nprices: {instance_usd_per_hour: 0.36, annotator_usd_per_hour: 20, "
            "training_usd_per_hour: 3}"
        )
    )
    sampling = costs.Sampling(people_texts=210, teacher_texts=84, teacher_usd=1.0)
    basis = costs.Basis(texts_per_second=100, teacher_per_1k_usd=0.5, training_s=1200, sampling=sampling)
    found = costs.costs(card, EvaluateConfig(night_waiting_s=240), basis)
    assert found.student_per_1k_usd == pytest.approx(0.001)
    assert found.student_running_usd == pytest.approx(2.0)
    assert found.waiting_month_usd == pytest.approx(365 / 12 * 240 / 3600 * 0.36)
    # A week: 210 labels at 200 an hour and $20 are $21, 84 answers at $0.0005 are $0.042.
    assert found.sample_month_usd == pytest.approx(365 / 84 * 21.042)
    assert found.training_usd == pytest.approx(1.0)
    assert found.one_off_usd == pytest.approx(5 + 1000 / 200 * 20 + 1)
    monthly = 2.0 + 0.73 + 365 / 84 * 21.042
    assert found.student_month_usd == pytest.approx(monthly + 106 / 12)
    assert found.teacher_month_usd == pytest.approx(1000.0)
    assert found.payback_months == pytest.approx(106 / (1000 - monthly))
    assert not found.is_teacher_cheaper


def test_a_sample_costs_no_more_than_the_teachers_cap_and_that_where_its_price_is_unknown():
    card, config = parse_card(make_card()), EvaluateConfig()
    sampling = costs.Sampling(people_texts=0, teacher_texts=1000, teacher_usd=0.25)
    for per_1k in (None, 2.0):
        found = costs.sample_month_usd(card, config, costs.Basis(100, per_1k, sampling=sampling))
        assert found == pytest.approx(365 / 84 * 0.25)
    assert costs.sample_month_usd(card, config, costs.Basis(100, 0.1, sampling=sampling)) == pytest.approx(
        365 / 84 * 0.1
    )


def test_the_arithmetic_of_the_costs_is_written_out():
    lines = evaluation(BETTER)["costs"]["arithmetic"]
    assert lines[0].startswith(
        "Student, running: $0.085 an hour / 3,600 seconds / 400 texts a second x 1,000 = $0.000059"
    )
    assert lines[1] == (
        "Student, waiting: 300 seconds a night in which nodes and pods start, list and write (assumed: "
        "evaluate.night_waiting_s) at $0.085 an hour make $0.22 a month."
    )
    assert lines[2].endswith("; what training cost is not known: together $130.00, $10.83 a month over 12 months.")
    assert "mean of $0.000400 a text over 500 of the answers that were bought, x 1,000 = $0.40" in lines[3]


def test_answers_of_unknown_price_are_priced_by_the_card_and_said_to_be_estimated():
    known = measured(BETTER)
    table = known.test.table.with_columns(cost_usd=pl.lit(None, pl.Float64))
    found = assemble.evaluation(replace(known, test=replace(known.test, table=table)))["costs"]
    assert found["teacher_per_1k_usd"] > 0
    assert "Teacher: about $0.000" in found["arithmetic"][3]
    assert "a text by the card's prices, at four characters a token, x 1,000 = " in found["arithmetic"][3]


def test_the_arithmetic_names_the_weekly_sample_and_what_training_took():
    lines = evaluation(BETTER, sampling=costs.Sampling(200, 50, 0.5), training_s=630)["costs"]["arithmetic"]
    assert lines[2] == (
        "Student, watched: a sample of at most 200 texts a week, $25.00 of people's time at 200 an hour and $0.020 of "
        "the teacher, makes $108.72 a month."
    )
    assert ", and 10.5 minutes of training at $0.085 an hour ($0.015): together $130.01, $10.83 a month" in lines[3]


def test_a_rehearsals_prices_are_said_to_be_the_cards():
    lines = evaluation(BETTER, is_rehearsal=True)["costs"]["arithmetic"]
    assert "a rehearsal's answers at the card's prices" in lines[3]


def test_the_one_off_cost_is_what_was_spent_not_what_was_allowed():
    spent = Spent(teacher_usd=1.5, is_rehearsal=False, human_labels=400, answers=90, p50_ms=700.0, p95_ms=1900.0)
    found = evaluation(BETTER, spent=spent)
    # 400 labels at 200 an hour and $25 an hour are $50.
    assert found["costs"]["one_off_usd"] == pytest.approx(51.5)
    assert found["costs"]["arithmetic"][2].startswith(
        "Student, once: $1.50 paid for the teacher's answers so far, and people's time, estimated as 400 human labels "
        "at 200 an hour and $25.00 an hour ($50.00); what training cost is not known: together $51.50"
    )


def test_peoples_time_goes_by_the_seconds_that_were_measured():
    spent = Spent(teacher_usd=1.5, is_rehearsal=False, human_labels=400, timed=45, label_s=36.0)
    found = evaluation(BETTER, spent=spent, sampling=costs.Sampling(people_texts=200))
    # 36 seconds are 100 an hour; 400 labels at $25 an hour are $100.
    assert found["costs"]["one_off_usd"] == pytest.approx(101.5)
    lines = found["costs"]["arithmetic"]
    assert "$50.00 of people's time at 100 an hour" in lines[2]
    assert "and people's time, by the median of 45 labels that were timed, 400 human labels at 100 an hour" in lines[3]


def test_the_teachers_latency_is_measured_on_its_answers():
    spent = Spent(teacher_usd=1.5, is_rehearsal=False, human_labels=400, answers=90, p50_ms=700.0, p95_ms=1900.0)
    found = evaluation(BETTER, spent=spent)
    assert system(found, "teacher")["p95_latency_ms"] == 1900.0
    page = report.page(found)
    assert "700 ms median, 1,900 ms P95" in page
    assert "is that of 90 answers, from sending to answer" in page


def test_a_latency_of_the_teacher_that_nobody_measured_is_no_number():
    found = evaluation(BETTER)
    assert system(found, "teacher")["p95_latency_ms"] is None
    assert "How long the teacher&#39;s answers took is not known." in report.page(found)


# Tables and lists


def test_the_thresholds_run_from_low_to_high_with_the_chosen_one_among_them():
    rows = evaluation(BETTER)["thresholds"]
    assert [row["threshold"] for row in rows] == sorted({*curves.THRESHOLDS, 0.5})
    assert [row["threshold"] for row in rows if row["is_chosen"]] == [0.5]
    assert all(first["flagged_share"] >= second["flagged_share"] for first, second in pairwise(rows))
    (chosen,) = [row for row in rows if row["is_chosen"]]
    assert chosen["recall"] == pytest.approx(0.9)


def test_a_reliability_bin_holds_its_mean_and_its_frequency():
    rows = evaluation([(3, True, 0.85, None), (1, False, 0.81, None), (10, False, 0.02, None)])["reliability"]
    assert [(row["low"], row["texts"]) for row in rows] == [(0.0, 10), (0.8, 4)]
    assert rows[1]["probability"] == pytest.approx(0.84)
    assert rows[1]["frequency"]["value"] == 0.75


def test_the_curve_ends_where_every_text_is_flagged():
    points = evaluation(BETTER)["curve"]
    assert points[0]["precision"] == 1.0
    assert points[-1]["recall"] == 1.0
    assert points[-1]["precision"] == pytest.approx(0.2)


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    points = curves.curve(np.arange(5000) % 7 == 0, np.linspace(0.001, 0.999, 5000))
    assert len(points) <= 200
    assert (points[0]["threshold"], points[-1]["threshold"]) == (0.999, 0.001)


def test_slices_with_few_positives_are_said_to_be_too_few():
    texts = ["Avoid the bar."] * 12 + ["You may well want to avoid the long tram line here."] * 3
    texts += ["A very long walk from here to there again."] * 15
    kinds = [(15, True, 0.9, True), (15, False, 0.1, False)]
    rows = {row["name"]: row for row in evaluation(kinds, texts=texts)["slices"]}
    assert (rows["avoid"]["positives"], rows["avoid"]["is_too_few"]) == (15, False)
    assert (rows["in no slice"]["positives"], rows["in no slice"]["is_too_few"]) == (0, True)
    assert rows["avoid"]["student"]["recall"]["value"] == 1.0


def test_errors_come_with_the_surest_first():
    kinds = [(1, True, 0.4, True), (1, True, 0.01, True), (2, False, 0.6, False), (1, False, 0.97, False)]
    found = evaluation(kinds, config=EvaluateConfig(samples=100, errors_shown=2))["errors"]
    assert [row["probability"] for row in found["missed"]] == [0.01, 0.4]
    assert [row["probability"] for row in found["false_alarms"]] == [0.97, 0.6]
    assert found["counts"] == {"missed": 2, "false_alarms": 3}


def test_a_percentile_has_an_interval_around_it():
    interval, draws = speed.percentile(np.linspace(1, 100, 100), 0.95, samples=500, seed=0)
    assert interval.value == pytest.approx(95.05)
    assert interval.low < 95.05 < interval.high <= 100
    assert draws.shape == (500,)


def test_a_ceiling_without_interval_is_compared_by_its_value():
    figure = Interval(0.02, math.nan, math.nan)
    gate = gates.ceiling("cost_per_1k_usd", 0.03, figure, np.empty(0), strict=True)
    assert gate.is_met
    assert gates.gate_sentence(gate) == "Cost of 1,000 texts must be at most $0.030, got $0.020."


# The step on a real bundle

LABELLED = [
    ("Ask for a room at the back", "tip"),
    ("Bring a jacket", "tip"),
    ("Never go in May", "tip"),
    ("Nice stay", "other"),
    ("We stayed here", "other"),
    ("Ask again, they told us", "other"),
]  # the bundle flags ask, bring and avoid: 2 found, 1 missed, 1 false alarm


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SHORTEST_TIMING_S", 0.05)
    return make_bundle(tmp_path / "bundle")


def labelled(**columns):
    return pl.DataFrame({"text": [text for text, _ in LABELLED], "label": [label for _, label in LABELLED], **columns})


def evaluate(folder, **arguments):
    paths = {"bundle": folder / "bundle", "evaluation": folder / "evaluation", "page": folder / "report.html"}
    result = shell.execute("evaluate", {**paths, "overrides": "samples=100", **arguments})
    return result, json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))


def test_a_student_whose_figure_is_undefined_is_rated_n_a_beside_rules_that_flag(tmp_path, bundle):
    file = tmp_path / "labelled.csv"
    texts = [*(f"nice stay {number}" for number in range(40)), "ask nice stayed nice stayed"]
    pl.DataFrame({"text": texts, "label": ["other"] * 41}).write_csv(file)
    _, found = evaluate(tmp_path, test=file)
    assert found["best"]["verdict"] is None


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_any_labelled_file_serves(tmp_path, bundle, kind):
    file = tmp_path / f"labelled.{kind}"
    {"csv": labelled().write_csv, "jsonl": labelled().write_ndjson, "parquet": labelled().write_parquet}[kind](file)
    result, found = evaluate(tmp_path, test=file)
    assert result.metrics["f1"] == pytest.approx(4 / 6, abs=1e-6)
    assert result.parameters["decision"] == "publish"
    assert found["test"] == {
        "name": file.name, "texts": 6, "positives": 3, "groups": 6, "taught": 0, "refused": {},
    }  # fmt: skip


def test_faulty_rows_of_a_file_are_refused_and_counted(tmp_path, bundle):
    file = tmp_path / "labelled.csv"
    sound = "".join(f"{number},Nice,other\n" for number in range(60))
    faulty = "a,Ask,tip\na,Ask twice,tip\nb,Nice,maybe\nc,,tip\n"
    file.write_text(f"id,text,label\n{sound}{faulty}", encoding="utf-8")
    _, found = evaluate(tmp_path, test=file)
    assert found["test"]["texts"] == 61
    assert found["test"]["refused"] == {"empty_text": 1, "repeated_id": 1, "unknown_label": 1}
    assert "3 rows of the file were refused" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_file_with_many_faulty_rows_is_not_measured(tmp_path, bundle):
    file = tmp_path / "labelled.csv"
    file.write_text("text,label\n" + "Ask,tip\nNice,Others\n" * 10, encoding="utf-8")
    with pytest.raises(BadData, match=r"At most 5% .* got 10 of 20 .*unknown_label 10 \(row 3 of .*'Others' is none"):
        evaluate(tmp_path, test=file)
    assert not (tmp_path / "evaluation").exists()


def test_rows_that_stand_twice_are_counted_and_no_fault(tmp_path, bundle):
    file = tmp_path / "labelled.csv"
    file.write_text("id,text,label\n" + "a,Ask,tip\nb,Nice,other\n" * 2, encoding="utf-8")
    _, found = evaluate(tmp_path, test=file)
    assert (found["test"]["texts"], found["test"]["refused"]) == (2, {"repeated_id": 2})


def test_a_file_without_a_single_known_label_is_bad_input(tmp_path, bundle):
    file = tmp_path / "labelled.csv"
    file.write_text("text,label\nAsk,1\nNice,0\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"among other, tip, got none .* 2 unknown_label"):
        evaluate(tmp_path, test=file)
    assert not (tmp_path / "evaluation").exists()


def test_groups_of_a_file_are_drawn_whole(tmp_path, bundle):
    file = tmp_path / "labelled.csv"
    labelled(group=["a", "a", "a", "b", "b", "b"]).write_csv(file)
    _, found = evaluate(tmp_path, test=file)
    assert found["test"]["groups"] == 2


def gold(folder, splits):
    table = labelled().with_columns(
        id=pl.Series([f"t{index}" for index in range(6)]), group=pl.Series([f"t{index}" for index in range(6)]),
        split=pl.Series(splits), annotators=pl.lit(1, dtype=pl.Int64), origin=pl.lit("labels"),
    )  # fmt: skip
    tables.write(table, tables.Gold, folder)
    return folder


def test_only_the_test_split_of_an_artifact_is_read(tmp_path, bundle):
    test = gold(tmp_path / "test", ["test", "test", "train", "test", "calibration", "test"])
    _, found = evaluate(tmp_path, test=test)
    assert found["test"]["texts"] == 4
    assert set(tables.read(tmp_path / "evaluation", tables.Evaluated)["id"]) == {"t0", "t1", "t3", "t5"}


def test_an_artifact_without_test_texts_is_refused(tmp_path, bundle):
    with pytest.raises(BadArtifact, match="split test, got none"):
        evaluate(tmp_path, test=gold(tmp_path / "test", ["train"] * 6))


def test_the_teachers_answers_stand_beside_the_students(tmp_path, bundle):
    test = gold(tmp_path / "test", ["test"] * 6)
    rows = pl.DataFrame(
        {
            "id": [f"t{index}" for index in range(5)], "judge": "rehearsal:1", "kind": "teacher",
            "label": ["tip", "other", "tip", "other", "other"],
            "probabilities": [[0.1, 0.9], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.8, 0.2]], "rationale": None,
            "prompt_tokens": 90, "completion_tokens": 2, "cost_usd": 0.0002, "is_rehearsal": True, "weight": 1.0,
        },
        schema_overrides={"rationale": pl.String},
    )  # fmt: skip
    tables.write(rows, tables.Judgements, tmp_path / "judged")
    write_sent(tmp_path / "judged", {"texts": 90, "left": {"api.acme.ai": 88}, "unknown": 0, "is_redacted": False})
    _, found = evaluate(tmp_path, test=test, test_judgements=tmp_path / "judged")
    assert "88 texts left the house, as they are, for api.acme.ai" in (tmp_path / "report.html").read_text()
    teacher = system(found, "teacher")
    assert teacher["texts"] == 5
    assert teacher["figures"]["recall"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert "brier" in teacher["figures"]
    assert teacher["cost_per_1k_usd"] == pytest.approx(0.2)
    assert found["is_rehearsal"]
    written = tables.read(tmp_path / "evaluation", tables.Evaluated)
    assert written.filter(pl.col("id") == "t1").select("label", "predicted", "teacher_label").row(0) == (
        "tip",
        "tip",
        "other",
    )


def test_a_refusal_is_a_decision_and_not_an_error(tmp_path, bundle):
    card = {**CARD, "goals": {"f1": 0.9}}
    (tmp_path / "card.yaml").write_text(json.dumps(card), encoding="utf-8")
    labelled().write_csv(tmp_path / "labelled.csv")
    result, _ = evaluate(tmp_path, test=tmp_path / "labelled.csv", card=tmp_path / "card.yaml")
    assert result.parameters["decision"] == "refuse"
    assert "F1 must be at least 0.90, got 0.67" in result.parameters["reason"]
    assert result.headline.startswith("refuse: F1 0.67")


def test_a_card_with_other_labels_than_the_bundle_is_refused(tmp_path, bundle):
    card = {**CARD, "positive_label": "other", "weak_rules": []}
    (tmp_path / "card.yaml").write_text(json.dumps(card), encoding="utf-8")
    labelled().write_csv(tmp_path / "labelled.csv")
    with pytest.raises(BadArtifact, match="must have the card's labels"):
        evaluate(tmp_path, test=tmp_path / "labelled.csv", card=tmp_path / "card.yaml")


def test_an_altered_bundle_is_not_measured(tmp_path, bundle):
    (bundle / "model.onnx").write_bytes(b"something else")
    labelled().write_csv(tmp_path / "labelled.csv")
    with pytest.raises(BadArtifact, match="must have the hash"):
        evaluate(tmp_path, test=tmp_path / "labelled.csv")


def test_only_speed_and_what_rests_on_it_differ_between_runs(tmp_path, bundle):
    labelled().write_csv(tmp_path / "labelled.csv")
    runs = []
    for _ in range(2):
        _, found = evaluate(tmp_path, test=tmp_path / "labelled.csv")
        for one in found["systems"]:
            one.pop("p95_latency_ms", None), one.pop("cost_per_1k_usd", None)
        predictions = (tmp_path / "evaluation" / "predictions.parquet").read_bytes()
        runs.append(({name: part for name, part in found.items() if name not in {"speed", "costs"}}, predictions))
    assert runs[0] == runs[1]


def test_speed_is_measured_on_the_bundle_itself(bundle):
    found = speed.score(bundle, [text for text, _ in LABELLED] * 5, latency_texts=20)
    assert found.probabilities[0, 1] == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)
    assert found.timing.wall_ms.shape == found.timing.processor_ms.shape == (speed.ROUNDS, 20)
    assert (found.timing.own_ms <= found.timing.wall_ms).all()
    assert found.texts_per_second > 1 / (found.timing.wall_ms.max() / 1000 * 100)


def test_time_that_other_work_takes_is_told_from_the_students_own(tmp_path):
    student = make_bundle(tmp_path / "bundle")
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * len(os.sched_getaffinity(0)))
    ]
    try:
        found = speed.score(student, [text for text, _ in LABELLED] * 200, latency_texts=1000)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert found.timing.is_busy
    assert np.quantile(found.timing.own_ms, 0.95) < np.quantile(found.timing.wall_ms, 0.95)
    assert (found.timing.least_ms <= found.timing.own_ms).all()
    assert found.most_texts_per_second > found.texts_per_second


def test_metrics_carry_the_designs_names_and_intervals():
    found = step.result(evaluation(BETTER)).metrics
    assert {"f1", "precision", "recall", "macro_f1", "ece", "brier", "p95_latency_ms", "cost_per_1k_usd"} <= set(found)
    assert found["f1_low"] < found["f1"] < found["f1_high"]
    assert found["f1_over_teacher"] == pytest.approx(found["f1"] - found["teacher_f1"], abs=1e-6)
    assert metrics.defined(found) == found
