"""What is drawn stays: nights, splits and bought answers rest on it. The values are those of version 0.1.0."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as some

from understudy.stats.draw import lot, share
from understudy.steps.audit import rules as audit
from understudy.steps.export import first_stage
from understudy.steps.label import rules as label
from understudy.steps.label.config import LabelConfig
from understudy.steps.mine import rules as mine
from understudy.task.slices import NO_RULE
from understudy.teacher.injected_errors import chance

NAMES = ["r-1", "r-2", "r-3", "r-4", "r-5", "Wäsche"]


def test_a_lot_is_the_hash_of_its_key():
    assert lot(2, "Wäsche") == "29e6244ce2074520c40d3dc6eaeb0f9fe2ac415cc0eb45bfb536f510dce88fc7"  # as ingest splits
    assert lot(3, "r-1") == "3c097b0c9bb26e95a3c480323619b1b290892b61c8387d6e929e3bf5b861fb36"  # as label draws


@pytest.mark.parametrize(
    "key, order",
    [
        ((2,), ["r-4", "r-1", "Wäsche", "r-3", "r-2", "r-5"]),  # ingest
        ((4, "2026-11-01"), ["Wäsche", "r-1", "r-4", "r-2", "r-3", "r-5"]),  # sample
    ],
)
def test_lots_put_names_in_the_order_they_always_had(key, order):
    assert sorted(NAMES, key=lambda name: lot(*key, name)) == order


def test_the_night_checks_the_texts_it_always_did():
    lots = [341716993, 1413202154, 1385227245, 1120352078, 1217119630, 1265929714]
    assert [share("2026-11-01", name, digits=8) * 16**8 for name in NAMES] == lots


def test_the_audits_shuffle_stays():
    order = ["r-5", "r-3", "r-1", "r-2", "r-4", "Wäsche"]
    assert pl.DataFrame({"id": NAMES}).sort(audit._order(5))["id"].to_list() == order


def test_the_mined_texts_stay():
    order = ["r-3", "r-1", "Wäsche", "r-2", "r-4", "r-5"]
    assert mine.draw(pl.DataFrame({"id": NAMES}), 6, 11)["id"].to_list() == order


def test_the_labelled_texts_stay():
    pool = pl.DataFrame({"id": NAMES, "text": NAMES})
    drawn = label.draw(pool, pl.Series([NO_RULE] * 6).to_numpy(), LabelConfig(texts=6, seed=3))
    assert drawn["id"].to_list() == ["Wäsche", "r-5", "r-1", "r-2", "r-4", "r-3"]


def test_the_held_out_groups_stay():
    assert first_stage.lots("held out", pl.Series(NAMES)).to_list() == [
        0.5916421267277308,
        0.45900562098098874,
        0.8944696319272403,
        0.6195310113596193,
        0.784320535136704,
        0.42131238335736043,
    ]


def test_the_planted_errors_stay():
    assert [chance(7, "flip", name) for name in NAMES] == [
        0.7696690650823365,
        0.603510679575487,
        0.47429946054339023,
        0.31595051792705114,
        0.8195791169654122,
        0.8431265856187422,
    ]


@given(some.integers(), some.text())
def test_every_key_has_a_share_below_one(seed, name):
    assert 0 <= share(seed, name) < 1
    assert share(seed, name) == share(f"{seed}:{name}")
