"""The share that probabilities hold at where the card states none: the pool's, the split's, and what is said of it."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle, make_card
from understudy.model.scoring import Bundle
from understudy.runtime.shell import execute
from understudy.stats import metrics
from understudy.steps.calibrate import prior
from understudy.steps.calibrate.prior import Judged
from understudy.store import tables

ABOUT = {
    "graph": "fp32", "max_length": 64, "pad_id": 0, "student": "bag", "texts": 100, "is_rehearsal": True,
    "first_stage": {"reason": "none here"},
}  # fmt: skip
SHARE, RECALL, FALSE_ALARMS = 0.08, 0.8, 0.05


def judged(seed: int, share: float = SHARE, recall: float = RECALL, human: int = 300) -> Judged:
    """Answers of a teacher to human labels, half of them positive, and to a draw that is richer than the pool."""
    lot = np.random.default_rng(seed)
    truth, has = lot.random(human) < 0.5, lot.random(5000) < share
    given, in_pool = (lot.random(len(each)) < np.where(each, recall, FALSE_ALARMS) for each in (truth, has))
    is_hinted = lot.random(5000) < np.where(has, 0.5, 0.03)
    drawn = [lot.choice(np.flatnonzero(part), 120, replace=False) for part in (is_hinted, ~is_hinted)]
    weights = np.repeat([is_hinted.sum() / 120, (~is_hinted).sum() / 120], 120)
    return Judged(truth, given, np.arange(human), in_pool[np.concatenate(drawn)], weights)


def test_the_interval_of_the_pools_share_holds_it_although_half_of_the_split_is_positive():
    found = [prior.share_of_answers(judged(seed)) for seed in range(100)]
    assert np.mean([each.low <= SHARE <= each.high for each in found]) >= 0.9
    assert np.mean([each.value for each in found]) == pytest.approx(SHARE, abs=0.015)
    assert np.mean([each.high - each.low for each in found]) < 0.2


def test_a_share_that_is_told_apart_from_the_splits_takes_its_place_and_is_said():
    found = prior.choose(0.5, judged(1), None, "tip")
    assert found.value == found.figures["pool_share"] == pytest.approx(SHARE, abs=0.06)
    assert found.words.startswith(f"share of tip {found.value * 100:.0f}% (")
    assert found.words.endswith("as in the pool, not 50% as in the split")


def test_a_share_that_is_not_told_apart_from_the_splits_leaves_it():
    found = prior.choose(0.09, judged(1), None, "tip")
    assert found.value == "estimate"
    assert found.figures["pool_share_low"] < 0.09 < found.figures["pool_share_high"]
    assert "share of tip 9% as in the calibration split, from which the pool's, " in found.words


def test_a_teacher_near_chance_cannot_tell_the_share():
    found = prior.choose(0.5, judged(1, recall=0.1), None, "tip")
    assert (found.value, found.figures) == ("estimate", {"split_share": 0.5})
    assert "the pool's cannot be told, the teacher must give the label at least 20% more often" in found.words


@pytest.mark.parametrize(
    ("kept", "what"),
    [
        ("with", "human-labelled texts with the label"),
        ("without", "human-labelled texts without the label"),
        ("drawn", "texts of the pool"),
    ],
)
def test_too_few_answers_cannot_tell_the_share(kept, what):
    sides = judged(1)
    few = (sides.truth if kept == "with" else ~sides.truth).cumsum() <= 19
    few |= sides.truth != (kept == "with")
    if kept == "drawn":
        answers = replace(sides, drawn=sides.drawn[:19], weights=sides.weights[:19])
    else:
        answers = replace(sides, truth=sides.truth[few], given=sides.given[few], groups=sides.groups[few])
    found = prior.choose(0.5, answers, None, "tip")
    assert found.value == "estimate"
    assert f"the pool's cannot be told, it takes at least 20 {what} that the teacher judged, got 19" in found.words


def test_a_pool_with_fewer_answers_than_false_alarms_alone_would_make_is_not_believed():
    answers = judged(1)
    is_wrong = ~answers.truth & (np.arange(300) % 3 == 0)  # a third of the others: it cannot be so in the pool
    found = prior.choose(
        0.5, replace(answers, given=answers.given | is_wrong, drawn=answers.drawn & False), None, "tip"
    )
    assert found.value == "estimate"
    assert "the teacher cannot err there as on the human-labelled texts" in found.words


def test_a_share_near_zero_is_never_taken_to_be_zero():
    found = [prior.choose(0.5, judged(seed, share=0.01), None, "tip") for seed in range(10)]
    assert all(0 < each.value < 0.1 for each in found if each.value != "estimate")
    assert any(each.value != "estimate" for each in found)


def test_texts_of_one_group_count_as_one():
    copied = {name: np.repeat(getattr(judged(1), name), 5) for name in ("truth", "given", "groups")}
    together = replace(judged(1), **copied)
    apart = replace(together, groups=np.arange(1500))
    widths = [found.high - found.low for found in map(prior.share_of_answers, (judged(1), together, apart))]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert widths[2] < 0.9 * widths[1]


WORDS = {"ask": 3.0}
SAYS = 0.7, 0.1  # chance of the word in a text with the label, and in one without


def texts_of(lot, has, name: str) -> pl.DataFrame:
    says = lot.random(len(has)) < np.where(has, *SAYS)
    return pl.DataFrame(
        {
            "id": [f"{name}{place}" for place in range(len(has))],
            "group": [f"{name}{place}" for place in range(len(has))],
            "text": ["ask the room" if is_so else "nice room" for is_so in says],
            "label": ["tip" if is_so else "other" for is_so in has],
        }
    )


def answers_of(lot, texts: pl.DataFrame, weight: float) -> pl.DataFrame:
    is_given = lot.random(len(texts)) < np.where(texts["label"] == "tip", RECALL, FALSE_ALARMS)
    return texts.select(
        "id", judge=pl.lit("m"), kind=pl.lit("teacher"), label=pl.Series(["other", "tip"]).gather(is_given.astype(int)),
        probabilities=pl.lit(None, pl.List(pl.Float64)), rationale=pl.lit(None, pl.String),
        prompt_tokens=pl.lit(1), completion_tokens=pl.lit(1), cost_usd=pl.lit(0.0), is_rehearsal=pl.lit(True),
        weight=pl.lit(weight),
    )  # fmt: skip


@pytest.fixture
def desk(tmp_path):
    """A graph, human labels of which half are tips, and a teacher's answers to them and to a pool of 8%."""
    made = make_bundle(tmp_path / "made", words=WORDS)
    (tmp_path / "graphs/fp32").mkdir(parents=True)
    (made / "model.onnx").rename(tmp_path / "graphs/fp32/model.onnx")
    (made / "tokenizer.json").rename(tmp_path / "graphs/tokenizer.json")
    (tmp_path / "graphs/graphs.json").write_text(json.dumps(ABOUT))
    lot = np.random.default_rng(0)
    human = texts_of(lot, np.arange(700) % 2 == 0, "h").with_columns(
        split=pl.Series(["calibration"] * 400 + ["train"] * 200 + ["validation"] * 100),
        annotators=pl.lit(1),
        origin=pl.lit("labels"),
    )
    tables.write(human, tables.Gold, tmp_path / "gold")
    pool = texts_of(lot, lot.random(1500) < SHARE, "p")
    table = pl.concat([answers_of(lot, human[400:], 1.0), answers_of(lot, pool, 4.0)])
    tables.write(table, tables.Judgements, tmp_path / "judgements")
    return tmp_path


def calibrate(desk, more: str = "", *, is_told: bool):
    """Calibrate with the teacher's answers or without: the result, and the bundle."""
    (desk / "card").mkdir(exist_ok=True)
    (desk / "card/card.yaml").write_text(make_card(more=more))
    given = {name: desk / name for name in ("card", "gold", "graphs", *(["judgements"] if is_told else []))}
    bundle = desk / f"bundle-{is_told}"
    return execute("calibrate", {**given, "bundle": bundle}), Bundle.open(bundle)


def ece_excess(bundle) -> float:
    """Calibration error on fresh texts as the world has them, over what the best possible probabilities have."""
    lot = np.random.default_rng(1)
    texts = texts_of(lot, lot.random(4000) < SHARE, "w")
    has, says = (texts["label"] == "tip").to_numpy(), texts["text"].str.contains("ask").to_numpy()
    best = SHARE * np.where(says, SAYS[0], 1 - SAYS[0])
    best /= best + (1 - SHARE) * np.where(says, SAYS[1], 1 - SAYS[1])
    return metrics.ece(bundle.probabilities(texts["text"].to_list())[:, 1], has) - metrics.ece(best, has)


def test_the_bundle_is_calibrated_where_it_will_serve_and_says_so(desk):
    result, bundle = calibrate(desk, is_told=True)
    pool = result.metrics["pool_share"]
    assert result.metrics["pool_share_low"] <= SHARE <= result.metrics["pool_share_high"] < 0.5
    assert f"share of tip {pool * 100:.0f}% (" in result.headline
    assert bundle.settings["prior"] == {name: result.metrics[name] for name in bundle.settings["prior"]}
    before, plain = calibrate(desk, is_told=False)
    assert "share of tip 50% as in the calibration split: the pool's cannot be told, no judgements" in before.headline
    assert "prior" not in plain.settings
    assert ece_excess(plain) > 0.2
    assert ece_excess(bundle) < 0.03


def test_a_stated_prior_asks_nobody(desk):
    result, bundle = calibrate(desk, "prior: 0.08", is_told=True)
    assert "share of tip" not in result.headline
    assert "split_share" not in result.metrics
    assert "prior" not in bundle.settings
