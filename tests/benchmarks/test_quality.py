"""The benchmark of the student's quality: figures on answers that are known, and budgets that are drawn by a hash."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import quality, quality_data, quality_tasks
from benchmarks.quality import Draws
from benchmarks.quality_tasks import Compared
from understudy.stats import metrics


def compared(right: float, rival: float, seed: int = 0) -> Compared:
    """2,000 texts, half positive, of which student and rival have a share right."""
    lot = np.random.default_rng(seed)
    truth = lot.random(2000) < 0.5
    answers = [truth ^ (lot.random(2000) >= share) for share in (right, rival)]
    return Compared(truth, *answers, np.arange(2000))


def test_a_gain_is_relative_to_the_rival_and_its_interval_is_of_the_same_texts():
    known = compared(0.84, 0.76)
    gain = quality.over_seeds([quality.gained(metrics.f1, known, is_relative=True)])
    ratio = metrics.f1(known.truth, known.student) / metrics.f1(known.truth, known.rival) - 1
    assert gain.value == pytest.approx(ratio)
    assert 0 < gain.low < gain.value < gain.high < 0.2


def test_an_interval_over_seeds_holds_what_seeds_do_beside_what_texts_do():
    apart = [Draws(value, np.full(quality.SAMPLES, value)) for value in (0.5, 0.6, 0.7)]
    found = quality.over_seeds(apart)
    assert (found.value, found.low <= 0.5333, found.high >= 0.6667) == (pytest.approx(0.6), True, True)


def test_probabilities_that_hold_have_no_calibration_error_beyond_the_noise(monkeypatch):
    known, lot = compared(0.84, 0.76), np.random.default_rng(1)
    claims = lot.random(2000)
    told = Compared(lot.random(2000) < claims, known.student, known.rival, known.groups)
    forum = quality_tasks.Forum(told, Path(), {"stated": claims, "split": np.sqrt(claims)})
    monkeypatch.setattr(quality.quality_tasks, "forum", lambda seed, size: forum)
    for name in ("hotel", "taught", "news"):
        monkeypatch.setattr(quality.quality_tasks, name, lambda *_: known)
    found = quality.of_seed(0, quality.SIZES["small"])
    assert found["forum_ece_excess_stated"].value == pytest.approx(0, abs=0.015)
    assert found["forum_ece_excess_split"].value > 0.1


def test_matthews_coefficient_is_that_of_the_field():
    from sklearn.metrics import matthews_corrcoef

    known = compared(0.8, 0.7)
    weights = np.random.default_rng(0).integers(0, 3, 2000).astype(float)
    expected = matthews_corrcoef(known.truth, known.student, sample_weight=weights)
    assert quality.mcc(known.truth, known.student, weights) == pytest.approx(expected)


def test_a_budget_is_spent_to_the_label_and_the_simulated_teacher_errs_as_asked():
    texts = pl.DataFrame({"id": [f"t{n}" for n in range(2000)], "label": ["other", "suggestion"] * 1000})
    spent = quality_data.spend(texts, {"train": 300, "calibration": 100}, seed=3)
    assert spent["split"].value_counts().sort("split").rows() == [("calibration", 100), ("train", 300)]
    assert spent["id"].n_unique() == 400
    said = quality_data.simulated(texts, 0.24, seed=3)["label"] == texts["label"]
    assert said.mean() == pytest.approx(0.76, abs=0.03)


def test_a_balanced_split_has_as_many_of_each():
    truth = np.array([0] * 90 + [1] * 10)
    assert np.bincount(truth[quality_tasks.balanced(truth, 0)]).tolist() == [10, 10]
