"""The pool's share of a label by the student's own scores, and when they are not believed."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.steps.test_calibrate_prior import SHARE, calibrate, desk, ece_excess, judged, texts_of  # noqa: F401
from understudy.steps.calibrate import pool_share, prior
from understudy.steps.calibrate.pool_share import Scored
from understudy.store import codecs

LARGE = 1200


def scored(seed: int, *, shift: float = 0.0, apart: float = 3.0, split: int = 200) -> Scored:
    """Scores of normal spread, half of the split positive and 8% of the pool; the pool's lie higher by `shift`."""
    lot = np.random.default_rng(seed)
    truth, has = lot.random(split) < 0.5, lot.random(LARGE) < SHARE
    here, there = (lot.normal(np.where(each, apart / 2, -apart / 2)) * 2 + 1 for each in (truth, has))
    return Scored(here, truth, np.arange(split), there + 2 * shift, np.arange(LARGE), np.ones(LARGE))


def test_the_share_is_found_although_half_of_the_split_is_positive_and_scores_are_not_calibrated():
    values = [pool_share.likeliest_share(each, np.ones(200), each.weights) for each in map(scored, range(30))]
    assert np.mean(values) == pytest.approx(SHARE, abs=0.01)


def test_the_interval_holds_the_share_and_is_wider_where_fewer_texts_tell_it():
    everything = scored(3)
    some = replace(everything, pool=everything.pool[:300], pool_groups=np.arange(300), weights=np.ones(300))
    whole, part = map(pool_share.pool_share, (everything, some))
    assert whole.low <= SHARE <= whole.high
    assert part.high - part.low > 1.5 * (whole.high - whole.low)


def test_texts_count_by_their_weights():
    few = scored(1)
    is_high = few.pool > 1
    doubled = replace(few, weights=np.where(is_high, 2.0, 1.0))
    shares = [pool_share.likeliest_share(each, np.ones(200), each.weights) for each in (few, doubled)]
    assert shares[1] > 1.5 * shares[0]


def test_a_pool_that_differs_only_in_its_share_is_believed_and_one_of_other_texts_is_not():
    assert np.mean([bool(pool_share.doubt_of(scored(seed))) for seed in range(40)]) <= 0.05
    assert np.mean([bool(pool_share.doubt_of(scored(seed, shift=0.75))) for seed in range(40)]) >= 0.9
    assert "that no share explains, by chance at most" in pool_share.doubt_of(scored(1, shift=0.75))


def test_a_student_near_chance_is_not_believed():
    assert "must score at least 20% more of the texts with the label high" in pool_share.doubt_of(scored(1, apart=0.2))


@pytest.mark.parametrize(("kept", "what"), [("with", "with the label"), ("pool", "texts of the pool")])
def test_too_few_texts_cannot_tell_the_share(kept, what):
    scores = scored(1)
    few = replace(scores, truth=scores.truth & (scores.truth.cumsum() <= 39))
    if kept == "pool":
        few = replace(scores, pool=scores.pool[:199], pool_groups=np.arange(199), weights=np.ones(199))
    assert what in pool_share.doubt_of(few)
    found = prior.choose(0.5, None, few, "tip")
    assert (found.value, found.figures) == ("estimate", {"split_share": 0.5})
    assert "cannot be told, no judgements of the pool were given; it takes at least" in found.words


def test_scores_are_asked_only_where_the_teacher_does_not_tell():
    by_teacher = prior.choose(0.5, judged(1), scored(1), "tip")
    assert by_teacher.words.endswith("as in the pool, not 50% as in the split")
    by_scores = prior.choose(0.5, judged(1, recall=0.1), scored(1), "tip")
    assert by_scores.words.endswith("as in the pool by the student's scores, not 50% as in the split")
    assert by_scores.figures["pool_share_low"] <= SHARE <= by_scores.figures["pool_share_high"]


def test_the_bundle_without_a_teacher_is_calibrated_where_it_will_serve(desk):  # noqa: F811 - pytest's way to a fixture
    lot = np.random.default_rng(3)
    pool = texts_of(lot, lot.random(LARGE) < SHARE, "q")
    logits = calibrate(desk, is_told=True)[1].graph.logits(pool["text"].to_list())
    table = pool.select("id", "group", weight=pl.lit(1.0), score=pl.lit(0.0), logits=pl.Series(logits.tolist()))
    (desk / "graphs/held_out.parquet").write_bytes(codecs.as_parquet(table))
    result, bundle = calibrate(desk, is_told=False)
    assert "as in the pool by the student's scores, not 50% as in the split" in result.headline
    assert ece_excess(bundle) < 0.03
