"""Scoring texts with a bundle."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import make_bundle
from understudy.errors import BadArtifact
from understudy.model.calibration import Calibrator, log_odds
from understudy.model.engine import length_batches
from understudy.model.scoring import Bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle.open(make_bundle(tmp_path_factory.mktemp("bundle")))


def test_probability_is_the_calibrated_weight_of_the_words(bundle):
    # bias -2, "ask" +4: log-odds 2, and 1 / (1 + e^-2) = 0.8808; "nice" -4: log-odds -6
    probabilities = bundle.probabilities(["ask", "nice"])
    np.testing.assert_allclose(probabilities[:, 1], [0.8808, 0.0025], atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert bundle.choose(probabilities).tolist() == [1, 0]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["ask", "nice room", "avoid avoid", "", "maybe " * 70, "\ud800 lone", "🏖 ask", "مرحبا"]))
)
def test_scores_do_not_depend_on_what_else_is_in_the_batch(bundle, texts):
    alone = [bundle.graph.logits([text])[0] for text in texts]
    np.testing.assert_allclose(bundle.graph.logits(texts), np.array(alone).reshape(-1, 2), atol=1e-5)


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_every_text_is_in_one_batch_within_the_budget(lengths, budget):
    batches = [batch.tolist() for batch in length_batches(lengths, budget)]
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


def test_log_odds_set_one_label_against_all_others():
    logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    np.testing.assert_allclose(log_odds(logits, 1), [0.0], atol=1e-12)  # 0.5 against 0.2 + 0.3


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_calibration_with_a_rising_slope_keeps_the_order(first, second):
    calibrator = Calibrator(slopes=np.full(2, 1.7), biases=np.array([0.0, -0.4]))
    logits = np.stack([np.zeros(2), np.sort(np.array([first, second]))], axis=1)
    low, high = calibrator.probabilities(logits)[:, 1]
    assert low <= high


@given(st.lists(st.floats(-800, 800), min_size=2, max_size=9), st.floats(-800, 800))
def test_probabilities_add_up_to_one_and_do_not_see_what_all_logits_share(logits, shared):
    calibrator = Calibrator(np.linspace(0.5, 2, len(logits)), np.linspace(-1, 1, len(logits)))
    found = calibrator.probabilities(np.array([logits]))
    assert found.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(calibrator.probabilities(np.array([logits]) + shared), found, atol=1e-9)


def test_a_bundle_of_many_labels_gives_each_text_its_likeliest(tmp_path):
    kinds = ("praise", "blame", "tip")
    words = {"nice": {"praise": 3.0}, "dirty": {"blame": 3.0}, "ask": {"tip": 2.0, "praise": 1.0}}
    bundle = Bundle.open(make_bundle(tmp_path / "three", words=words, labels=kinds))
    probabilities = bundle.probabilities(["nice", "dirty", "ask", "ask ask"])
    assert bundle.space.named(bundle.choose(probabilities)) == ["praise", "blame", "tip", "tip"]
    np.testing.assert_allclose(probabilities[2], np.exp([1, 0, 2]) / np.exp([1, 0, 2]).sum(), atol=1e-6)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "card.yaml"])
def test_a_bundle_with_an_altered_file_is_refused(tmp_path, name):
    folder = make_bundle(tmp_path / "bundle")
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadArtifact, match=rf"must have the hash .*{name}"):
        Bundle.open(folder)


def test_a_bundle_of_another_format_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    settings = folder / "bundle.json"
    settings.write_text(settings.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(BadArtifact, match="must be of format 2, got 1"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('"threshold": 0.5', '"threshold": 0.1', "version must be the hash of its settings"),
        ('"form": "none",', '"form": "none", "slope": 1.0,', "calibrator.slope"),
        ('"label": 1,', '"label": 7,', "as many as the labels"),
        ('"biases": [\n      0.0,', '"biases": [', "as many as the labels"),
        ('"max_length": 64,', "", "max_length: Field required"),
    ],
)
def test_a_bundle_with_altered_settings_is_refused(tmp_path, before, after, fault):
    folder = make_bundle(tmp_path / "bundle")
    settings = folder / "bundle.json"
    text = settings.read_text()
    assert before in text
    settings.write_text(text.replace(before, after))
    with pytest.raises(BadArtifact, match=fault):
        Bundle.open(folder)


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 1}'])
def test_settings_that_are_no_settings_are_refused(tmp_path, content):
    folder = make_bundle(tmp_path / "bundle")
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BadArtifact):
        Bundle.open(folder)


def test_scoring_needs_neither_torch_nor_transformers(tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    code = (
        "import sys; from pathlib import Path; from understudy.model.scoring import Bundle; "
        f"Bundle.open(Path({str(folder)!r})).probabilities(['ask']); "
        "print({'torch', 'transformers', 'sklearn', 'polars'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_where_a_text_may_have_several_labels_each_has_odds_and_a_threshold_of_its_own(tmp_path):
    words = {"ask": {"tip": 4.0}, "lovely": {"praise": 4.0}, "avoid": {"tip": 3.0, "blame": 3.0}}
    folder = make_bundle(tmp_path / "bundle", words=words, labels=["praise", "tip", "blame"], is_many=True)
    bundle = Bundle.open(folder)
    assert bundle.space.is_many and bundle.rule.thresholds.tolist() == [0.5, 0.5, 0.5]
    probabilities = bundle.probabilities(["ask, lovely", "nothing", "avoid"])
    # the bias of each is -2: 1 / (1 + e^-2) = 0.8808, 1 / (1 + e^2) = 0.1192 and 1 / (1 + e^-1) = 0.7311
    expected = [[0.8808, 0.8808, 0.1192], [0.1192] * 3, [0.1192, 0.7311, 0.7311]]
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    assert bundle.space.named(bundle.choose(probabilities)) == ['["praise", "tip"]', "[]", '["tip", "blame"]']
