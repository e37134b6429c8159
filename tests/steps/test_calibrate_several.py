"""The step calibrate where a text may have several labels, on a real graph, and what its bundle then says."""

import json

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle, make_card
from understudy.errors import TooFewLabels
from understudy.model.calibration import sigmoid
from understudy.model.scoring import Bundle
from understudy.runtime.shell import execute
from understudy.store import tables
from understudy.task import label_sets

NAMES = ("praise", "tip", "blame")
WORDS = {"lovely": {"praise": 4.0}, "ask": {"tip": 4.0}, "never": {"blame": 4.0}, "so": {"praise": 2.0, "tip": 2.0}}
ABOUT = {
    "graph": "fp32", "max_length": 64, "pad_id": 0, "student": "bag", "texts": 100, "is_rehearsal": True,
    "labels_per_text": "many", "first_stage": {"reason": "a text may have several labels"},
}  # fmt: skip
BIAS, TRUE_SLOPE = -2.0, 0.5  # of the graph's log-odds; the true ones are flatter


def calibrate(tmp_path, more="", texts=600, **overrides):
    """Calibrate a bag of words whose log-odds are twice too steep."""
    made = make_bundle(tmp_path / "made", labels=NAMES, words=WORDS, is_many=True)
    (tmp_path / "graphs/fp32").mkdir(parents=True)
    (made / "model.onnx").rename(tmp_path / "graphs/fp32/model.onnx")
    (made / "tokenizer.json").rename(tmp_path / "graphs/tokenizer.json")
    (tmp_path / "graphs/graphs.json").write_text(json.dumps(ABOUT))
    (tmp_path / "card").mkdir()
    (tmp_path / "card/card.yaml").write_text(make_card(labels=NAMES, more=more, is_many=True))
    lot = np.random.default_rng(0)
    said = [[word for word in WORDS if lot.random() < 0.3] for _ in range(texts)]
    odds = np.array([[BIAS + sum(WORDS[word].get(name, 0) for word in each) for name in NAMES] for each in said])
    has = lot.random(odds.shape) < sigmoid(TRUE_SLOPE * odds)
    table = pl.DataFrame(
        {
            "id": [f"t{place}" for place in range(texts)],
            "group": [f"g{place}" for place in range(texts)],
            "text": [" ".join(["room", *each]) for each in said],
            "label": [
                label_sets.written([name for name, is_so in zip(NAMES, row, strict=True) if is_so]) for row in has
            ],
        }
    )
    table = table.with_columns(split=pl.lit("calibration"), annotators=pl.lit(1), origin=pl.lit("labels"))
    tables.write(table, tables.Gold, tmp_path / "gold")
    given = {name: tmp_path / name for name in ("card", "gold", "graphs", "bundle")}
    result = execute(
        "calibrate", {**given, "overrides": "\n".join(f"{key}={value}" for key, value in overrides.items())}
    )
    return result, Bundle.open(tmp_path / "bundle"), has


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return calibrate(tmp_path_factory.mktemp("several"))


def test_the_bundle_says_how_many_labels_a_text_may_have_and_has_a_threshold_for_each(done):
    result, bundle, _ = done
    assert bundle.settings["labels_per_text"] == "many"
    assert (bundle.space.names, bundle.space.is_many) == (NAMES, True)
    assert bundle.settings["decision"]["label"] is None
    assert bundle.rule.thresholds.shape == (3,)
    low, high = bundle.rule.thresholds.min(), bundle.rule.thresholds.max()
    assert result.headline.startswith(f"thresholds {low:.3f} to {high:.3f}, ")
    assert result.headline.endswith("first stage: a text may have several labels")
    assert set(result.metrics) >= {"macro_f1", "ece", "brier", "log_loss", "log_loss_vector_scaling"}


def test_the_probabilities_are_as_sure_as_they_should_be(done):
    _, bundle, _ = done
    np.testing.assert_allclose(bundle.calibrator.slopes, TRUE_SLOPE, atol=0.1)
    lovely, both, nothing = bundle.probabilities(["lovely", "lovely, so ask", "room"])
    np.testing.assert_allclose(lovely, sigmoid(TRUE_SLOPE * np.array([2.0, -2.0, -2.0])), atol=0.06)
    np.testing.assert_allclose(both, sigmoid(TRUE_SLOPE * np.array([4.0, 4.0, -2.0])), atol=0.06)
    assert nothing.max() < 0.35
    chosen = bundle.choose(bundle.probabilities(["lovely, so ask", "room"]))
    assert bundle.space.named(chosen) == ['["praise", "tip"]', "[]"]


def test_there_is_no_first_stage_and_the_bundle_says_why(done):
    _, bundle, _ = done
    assert bundle.cascade is None
    assert bundle.settings["cascade"]["reason"] == "a text may have several labels"
    assert "first_stage.npy" not in bundle.settings["files"]


def test_each_labels_share_is_the_one_that_the_card_states(tmp_path):
    prior = {"praise": 0.6, "tip": 0.3, "blame": 0.05}
    _, bundle, has = calibrate(tmp_path, more=f"prior: {json.dumps(prior)}")
    probabilities = bundle.probabilities(tables.read_gold(tmp_path / "gold", "calibration")["text"].to_list())
    for place, share in enumerate(prior.values()):
        of_label = has[:, place].mean()
        weights = np.where(has[:, place], share / of_label, (1 - share) / (1 - of_label))
        assert np.average(probabilities[:, place], weights=weights) == pytest.approx(share, abs=0.02)


def test_a_split_in_which_no_label_sets_enough_texts_apart_is_refused(tmp_path):
    with pytest.raises(TooFewLabels, match="must hold at least 50 texts of each label"):
        calibrate(tmp_path, texts=60, min_per_label=50)
