"""What a bundle is worth where a text may have several labels, or none: each is a yes or no of its own."""

import json
from functools import partial

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle
from tests.evaluations import measured_several
from understudy.errors import BadArtifact
from understudy.runtime import shell
from understudy.stats import metrics
from understudy.steps.evaluate import assemble, by_label, curves, rules, speed, step
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.store import tables
from understudy.task import measures
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip", "blame")
# Given from 0.5: praise 12 right and 2 false alarms; tip 5 right, 3 missed; blame 4 right, 2 missed, 1 false alarm.
KINDS = [
    (8, "praise", {"praise": 0.9}, "praise"), (4, "praise tip", {"praise": 0.8, "tip": 0.7}, "praise"),
    (1, "tip", {"tip": 0.6}, "tip"), (3, "tip", {"tip": 0.4}, "tip blame"),
    (4, "blame", {"blame": 0.75}, "blame"), (2, "blame", {"blame": 0.2, "praise": 0.55}, "blame"),
    (1, "", {"blame": 0.8}, ""), (7, "", {}, ""),
]  # fmt: skip
RIGHT, GIVEN, TRUE = np.array([12, 5, 4]), np.array([14, 5, 5]), np.array([12, 8, 6])
F1 = 2 * RIGHT / (GIVEN + TRUE)
WRONG = 3 + 2 + 1
TEXTS = 30


def several(kinds=KINDS, **changes):
    """Lay out a measurement; labels are words with a blank between them."""
    split = [
        (texts, true.split(), given, None if taught is None else taught.split()) for texts, true, given, taught in kinds
    ]
    return measured_several(split, **{"names": NAMES, **changes})


@pytest.fixture(scope="module")
def found():
    return assemble.evaluation(several())


def system(found, name):
    return next(one for one in found["systems"] if one["name"] == name)


def truth(codes):
    return rules.Truth(LabelSpace(NAMES, is_many=True), np.array(codes, dtype=bool), np.arange(len(codes)))


# Figures


def test_macro_f1_decides_and_micro_f1_and_exact_match_stand_beside_it(found):
    figures = system(found, "student")["figures"]
    assert figures["macro_f1"]["value"] == pytest.approx(F1.mean(), abs=1e-6)
    assert figures["micro_f1"]["value"] == pytest.approx(2 * RIGHT.sum() / (GIVEN.sum() + TRUE.sum()), abs=1e-6)
    assert figures["weighted_f1"]["value"] == pytest.approx((F1 * TRUE).sum() / TRUE.sum(), abs=1e-6)
    assert figures["accuracy"]["value"] == pytest.approx((TEXTS - WRONG) / TEXTS, abs=1e-6)
    assert found["primary"] == {"figure": "macro_f1", **figures["macro_f1"]}
    assert set(figures) == {"macro_f1", "micro_f1", "weighted_f1", "accuracy", "ece", "brier"}
    told = step.result(found).metrics
    assert {"micro_f1", "micro_f1_low", "macro_f1_over_teacher", "chance_better_than_teacher"} <= set(told)


def test_calibration_error_and_brier_score_are_of_each_label_of_each_text(found):
    one = several()
    figures, probabilities = system(found, "student")["figures"], one.scored.probabilities
    plain = metrics.ece(probabilities.ravel(), one.truth.codes.ravel())
    assert figures["ece"]["value"] == pytest.approx(plain, abs=1e-6)
    squared = ((probabilities - one.truth.codes) ** 2).mean()
    assert figures["brier"]["value"] == pytest.approx(squared, abs=1e-6)


def test_a_resample_draws_texts_with_all_of_their_labels():
    probabilities = np.array([[0.9, 0.2], [0.6, 0.1], [0.3, 0.7]])
    codes = np.array([[True, False], [False, False], [True, True]])
    weights = np.array([2.0, 0.0, 1.0])
    repeated = np.repeat(np.arange(3), weights.astype(int))
    in_one_bin = partial(metrics.ece, bins=1)  # bins are cut by all the texts, whatever their weights
    expected = in_one_bin(probabilities[repeated].ravel(), codes[repeated].ravel())
    assert in_one_bin(probabilities, codes, weights) == pytest.approx(expected)
    assert in_one_bin(probabilities, codes, weights[None, :]).tolist() == pytest.approx([expected])


def test_the_commonest_set_and_the_labels_of_all_rules_are_baselines():
    weak = [{"name": "a", "pattern": "ask", "label": "tip"}, {"name": "n", "pattern": "never", "label": "blame"}]
    texts = ["Ask, never wait."] * 4 + ["Ask."] * 4 + ["Nice."] * 22
    one = several(texts=texts, card={"weak_rules": weak})
    assert one.space.named(one.rules.codes) == ['["tip", "blame"]'] * 4 + ['["tip"]'] * 4 + ["[]"] * 22
    # 8 texts have praise alone, and 8 none at all: of sets that are as common the one that is met first in their order
    assert set(one.space.named(rules.majority(one.truth).codes)) == {"[]"}
    praised = truth([[1, 0, 0]] * 3 + [[1, 1, 0]] * 2 + [[0, 0, 0]])
    assert rules.majority(praised).codes.tolist() == [[True, False, False]] * 6
    titles = [each["title"] for each in assemble.evaluation(one)["systems"]]
    assert titles == [
        "Student", "Teacher", "The card's weak rules", "The weak rules combined", "Commonest labels",
    ]  # fmt: skip


def test_student_and_teacher_are_compared_by_macro_f1(found):
    compared = found["comparison"]
    # the teacher misses 4 of 8 tips, and gives blame 3 times too often
    assert compared["teacher_macro_f1"] == pytest.approx((1 + 8 / 12 + 12 / 15) / 3)
    assert compared["student_macro_f1"] == pytest.approx(F1.mean())
    assert compared["sentence"].startswith("The student and its teacher are not told apart on 30 human-labelled test")


def test_figures_of_texts_without_any_label_are_undefined():
    found = assemble.evaluation(several([(9, "", {}, "")]))
    assert system(found, "student")["undefined"]["macro_f1"] == "no text has a label or is given one"
    assert system(found, "student")["figures"]["accuracy"]["value"] == 1.0
    assert found["primary"]["value"] is None


def test_a_label_that_is_not_the_cards_is_refused():
    one = several()
    table = one.test.table.with_columns(teacher_label=pl.lit('["blame", "doubt"]'))
    strange = assemble.Measured(one.card, one.bundle, type(one.test)("x", table, {}), one.scored, one.config)
    with pytest.raises(BadArtifact, match="must be one of the card's 3, got doubt"):
        assemble.evaluation(strange)


# Goals


def test_goals_may_be_of_micro_f1_of_exact_match_and_of_single_labels():
    goals = {"macro_f1": 0.7, "micro_f1": 0.8, "accuracy": 0.9, "labels": {"tip": {"recall": 0.6}}}
    gates = assemble.evaluation(several(card={"goals": goals}))["gates"]
    assert [(gate["title"], gate["is_met"]) for gate in gates] == [
        ("Macro F1", True), ("Micro F1", True), ("Exact match", False), ("Recall of 'tip'", True),
    ]  # fmt: skip
    assert gates[2]["sentence"].startswith("Exact match must be at least 0.90, got 0.80 (95% interval")


# Labels and mistakes


def test_every_label_is_measured_against_the_rest(found):
    rows = {row["name"]: row for row in found["labels"]}
    for place, name in enumerate(NAMES):
        assert (rows[name]["texts"], rows[name]["given"]) == (TRUE[place], GIVEN[place])
        assert rows[name]["student"]["f1"]["value"] == pytest.approx(F1[place], abs=1e-6)
    assert rows["tip"]["teacher"]["recall"]["value"] == pytest.approx(0.5)


def test_figures_of_labels_are_those_of_each_side():
    one = several()
    found = by_label.measure(one.truth, one.student, one.config)
    for figure, statistic in measures.SIDED.items():
        columns = one.truth.codes[:, 1], one.student.codes[:, 1]
        own = metrics.bootstrap(statistic, *columns, **rules.drawing(one.truth, one.config))
        assert found.interval(figure, 1).value == own.value
        assert found.interval(figure, 1).low <= own.low


def test_what_is_missed_and_given_wrongly_stands_by_label_the_worst_first(found):
    assert "confusion" not in found
    assert found["mistakes"] == {
        "labels": [
            {
                "label": "tip",
                "missed": 3,
                "missed_share": 0.375,
                "false_alarms": 0,
                "false_alarm_share": 0.0,
            },
            {
                "label": "blame",
                "missed": 2,
                "missed_share": round(1 / 3, 6),
                "false_alarms": 1,
                "false_alarm_share": 0.2,
            },
            {
                "label": "praise",
                "missed": 0,
                "missed_share": 0.0,
                "false_alarms": 2,
                "false_alarm_share": round(2 / 14, 6),
            },
        ],
        "missed": 5,
        "false_alarms": 3,
        "wrong": WRONG,
    }


def test_errors_stand_by_label_the_surest_first():
    kinds = [(1, "tip blame", {"blame": 0.9, "tip": 0.3}, None), (1, "tip", {"tip": 0.1, "praise": 0.6}, "praise")]
    found = assemble.evaluation(several(kinds))["errors"]
    tip, praise = found["labels"]
    assert [row["probability"] for row in tip["missed"]["rows"]] == [0.1, 0.3]
    assert (tip["label"], tip["false_alarms"]) == ("tip", {"texts": 0, "rows": []})
    (row,) = praise["false_alarms"]["rows"]
    assert (row["given"], row["label"], row["teacher_label"]) == ('["praise"]', '["tip"]', '["praise"]')
    assert found["counts"] == {"wrong": 2, "labels": 2, "missed": 2, "false_alarms": 1}


def test_no_more_errors_are_shown_than_are_asked_for():
    found = assemble.evaluation(several(config=EvaluateConfig(samples=100, errors_shown=1)))["errors"]
    shown = [row for part in found["labels"] for kind in ("missed", "false_alarms") for row in part[kind]["rows"]]
    assert len(shown) == 2
    assert (found["counts"]["labels"], len(found["labels"])) == (3, 1)


# Probabilities, thresholds, slices


def test_each_label_is_given_from_its_own_threshold():
    one = several(thresholds=(0.5, 0.35, 0.5))
    assert one.student.codes[:, 1].sum() == 8
    found = assemble.evaluation(one)
    assert found["bundle"]["thresholds"] == {"praise": 0.5, "tip": 0.35, "blame": 0.5}
    assert (found["bundle"]["threshold"], found["bundle"]["is_by_cost"]) == (None, False)
    assert (found["thresholds"], found["curve"]) == ([], [])


def test_reliability_counts_each_label_of_each_text(found):
    assert sum(row["texts"] for row in found["reliability"]) == TEXTS * 3
    at_80 = next(row for row in found["reliability"] if row["low"] == 0.8)
    assert (at_80["texts"], at_80["frequency"]["value"]) == (5, 0.8)  # praise of 4 texts, and a blame that was none


def test_a_text_is_as_sure_as_the_least_sure_of_its_labels():
    codes = np.array([[True, True, False], [True, False, False], [False, False, False]])
    probabilities = np.array([[0.9, 0.7, 0.1], [0.9, 0.45, 0.1], [0.3, 0.2, 0.1]])
    given = rules.Answers(codes, probabilities)
    np.testing.assert_allclose(rules.confidences(given), [0.7, 0.55, 0.7])
    np.testing.assert_allclose(rules.chances(given), [0.7, 0.9, 0.7])
    rows = curves.coverage_table(truth([[1, 1, 0], [1, 1, 0], [0, 0, 0]]), given, EvaluateConfig(samples=100))
    assert [(row["confidence"], row["texts"], row["accuracy"]["value"]) for row in rows] == [
        (0.0, 3, pytest.approx(2 / 3, abs=1e-6)), (0.6, 2, 1.0), (0.8, 0, None),
    ]  # fmt: skip


def test_slices_are_measured_by_macro_and_micro_f1():
    texts = ["Avoid it."] * 12 + ["A very long walk from here to there again."] * 18
    rows = {row["name"]: row for row in assemble.evaluation(several(texts=texts))["slices"]}
    assert set(rows["avoid"]["student"]) == {"macro_f1", "micro_f1"}
    assert (rows["avoid"]["texts"], rows["avoid"]["positives"], rows["avoid"]["is_too_few"]) == (12, None, False)
    assert rows["avoid"]["student"]["micro_f1"]["value"] == 1.0


# What is written


def test_predictions_hold_the_set_given_and_the_likeliest_label_that_is_not(tmp_path):
    kinds = [
        (1, "praise tip", {"praise": 0.9, "tip": 0.6}, "praise"), (1, "", {"blame": 0.3}, None),
        (1, "praise", {"praise": 0.9, "tip": 0.8, "blame": 0.7}, ""),
    ]  # fmt: skip
    one = several(kinds)
    taught = pl.Series([[0.8, 0.4, 0.1], None, [0.2, 0.1, 0.3]], dtype=pl.List(pl.Float64))
    table = one.test.table.with_columns(teacher_probabilities=taught)
    one = assemble.Measured(one.card, one.bundle, type(one.test)("x", table, {}), one.scored, one.config)
    tables.write(assemble.predictions(one), tables.Evaluated, tmp_path)
    rows = tables.read(tmp_path, tables.Evaluated)
    assert rows["predicted"].to_list() == ['["praise", "tip"]', "[]", '["praise", "tip", "blame"]']
    np.testing.assert_allclose(rows["probability"], [0.6, 0.7, 0.7])
    assert rows["runner_up"].to_list() == ["blame", "blame", None]
    assert rows["runner_up_probability"].to_list() == [pytest.approx(0.05), pytest.approx(0.3), None]
    assert rows["teacher_label"].to_list() == ['["praise"]', None, "[]"]
    assert rows["teacher_probability"].to_list() == [0.8, None, 0.7]


# The step on a real bundle

WORDS = {"ask": {"tip": 4.0}, "lovely": {"praise": 4.0}, "never": {"blame": 4.0}}
LABELLED = [
    ("Ask for a room", ["tip"]), ("Lovely, but ask twice", ["praise", "tip"]), ("Never again", ["blame"]),
    ("We came on Monday", []), ("Lovely pool", ["praise"]), ("So so", ["blame"]),
]  # fmt: skip


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SHORTEST_TIMING_S", 0.05)
    return make_bundle(tmp_path / "bundle", labels=NAMES, words=WORDS, is_many=True)


def evaluate(folder, test):
    paths = {"bundle": folder / "bundle", "evaluation": folder / "evaluation", "page": folder / "report.html"}
    result = shell.execute("evaluate", {**paths, "test": test, "overrides": "samples=100"})
    return result, json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("join", [json.dumps, lambda names: "; ".join(names) or "[]"])
def test_a_file_names_the_labels_of_a_text_in_one_cell(tmp_path, bundle, join):
    rows = {"text": [text for text, _ in LABELLED], "label": [join(names[::-1]) for _, names in LABELLED]}
    pl.DataFrame(rows).write_csv(tmp_path / "labelled.csv")
    result, found = evaluate(tmp_path, tmp_path / "labelled.csv")
    assert result.metrics["accuracy"] == pytest.approx(5 / 6, abs=1e-6)
    assert result.metrics["macro_f1"] == pytest.approx((1 + 1 + 2 / 3) / 3, abs=1e-6)
    assert found["mistakes"]["labels"][0]["label"] == "blame"
    written = tables.read(tmp_path / "evaluation", tables.Evaluated).sort("id")
    assert written["label"].to_list()[1:4] == ['["praise", "tip"]', '["blame"]', "[]"]
    assert written["predicted"].to_list()[-1] == "[]"


def test_a_cell_with_a_name_that_is_not_the_cards_is_a_fault_and_an_empty_one_too(tmp_path, bundle):
    rows = [f"{text.replace(',', ' -')},{'; '.join(names) or '[]'}" for text, names in LABELLED * 9]
    lines = ["text,label", *rows, "Odd,praise; doubt", "Empty,"]
    (tmp_path / "labelled.csv").write_text("\n".join(lines), encoding="utf-8")
    _, found = evaluate(tmp_path, tmp_path / "labelled.csv")
    assert found["test"]["refused"] == {"empty_label": 1, "unknown_label": 1}
