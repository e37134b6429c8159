"""Precision, recall and F1 from few human labels and a teacher's answers to many texts, held against simulations."""

import numpy as np
import pytest

from benchmarks.prediction_powered import FIGURES, simulate
from understudy.stats.prediction_powered import estimate


@pytest.mark.parametrize(("teacher", "least"), [("good", 2.0), ("none", 0.95)])
def test_a_teacher_saves_labels_as_far_as_it_agrees_with_people_and_costs_none_where_it_does_not(teacher, least):
    found = simulate(teacher, labels=300, repeats=200, seed=1)
    assert min(found.saved[figure] for figure in FIGURES) >= least
    assert min(found.covered[figure] for figure in FIGURES) >= 0.94 - 2 * np.sqrt(0.94 * 0.06 / 200)


@pytest.mark.long
@pytest.mark.parametrize("labels", [200, 500])
@pytest.mark.parametrize(("teacher", "least"), [("good", 2.0), ("fair", 1.0), ("none", 0.95)])
def test_in_2000_simulations_94_percent_of_the_intervals_hold_the_truth(teacher, least, labels):
    found = simulate(teacher, labels=labels, repeats=2000, seed=0)
    assert min(found.covered.values()) >= 0.94
    assert min(found.saved.values()) >= least


def drawn(teacher_of):
    rng = np.random.default_rng(0)
    chance = rng.beta(0.4, 3.0, 20_000)
    truth, flagged = rng.random(20_000) < chance, chance >= 0.4
    strata = (chance * 4).astype(int).clip(max=2)
    labelled = np.concatenate([rng.choice(np.flatnonzero(strata == part), 60, replace=False) for part in range(3)])
    return truth, flagged, teacher_of(truth, rng).astype(float), strata, labelled


def test_a_teacher_that_errs_in_one_direction_everywhere_biases_nothing():
    truth, *given = drawn(lambda truth, rng: truth | (rng.random(len(truth)) < 0.5))
    found = estimate(*given, truth[given[-1]])
    flagged = given[0]
    assert found["precision"].low < truth[flagged].mean() < found["precision"].high
    assert found["recall"].low < flagged[truth].mean() < found["recall"].high


def test_a_teacher_that_is_always_right_leaves_almost_nothing_open():
    truth, *given = drawn(lambda truth, rng: truth)
    wide, narrow = (estimate(*given, truth[given[-1]], most_weight=most)["f1"] for most in (0.0, 1.0))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 4


def test_the_order_of_the_texts_plays_no_part():
    truth, flagged, teacher, strata, labelled = drawn(lambda truth, rng: truth ^ (rng.random(len(truth)) < 0.02))
    order = np.random.default_rng(1).permutation(len(truth))
    place = np.argsort(order)
    first = estimate(flagged, teacher, strata, labelled, truth[labelled])
    other = estimate(flagged[order], teacher[order], strata[order], place[labelled], truth[labelled])
    assert first["f1"].value == pytest.approx(other["f1"].value)


def test_what_nobody_labelled_is_not_known():
    nothing = np.zeros(4, dtype=bool)
    found = estimate(
        ~nothing & [True, False, False, False], np.zeros(4), np.zeros(4, int), np.array([1, 2]), nothing[:2]
    )
    assert np.isnan(found["precision"].value)
    assert (found["f1"].low, found["f1"].high) == (0.0, 1.0)
