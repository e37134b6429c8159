"""Unknown tokens as a series: sums add up, a heap in one text is no alarm, and a night in another language is one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import BadArtifact
from understudy.stats.drift import detector, series, tokens
from understudy.stats.drift.tokens import Tokens
from understudy.steps.watch.config import WatchConfig
from understudy.steps.watch.rules import limit, tolerances

TOLERANCE, LIMIT = tolerances(WatchConfig())["unknown"], limit(WatchConfig())
COUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30), st.floats(0, 1)), min_size=1, max_size=20)


def drawn(rng, texts, foreign, rate) -> Tokens:
    """Draw texts of 15 tokens on average; a share of them is in another language, of whose tokens nine in ten are
    unknown, and of the others' tokens `rate` are."""
    lengths = rng.poisson(14, texts) + 1
    chances = np.where(rng.random(texts) < foreign, 0.9, rate)
    return tokens.count(np.arange(texts), lengths, rng.binomial(lengths, chances))


def followed(seed, texts, *nights):
    """Follow nights of (share of foreign texts, rate) after a reference of 400 texts with a few unknown tokens."""
    rng = np.random.default_rng(seed)
    reference = series.unknown(drawn(rng, 400, 0.003, 0.001))
    points = [series.unknown(drawn(rng, texts, *night)) for night in nights]
    return detector.follow(points, reference, TOLERANCE, LIMIT)


@given(COUNTS, COUNTS)
def test_sums_of_different_groups_add_up(first, second):
    def summed(rows, prefix):
        groups, lengths, shares = zip(*rows, strict=True)
        unknown = [int(length * share) for length, share in zip(lengths, shares, strict=True)]
        return [f"{prefix}{group}" for group in groups], list(lengths), unknown

    parts = [summed(first, "a"), summed(second, "b")]
    apart = [tokens.count(np.array(groups), np.array(lengths), np.array(lost)) for groups, lengths, lost in parts]
    together = tokens.count(*(np.array(one + other) for one, other in zip(*parts, strict=True)))
    assert apart[0] + apart[1] == together
    assert Tokens.of_record(together.as_record()) == together


@pytest.mark.parametrize("record", [{}, {"texts": 1.0}, {**Tokens().as_record(), "tokens": float("nan")}])
def test_a_damaged_record_is_refused(record):
    with pytest.raises(BadArtifact):
        Tokens.of_record(record)


def test_texts_without_a_token_have_no_value():
    assert series.unknown(Tokens()) is None
    assert series.unknown(tokens.count(np.array([0]), np.array([0]), np.array([0]))) is None


@pytest.mark.parametrize("texts", [20, 300])
@pytest.mark.parametrize("night", [(0.0, 0.0), (0.003, 0.001), (0.02, 0.001), (0.1, 0.0)])
def test_nights_that_are_alike_raise_no_alarm_though_unknown_tokens_come_in_heaps(texts, night):
    """Four years of nights; at the limit of one series a false alarm is promised in 2,920 nights at most."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        reference = series.unknown(drawn(rng, 400, *night))
        points = [series.unknown(drawn(rng, texts, *night)) for _ in range(365)]
        assert not any(verdict.is_alarm for verdict in detector.follow(points, reference, TOLERANCE, LIMIT))


@pytest.mark.parametrize(("texts", "foreign", "most_nights"), [(50, 0.3, 1), (300, 0.1, 1), (3000, 0.05, 1)])
def test_texts_in_another_language_are_found_at_once(texts, foreign, most_nights):
    quiet, changed = [(0.001, 0.001)] * 10, [(foreign, 0.001)] * 5
    for seed in range(4):
        verdicts = followed(seed, texts, *quiet, *changed)
        first = next(night for night, verdict in enumerate(verdicts) if verdict.is_alarm)
        assert 10 <= first < 10 + most_nights


def test_a_change_below_the_least_one_is_none():
    verdicts = followed(0, 100_000, *[(0.003, 0.001)] * 10, *[(0.008, 0.001)] * 30)
    assert not any(verdict.is_alarm for verdict in verdicts)
