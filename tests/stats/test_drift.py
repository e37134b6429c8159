import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.watched import make_texts
from understudy.errors import BadArtifact
from understudy.stats.drift import attribution, cells, series, summary, words
from understudy.stats.drift.detector import follow, follow_together
from understudy.stats.drift.series import Point, Shares, angle, share_of
from understudy.task.labels import LabelSpace

LIMIT = 365.0 * 6
TIPS = LabelSpace(("other", "tip"), "tip")


def described(texts: pl.DataFrame) -> summary.Reference:
    return summary.describe(labelled(texts), TIPS, both(texts))


def summed(texts: pl.DataFrame, reference: summary.Reference) -> summary.Summary:
    return summary.summarise(labelled(texts), TIPS, reference)


def labelled(texts: pl.DataFrame) -> pl.DataFrame:
    """Give texts with the probability of a tip their label, and its probability."""
    is_tip = pl.col("probability") >= 0.5
    label = pl.when(is_tip).then(pl.lit("tip")).otherwise(pl.lit("other"))
    own = pl.when(is_tip).then("probability").otherwise(1 - pl.col("probability"))
    return texts.with_columns(label.alias("label"), own.alias("probability"))


def both(texts: pl.DataFrame) -> np.ndarray:
    probability = texts["probability"].to_numpy()
    return np.stack([1 - probability, probability], axis=1)


def counted(groups: np.ndarray, is_positive: np.ndarray) -> summary.Summary:
    """Texts of which nothing but the label matters."""
    count, nothing = len(groups), np.zeros((len(groups), 3))
    cells = np.zeros(count, dtype=int)
    return summary.of_columns(groups, is_positive, labels=2, residuals=nothing, cells=cells, levels=cells, sizes=(1, 1))


def share_of_tips(found: summary.Summary, reference: summary.Summary) -> Shares:
    shares = series.shares(found, reference, TIPS.sides)
    assert shares is not None
    return shares


def many(count: int, labels: int, seed: int, shares: np.ndarray | None = None) -> tuple[pl.DataFrame, np.ndarray]:
    """Texts of many labels with calibrated probabilities, which give the likeliest: its table, and (texts, labels)."""
    rng = np.random.default_rng(seed)
    shares = np.full(labels, 1 / labels) if shares is None else shares
    truth = rng.choice(labels, size=count, p=shares)
    scores = rng.normal(size=(count, labels)) + 3.0 * np.eye(labels)[truth]
    odds = np.exp(3.0 * scores) * shares  # of normal scores, one of which lies 3 higher
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    codes = probabilities.argmax(axis=1)
    base = make_texts(count, 0.2, seed)
    own = pl.Series("probability", probabilities.max(axis=1))
    return base.with_columns(own, pl.Series("label", [f"l{code}" for code in codes])), probabilities


def space_of(labels: int) -> LabelSpace:
    return LabelSpace(tuple(f"l{number}" for number in range(labels)))


def shares(rng: np.random.Generator, texts: int, *values: float) -> list[Point]:
    return [Point(angle(found / texts), 1.0, texts) for found in rng.binomial(texts, values)]


def tenth(expected: float) -> float:
    return angle(share_of(expected) * 1.1) - expected


def test_segments_add_up_to_the_night():
    texts, reference = make_texts(40, 0.3, seed=1), described(make_texts(200, 0.3, seed=2))
    whole, parts = summed(texts, reference), summed(texts[:20], reference) + summed(texts[20:], reference)
    assert whole.groups == parts.groups == 10
    for name in summary.Summary.__slots__:
        assert np.allclose(getattr(whole, name), getattr(parts, name))


def test_a_summary_and_a_reference_survive_json():
    reference = described(make_texts(50, 0.3, seed=1))
    back = summary.Reference.of_record(reference.as_record())
    for name in summary.Summary.__slots__:
        assert np.allclose(getattr(back.summary, name), getattr(reference.summary, name), atol=1e-5)
    assert np.allclose(back.means, reference.means, atol=1e-6)
    assert np.allclose(back.cells.probabilities, reference.cells.probabilities, atol=1e-6)
    assert (back.cells.place == reference.cells.place).all()
    assert back.counts.tolist() == reference.counts.tolist()
    assert back.summary.groups == reference.summary.groups


def test_dependent_texts_tell_less_than_independent_ones():
    # Ten groups of ten texts, all of a group alike: 100 texts tell as much as 10.
    is_positive = np.repeat(np.arange(10) < 3, 10)
    alike, apart = counted(np.repeat(np.arange(10), 10), is_positive), counted(np.arange(100), is_positive)
    assert share_of_tips(apart, apart).unit_variances == pytest.approx(100 / 99)
    assert share_of_tips(alike, alike).unit_variances == pytest.approx(10 * 10 / 9)


def test_a_share_of_nothing_has_the_references_design_effect():
    groups, is_positive = np.repeat(np.arange(10), 10), np.repeat(np.arange(10) < 3, 10)
    alike, nothing = counted(groups, is_positive), counted(groups, is_positive & False)
    everything = counted(groups, is_positive | True)
    for found, share in ((nothing, 0.0), (everything, 1.0)):
        shares = share_of_tips(found, alike)
        assert (shares.values, shares.unit_variances) == (angle(share), pytest.approx(10 * 10 / 9))
        assert share_of_tips(found, nothing).unit_variances == 10.0  # as if all texts of a group were one


def test_intervals_of_few_groups_hold_what_they_promise():
    # 16 reviews of 12 sentences each, positive by the review: the normal's quantile holds the truth in 92.6%.
    rng, held, times = np.random.default_rng(12), 0, 2000
    for chance in rng.beta(2.5, 7.5, size=(times, 16)):
        is_positive = rng.random((16, 12)) < chance[:, None]
        found = counted(np.repeat(np.arange(16), 12), is_positive.ravel())
        shown = share_of_tips(found, found).own(0)
        held += shown.low <= 0.25 <= shown.high
    assert 0.935 <= held / times <= 0.965


def test_more_positives_are_no_other_content():
    reference = described(make_texts(4000, 0.08, seed=1))
    found = summed(make_texts(4000, 0.3, seed=2), reference)
    quiet, night = (series.points(one, reference) for one in (reference.summary, found))
    before, after = (share_of_tips(one, reference.summary) for one in (reference.summary, found))
    assert after.own(0).value > 2.5 * before.own(0).value
    for name in series.CONTENT:
        deviation = math.sqrt(night[name].variance + quiet[name].variance)
        assert abs(night[name].value - quiet[name].value) < 4 * deviation, name


@pytest.mark.parametrize("labels", [3, 77])
def test_other_shares_of_many_labels_are_no_other_content(labels):
    even, uneven = np.full(labels, 1 / labels), np.arange(1, labels + 1) / sum(range(1, labels + 1))
    (table, probabilities), (later, _) = many(4000, labels, 1, even), many(4000, labels, 2, uneven)
    space = space_of(labels)
    lengths = {name: 1 + place % 7 for place, name in enumerate(space.names)}  # each label has a length of its own
    tails = {name: " room" * count for name, count in lengths.items()}
    longer = pl.col("text") + pl.col("label").replace_strict(tails, return_dtype=pl.String)
    table, later = (one.with_columns(longer) for one in (table, later))
    reference = summary.describe(table, space, probabilities)
    quiet = series.points(reference.summary, reference)
    night = series.points(summary.summarise(later, space, reference), reference)
    for name in ("lengths", "vocabulary"):
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
    point = series.points(summed(table, reference), reference)["vocabulary"]
    assert point.value == pytest.approx(reference.overall[2])


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=30), st.integers(1, 5))
def test_cutting_a_night_anywhere_changes_nothing(probabilities, at):
    count, cut = len(probabilities), min(at, len(probabilities))
    probability = np.array(probabilities)
    cells, residuals = np.arange(count) % 3, np.stack([probability] * 3, axis=1)

    def of(part: slice) -> summary.Summary:
        return summary.of_columns(
            np.arange(count)[part],
            probability[part] >= 0.5,
            residuals=residuals[part],
            labels=2,
            cells=cells[part],
            levels=cells[part],
            sizes=(3, 3),
        )

    whole = of(slice(None))
    total = of(slice(cut)) + of(slice(cut, None)) if cut < count else of(slice(cut))
    for name in summary.Summary.__slots__:
        assert np.allclose(getattr(whole, name), getattr(total, name))


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
    base, content = (
        attribution.explain(reference.summary, summed(one, reference), reference.cells, 1) for one in (rich, odd)
    )
    assert base.is_base_rate
    assert base.after > 1.5 * base.before
    assert not content.is_base_rate


def test_with_two_labels_a_cell_is_a_bin_of_the_positive_labels_probability():
    texts = make_texts(300, 0.3, seed=1)
    reference = described(texts)
    probability = texts["probability"].to_numpy()
    place = np.searchsorted(cells.EDGES, probability, side="right")
    assert reference.summary.cells.tolist() == np.bincount(place, minlength=12).tolist()
    for cell in np.unique(place):
        mean = probability[place == cell].mean()
        assert reference.cells.probabilities[cell] == pytest.approx([1 - mean, mean])


@pytest.mark.parametrize("labels", [3, 77])
def test_changed_shares_of_many_labels_are_told_from_changed_scores(labels):
    shares = np.full(labels, 1 / labels)
    doubled = shares.copy()
    doubled[1] *= 2
    doubled /= doubled.sum()
    table, probabilities = many(8000, labels, 1, shares)
    space = space_of(labels)
    reference = summary.describe(table, space, probabilities)
    shifted, _ = many(8000, labels, 2, doubled)
    unsure = pl.when(pl.col("label") == "l1").then(pl.col("probability") * 0.6).otherwise("probability")
    odd = shifted.with_columns(pl.when(pl.col("text").hash() % 3 == 0).then(unsure * 0.7).otherwise(unsure))
    base, content = (
        attribution.explain(reference.summary, summary.summarise(one, space, reference), reference.cells, 1)
        for one in (shifted, odd)
    )
    assert base.is_base_rate
    assert base.after / base.before == pytest.approx(
        doubled[1] / shares[1], rel=0.25
    )  # some 100 texts before, 200 after
    assert not content.is_base_rate


def test_a_reference_of_500_labels_is_small_and_comes_back_as_it_was():
    table, probabilities = many(6000, 500, 3)
    space = space_of(500)
    reference = summary.describe(table, space, probabilities)
    written = json.dumps(reference.as_record())
    assert len(written) < 1_000_000
    back = summary.Reference.of_record(json.loads(written))
    assert np.allclose(back.cells.probabilities, reference.cells.probabilities, atol=1e-5)
    assert np.allclose(reference.cells.probabilities.sum(axis=1), 1, atol=1e-6)
    night = summary.summarise(table[:200], space, back)
    assert len(json.dumps(night.as_record())) < 60_000
    assert night.cells.sum() == night.levels.sum() == night.counts.sum() == 200


def test_a_label_that_the_reference_never_gave_is_no_fault():
    table, probabilities = many(300, 5, 1, np.array([0.4, 0.3, 0.3, 0.0, 0.0]))
    reference = summary.describe(table, space_of(5), probabilities)
    night = summary.summarise(table.with_columns(label=pl.lit("l4")), space_of(5), reference)
    point = series.points(night, reference)["lengths"]
    assert point.value == pytest.approx(reference.overall[1], abs=0.2)
    found = attribution.explain(reference.summary, night, reference.cells, 4)
    assert math.isfinite(found.left_over)


def test_summaries_of_other_labels_do_not_add_up():
    with pytest.raises(BadArtifact, match="same labels, cells and levels"):
        summary.empty(2, 3, 1) + summary.empty(3, 3, 1)


@pytest.mark.parametrize("change", [{"labels": [[9]]}, {"place": [[0.5]]}, {"shares": ["a"]}, {"probabilities": []}])
def test_damaged_cells_are_one_sentence(change):
    record = described(make_texts(50, 0.3, seed=1)).as_record()
    record["cells"] |= change
    with pytest.raises(BadArtifact, match="Restore the record"):
        summary.Reference.of_record(record)


def night_of(rng: np.random.Generator, texts: int, shares: np.ndarray) -> Shares:
    table = summary.empty(len(shares), 1, 1)
    counts = rng.multinomial(texts, shares).astype(float)
    found = replace(
        table, texts=float(texts), groups=texts, group_squares=float(texts), counts=counts, count_squares=counts,
        count_crosses=counts,
    )  # fmt: skip
    return series.shares(found, found, range(len(shares)))


def test_one_of_many_labels_that_doubles_is_named_with_its_night():
    rng, shares = np.random.default_rng(3), np.full(20, 0.05)
    doubled = np.full(20, 0.9 / 19)
    doubled[7] = 0.1
    nights = [night_of(rng, 2000, one) for one in [*[shares] * 20, *[doubled] * 12]]
    found = follow_together(nights, None, tenth, LIMIT)
    alarms = [night for night, one in enumerate(found) if one.is_alarm]
    assert alarms == [20]
    assert (found[20].leading, found[20].since, found[20].moved[0]) == (7, 20, 7)
    shown = nights[20].interval(7, float(found[20].expected[7]), 0.0)
    assert shown.value == pytest.approx(0.05, abs=0.005)
    assert nights[20].own(7).value == pytest.approx(0.1, abs=0.02)
    assert found[-1].is_standing


def test_many_labels_together_stand_until_those_that_moved_are_back():
    rng, shares = np.random.default_rng(4), np.full(20, 0.05)
    moved = np.full(20, 0.85 / 19)
    moved[2] = 0.15
    nights = [night_of(rng, 2000, one) for one in [*[shares] * 10, *[moved] * 5, *[shares] * 12]]
    standing = [night for night, one in enumerate(follow_together(nights, None, tenth, LIMIT)) if one.is_standing]
    assert standing[0] == 10
    assert 18 <= standing[-1] <= 23


def test_quiet_nights_of_many_rare_labels_raise_no_alarm():
    rng, shares = np.random.default_rng(5), np.full(77, 1 / 77)
    nights = [night_of(rng, 600, shares) for _ in range(200)]  # about eight texts of each
    assert not any(one.is_alarm for one in follow_together(nights, night_of(rng, 2000, shares), tenth, 365.0 * 7))
