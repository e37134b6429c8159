"""A rate against its limit: few false alarms while it is within, and a soon one when it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.stats.drift import limit, series
from understudy.stats.drift.series import Point

LIMIT, TEXTS, BETWEEN = 0.005, 2000, 500


def night(lost: int) -> Point:
    return Point(lost / TEXTS, lost / TEXTS, TEXTS)


def first_alarm(rng, rate: float, nights: int) -> int:
    found = limit.follow([night(lost) for lost in rng.binomial(TEXTS, rate, nights)], LIMIT, BETWEEN)
    return next((place for place, one in enumerate(found) if one.is_alarm), nights)


def test_at_the_limit_itself_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(4)
    waits = [first_alarm(rng, LIMIT, 2 * BETWEEN) for _ in range(12)]
    assert np.mean(waits) >= BETWEEN


def test_twice_the_limit_is_seen_within_days():
    rng = np.random.default_rng(5)
    assert np.mean([first_alarm(rng, 2 * LIMIT, 60) for _ in range(20)]) < 6


@settings(deadline=None)
@given(st.integers(1, 3000), st.sampled_from([0.001, 0.005, 0.05]))
def test_no_bet_gains_on_average_at_the_limit(texts, rate):
    from scipy.stats import binom

    lost = np.arange(texts + 1)
    weights = binom.pmf(lost, texts, rate)
    gains = np.stack([limit.gain(Point(count / texts, 0.0, texts), rate) for count in lost])
    assert (weights @ np.exp(np.minimum(gains, 600)) <= 1 + 1e-9).all()


def test_an_alarm_ends_when_a_weeks_rate_is_back_within_the_limit():
    found = limit.follow([night(lost) for lost in (0, 60, 60, *[2] * 7, 60)], LIMIT, BETWEEN)
    assert [one.is_standing for one in found] == [False, True, *[True] * 7, False, True]
    assert [place for place, one in enumerate(found) if one.is_alarm] == [1, 10]


def test_nights_without_a_sample_are_passed_over():
    found = limit.follow([night(0), None, night(60)], LIMIT, BETWEEN)
    assert found[1] is None
    assert found[2].is_alarm
    assert series.missed(lost=0, checked=0, settled=0, texts=10) is None


@given(st.integers(1, 50), st.integers(0, 50), st.integers(50, 500), st.integers(500, 1000))
def test_the_share_lost_is_that_of_the_sample_times_the_share_settled(checked, lost, settled, texts):
    point = series.missed(lost, checked, settled, texts)
    assert point.value == pytest.approx(lost / checked * settled / texts)
    assert point.value * point.texts == pytest.approx(lost)
