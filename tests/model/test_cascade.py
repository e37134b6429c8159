"""The first stage when it serves: its scores, its file, and what a bundle says of the texts that it settles."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import add_first_stage, make_bundle
from understudy.errors import BadArtifact
from understudy.model import cascade
from understudy.model.cascade import PAIRS, FirstStage, largest_share
from understudy.model.decision import DecisionRule
from understudy.model.engine import Tokens
from understudy.model.scoring import Bundle
from understudy.serving.predictions import predict
from understudy.store.bundles import BUNDLE_FILE, version_of

VOCABULARY = 50
texts_of_ids = st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=12), min_size=1, max_size=8)


def tokens_of(texts) -> Tokens:
    ids = np.array([token for text in texts for token in text], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return Tokens(ids, starts, np.ones(len(texts), dtype=np.int64))


RANDOM = FirstStage(np.random.default_rng(0).normal(size=VOCABULARY + PAIRS).astype(np.float32), -0.5)


@settings(deadline=None)
@given(texts_of_ids)
def test_a_texts_score_is_its_own_whatever_stands_beside_it(texts):
    together = RANDOM.scores(tokens_of(texts))
    alone = [RANDOM.scores(tokens_of([text]))[0] for text in texts]
    assert together.tolist() == alone


@settings(deadline=None)
@given(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12))
def test_a_score_is_the_sum_of_tokens_and_pairs_over_the_root_of_the_length(text):
    pairs = [cascade.pairs(tokens_of([list(pair)]))[1] for pair in itertools.pairwise(text)]
    first = cascade.pairs(tokens_of([text[:1]]))[0]
    terms = [RANDOM.weights[token] for token in text] + [RANDOM.weights[VOCABULARY + at] for at in [first, *pairs]]
    expected = sum(map(float, terms)) / np.sqrt(len(text)) - 0.5
    assert RANDOM.scores(tokens_of([text]))[0] == pytest.approx(expected, abs=1e-5)


def test_a_text_without_tokens_scores_the_intercept():
    assert RANDOM.scores(tokens_of([[], [3], []]))[[0, 2]].tolist() == [-0.5, -0.5]
    assert RANDOM.scores(tokens_of([[]])).tolist() == [-0.5]


def test_pairs_fill_their_buckets_evenly():
    ids = np.arange(60_000, dtype=np.int32) % 30_522
    places = cascade.pairs(Tokens(ids, np.array([0, len(ids)]), np.array([1])))
    assert places.min() >= 0
    assert places.max() < PAIRS
    expected = PAIRS * (1 - np.exp(-30_524 / PAIRS))  # buckets that so many different pairs fill when spread by chance
    assert len(np.unique(places)) == pytest.approx(expected, rel=0.02)


def test_weights_are_kept_without_pickle_and_damage_is_refused(tmp_path):
    stage = RANDOM
    stage.save(tmp_path)
    assert (FirstStage.open(tmp_path, -0.5).weights == stage.weights).all()
    path = tmp_path / "first_stage.npy"
    np.save(path, stage.weights[:10], allow_pickle=False)
    with pytest.raises(
        BadArtifact, match=r"more than 262144 weights of float32 in a row, got float32 of shape \(10,\)"
    ):
        FirstStage.open(tmp_path, -0.5)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadArtifact, match="A first stage must have"):
        FirstStage.open(tmp_path, -0.5)


@pytest.fixture
def folder(tmp_path):
    """A bundle whose first stage settles texts with "nice" or "stayed" in them, and nothing else."""
    return add_first_stage(make_bundle(tmp_path / "bundle"), {"nice": -3.0, "stayed": -3.0}, shift=0.5)


def test_a_bundle_says_which_stage_decided_and_the_student_reads_only_the_rest(folder):
    bundle = Bundle.open(folder)
    texts = ["nice", "ask", "stayed here", "bring"]
    scored = bundle.score(texts)
    assert scored.is_settled.tolist() == [True, False, True, False]
    alone = Bundle.open(make_bundle(folder.parent / "without"))
    assert (scored.probabilities[[1, 3]] == alone.probabilities(["ask", "bring"])).all()
    # "nice": the first stage scores -3 over the root of 1, and 0.5 is added
    assert scored.probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(2.5)))
    assert [one.stage for one in predict(bundle, texts)] == ["first", "student", "first", "student"]


def test_a_settled_text_is_no_positive_however_high_its_probability(folder):
    bundle = Bundle.open(folder)
    rule = DecisionRule(label=1, threshold=0.01)
    capped = replace(bundle.cascade, most=largest_share(rule, 0, bundle.cascade.rest))
    low = replace(bundle, rule=rule, cascade=capped)
    scored = low.score(["nice", "ask"])
    assert scored.probabilities[0, 1] == np.nextafter(0.01, 0)
    assert low.choose(scored.probabilities).tolist() == [0, 1]


@settings(deadline=None)
@given(st.integers(2, 9), st.integers(0, 2**31))
def test_the_largest_share_of_other_labels_still_gives_the_settled_one(labels, seed):
    lot = np.random.default_rng(seed)
    rest = lot.dirichlet(np.ones(labels))
    rest[0] = 0.0
    rest /= rest.sum()
    for rule in (
        DecisionRule(),
        DecisionRule(label=1, threshold=lot.random()),
        DecisionRule(costs=lot.random((labels, labels))),
    ):
        share = largest_share(rule, 0, rest)
        for tried, is_kept in ((share, share > 0), (min(1.0, share + 1e-6), share > 1 - 1e-9)):
            probabilities = tried * rest
            probabilities[0] = 1 - tried
            assert (rule.choose(probabilities[None])[0] == 0) == is_kept or share == 0


def test_a_settled_text_of_many_labels_gets_the_commonest_and_shares_out_the_rest(tmp_path):
    words = {"nice": {"other": 3.0}, "ask": {"tip": 3.0}}
    three = add_first_stage(
        make_bundle(tmp_path / "three", words=words, labels=("other", "tip", "blame")), {"nice": -3.0}
    )
    bundle = Bundle.open(three)
    scored = bundle.score(["nice", "ask"])
    assert scored.is_settled.tolist() == [True, False]
    other = 1 / (1 + np.exp(3.0))
    np.testing.assert_allclose(scored.probabilities[0], [1 - other, other / 2, other / 2])
    assert bundle.space.named(bundle.choose(scored.probabilities)) == ["other", "tip"]


def test_no_text_gives_no_scores(folder):
    scored = Bundle.open(folder).score([])
    assert scored.probabilities.shape == (0, 2)
    assert len(scored.windows) == len(scored.is_settled) == 0


def test_a_bundle_with_a_cut_must_vouch_for_its_weights(folder):
    settings = json.loads((folder / BUNDLE_FILE).read_text())
    del settings["files"]["first_stage.npy"]
    settings["version"] = version_of("hotel-tips", settings)
    (folder / BUNDLE_FILE).write_text(json.dumps(settings))
    with pytest.raises(BadArtifact, match=r"vouch for .*first_stage\.npy, got none for first_stage\.npy"):
        Bundle.open(folder)


def test_altered_weights_are_refused(folder):
    RANDOM.save(folder)
    with pytest.raises(BadArtifact, match=r"first_stage\.npy"):
        Bundle.open(folder)
