"""The calibration rule: Platt with bias for two labels, vector scaling for more, the true shares, and the rule."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bundles import make_card
from understudy.errors import BadInput, TooFewLabels
from understudy.model import calibration
from understudy.model.calibration import Calibrator, Form, smoothed_targets
from understudy.steps.calibrate import rules
from understudy.steps.calibrate.config import CalibrateConfig
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace

TIPS = LabelSpace(("other", "tip"), "tip")
KINDS = LabelSpace(("praise", "blame", "tip"))


def two(log_odds):
    """Logits whose log-odds of the second label are these."""
    return np.stack([np.zeros(len(log_odds)), log_odds], axis=1)


def fit(log_odds, is_positive, weights):
    """Slope and bias of the log-odds."""
    found = calibration.fit(two(log_odds), is_positive.astype(int), weights, rules.PLATT)
    return found, float(found.slopes[0]), float(found.biases[1] - found.biases[0])


def probability(fitted: Calibrator, log_odds):
    return fitted.probabilities(two(log_odds))[:, 1]


def drawn(texts: int, slope: float, bias: float, seed: int = 0):
    """Scores whose true probability of being positive is 1 / (1 + exp(-(slope * z + bias)))."""
    lot = np.random.default_rng(seed)
    log_odds = lot.normal(0, 2, texts)
    return log_odds, lot.random(texts) < 1 / (1 + np.exp(-(slope * log_odds + bias)))


def test_sigmoid_finds_the_slope_and_bias_that_made_the_labels():
    log_odds, is_positive = drawn(40_000, slope=0.7, bias=-2.0)
    _, slope, bias = fit(log_odds, is_positive, np.ones(len(log_odds)))
    assert slope == pytest.approx(0.7, abs=0.03)
    assert bias == pytest.approx(-2.0, abs=0.05)


@pytest.mark.parametrize("texts", [40, 500, 5000])
def test_with_two_labels_the_fit_is_scikit_learns_logistic_regression(texts):
    from sklearn.linear_model import LogisticRegression

    log_odds, is_positive = drawn(texts, slope=0.7, bias=-2.0, seed=2)
    weights = np.where(is_positive, 0.3, 1.2)
    targets = smoothed_targets(is_positive.astype(int), weights, 2)
    theirs = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
        np.tile(log_odds, 2)[:, None],
        np.repeat([0, 1], texts),
        sample_weight=np.concatenate([weights * targets[:, 0], weights * targets[:, 1]]),
    )
    _, slope, bias = fit(log_odds, is_positive, weights)
    assert slope == pytest.approx(theirs.coef_[0, 0], abs=1e-6)
    assert bias == pytest.approx(theirs.intercept_[0], abs=1e-6)


@pytest.mark.parametrize(("positives", "negatives", "prior"), [(20, 20, 0.01), (15, 45, 0.02), (50, 50, 0.3)])
def test_the_mean_probability_is_the_prior_on_a_small_split_too(positives, negatives, prior):
    lot = np.random.default_rng(1)
    log_odds = np.concatenate([lot.normal(2, 1, positives), lot.normal(-2, 1, negatives)])
    is_positive = np.arange(positives + negatives) < positives
    weights = rules.prior_weights(is_positive.astype(int), TIPS, prior)
    fitted, _, _ = fit(log_odds, is_positive, weights)
    assert np.average(probability(fitted, log_odds), weights=weights) == pytest.approx(prior, rel=1e-3)


@pytest.mark.parametrize("form", rules.FORMS)
def test_no_nearby_slope_or_bias_fits_better(form):
    lot = np.random.default_rng(5)
    truth = lot.integers(0, 3, 400)
    logits = lot.normal(0, 1, (400, 3)) + 2 * np.eye(3)[truth]
    weights = lot.uniform(0.5, 2, 400)
    fitted = calibration.fit(logits, truth, weights, Form(form.has_slopes, form.has_biases))
    targets = smoothed_targets(truth, weights, 3)

    def log_likelihood(slopes, biases):
        found = Calibrator(fitted.slopes + slopes, fitted.biases + biases).probabilities(logits)
        return weights @ (targets * np.log(found)).sum(axis=1)

    best = log_likelihood(0, 0)
    moves = [(np.full(3, step), 0) for step in (0.02, -0.02)]
    moves += [(0, step * np.eye(3)[label]) for step in (0.02, -0.02) for label in range(3) if form.has_biases]
    moves += [(step * np.eye(3)[label], 0) for step in (0.02, -0.02) for label in range(3) if form.has_slopes]
    assert all(log_likelihood(*move) < best for move in moves)


def test_separated_scores_still_give_a_finite_slope():
    log_odds = np.array([-3.0] * 20 + [3.0] * 20)
    _, slope, bias = fit(log_odds, log_odds > 0, np.ones(40))
    assert 0 < slope < 3
    assert math.isfinite(bias)


def test_probabilities_hold_at_the_cards_prior_when_the_split_is_richer():
    log_odds, is_positive = drawn(40_000, slope=1.0, bias=0.0)  # half the split is positive
    weights = rules.prior_weights(is_positive.astype(int), TIPS, prior=0.08)
    fitted, _, _ = fit(log_odds, is_positive, weights)
    assert np.average(probability(fitted, log_odds), weights=weights) == pytest.approx(0.08, abs=0.002)


def test_biases_follow_the_share_that_the_card_states_for_each_label():
    lot = np.random.default_rng(6)
    truth = np.repeat([0, 1, 2], 4000)
    logits = lot.normal(0, 1, (12_000, 3)) + np.eye(3)[truth]  # calibrated at equal shares
    prior = {"praise": 0.7, "blame": 0.2, "tip": 0.1}
    weights = rules.prior_weights(truth, KINDS, prior)
    fitted = calibration.fit(logits, truth, weights, Form(False, True))
    np.testing.assert_allclose(
        np.average(fitted.probabilities(logits), axis=0, weights=weights), [0.7, 0.2, 0.1], atol=2e-3
    )
    np.testing.assert_allclose(fitted.slopes, 1.0, atol=0.05)
    np.testing.assert_allclose(np.diff(fitted.biases), np.log([2 / 7, 1 / 2]), atol=0.1)


def test_the_form_is_chosen_by_texts_that_it_was_not_fitted_on():
    lot = np.random.default_rng(7)
    true = lot.integers(0, 4, 3000)
    plain = lot.normal(0, 1, (3000, 4)) + 2 * np.eye(4)[true]
    ones, groups = np.ones(3000), np.arange(3000)
    # one label is shown too high and another too steeply: a temperature alone cannot mend that
    crooked = plain * np.array([1, 1, 3, 1]) + np.array([0, 4, 0, 0])
    form, losses = rules.choose_form(crooked, true, ones, groups)
    assert form.has_slopes
    assert losses["vector scaling"] < losses["bias-corrected temperature scaling"] < losses["temperature scaling"]
    # few texts of many labels: biases would follow noise
    few = lot.integers(0, 40, 120)
    logits = 3 * (lot.normal(0, 1, (120, 40)) + 3 * np.eye(40)[few])
    small, losses = rules.choose_form(logits, few, np.ones(120), np.arange(120))
    assert losses[small.name] == min(losses.values())
    assert small == Form(False, False) or small.ridge > 1


def test_texts_of_one_group_are_held_out_together():
    groups = np.array([f"review {index % 17}" for index in range(200)])
    fold = rules.folds(groups)
    assert all(len(set(fold[groups == name])) == 1 for name in groups)
    assert set(fold.tolist()) == set(range(rules.FOLDS))


@given(st.lists(st.booleans(), min_size=2).filter(lambda flags: 0 < sum(flags) < len(flags)), st.floats(0.01, 0.99))
def test_prior_weights_have_mean_one_and_the_asked_share(flags, prior):
    is_positive = np.array(flags)
    weights = rules.prior_weights(is_positive.astype(int), TIPS, prior)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[is_positive].sum() / weights.sum() == pytest.approx(prior)


def test_a_prior_of_one_label_leaves_the_others_their_proportions():
    truth = np.array([0] * 60 + [1] * 20 + [2] * 20)
    weights = rules.prior_weights(truth, LabelSpace(KINDS.names, "tip"), 0.6)
    shares = np.bincount(truth, weights=weights) / weights.sum()
    np.testing.assert_allclose(shares, [0.3, 0.1, 0.6])


def test_threshold_for_f1_is_the_best_of_all_cuts():
    probability = np.array([0.9, 0.8, 0.6, 0.4, 0.1])
    is_positive = np.array([True, False, True, False, False])
    # flag 1: F1 2/3; flag 2: 1/2; flag 3: 4/5, the best; its cut is midway between 0.6 and 0.4
    assert rules.choose_threshold(probability, is_positive, np.ones(5), CalibrateConfig()) == pytest.approx(0.5)


def test_one_text_of_another_label_does_not_move_the_threshold_far_from_what_the_probabilities_say():
    probability = np.array([0.95, 0.9, 0.85, 0.1, 0.06, 0.05, 0.04])
    is_positive = np.array([True, True, True, False, False, False, True])  # the last is a slip
    # labels alone: all 7 flagged have F1 8/11, the first 3 have 6/7; with two slips more, all would be flagged
    assert rules.choose_threshold(probability, is_positive, np.ones(7), CalibrateConfig()) == pytest.approx(0.475)
    slips = np.array([True, True, True, False, False, True, True])
    labels_alone = [2 * slips[:count].sum() / (count + 5) for count in range(1, 8)]
    assert np.argmax(labels_alone) == 6
    assert rules.choose_threshold(probability, slips, np.ones(7), CalibrateConfig()) == pytest.approx(0.475)


def test_threshold_for_recall_keeps_the_asked_precision():
    probability = np.array([0.9, 0.8, 0.6, 0.4, 0.1])
    is_positive = np.array([True, True, False, True, False])
    config = CalibrateConfig(objective="recall", min_precision=0.75)
    # down to 0.4: precision 3/4 and recall 1; one more would give 3/5
    assert rules.choose_threshold(probability, is_positive, np.ones(5), config) == pytest.approx(0.25)


def test_threshold_takes_the_highest_precision_when_the_asked_one_is_out_of_reach():
    probability = np.array([0.9, 0.8, 0.3])
    is_positive = np.array([False, True, False])
    config = CalibrateConfig(objective="recall", min_precision=0.9)
    assert rules.choose_threshold(probability, is_positive, np.ones(3), config) == pytest.approx(0.55)


def card_of(more=""):
    return parse_card(make_card(labels=KINDS.names, more=more))


def test_a_small_calibration_split_is_refused_by_label():
    truth = np.array([1] * 3 + [0] * 50)
    with pytest.raises(
        TooFewLabels, match=r"at least 20 texts of each label, got 3 of 'tip'.*calibrate\.min_per_label"
    ):
        rules.require_labels(truth, TIPS, parse_card(make_card()), 20)
    with pytest.raises(TooFewLabels, match="got 3 of 'not praise'"):
        rules.require_labels(np.array([1] * 3 + [0] * 50), KINDS, card_of(), 10)
    rules.require_labels(np.array([1] * 30 + [0] * 50), KINDS, card_of(), 10)  # a rare label may have none
    stated = card_of("prior: {praise: 0.7, blame: 0.2, tip: 0.1}")
    with pytest.raises(TooFewLabels, match=r"must have a calibration text of each, got none of 'tip'"):
        rules.require_labels(np.array([1] * 30 + [0] * 50), KINDS, stated, 10)


def test_without_a_label_that_is_looked_for_the_likeliest_is_given_and_costs_turn_it():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    truth, ones = np.array([0, 2]), np.ones(2)
    plain = rules.choose_rule(probabilities, truth, ones, card_of(), CalibrateConfig())
    assert plain.choose(probabilities).tolist() == [0, 2]
    dear = card_of("confusion_costs: [{label: blame, given: praise, cost: 5}]")
    rule = rules.choose_rule(probabilities, truth, ones, dear, CalibrateConfig())
    assert rule.costs.tolist() == [[0, 1, 1], [5, 0, 1], [1, 1, 0]]
    assert rule.choose(probabilities).tolist() == [1, 2]  # 1.7 for praise, 0.7 for blame, 0.8 for tip


def test_a_split_of_one_group_has_nothing_to_hold_out_and_takes_a_form_without_trial():
    logits, truth = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    form, losses = rules.choose_form(logits, truth, np.ones(60), np.array(["g"] * 60))
    assert (form, losses) == (rules.ALONE, {})


def test_costs_and_a_threshold_for_recall_are_one_too_many():
    dear = card_of("confusion_costs: [{label: blame, given: praise, cost: 5}]")
    with pytest.raises(BadInput, match=r"got confusion_costs too \(calibrate\.objective\)"):
        rules.choose_rule(np.full((3, 3), 1 / 3), np.arange(3), np.ones(3), dear, CalibrateConfig(objective="recall"))


MANY = LabelSpace(KINDS.names, is_many=True)


def several(texts: int, slopes, biases, seed: int = 0):
    """Log-odds of each label, and whether a text has it, drawn by the sigmoid of slopes * log-odds + biases."""
    lot = np.random.default_rng(seed)
    logits = lot.normal(0, 2, (texts, len(slopes)))
    return logits, lot.random(logits.shape) < calibration.sigmoid(np.asarray(slopes) * logits + np.asarray(biases))


def test_where_a_text_may_have_several_labels_each_has_the_slope_and_bias_that_made_it():
    logits, truth = several(40_000, [0.5, 1.0, 2.0], [-1.0, 0.0, 1.0])
    found = calibration.fit(logits, truth, np.ones(truth.shape), Form(True, True))
    assert found.is_many
    np.testing.assert_allclose(found.slopes, [0.5, 1.0, 2.0], atol=0.06)
    np.testing.assert_allclose(found.biases, [-1.0, 0.0, 1.0], atol=0.06)


def test_of_several_labels_the_fit_of_each_is_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    logits, truth = several(300, [0.7, 0.7, 1.4], [-2.0, 1.0, 0.0], seed=2)
    weights = np.where(truth, [0.3, 0.8, 1.0], [1.2, 0.9, 1.0])
    found = calibration.fit(logits, truth, weights, Form(True, True))
    targets = smoothed_targets(truth, weights, 3)
    for label in range(3):
        theirs = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
            np.tile(logits[:, label], 2)[:, None],
            np.repeat([0, 1], 300),
            sample_weight=np.concatenate([(weights * (1 - targets))[:, label], (weights * targets)[:, label]]),
        )
        assert found.slopes[label] == pytest.approx(theirs.coef_[0, 0], abs=1e-5)
        assert found.biases[label] == pytest.approx(theirs.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("form", rules.FORMS)
def test_a_label_that_no_text_has_keeps_finite_slopes_and_stays_unlikely(form):
    logits, truth = several(100, [1.0, 1.0, 1.0], [0.0, 0.0, -4.0], seed=3)
    truth[:, 2] = False
    found = calibration.fit(logits - np.array([0, 0, 4]), truth, np.ones(truth.shape), form)
    assert np.isfinite([found.slopes, found.biases]).all()
    assert found.probabilities(logits - np.array([0, 0, 4]))[:, 2].mean() < 0.2


def test_a_ridge_draws_the_slope_of_a_rare_label_to_the_one_that_all_share():
    lot = np.random.default_rng(4)
    logits = lot.normal([0.0, 0.0, -6.0], 2.0, (1000, 3))  # sound as they are: each slope is 1, each bias 0
    truth = lot.random(logits.shape) < calibration.sigmoid(logits)
    ones, ridges = np.ones(truth.shape), (0.0, 1.0, 10.0)
    fitted = [calibration.fit(logits, truth, ones, Form(True, True, ridge)) for ridge in ridges]
    apart = [abs(found.slopes[2] - found.slopes[:2].mean()) for found in fitted]
    assert apart[0] > apart[1] > apart[2]


def test_sums_from_a_cut_upwards_are_the_same_for_many_cuts(monkeypatch):
    probability, values = np.random.default_rng(9).random(300).round(2), np.ones(300)
    cuts = rules.candidate_cuts(probability)
    one_by_one = rules.sums_from(cuts, probability, values)
    monkeypatch.setattr(rules, "CUTS_AT_ONCE", 10)
    np.testing.assert_array_equal(rules.sums_from(cuts, probability, values), one_by_one)


def test_each_labels_mean_probability_is_the_share_that_the_card_states_for_it():
    logits, truth = several(4000, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], seed=5)  # half the texts have each
    weights = rules.prior_weights(truth, MANY, {"praise": 0.7, "blame": 0.2, "tip": 0.05})
    np.testing.assert_allclose((weights * truth).sum(axis=0) / weights.sum(axis=0), [0.7, 0.2, 0.05])
    np.testing.assert_allclose(weights.mean(axis=0), 1.0)
    found = calibration.fit(logits, truth, weights, Form(False, True))
    means = np.average(found.probabilities(logits), axis=0, weights=weights)
    np.testing.assert_allclose(means, [0.7, 0.2, 0.05], atol=1e-3)


def test_the_form_is_chosen_for_two_labels_too_where_a_text_may_have_both():
    logits, truth = several(2000, [0.3, 2.0], [0.0, 0.0], seed=6)
    form, losses = rules.choose_form(logits, truth, np.ones(truth.shape), np.arange(2000))
    assert form.has_slopes
    assert losses["vector scaling"] < losses["bias-corrected temperature scaling"]


def test_a_frequent_label_has_its_own_threshold_and_rare_ones_share_the_best_for_them_together():
    lot = np.random.default_rng(7)
    truth = lot.random((500, 4)) < np.array([0.4, 0.02, 0.02, 0.0])
    probabilities = np.clip(0.1 + 0.4 * truth + lot.normal(0, 0.1, truth.shape), 0.01, 0.99)
    config = CalibrateConfig(min_per_label=15)
    assert 15 <= truth[:, 1:].sum() < 45
    assert truth[:, 1:3].sum(axis=0).max() < 15
    found = rules.choose_rule(probabilities, truth, np.ones(truth.shape), many_card(("a", "b", "c", "d")), config)
    own = rules.choose_threshold(probabilities[:, 0], truth[:, 0], np.ones(500), config)
    pooled = rules.choose_threshold(probabilities[:, 1:].ravel(), truth[:, 1:].ravel(), np.ones(1500), config)
    assert found.thresholds.tolist() == [own, pooled, pooled, pooled]
    scarce = CalibrateConfig(min_per_label=60)  # even together the three have fewer
    whole = rules.choose_threshold(probabilities.ravel(), truth.ravel(), np.ones(2000), scarce)
    thresholds = rules.choose_thresholds(probabilities, truth, np.ones(truth.shape), scarce)
    assert (
        thresholds.tolist()
        == [rules.choose_threshold(probabilities[:, 0], truth[:, 0], np.ones(500), scarce)] + [whole] * 3
    )


def test_the_threshold_that_rare_labels_share_is_looked_for_once(monkeypatch):
    lot = np.random.default_rng(0)
    probabilities, truth = lot.random((40, 30)), np.zeros((40, 30), dtype=bool)
    truth[:20, 0] = truth[0] = True
    looked = []
    monkeypatch.setattr(rules, "choose_threshold", lambda probability, *_: looked.append(len(probability)) or 0.5)
    rules.choose_thresholds(probabilities, truth, np.ones(truth.shape), CalibrateConfig(min_per_label=10))
    assert sorted(looked) == [40, 29 * 40]


def test_a_threshold_is_chosen_at_the_true_share_of_its_label():
    logits, truth = several(4000, [1.0, 1.0], [0.0, 0.0], seed=8)
    card, config = many_card(("a", "b")), CalibrateConfig()
    weights = rules.prior_weights(truth, LabelSpace(("a", "b"), is_many=True), {"a": 0.5, "b": 0.05})
    shares = []
    for stands_for in (np.ones(truth.shape), weights):
        probabilities = calibration.fit(logits, truth, stands_for, rules.ALONE).probabilities(logits)
        rule = rules.choose_rule(probabilities, truth, stands_for, card, config)
        shares.append(rule.choose(probabilities).mean(axis=0))
    plain, rarer = shares
    assert rarer[1] < 0.7 * plain[1]
    assert rarer[0] == pytest.approx(plain[0], abs=0.05)


def test_one_label_that_sets_enough_texts_apart_is_enough_where_there_may_be_several():
    truth = np.zeros((50, 3), dtype=bool)
    truth[:48, 0], truth[:12, 1] = True, True  # praise is nearly everywhere, but blame sets 12 texts from 38
    rules.require_labels(truth, MANY, many_card(KINDS.names), 10)
    with pytest.raises(TooFewLabels, match="got 12 of 'blame'"):
        rules.require_labels(truth, MANY, many_card(KINDS.names), 20)
    truth[48:, 0] = True
    stated = many_card(KINDS.names, "prior: {praise: 0.7, blame: 0.2, tip: 0.1}")
    with pytest.raises(TooFewLabels, match="got none of 'tip', 'not praise'"):
        rules.require_labels(truth, MANY, stated, 10)


def many_card(labels, more=""):
    return parse_card(make_card(labels=labels, more=more, is_many=True))


def test_each_label_may_have_the_threshold_of_the_highest_recall_at_a_precision():
    logits, truth = several(3000, [1.0, 1.0], [0.5, -2.0], seed=9)
    probabilities, config = calibration.sigmoid(logits), CalibrateConfig(objective="recall", min_precision=0.8)
    thresholds = rules.choose_thresholds(probabilities, truth, np.ones(truth.shape), config)
    given = probabilities >= thresholds
    precision = (given & truth).sum(axis=0) / given.sum(axis=0)
    np.testing.assert_allclose(precision, 0.8, atol=0.01)
    assert (precision >= 0.8).all()
