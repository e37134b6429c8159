"""What a bundle of any number of labels is worth: two are the same path as 3 or 77."""

import json
from functools import partial

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle
from tests.evaluations import banking, measured, measured_labels
from understudy.errors import BadArtifact, BadData
from understudy.runtime import shell
from understudy.stats import metrics
from understudy.steps.evaluate import assemble, by_label, curves, rules, speed, step
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.store import tables
from understudy.task import measures
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip", "blame")
# Given by the likeliest label: praise 8 of 10 right, tip 6 of 6, blame 2 of 4.
KINDS = [
    (8, "praise", {"praise": 0.9}, "praise"), (2, "praise", {"tip": 0.6, "praise": 0.3}, "praise"),
    (6, "tip", {"tip": 0.8}, "blame"),
    (2, "blame", {"blame": 0.7}, "blame"), (1, "blame", {"praise": 0.5, "blame": 0.4}, "blame"),
    (1, "blame", {"tip": 0.95}, "blame"),
]  # fmt: skip
F1 = {"praise": 16 / 19, "tip": 12 / 15, "blame": 4 / 6}  # 2 right / (true + given): 10 and 9, 6 and 9, 4 and 2
ODD = ["=1+1", "<kbd>a|b</kbd>", "say \"no\" & 'so' ☕"]


def labelled(kinds=KINDS, **changes):
    return measured_labels(kinds, **{"names": NAMES, **changes})


@pytest.fixture(scope="module")
def found():
    return assemble.evaluation(labelled())


@pytest.fixture(scope="module")
def many():
    return assemble.evaluation(banking())


def system(found, name):
    return next(one for one in found["systems"] if one["name"] == name)


def answers(codes, space, sure=0.8):
    probabilities = np.full((len(codes), len(space)), (1 - sure) / (len(space) - 1))
    probabilities[np.arange(len(codes)), codes] = sure
    return rules.Answers(np.asarray(codes), probabilities)


def truth(codes, names=NAMES, positive=None):
    return rules.Truth(LabelSpace(tuple(names), positive), np.asarray(codes), np.arange(len(codes)))


# Figures


def test_without_a_positive_label_the_mean_f1_of_all_decides(found):
    figures = system(found, "student")["figures"]
    assert figures["macro_f1"]["value"] == pytest.approx(sum(F1.values()) / 3, abs=1e-6)
    assert figures["accuracy"]["value"] == pytest.approx(16 / 20)
    assert figures["weighted_f1"]["value"] == pytest.approx(
        (10 * F1["praise"] + 6 * F1["tip"] + 4 * F1["blame"]) / 20, abs=1e-6
    )
    assert found["primary"] == {"figure": "macro_f1", **figures["macro_f1"]}
    assert not {"f1", "precision", "recall"} & {*figures, *system(found, "student")["undefined"]}


def test_a_positive_label_among_three_decides_by_its_f1():
    decision = {"label": 1, "threshold": 0.7, "costs": None}
    found = assemble.evaluation(labelled(positive="tip", decision=decision))
    # At 0.7 two texts of praise go to their likeliest other label, which is right.
    assert system(found, "student")["figures"]["f1"]["value"] == pytest.approx(12 / 13, abs=1e-6)
    assert found["primary"]["figure"] == "f1"
    assert found["comparison"]["figure"] == "f1"
    assert (found["test"]["positives"], found["bundle"]["threshold"]) == (6, 0.7)
    assert [row["is_chosen"] for row in found["thresholds"] if row["threshold"] == 0.7] == [True]
    assert found["coverage"] is None


def test_two_labels_give_the_figures_of_one_side():
    kinds = [(9, True, 0.9, True), (3, True, 0.2, True), (2, False, 0.7, False), (30, False, 0.1, False)]
    one = measured(kinds)
    space = LabelSpace(("other", "tip"), "tip")
    is_positive, flagged = np.repeat([1, 1, 0, 0], [9, 3, 2, 30]) == 1, np.repeat([1, 0, 1, 0], [9, 3, 2, 30]) == 1
    drawn = {"groups": one.truth.groups, "samples": 400, "seed": 0}
    found = rules.figures(one.truth, one.student, one.config)
    assert one.truth.space == space
    assert found["f1"] == metrics.bootstrap(metrics.f1, is_positive, flagged, **drawn)
    probability = one.scored.probabilities[:, 1]
    assert found["ece"] == metrics.bootstrap(metrics.ece, probability, is_positive, **drawn)
    squared = metrics.Interval(float(np.mean((probability - is_positive) ** 2)), 0, 0)
    assert found["brier"].value == pytest.approx(squared.value)


def test_the_calibration_error_of_all_labels_is_of_the_label_given():
    truths = truth([0, 0, 1, 2])
    found = rules.figures(truths, answers([0, 0, 1, 1], truths.space, sure=0.85), EvaluateConfig(samples=100))
    assert found["ece"].value == pytest.approx(0.85 - 0.75)


def test_costs_of_confusions_decide_what_is_given():
    costs = [[0, 1, 9], [1, 0, 1], [1, 1, 0]]  # to take praise for blame is dear
    kinds = [(1, "praise", {"blame": 0.5, "praise": 0.4}, None)]
    dear = labelled(kinds, decision={"label": None, "threshold": None, "costs": costs})
    assert dear.space.named(dear.student.codes) == ["praise"]
    assert assemble.evaluation(dear)["bundle"]["is_by_cost"]


def test_student_and_teacher_are_compared_by_the_figure_that_decides(found):
    compared = found["comparison"]
    # The teacher calls each of the 6 tips blame: F1 1 of praise, 8/14 of blame, 0 of tip.
    assert compared["teacher_macro_f1"] == pytest.approx((1 + 8 / 14 + 0) / 3)
    assert compared["student_macro_f1"] == pytest.approx(sum(F1.values()) / 3)
    assert "(macro F1 0.77 against 0.52, difference +0.25, 95% interval" in compared["sentence"]
    told = step.result(found).metrics
    assert told["macro_f1_over_teacher"] == pytest.approx(told["macro_f1"] - told["teacher_macro_f1"], abs=1e-6)
    assert "chance_better_than_teacher" in told
    assert "f1" not in told


def test_a_teachers_probabilities_must_be_of_all_labels():
    one = labelled()
    rows = len(one.test.table)

    def taught(probabilities):
        table = one.test.table.with_columns(teacher_probabilities=pl.Series(probabilities, dtype=pl.List(pl.Float64)))
        test = type(one.test)(one.test.name, table, {})
        return assemble.Measured(one.card, one.bundle, test, one.scored, one.config).teacher.probabilities

    assert taught([[0.2, 0.3, 0.5]] * rows).shape == (rows, 3)
    assert taught([[0.2, 0.8]] * rows) is None
    assert taught([[0.2, 0.3, 0.5]] * (rows - 1) + [None]) is None


def test_an_answer_that_is_no_label_of_the_card_is_refused():
    with pytest.raises(BadArtifact, match="must be one of the card's 3, got maybe"):
        assemble.evaluation(labelled([*KINDS, (1, "tip", {"tip": 0.8}, "maybe")]))


# Baselines


def test_the_commonest_label_is_counted_on_the_texts(found):
    assert system(found, "majority")["figures"]["accuracy"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("positive", "codes", "expected"), [(None, [0, 0, 1], 0), ("tip", [1, 1, 0, 0, 2], 0), ("tip", [1, 1, 1, 0], 1)]
)
def test_of_labels_that_are_as_common_the_baseline_gives_the_one_that_is_not_looked_for(positive, codes, expected):
    assert set(rules.majority(truth(codes, positive=positive)).codes.tolist()) == {expected}


def test_a_text_without_a_rule_gets_the_commonest_label_that_is_not_looked_for():
    assert rules.by_rules(truth([1, 1, 1, 2, 2, 0]), np.array([2, -1, 0, -1, -1, -1])).codes.tolist() == [
        2, 1, 0, 1, 1, 1,
    ]  # fmt: skip
    looked_for = truth([1, 1, 1, 2, 2, 0], positive="tip")
    assert rules.by_rules(looked_for, np.array([1, -1])).codes.tolist() == [1, 2]


def test_weak_rules_of_several_labels_are_a_baseline():
    texts = ["Ask first."] * 8 + ["Nice stay."] * 4 + ["Never again."] * 8
    weak = [{"name": "a", "pattern": "^ask", "label": "praise"}, {"name": "n", "pattern": "^never", "label": "blame"}]
    one = labelled(texts=texts, card={"weak_rules": weak})
    assert one.rules.codes.tolist() == [0] * 8 + [0] * 4 + [2] * 8
    assert system(assemble.evaluation(one), "rules")["figures"]["accuracy"]["value"] == pytest.approx(14 / 20)


# Goals


def test_goals_may_be_of_all_labels_and_of_single_ones():
    goals = {"macro_f1": 0.7, "accuracy": 0.9, "labels": {"blame": {"f1": 0.5, "recall": 0.9}}}
    found = assemble.evaluation(labelled(card={"goals": goals}))
    assert [(gate["title"], gate["is_met"]) for gate in found["gates"]] == [
        ("Macro F1", True), ("Accuracy", False), ("F1 of 'blame'", True), ("Recall of 'blame'", False),
    ]  # fmt: skip
    assert found["gates"][3]["sentence"].startswith("Recall of 'blame' must be at least 0.90, got 0.50 (95% interval")
    assert found["reason"].startswith("Accuracy must be at least 0.90, got 0.80")


def test_a_goal_of_a_label_has_the_interval_of_its_own_bootstrap():
    one = labelled(card={"goals": {"labels": {"tip": {"f1": 0.6}}}})
    (gate,) = assemble.evaluation(one)["gates"]
    statistic = measures.against_rest(metrics.f1, 1)
    own = metrics.bootstrap(statistic, one.truth.codes, one.student.codes, **rules.drawing(one.truth, one.config))
    assert gate["figure"] == metrics.as_record(own, decimals=9)


def test_a_reason_names_some_of_many_missed_goals():
    one = banking()
    goals = {"labels": {name: {"recall": 0.999} for name in one.card.label_names}}
    found = assemble.evaluation(banking_with(goals))
    missed = sum(not gate["is_met"] for gate in found["gates"])
    assert found["reason"].endswith(f"And {missed - 10} more goals missed.")
    assert found["reason"].count("must be at least") == 10


def banking_with(goals):
    one = banking()
    card = one.card.model_copy(update={"goals": type(one.card.goals).model_validate(goals)})
    return assemble.Measured(card, one.bundle, one.test, one.scored, one.config)


# Labels and mistakes


def test_every_label_is_measured_against_the_rest_the_commonest_first(found):
    rows = found["labels"]
    assert [(row["name"], row["texts"], row["given"]) for row in rows] == [
        ("praise", 10, 9), ("tip", 6, 9), ("blame", 4, 2),
    ]  # fmt: skip
    for row in rows:
        assert row["student"]["f1"]["value"] == pytest.approx(F1[row["name"]], abs=1e-6)
        assert row["is_too_few"] is (row["texts"] < 10)
    assert rows[1]["student"]["recall"]["value"] == 1.0
    assert rows[1]["teacher"]["recall"]["value"] == 0.0
    assert rows[1]["teacher"]["precision"]["value"] is None


def test_intervals_of_labels_are_at_least_those_of_the_bootstrap_and_of_wilson():
    one = labelled()
    measured_by_label = by_label.measure(one.truth, one.student, one.config)
    for figure, statistic in measures.SIDED.items():
        own = metrics.bootstrap(
            measures.against_rest(statistic, 2),
            one.truth.codes,
            one.student.codes,
            **rules.drawing(one.truth, one.config),
        )
        found = measured_by_label.interval(figure, 2)
        assert found.value == own.value
        assert found.low <= own.low <= own.high <= found.high
    recall = measured_by_label.interval("recall", 2)
    counted = metrics.wilson(recall.value * measured_by_label.texts(2), measured_by_label.texts(2))
    assert recall.low <= counted.low
    assert recall.high >= counted.high


def test_a_label_of_one_text_that_was_found_is_nothing_to_be_sure_of():
    truth = rules.Truth(LabelSpace(("a", "b")), np.array([0, 0, 0, 1]), np.arange(4))
    found = by_label.measure(truth, rules.Answers(truth.codes), labelled().config)
    for figure in by_label.FIGURES:
        interval = found.interval(figure, 1)
        assert interval.value == 1.0
        assert interval.low < 0.4


def test_mistakes_are_counted_by_pairs_the_commonest_first(found):
    confusion = found["confusion"]
    assert (confusion["wrong"], confusion["kinds"]) == (4, 3)
    assert confusion["pairs"][0] == {"label": "praise", "given": "tip", "texts": 2, "share": 0.2}
    assert [pair["share"] for pair in confusion["pairs"]] == [0.2, 0.25, 0.25]
    assert sum(texts for _, _, texts in confusion["cells"]) == 20
    assert [2, 1, 1] in confusion["cells"]


def test_a_matrix_of_77_labels_keeps_only_what_occurs(many):
    assert sum(texts for _, _, texts in many["confusion"]["cells"]) == many["test"]["texts"]
    assert len(many["confusion"]["cells"]) < 77 * 4
    assert len(many["confusion"]["pairs"]) == by_label.PAIRS_SHOWN
    assert (many["labels"][-1]["texts"], many["labels"][-1]["student"]["recall"]["value"]) == (0, None)
    json.dumps(many, allow_nan=False)


def test_macro_f1_of_77_labels_is_that_of_the_metrics(many):
    one = banking()
    expected = metrics.macro_f1(one.truth.codes, one.student.codes, labels=77)
    assert many["primary"]["value"] == pytest.approx(expected, abs=1e-6)
    met = [row["student"]["f1"]["value"] for row in many["labels"] if row["student"]["f1"]["value"] is not None]
    assert expected == pytest.approx(np.mean(met), abs=1e-5)


# Confidence, slices, errors, predictions


def test_the_surest_answers_are_measured_apart():
    truths = truth([0, 0, 1, 2])
    given = answers([0, 0, 1, 1], truths.space)
    given.probabilities[:, :] = [[0.95, 0.03, 0.02], [0.75, 0.2, 0.05], [0.1, 0.75, 0.15], [0.3, 0.4, 0.3]]
    rows = curves.coverage_table(truths, given, EvaluateConfig(samples=100))
    assert [(row["confidence"], row["texts"], row["accuracy"]["value"]) for row in rows] == [
        (0.0, 4, 0.75), (0.5, 3, 1.0), (0.8, 1, 1.0), (0.99, 0, None),
    ]  # fmt: skip
    assert [row["accuracy_with_people"] for row in rows] == [0.75, 1.0, 1.0, 1.0]
    assert curves.coverage_curve(truths, given) == [
        {"confidence": 0.95, "kept_share": 0.25, "accuracy": 1.0},
        {"confidence": 0.75, "kept_share": 0.75, "accuracy": 1.0},
        {"confidence": 0.4, "kept_share": 1.0, "accuracy": 0.75},
    ]


def test_reliability_is_of_the_label_given(found):
    assert sum(row["texts"] for row in found["reliability"]) == 20
    at_90 = next(row for row in found["reliability"] if row["low"] == 0.9)
    assert (at_90["texts"], at_90["frequency"]["value"]) == (9, pytest.approx(8 / 9, abs=1e-6))
    assert (found["thresholds"], found["curve"]) == ([], [])


def test_slices_are_measured_by_all_labels_and_too_few_by_texts():
    texts = ["Avoid it."] * 8 + ["A very long walk from here to there again."] * 12
    rows = {row["name"]: row for row in assemble.evaluation(labelled(texts=texts))["slices"]}
    assert set(rows["avoid"]["student"]) == {"macro_f1", "accuracy"}
    assert (rows["avoid"]["texts"], rows["avoid"]["positives"], rows["avoid"]["is_too_few"]) == (8, None, True)
    assert rows["in no slice"]["student"]["accuracy"]["value"] == pytest.approx(8 / 12, abs=1e-6)
    assert not rows["in no slice"]["is_too_few"]


def test_errors_of_all_labels_come_by_pairs_with_the_surest_first():
    kinds = [(1, "tip", {"blame": 0.6}, None), (1, "tip", {"blame": 0.9}, None), (1, "blame", {"tip": 0.99}, "tip")]
    found = assemble.evaluation(labelled(kinds))["errors"]
    assert [(pair["label"], pair["given"], pair["texts"]) for pair in found["pairs"]] == [
        ("tip", "blame", 2), ("blame", "tip", 1),
    ]  # fmt: skip
    assert [row["probability"] for row in found["pairs"][0]["rows"]] == [0.9, 0.6]
    assert found["pairs"][1]["rows"][0]["teacher_label"] == "tip"
    assert found["counts"] == {"wrong": 3, "kinds": 2}


def test_no_more_errors_are_shown_than_are_asked_for():
    found = assemble.evaluation(labelled(config=EvaluateConfig(samples=100, errors_shown=1)))["errors"]
    assert sum(len(pair["rows"]) for pair in found["pairs"]) == 2
    assert found["counts"] == {"wrong": 4, "kinds": 3}


def test_a_missed_positive_says_which_label_it_got():
    decision = {"label": 1, "threshold": 0.9, "costs": None}
    kinds = [(1, "tip", {"tip": 0.8, "blame": 0.15}, None), (4, "praise", {"praise": 0.9}, None)]
    found = assemble.evaluation(labelled(kinds, positive="tip", decision=decision))["errors"]
    assert [(row["given"], row["probability"]) for row in found["missed"]] == [("blame", 0.8)]


def test_predictions_hold_the_label_given_and_its_runner_up(tmp_path):
    table = assemble.predictions(labelled())
    tables.write(table, tables.Evaluated, tmp_path)
    rows = tables.read(tmp_path, tables.Evaluated).select(
        "label", "predicted", "probability", "runner_up", "runner_up_probability", "rules_label", "teacher_label"
    )
    assert rows.row(8)[:2] == ("praise", "tip")
    assert rows.row(8)[2:5] == (pytest.approx(0.6), "praise", pytest.approx(0.3))
    assert rows.row(8)[5:] == ("praise", "praise")


def test_two_labels_give_the_probability_of_the_label_given():
    table = assemble.predictions(measured([(1, True, 0.9, True), (1, False, 0.2, False)]))
    assert table["predicted"].to_list() == ["tip", "other"]
    assert table["probability"].to_list() == pytest.approx([0.9, 0.8])
    assert table["runner_up_probability"].to_list() == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("names", [NAMES, tuple(ODD)])
def test_whatever_labels_are_called_the_result_is_the_same(names):
    renamed = dict(zip(NAMES, names, strict=True))
    kinds = [
        (texts, renamed[label], {renamed[name]: share for name, share in given.items()}, renamed[taught])
        for texts, label, given, taught in KINDS
    ]
    found = assemble.evaluation(labelled(kinds, names=names))
    assert found["primary"]["value"] == pytest.approx(sum(F1.values()) / 3, abs=1e-6)
    assert found["confusion"]["pairs"][0]["given"] == renamed["tip"]


def test_shares_of_labels_are_the_figures_of_each_side():
    rng = np.random.default_rng(5)
    codes, given = rng.integers(77, size=400), rng.integers(77, size=400)
    weights = rng.integers(0, 3, size=(2, 400)).astype(float)
    found = by_label.shares(codes, given, weights, labels=77)
    assert found.shape == (2, 3, 77)
    for place, statistic in enumerate((metrics.precision, metrics.recall, metrics.f1)):
        expected = measures.against_rest(statistic, 30)(codes, given, weights)
        assert np.allclose(found[:, place, 30], expected, equal_nan=True)
    whole = partial(metrics.macro_f1, labels=77)(codes, given)
    assert np.nanmean(by_label.shares(codes, given, labels=77)[2]) == pytest.approx(whole)


# The step on a real bundle

WORDS = {"ask": {ODD[0]: 3.0}, "nice": {ODD[1]: 3.0}, "never": {ODD[2]: 3.0}}
LABELLED = [
    ("Ask for a room", ODD[0]), ("Ask them twice", ODD[0]), ("Nice view", ODD[1]), ("Nice, never loud", ODD[1]),
    ("Never go", ODD[2]), ("Nice but small", ODD[2]),
]  # fmt: skip


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SHORTEST_TIMING_S", 0.05)
    return make_bundle(tmp_path / "bundle", labels=ODD, words=WORDS)


def evaluate(folder, test):
    paths = {"bundle": folder / "bundle", "evaluation": folder / "evaluation", "page": folder / "report.html"}
    result = shell.execute("evaluate", {**paths, "test": test, "overrides": "samples=100"})
    return result, json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_bundle_of_three_oddly_named_labels_is_measured_on_any_file(tmp_path, bundle, kind):
    file = tmp_path / f"labelled.{kind}"
    table = pl.DataFrame({"text": [text for text, _ in LABELLED], "label": [label for _, label in LABELLED]})
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](file)
    result, found = evaluate(tmp_path, file)
    # "Nice, never loud" scores alike for the second and the third; the first of equals is given, which is right.
    assert result.metrics["accuracy"] == pytest.approx(5 / 6, abs=1e-6)
    assert result.metrics["macro_f1"] == pytest.approx((1 + 4 / 5 + 2 / 3) / 3, abs=1e-6)
    assert result.headline.startswith("publish: Macro F1 0.82 (")
    assert found["confusion"]["pairs"] == [{"label": ODD[2], "given": ODD[1], "texts": 1, "share": 0.5}]
    written = tables.read(tmp_path / "evaluation", tables.Evaluated).sort("id")
    assert written["predicted"].to_list() == [ODD[0], ODD[0], ODD[1], ODD[1], ODD[2], ODD[1]]
    assert written["rules_label"].to_list() == [ODD[2], ODD[2], ODD[0], ODD[0], ODD[0], ODD[0]]


def test_a_message_names_some_of_many_labels(tmp_path, monkeypatch):
    make_bundle(tmp_path / "bundle", labels=[f"label {number}" for number in range(77)])
    (tmp_path / "labelled.csv").write_text("text,label\nAsk,1\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"among label 0, label 1, .*, label 9 and 67 more, got none"):
        evaluate(tmp_path, tmp_path / "labelled.csv")
