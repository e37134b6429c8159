"""What is compared of texts that may have several labels: shares of each, content beside their labels, each alone."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watched import make_of_several
from understudy.errors import BadArtifact
from understudy.stats.drift import attribution, series, several, summary
from understudy.steps.watch.nightly import probabilities
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip", "wish")
SPACE = LabelSpace(NAMES, is_many=True)
SHARES = np.array([0.4, 0.2, 0.05])


def described(table, weights=None):
    return summary.describe(table, SPACE, probabilities(table, SPACE), weights)


def summed(table, reference):
    return summary.summarise(table, SPACE, reference)


def test_each_label_of_a_text_counts_and_a_text_without_counts_for_none():
    table = pl.DataFrame(
        {
            "group": ["a", "a", "b"],
            "text": ["one", "two", "three"],
            "label": ['["praise", "tip"]', '["tip"]', "[]"],
            "probabilities": [[0.9, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.1]],
        },
        schema_overrides={"probabilities": pl.List(pl.Float32())},
    )
    found = summed(table, described(make_of_several(200, SHARES, 1, NAMES)))
    assert (found.texts, found.groups, found.counts.tolist()) == (3, 2, [1, 2, 0])
    assert (found.count_squares.tolist(), found.count_crosses.tolist()) == ([1, 4, 0], [2, 4, 0])
    assert found.cells.sum() == 3 * 3


def test_segments_add_up_to_the_night_and_all_survives_json():
    table, reference = make_of_several(40, SHARES, 1, NAMES), described(make_of_several(200, SHARES, 2, NAMES))
    whole, parts = summed(table, reference), summed(table[:20], reference) + summed(table[20:], reference)
    back = summary.Reference.of_record(json.loads(json.dumps(reference.as_record())))
    for name in summary.Summary.__slots__:
        assert np.allclose(getattr(whole, name), getattr(parts, name)), name
        assert np.allclose(getattr(back.summary, name), getattr(reference.summary, name), atol=1e-5), name
    assert np.allclose(back.means, reference.means, atol=1e-6)
    assert np.allclose(back.cells.means, reference.cells.means, atol=1e-6)
    assert summed(table[:0], back).as_record() == back.nothing.as_record()


@given(st.lists(st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3), min_size=1, max_size=20), st.integers(0, 5))
@settings(deadline=None)
def test_the_share_of_a_label_is_that_of_the_texts_that_have_it(chances, groups):
    rows = np.array(chances)
    codes, index = rows >= 0.5, np.arange(len(rows)) % (groups + 1)
    found = summary.of_sets(index, codes, residuals=np.zeros((len(rows), 3)), probabilities=rows)
    shares = series.shares(found, found, SPACE.sides)
    for side, share in enumerate(codes.mean(axis=0)):
        assert shares.own(side).value == pytest.approx(share, abs=1e-9)


def test_weights_of_each_label_give_the_true_shares_and_the_design_effect_of_equal_ones():
    table = make_of_several(400, SHARES, 1, NAMES)
    plain, even = described(table), described(table, np.full((400, 3), 7.0))
    assert np.allclose(series.design_effects(plain.summary), series.design_effects(even.summary))
    codes = SPACE.codes(table["label"])
    own = codes.mean(axis=0)
    wanted = np.array([0.1, 0.5, 0.2])
    weights = np.where(codes, wanted / own, (1 - wanted) / (1 - own))
    found = described(table, weights).summary
    assert np.allclose(found.counts / found.texts, wanted)
    assert (series.design_effects(found) > 0).all()


def test_a_group_has_no_part_in_what_is_expected_of_it_whatever_its_size():
    rng = np.random.default_rng(3)
    codes, measures = rng.random((60, 2)) < 0.4, rng.normal(size=(60, 3))
    groups = np.array(
        [0] * 20 + [1, 1] + list(range(2, 40))
    )  # one with more texts than labels, one with two, single ones
    found = several.beside_other_groups(measures, codes, groups)
    for group in (0, 1, 7):
        own = groups == group
        rest = several.effects(measures[~own], codes[~own])
        assert np.allclose(found[own], measures[own] - several.expected(rest, codes[own]))


def test_other_shares_and_more_labels_a_text_are_no_other_content():
    tails = {"praise": " room", "tip": " ferry deck", "wish": " pool pool towel"}  # each label makes texts longer

    def longer(table):
        added = ["".join(tails[name] for name in SPACE.names_in(label)) for label in table["label"]]
        return table.with_columns(pl.col("text") + pl.Series(added))

    before, after = (make_of_several(4000, times * SHARES, times, NAMES, learned=SHARES) for times in (1, 2))
    reference = described(longer(before))
    night = series.points(summed(longer(after), reference), reference)
    quiet = series.points(reference.summary, reference)
    assert summed(after, reference).counts.sum() > 1.7 * reference.summary.counts.sum()
    for name in ("lengths", "vocabulary"):
        deviation = math.sqrt(night[name].variance + quiet[name].variance)
        assert abs(night[name].value - quiet[name].value) < 4 * deviation, name


def test_texts_of_which_the_model_is_less_sure_are_other_content():
    before, odd = make_of_several(2000, SHARES, 1, NAMES), make_of_several(2000, SHARES, 2, NAMES)
    blurred = [[0.5 + (chance - 0.5) / 2 for chance in row] for row in odd["probabilities"]]
    reference = described(before)
    night = series.points(
        summed(odd.with_columns(pl.Series("probabilities", blurred, dtype=pl.List(pl.Float32()))), reference), reference
    )["scores"]
    quiet = series.points(reference.summary, reference)["scores"]
    assert quiet.value - night.value > 10 * math.sqrt(night.variance + quiet.variance)


def test_a_changed_share_of_a_label_is_told_from_changed_scores():
    before = make_of_several(4000, SHARES, 1, NAMES)
    rich = make_of_several(4000, SHARES * np.array([1.0, 2.0, 1.0]), 2, NAMES, learned=SHARES)
    odd = [[row[0], min(0.8, max(0.2, row[1])), row[2]] for row in rich["probabilities"]]
    reference = described(before)
    changed = (rich, rich.with_columns(pl.Series("probabilities", odd, dtype=pl.List(pl.Float32()))))
    base, content = (
        attribution.explain(reference.summary, summed(one, reference), reference.cells, 1) for one in changed
    )
    assert base.is_base_rate
    assert (base.before, base.after) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.4, abs=0.04))
    assert not content.is_base_rate
    other = attribution.explain(reference.summary, summed(rich, reference), reference.cells, 0)
    assert other.after == pytest.approx(other.before, abs=0.04)


def test_a_label_that_the_reference_never_gave_is_no_fault():
    before = make_of_several(300, np.array([0.4, 0.3, 1e-9]), 1, NAMES)
    reference = described(before)
    night = summed(before.with_columns(label=pl.lit('["wish"]')), reference)
    assert all(math.isfinite(point.value) for point in series.points(night, reference).values())
    assert math.isfinite(attribution.explain(reference.summary, night, reference.cells, 2).left_over)


def test_a_reference_of_500_labels_is_small():
    names = tuple(f"l{number}" for number in range(500))
    space, table = LabelSpace(names, is_many=True), make_of_several(1000, np.full(500, 0.01), 3, names)
    reference = summary.describe(table, space, probabilities(table, space))
    assert len(json.dumps(reference.as_record())) < 1_000_000
    assert len(json.dumps(summary.summarise(table, space, reference).as_record())) < 60_000


@pytest.mark.parametrize("change", [{"means": [[0.5]]}, {"shares": [0.1, 0.2, 3.0]}, {"means": None}])
def test_damaged_cells_are_one_sentence(change):
    record = described(make_of_several(50, SHARES, 1, NAMES)).as_record()
    record["cells"] |= change
    with pytest.raises(BadArtifact, match="Restore the record"):
        summary.Reference.of_record(record)


def test_texts_of_one_label_and_of_several_do_not_add_up():
    with pytest.raises(BadArtifact, match="same labels"):
        summary.empty(2, 3, 1) + summary.empty(2, 3, 1, is_several=True)
