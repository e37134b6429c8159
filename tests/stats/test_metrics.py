"""Figures of merit and their intervals."""

import math
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from understudy.stats import metrics

TRUTH = np.array([True, True, True, False, False, False, False, False])
FOUND = np.array([True, True, False, True, False, False, False, False])  # 2 found, 1 missed, 1 false alarm, 4 left

relaxed = settings(deadline=None, max_examples=60)

labels = st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), min_size=1, max_size=40)


def columns(rows):
    truth, found, probability = (np.array(column) for column in zip(*rows, strict=True))
    return truth, found, probability


def two(probability):
    return np.stack([1 - probability, probability], axis=1)


def test_figures_by_hand():
    assert metrics.precision(TRUTH, FOUND) == pytest.approx(2 / 3)
    assert metrics.recall(TRUTH, FOUND) == pytest.approx(2 / 3)
    assert metrics.f1(TRUTH, FOUND) == pytest.approx(4 / 6)
    assert metrics.macro_f1(TRUTH, FOUND) == pytest.approx((4 / 6 + 8 / 10) / 2)
    assert metrics.accuracy(TRUTH, FOUND) == pytest.approx(6 / 8)


@relaxed
@given(labels)
def test_figures_agree_with_scikit_learn_where_they_are_defined(rows):
    truth, found, probability = columns(rows)
    pairs = [(metrics.f1, reference.f1_score), (metrics.recall, reference.recall_score)]
    pairs += [(metrics.precision, reference.precision_score)]
    for own, theirs in pairs:
        assert math.isnan(own(truth, found)) or own(truth, found) == pytest.approx(theirs(truth, found))
    assert metrics.brier(two(probability), truth) == pytest.approx(
        reference.brier_score_loss(truth, probability, pos_label=True)
    )


@relaxed
@given(labels, st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_weights_count_a_text_as_often_as_they_say(rows, times):
    truth, found, probability = columns(rows)
    weights = np.array(times[: len(rows)], dtype=float)
    drawn = np.repeat(np.arange(len(rows)), weights.astype(int))
    for figure, first, second in [
        (metrics.f1, truth, found),
        (metrics.macro_f1, truth, found),
        (metrics.kappa, truth, found),
        (partial(metrics.ece, bins=1), probability, truth),
        (metrics.log_loss, two(probability), truth),
    ]:
        expected = figure(first[drawn], second[drawn])
        assert figure(first, second, weights=weights[None, :])[0] == pytest.approx(expected, nan_ok=True)


def test_a_share_of_nothing_is_undefined_and_can_be_left_out():
    nothing = np.zeros(3, dtype=bool)
    figures = {"f1": metrics.f1(nothing, nothing), "recall": metrics.recall(nothing, ~nothing), "accuracy": 1.0}
    assert math.isnan(figures["f1"])
    assert math.isnan(figures["recall"])
    assert metrics.defined(figures) == {"accuracy": 1.0}


def test_missing_every_positive_is_an_f1_of_zero_not_undefined():
    assert metrics.f1(TRUTH, np.zeros(8, dtype=bool)) == 0.0


@relaxed
@given(labels)
def test_average_precision_is_scikit_learns_with_ties_too(rows):
    truth, _, probability = columns(rows)
    scores = probability.round(1)  # many ties
    if truth.any():
        expected = reference.average_precision_score(truth, scores)
        assert metrics.average_precision(scores, truth) == pytest.approx(expected)


def test_whole_groups_are_drawn():
    groups = np.array(["a", "a", "a", "b", "b", "c"])
    weights = np.concatenate(list(metrics.resample_weights(groups, samples=50, seed=1)))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 3, 5]].sum(axis=1) == 3).all()


def test_texts_that_depend_on_one_another_widen_the_interval():
    rng = np.random.default_rng(3)
    truth = np.repeat(rng.random(60) < 0.5, 8)
    found = np.repeat(rng.random(60) < 0.5, 8)
    alone = metrics.bootstrap(metrics.accuracy, truth, found, groups=np.arange(480))
    grouped = metrics.bootstrap(metrics.accuracy, truth, found, groups=np.repeat(np.arange(60), 8))
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        right = rng.random(200) < 0.7
        found = metrics.bootstrap(metrics.accuracy, np.ones(200, dtype=bool), right, groups=np.arange(200), seed=trial)
        covered += found.low <= 0.7 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_in_blocks_of_any_size(monkeypatch):
    whole = metrics.bootstrap(metrics.f1, TRUTH, FOUND, groups=np.arange(8), samples=200)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 56)
    assert metrics.bootstrap(metrics.f1, TRUTH, FOUND, groups=np.arange(8), samples=200) == whole


def test_a_paired_difference_of_equal_answers_is_exactly_zero():
    interval, chance = metrics.paired_bootstrap(metrics.f1, TRUTH, FOUND, FOUND, np.arange(8))
    assert (interval.value, interval.low, interval.high, chance) == (0.0, 0.0, 0.0, 0.5)


def test_pairing_cancels_what_is_hard_for_both():
    rng = np.random.default_rng(5)
    truth = rng.random(400) < 0.3
    second = truth ^ (rng.random(400) < 0.2)
    first = second.copy()
    mended = np.flatnonzero(truth & ~second)[:12]
    first[mended] = True
    interval, chance = metrics.paired_bootstrap(metrics.f1, truth, first, second, np.arange(400))
    alone = metrics.bootstrap(metrics.f1, truth, first, groups=np.arange(400))
    assert interval.low > 0
    assert chance == 1.0
    assert interval.high - interval.low < alone.high - alone.low


def test_an_empty_table_has_no_figures_and_no_error():
    found = metrics.bootstrap(metrics.f1, TRUTH[:0], FOUND[:0], groups=[])
    assert all(map(math.isnan, (found.value, found.low, found.high)))


@relaxed
@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_lies_within_0_and_1_and_around_the_share(successes, more):
    found = metrics.wilson(successes, successes + more)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0


def test_wilson_of_nothing_knows_nothing():
    found = metrics.wilson(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)


@relaxed
@given(st.integers(0, 2**31))
def test_a_perfectly_calibrated_score_has_a_small_ece(seed):
    rng = np.random.default_rng(seed)
    probability = rng.random(20_000)
    assert metrics.ece(probability, rng.random(20_000) < probability) < 0.02


def test_a_thousand_resamples_of_500_texts_take_well_under_a_second():
    truth, found = np.arange(500) % 10 == 0, np.arange(500) % 9 == 0
    metrics.bootstrap(metrics.f1, truth, found, groups=np.arange(500) // 3)
    started = time.perf_counter()
    metrics.bootstrap(metrics.f1, truth, found, groups=np.arange(500) // 3)
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(("labels", "texts"), [(3, 300), (77, 300)])
def test_intervals_of_a_mean_over_labels_hold_the_truth_with_many_labels_too(labels, texts):
    lot = np.random.default_rng(labels)

    def answers(number):
        true = lot.integers(0, labels, number)
        return true, np.where(lot.random(number) < 0.8, true, lot.integers(0, labels, number))

    figure = partial(metrics.macro_f1, labels=labels)
    truth = figure(*answers(400_000))
    found = [metrics.bootstrap(figure, *answers(texts), groups=np.arange(texts), samples=200) for _ in range(60)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.88
