"""The cut of the first stage: the bound, the design effect, the choice, and what speaks against a cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from understudy.model.calibration import Calibrator, log_odds, softmax
from understudy.model.cascade import fewest_texts, sigmoid
from understudy.steps.calibrate import cut as cuts
from understudy.steps.calibrate.cut import HeldOut


def held_out(scores, is_other, groups=None, weights=None) -> HeldOut:
    scores = np.asarray(scores, dtype=float)
    logits = np.stack([np.zeros(len(scores)), scores], axis=1)
    return HeldOut(
        scores=scores,
        logits=logits,
        probabilities=softmax(logits),
        is_other=np.asarray(is_other),
        groups=np.arange(len(scores)) if groups is None else np.asarray(groups),
        weights=np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float),
    )


def separated(texts: int, positives_at) -> HeldOut:
    """Texts with the scores 0, 1, 2 ...; those named are the positives."""
    return held_out(np.arange(texts), np.isin(np.arange(texts), positives_at))


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(100, 3000))
def test_the_bound_is_the_share_at_which_so_few_losses_have_a_chance_of_one_in_twenty(lost, texts):
    share = cuts.bound(lost / texts, texts)
    assert binom.cdf(lost, texts, share) == pytest.approx(0.05, abs=1e-6)


def test_the_fewest_texts_are_enough_without_a_loss_and_one_less_is_not():
    for most in (0.001, 0.005, 0.02):
        assert cuts.bound(0.0, fewest_texts(most)) <= most < cuts.bound(0.0, fewest_texts(most) - 1)


def test_the_cut_loses_as_many_as_the_bound_allows_and_lies_midway_to_the_next():
    # among 1,500 texts, 2 may be lost (0.42%), 3 may not (0.52%)
    found = cuts.choose(separated(1500, [700, 800, 900, 1000, 1400, 1450, 1460, 1470, 1480, 1490]), 0.005, 0.05)
    assert found.cut == 850
    assert found.missed == pytest.approx(2 / 1500)
    assert found.missed_others == pytest.approx(0.2)
    assert found.bound == pytest.approx(cuts.bound(2 / 1500, 1500))
    assert found.settled == pytest.approx(850 / 1500)


def test_where_none_may_be_lost_the_cut_lies_at_the_lowest_positive():
    found = cuts.choose(separated(700, [400, 500, 600, 650, 690]), 0.005, 0.05)
    assert (found.cut, found.missed) == (400, 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.002, 0.05))
def test_what_is_lost_keeps_the_bound_and_a_larger_promise_settles_no_less(seed, most):
    lot = np.random.default_rng(seed)
    is_positive = lot.random(2000) < 0.1
    held = held_out(lot.normal(is_positive * 2.0), is_positive, groups=lot.integers(0, 800, 2000))
    small, large = cuts.choose(held, most, 1e-9), cuts.choose(held, most * 1.5, 1e-9)
    for found, promise in ((small, most), (large, most * 1.5)):
        assert found.cut is None or found.bound <= promise
    if small.cut is not None and large.cut is not None:
        assert large.settled >= small.settled


def test_texts_of_a_group_that_agree_count_as_one():
    is_positive = np.repeat(np.arange(400) % 10 == 0, 5)
    held = held_out(np.arange(2000), is_positive, groups=np.repeat(np.arange(400), 5))
    assert cuts.design_effect(held) == pytest.approx(5, rel=0.01)


def test_texts_that_are_groups_of_their_own_are_independent():
    assert cuts.design_effect(separated(1000, range(100))) == 1.0


def test_there_are_as_many_texts_as_the_heaviest_goes_into_all():
    # half of the texts stand for 3 each: 4,000 in all, of which the lost ones may all be of the heavy kind
    is_positive, weights = np.arange(2000) % 10 < 2, np.where(np.arange(2000) % 2, 3.0, 1.0)
    alone = held_out(np.arange(2000), is_positive, weights=weights)
    assert cuts.effective_texts(alone) == pytest.approx(4000 / 3)
    in_fives = np.repeat(np.arange(400) % 10 == 0, 5)
    heavy = np.repeat(np.where(np.arange(400) % 2, 1.0, 3.0), 5)
    both = held_out(np.arange(2000), in_fives, groups=np.repeat(np.arange(400), 5), weights=heavy)
    assert cuts.effective_texts(both) == pytest.approx(4000 / 3 / 5, rel=0.01)


def test_the_promise_holds_where_what_is_lost_is_of_a_kind_that_the_student_mostly_learned():
    # 2% of the texts hold most of what is lost, and one in ten of those is left to stand for the others
    lot, broken, cut = np.random.default_rng(4), 0, 0
    for _ in range(120):
        is_likely = lot.random(8000) < 0.02
        is_positive = lot.random(8000) < np.where(is_likely, 0.6, 0.05)
        scores = lot.normal(np.where(is_positive, np.where(is_likely, 1.5, 2.5), 0.0))
        is_left = ~is_likely | (lot.random(8000) < 0.1)
        weights = np.where(is_likely, is_likely.sum() / max(1, (is_likely & is_left).sum()), 1.0)
        found = cuts.choose(held_out(scores[is_left], is_positive[is_left], weights=weights[is_left]), 0.005, 0.01)
        if found.cut is not None:
            cut += 1
            broken += 0.02 * 0.6 * norm.cdf(found.cut - 1.5) + 0.98 * 0.05 * norm.cdf(found.cut - 2.5) > 0.005
    assert cut >= 60
    assert broken / cut <= 0.05


def test_too_few_texts_for_the_promise_mean_no_cut():
    found = cuts.choose(separated(500, [400, 450]), 0.005, 0.05)
    assert found.cut is None
    assert "the 500 held out tell as much as 500 independent ones, too few to promise" in found.reason


def test_a_cut_that_would_let_all_positives_go_is_none():
    found = cuts.choose(separated(5000, [10, 20]), 0.005, 0.05)
    assert found.cut is None
    assert "gives 0.04% of the texts another label" in found.reason


def test_a_cut_that_settles_too_little_is_none():
    found = cuts.choose(separated(1500, range(10, 1500, 10)), 0.005, 0.05)
    assert found.cut is None
    assert "it would settle 1.7% of the texts" in found.reason


@pytest.mark.parametrize("labels", [2, 3, 77])
def test_settled_texts_get_the_students_mean_probability_of_the_label(labels):
    lot = np.random.default_rng(3)
    logits = lot.normal(0, 1, (1000, labels))
    logits[:, 0] += 3 + np.log(labels)
    raw = -log_odds(logits, 0)
    calibrator, cut = Calibrator(np.full(labels, 1.5), np.where(np.arange(labels), 0.3, 0.0)), -1.0
    weights = lot.uniform(1, 2, 1000)
    held = HeldOut(raw * 0.5, logits, calibrator.probabilities(logits), raw > 0, np.arange(1000), weights)
    slope, bias = cuts.line(held, cut, calibrator, 0)
    low = held.scores < cut
    settled = sigmoid(slope * held.scores[low] + bias)
    student = 1 - held.probabilities[low, 0]
    assert np.average(settled, weights=weights[low]) == pytest.approx(np.average(student, weights=weights[low]))
    rest = cuts.rest(held, cut, 0)
    assert rest[0] == 0
    assert rest.sum() == pytest.approx(1)
    if labels == 2:  # the slope is the calibrator's own
        assert slope == pytest.approx(1.5)
