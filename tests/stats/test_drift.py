import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.watched import make_texts
from understudy.stats.drift import attribution, series, summary, words
from understudy.stats.drift.detector import follow
from understudy.stats.drift.series import Point, angle, share_of

LIMIT = 365.0 * 6


def described(texts: pl.DataFrame) -> summary.Reference:
    return summary.describe(texts, (texts["probability"] >= 0.5).to_numpy())


def summed(texts: pl.DataFrame, reference: summary.Reference) -> summary.Summary:
    return summary.summarise(texts, (texts["probability"] >= 0.5).to_numpy(), reference)


def shares(rng: np.random.Generator, texts: int, *values: float) -> list[Point]:
    return [Point(angle(found / texts), 1.0, texts) for found in rng.binomial(texts, values)]


def tenth(expected: float) -> float:
    return angle(share_of(expected) * 1.1) - expected


def test_segments_add_up_to_the_night():
    texts, reference = make_texts(40, 0.3, seed=1), described(make_texts(200, 0.3, seed=2))
    whole, parts = summed(texts, reference), summed(texts[:20], reference) + summed(texts[20:], reference)
    assert whole.groups == parts.groups == 10
    for name in ("sums", "products", "bins", "bin_sums"):
        assert np.allclose(getattr(whole, name), getattr(parts, name))


def test_a_summary_and_a_reference_survive_json():
    reference = described(make_texts(50, 0.3, seed=1))
    back = summary.Reference.of_record(reference.as_record())
    assert np.allclose(back.summary.products, reference.summary.products, atol=1e-8)
    assert back.counts.tolist() == reference.counts.tolist()
    assert back.summary.groups == reference.summary.groups


def test_dependent_texts_tell_less_than_independent_ones():
    # Ten groups of ten texts, all of a group alike: 100 texts tell as much as 10.
    is_positive = np.repeat(np.arange(10) < 3, 10)
    probability = np.where(is_positive, 0.9, 0.1)
    alike = summary.of_columns(np.repeat(np.arange(10), 10), is_positive, probability, np.zeros(100), np.zeros(100))
    apart = summary.of_columns(np.arange(100), is_positive, probability, np.zeros(100), np.zeros(100))
    assert series.positives(apart, apart).unit_variance == pytest.approx(100 / 99)
    assert series.positives(alike, alike).unit_variance == pytest.approx(10 * 10 / 9)


def test_a_share_of_nothing_has_the_references_design_effect():
    groups, is_positive = np.repeat(np.arange(10), 10), np.repeat(np.arange(10) < 3, 10)
    alike = summary.of_columns(groups, is_positive, np.full(100, 0.5), np.zeros(100), np.zeros(100))
    nothing = summary.of_columns(groups, is_positive & False, np.full(100, 0.5), np.zeros(100), np.zeros(100))
    everything = summary.of_columns(groups, is_positive | True, np.full(100, 0.5), np.zeros(100), np.zeros(100))
    for found, share in ((nothing, 0.0), (everything, 1.0)):
        point = series.positives(found, alike)
        assert (point.value, point.unit_variance) == (angle(share), pytest.approx(10 * 10 / 9))
        assert series.positives(found, nothing).unit_variance == 10.0  # as if all texts of a group were one


def test_intervals_of_few_groups_hold_what_they_promise():
    # 16 reviews of 12 sentences each, positive by the review: the normal's quantile holds the truth in 92.6%.
    rng, held, times = np.random.default_rng(12), 0, 2000
    for chance in rng.beta(2.5, 7.5, size=(times, 16)):
        is_positive = rng.random((16, 12)) < chance[:, None]
        found = summary.of_columns(
            np.repeat(np.arange(16), 12), is_positive.ravel(), np.full(192, 0.5), np.zeros(192), np.zeros(192)
        )
        point = series.positives(found, found)
        shown = series.BY_NAME["positives"].interval(point.value, point.variance, point.degrees)
        held += shown.low <= 0.25 <= shown.high
    assert 0.935 <= held / times <= 0.965


def test_more_positives_are_no_other_content():
    reference = described(make_texts(4000, 0.08, seed=1))
    quiet = series.points(reference.summary, reference.summary)
    night = series.points(summed(make_texts(4000, 0.3, seed=2), reference), reference.summary)
    assert share_of(night["positives"].value) > 2.5 * share_of(quiet["positives"].value)
    for name in series.CONTENT:
        deviation = math.sqrt(night[name].variance + quiet[name].variance)
        assert abs(night[name].value - quiet[name].value) < 4 * deviation, name


def test_a_text_is_no_surprise_to_itself():
    # Each group has words of its own: had a text counted among the reference, its words would not look new there.
    texts = pl.Series([f"word{number} other{number}" for number in range(20)])
    said = words.words_of(texts)
    counts = words.counts_of(said)
    left_out = words.mean_surprise(said, counts, 20, own=list(range(20)))
    fresh = words.mean_surprise(words.words_of(pl.Series(["quite unseen"])), counts, 1)
    assert left_out.mean() == pytest.approx(fresh[0], abs=0.1)
    assert words.mean_surprise(said, counts, 20).mean() < fresh[0] - 1


def test_a_text_without_words_counts_as_an_average_one():
    reference = described(make_texts(100, 0.2, seed=1))
    table = pl.DataFrame({"group": ["a"], "text": ["?!"], "probability": [0.1]})
    found = summed(table, reference)
    assert found.sums[3] == pytest.approx(reference.surprise)


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=30), st.integers(1, 5))
def test_cutting_a_night_anywhere_changes_nothing(probabilities, at):
    count, cut = len(probabilities), min(at, len(probabilities))
    probability = np.array(probabilities)
    columns = [np.arange(count), probability >= 0.5, probability, np.ones(count), np.ones(count)]
    whole = summary.of_columns(*columns)
    parts = [summary.of_columns(*(column[part] for column in columns)) for part in (slice(cut), slice(cut, None))]
    total = parts[0] + parts[1] if cut < count else parts[0]
    assert np.allclose(whole.products, total.products)


def test_a_shift_is_found_and_its_first_night_named():
    rng = np.random.default_rng(3)
    points = shares(rng, 2000, *[0.08] * 20, *[0.14] * 5)
    found = follow(points, Point(angle(0.08), 1.0, 500), tenth, LIMIT)
    alarms = [night for night, verdict in enumerate(found) if verdict.is_alarm]
    assert alarms == [20]
    assert found[20].since == 20
    assert share_of(found[20].expected) == pytest.approx(0.08, abs=0.005)


def test_a_small_shift_is_found_by_adding_up_nights():
    rng = np.random.default_rng(4)
    found = follow(shares(rng, 200, *[0.08] * 30, *[0.14] * 20), Point(angle(0.08), 1.0, 400), tenth, LIMIT)
    alarms = [night for night, verdict in enumerate(found) if verdict.is_alarm]
    assert len(alarms) == 1
    assert 31 <= alarms[0] <= 40


def test_a_shift_that_began_with_the_first_night_is_found_by_the_reference():
    rng = np.random.default_rng(5)
    found = follow(shares(rng, 2000, *[0.14] * 3), Point(angle(0.08), 1.0, 4000), tenth, LIMIT)
    assert found[0].is_alarm


def test_a_small_reference_raises_no_alarm_by_its_own_error():
    # The reference says 12% of 100 texts, the world 8%: this is what chance does to 100 texts.
    rng = np.random.default_rng(6)
    found = follow(shares(rng, 5000, *[0.08] * 50), Point(angle(0.12), 1.0, 100), tenth, LIMIT)
    assert not any(verdict.is_alarm for verdict in found)


def test_quiet_years_have_few_false_alarms():
    rng = np.random.default_rng(7)
    limit, years, alarms = 50.0, 12, 0
    for _ in range(years):
        found = follow(shares(rng, 500, *[0.08] * 365), Point(angle(0.08), 1.0, 10_000), lambda _: 0.0, limit)
        alarms += sum(verdict.is_alarm for verdict in found)
    assert alarms <= years * 365 / limit  # at most one in `limit` nights


def test_a_change_within_the_tolerance_is_none():
    rng = np.random.default_rng(8)
    points = shares(rng, 1_000_000, *[0.080] * 10, *[0.085] * 30)
    assert not any(verdict.is_alarm for verdict in follow(points, None, tenth, LIMIT))
    assert any(verdict.is_alarm for verdict in follow(points, None, lambda _: 0.0, LIMIT))


def test_weekends_become_a_part_of_what_is_expected():
    rng = np.random.default_rng(9)
    week = [0.08, 0.08, 0.08, 0.08, 0.08, 0.095, 0.095]
    found = follow(shares(rng, 5000, *week * 30), Point(angle(0.085), 1.0, 400), tenth, LIMIT)
    assert sum(verdict.is_alarm for verdict in found[14:]) == 0


def test_an_alarm_stands_until_a_week_is_back():
    rng = np.random.default_rng(10)
    points = shares(rng, 2000, *[0.08] * 20, *[0.16] * 10, *[0.08] * 12)
    found = follow(points, None, tenth, LIMIT)
    standing = [night for night, verdict in enumerate(found) if verdict.is_standing]
    assert standing[0] == 20
    assert set(range(20, 30)) <= set(standing)
    assert 33 <= standing[-1] <= 37
    assert sum(verdict.is_alarm for verdict in found) == 1


def test_the_first_night_serves_where_there_is_no_reference():
    found = follow([Point(0.5, 1.0, 100), None, Point(0.5, 1.0, 100)], None, tenth, LIMIT)
    assert found[1] is None
    assert math.isnan(found[0].expected)
    assert found[2].expected == 0.5


def test_a_night_without_positives_is_no_fault():
    reference = Point(angle(0.02), 1.0, 400)
    found = follow([Point(0.0, math.nan, 30)], reference, tenth, LIMIT)
    assert math.isfinite(found[0].evidence)


def test_a_changed_base_rate_is_told_from_changed_scores():
    before, rich = make_texts(4000, 0.08, seed=1), make_texts(4000, 0.2, seed=2)
    odd = rich.with_columns(probability=pl.col("probability").clip(0.2, 0.8))
    reference = described(before)
    base = attribution.explain(reference.summary, summed(rich, reference))
    content = attribution.explain(reference.summary, summed(odd, reference))
    assert base.is_base_rate
    assert base.after > 1.5 * base.before
    assert not content.is_base_rate
