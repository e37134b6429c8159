"""How many test labels show a difference, held against judges that are simulated."""

import numpy as np
import pytest

from understudy.stats import metrics, power
from understudy.stats.metrics import Interval

DRAWS = 2000


def judged(rng, shares, figure, truth):
    """Answer as a judge does whose precision and recall of every label are its F1: wrong labels as the labels are."""
    wrong = rng.choice(len(shares), truth.shape, p=shares)
    return np.where(rng.random(truth.shape) < figure, truth, wrong)


def test_the_issues_figures_are_met_500_texts_show_nothing_of_0_84_against_0_76_and_1_300_put_the_end_at_zero():
    variance = power.f1_variance(0.08, 0.84, 0.76)
    half = metrics.Z * np.sqrt(variance / 500)
    assert (0.08 - half, 0.08 + half) == (pytest.approx(-0.05, abs=0.006), pytest.approx(0.20, abs=0.012))
    assert power.labels_to_show(variance, 0.08).even == pytest.approx(1400, rel=0.06)


@pytest.mark.parametrize(("share", "first", "second"), [(0.08, 0.84, 0.76), (0.3, 0.8, 0.7)])
def test_so_many_texts_show_a_difference_of_f1_as_often_as_promised(share, first, second):
    rng = np.random.default_rng(0)
    needed = power.labels_to_show(power.f1_variance(share, first, second), first - second)
    shown = []
    for _ in range(DRAWS // 4):
        truth = rng.random(needed.likely) < share
        alarms = share / (1 - share)
        one, other = (
            np.where(truth, rng.random(len(truth)) < own, rng.random(len(truth)) < (1 - own) * alarms)
            for own in (first, second)
        )
        gap = metrics.f1(truth, one) - metrics.f1(truth, other)
        own = power.f1_variance(truth.mean(), metrics.f1(truth, one), metrics.f1(truth, other))
        shown.append(gap - metrics.Z * np.sqrt(own / len(truth)) > 0)
    assert np.mean(shown) == pytest.approx(power.POWER, abs=0.05)


@pytest.mark.parametrize("shares", [(0.25, 0.25, 0.25, 0.25), (0.55, 0.25, 0.15, 0.05)])
def test_the_variance_of_a_difference_of_macro_f1_is_near_that_of_drawn_texts(shares):
    rng, texts, gaps, own = np.random.default_rng(1), 800, [], []
    for _ in range(DRAWS // 2):
        truth = rng.choice(len(shares), texts, p=shares)
        scores = [metrics.macro_f1(truth, judged(rng, shares, f, truth), labels=4) for f in (0.75, 0.65)]
        gaps.append(scores[0] - scores[1])
        own.append(scores)
    expected = power.macro_f1_variance(np.array(shares), *np.mean(own, axis=0))
    assert texts * np.var(gaps) == pytest.approx(expected, rel=0.2)


def test_nothing_shows_a_gap_that_is_not_there():
    assert power.labels_to_show(2.0, 0.0) is None
    assert power.least_gap(3, 0.8, lambda gap: power.f1_variance(0.08, 0.8, 0.8 - gap)) is None


def test_an_interval_that_was_measured_says_how_many_more_would_do():
    # A half width of 0.12 on 500 texts shrinks to a gap of 0.06 with four times as many.
    variance = power.measured_variance(500, Interval(0.06, -0.06, 0.18))
    assert power.labels_to_show(variance, 0.06).even == pytest.approx(2000, abs=1)
