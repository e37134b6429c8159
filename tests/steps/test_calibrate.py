"""The calibration rule: Platt with bias, the true class balance, and the threshold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import TooFewLabels
from understudy.model.calibration import Sigmoid, fit_sigmoid, smoothed_targets
from understudy.steps.calibrate import rules
from understudy.steps.calibrate.config import CalibrateConfig


def drawn(texts: int, slope: float, bias: float, seed: int = 0):
    """Scores whose true probability of being positive is 1 / (1 + exp(-(slope * z + bias)))."""
    lot = np.random.default_rng(seed)
    log_odds = lot.normal(0, 2, texts)
    return log_odds, lot.random(texts) < 1 / (1 + np.exp(-(slope * log_odds + bias)))


def test_sigmoid_finds_the_slope_and_bias_that_made_the_labels():
    log_odds, is_positive = drawn(40_000, slope=0.7, bias=-2.0)
    fitted = fit_sigmoid(log_odds, is_positive, np.ones(len(log_odds)))
    assert fitted.slope == pytest.approx(0.7, abs=0.03)
    assert fitted.bias == pytest.approx(-2.0, abs=0.05)


@pytest.mark.parametrize(("positives", "negatives", "prior"), [(20, 20, 0.01), (15, 45, 0.02), (50, 50, 0.3)])
def test_the_mean_probability_is_the_prior_on_a_small_split_too(positives, negatives, prior):
    lot = np.random.default_rng(1)
    log_odds = np.concatenate([lot.normal(2, 1, positives), lot.normal(-2, 1, negatives)])
    is_positive = np.arange(positives + negatives) < positives
    weights = rules.prior_weights(is_positive, prior)
    fitted = fit_sigmoid(log_odds, is_positive, weights)
    assert np.average(fitted.probability(log_odds), weights=weights) == pytest.approx(prior, rel=1e-3)


def test_no_nearby_slope_or_bias_fits_better():
    log_odds, is_positive = drawn(500, slope=1.3, bias=-1.0)
    weights = np.ones(500)
    fitted = fit_sigmoid(log_odds, is_positive, weights)
    targets = smoothed_targets(is_positive, weights)

    def log_likelihood(slope, bias):
        probability = Sigmoid(slope, bias).probability(log_odds)
        return (targets * np.log(probability) + (1 - targets) * np.log(1 - probability)).sum()

    best = log_likelihood(fitted.slope, fitted.bias)
    for slope, bias in ((0.02, 0.0), (-0.02, 0.0), (0.0, 0.02), (0.0, -0.02)):
        assert log_likelihood(fitted.slope + slope, fitted.bias + bias) < best


def test_separated_scores_still_give_a_finite_slope():
    log_odds = np.array([-3.0] * 20 + [3.0] * 20)
    fitted = fit_sigmoid(log_odds, log_odds > 0, np.ones(40))
    assert 0 < fitted.slope < 3
    assert math.isfinite(fitted.bias)


def test_probabilities_hold_at_the_cards_prior_when_the_split_is_richer():
    log_odds, is_positive = drawn(40_000, slope=1.0, bias=0.0)  # half the split is positive
    weights = rules.prior_weights(is_positive, prior=0.08)
    fitted = fit_sigmoid(log_odds, is_positive, weights)
    assert np.average(fitted.probability(log_odds), weights=weights) == pytest.approx(0.08, abs=0.002)


@given(st.lists(st.booleans(), min_size=2).filter(lambda flags: 0 < sum(flags) < len(flags)), st.floats(0.01, 0.99))
def test_prior_weights_have_mean_one_and_the_asked_share(flags, prior):
    is_positive = np.array(flags)
    weights = rules.prior_weights(is_positive, prior)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[is_positive].sum() / weights.sum() == pytest.approx(prior)


def test_threshold_for_f1_is_the_best_of_all_cuts():
    probability = np.array([0.9, 0.8, 0.6, 0.4, 0.1])
    is_positive = np.array([True, False, True, False, False])
    # flag 1: F1 2/3; flag 2: 1/2; flag 3: 4/5, the best; its cut is midway between 0.6 and 0.4
    assert rules.choose_threshold(probability, is_positive, np.ones(5), CalibrateConfig()) == pytest.approx(0.5)


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


def test_a_small_calibration_split_is_refused_by_label():
    with pytest.raises(
        TooFewLabels, match=r"at least 20 texts of each label, got 3 of 'tip'.*calibrate\.min_per_label"
    ):
        rules.require_labels(np.array([True] * 3 + [False] * 50), "tip", 20)
