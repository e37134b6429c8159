"""Samplers: what a draw is richer in, and that its weights undo it."""

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import card_yaml
from tests.teachers import completion, teacher_server
from understudy.runtime import shell
from understudy.steps.label import rules, sampler
from understudy.steps.label.config import LabelConfig
from understudy.store import tables
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace

SAMPLERS = ("balanced", "uniform", "stratified", "boundary")
BARE = parse_card(card_yaml(weak_rules=None))
SPACE = LabelSpace.of(BARE)
COMMON, OF_TIPS, OF_OTHERS = (
    [f"{kind}{n}" for n in range(size)] for kind, size in (("word", 60), ("ask", 12), ("was", 12))
)


def pool_of(texts, seed=0, share=0.1):
    """Make a pool whose labels show in some of their words: columns id, text and truth."""
    rng = np.random.default_rng(seed)
    is_tip = rng.random(texts) < share
    rows = []
    for tip in is_tip:
        own = OF_TIPS if tip else OF_OTHERS
        marks = [rng.choice(own) if rng.random() < 0.8 else rng.choice(COMMON) for _ in range(2)]
        words = [*marks, *rng.choice(COMMON, 6)]
        rows.append(" ".join(words[: rng.integers(4, 9)]))
    return pl.DataFrame(
        {"id": [f"p{n:05}" for n in range(texts)], "text": rows, "truth": np.where(is_tip, "tip", "other")}
    )


def draw(pool, config, card=BARE):
    return sampler.draw(card, pool.drop("truth"), config, lambda texts: answers(pool, texts))


def answers(pool, texts):
    return texts.join(pool.select("id", label="truth"), on="id").select("id", "label", weight=pl.lit(1.0))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(SAMPLERS), st.integers(1, 500), st.integers(0, 3))
def test_the_weights_add_up_to_the_pool(name, texts, seed):
    pool = pool_of(450, seed)
    drawn = draw(pool, LabelConfig(texts=texts, sampler=name, seed=seed))
    assert len(drawn) == min(texts, 450)
    assert drawn["id"].n_unique() == len(drawn)
    covered = drawn.group_by("stratum").agg(pl.col("population").first())["population"].sum()
    assert drawn["weight"].sum() == pytest.approx(covered)  # all strata of which a text was drawn
    if texts >= 20 or name == "uniform":
        assert drawn["weight"].sum() == pytest.approx(450)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_larger_draw_only_adds(name):
    pool = pool_of(1500)
    sizes = (50, 199, 200, 201, 300, 700, 1400)
    drawn = [set(draw(pool, LabelConfig(texts=size, sampler=name))["id"]) for size in sizes]
    assert [len(ids) for ids in drawn] == list(sizes)
    assert all(smaller <= larger for smaller, larger in pairwise(drawn))


def test_without_rules_likely_positives_are_found_by_a_first_small_set():
    pool = pool_of(4000)
    config = LabelConfig(texts=600, sampler="balanced")
    found = draw(pool, config).join(pool.select("id", "truth"), on="id")
    assert (found["truth"] == "tip").mean() > 2.5 * (pool["truth"] == "tip").mean()
    assert sampler.words_of(BARE, config, found) == "about half from likely ones by the answers to the first 200"


def test_the_boundary_draw_is_richer_in_what_the_first_answers_leave_open():
    pool = pool_of(4000)
    drawn = draw(pool, LabelConfig(texts=600, sampler="boundary"))
    near = drawn.filter(pl.col("stratum") == 0)
    assert (len(near), near["population"][0]) == (200, int(0.2 * 3800))
    assert near["weight"][0] == pytest.approx(760 / 200)


def test_first_answers_that_tell_nothing_apart_leave_the_draw_uniform_and_that_is_said():
    pool = pool_of(1000).with_columns(truth=pl.lit("other"))
    config = LabelConfig(texts=500)
    drawn = draw(pool, config)
    assert set(drawn["stratum"]) == {sampler.FIRST, -1}
    assert (
        sampler.words_of(BARE, config, drawn)
        == "drawn uniformly: the answers to the first 200 texts tell no label apart"
    )


def test_stratified_takes_as_many_of_each_length_and_slice():
    slices = [{"name": "ask", "pattern": "ask1"}, {"name": "long", "min_words": 8}]
    card = parse_card(card_yaml(slices=slices))
    pool = pool_of(3000)
    drawn = draw(pool, LabelConfig(texts=300, sampler="stratified"), card)
    sizes = drawn.group_by("stratum").agg(pl.len().alias("drawn"), pl.col("population").first())
    full = sizes.filter(pl.col("drawn") < pl.col("population"))["drawn"]
    assert full.max() - full.min() <= 1
    assert len(sizes) > 4


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_estimated_share_is_unbiased_and_its_interval_holds_it(name):
    seeds, misses, errors = 500 if name == "balanced" else 100, 0, []
    pool = pool_of(450, seed=1, share=0.12)
    true = float((pool["truth"] == "tip").mean())
    for seed in range(seeds):
        drawn = draw(pool, LabelConfig(texts=300, sampler=name, seed=seed))
        found = rules.share_interval(answers(pool, drawn), drawn, SPACE, 1)
        assert found.value == pytest.approx(rules.label_shares(answers(pool, drawn), drawn, SPACE)[1])
        errors.append(found.value - true)
        misses += not found.low <= true <= found.high
    assert abs(np.mean(errors)) < 3.3 * np.std(errors) / np.sqrt(seeds)
    assert misses / seeds < 0.05 + 3 * np.sqrt(0.05 * 0.95 / seeds)


def lay_out(tmp_path, monkeypatch, texts):
    """Lay out a pool without human labels; return it, and the arguments of the step."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "card.yaml").write_text(card_yaml(weak_rules=None))
    pool = pool_of(texts).with_columns(group="id", time=pl.lit(None, pl.String))
    tables.write(pool.select("id", "group", "time", "text"), tables.Texts, tmp_path / "pool")
    empty = tables.empty(tables.Gold)
    for name in ("gold", "test"):
        tables.write(empty, tables.Gold, tmp_path / name)

    names = ("pool", "gold", "test", "judgements", "test_judgements")
    paths = {
        "card": tmp_path / "snapshot",
        **{name: tmp_path / name for name in names},
        "store": str(tmp_path / "store"),
    }
    return pool, paths


def respond(_request, text, _number):
    return completion(json.dumps({"label": "tip" if "ask" in text else "other"}))


def test_the_step_asks_for_the_first_set_then_for_likely_ones_and_pays_for_none_twice(tmp_path, monkeypatch):
    pool, paths = lay_out(tmp_path, monkeypatch, 1500)
    with teacher_server(respond) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        done = shell.execute("label", {**paths, "overrides": "texts=400"})
        assert len(server.texts) == done.metrics["asked"] == 400
        again = shell.execute("label", {**paths, "overrides": "texts=400", "dry_run": True})
        assert again.metrics["from_store"] == again.metrics["texts"] == 400
        more = shell.execute("label", {**paths, "overrides": "texts=450"})
        assert more.metrics["asked"] == len(server.texts) - 400 == 50
    table = tables.read(tmp_path / "judgements", tables.Judgements)
    assert table["weight"].sum() == pytest.approx(1500)
    true = float(pool["text"].str.contains("ask").mean())
    assert (table["label"] == "tip").mean() > 1.5 * true
    assert done.metrics["positive_share_low"] <= true <= done.metrics["positive_share_high"]


def test_texts_of_the_first_set_that_failed_change_nothing_in_the_draw_when_a_later_run_has_their_answers(
    tmp_path, monkeypatch
):
    _, paths = lay_out(tmp_path, monkeypatch, 1500)
    garbled, asked = set(), []

    def fails_at_first(request, text, number):
        if len(garbled) < 8 and "ask" in text:
            garbled.add(text)
        return completion("no idea") if text in garbled else respond(request, text, number)

    for answer in (fails_at_first, respond):
        with teacher_server(answer) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            shell.execute("label", {**paths, "overrides": "texts=400"})
            asked.append(set(server.texts))
    assert len(asked[0]) == 400
    assert asked[1] == garbled
