"""The first stage from the pool to the bundle: what is fitted on, what is held out, and what is said of it."""

import json

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer

from tests.bundles import WORDS, make_bundle, make_card
from tests.students import make_student
from understudy.errors import BadArtifact
from understudy.model import student
from understudy.model.cascade import HELD_OUT_FILE, FirstStage
from understudy.model.scoring import Bundle, exported_graph
from understudy.runners.local import step
from understudy.runtime.shell import execute
from understudy.steps.export import first_stage
from understudy.steps.export.config import ExportConfig
from understudy.store import tables
from understudy.task.card import load_card

ABOUT = {
    "graph": "fp32",
    "graphs": ["fp32"],
    "max_length": 64,
    "pad_id": 0,
    "student": "bag",
    "texts": 100,
    "is_rehearsal": True,
}
NEUTRAL = ["nice", "stayed", "room", "view", "bed"]


def pool_of(texts: int, seed: int = 0, per_group: int = 3) -> pl.DataFrame:
    """Draw texts, one in twelve with a word of advice."""
    lot = np.random.default_rng(seed)
    words = [[*lot.choice(NEUTRAL, lot.integers(2, 7))] for _ in range(texts)]
    for place in np.flatnonzero(lot.random(texts) < 1 / 12):
        words[place][0:1] = [lot.choice(["ask", "bring", "avoid"]), "maybe"]
    ids = [f"t{number}" for number in range(texts)]
    groups = [f"g{number // per_group}" for number in range(texts)]
    return pl.DataFrame({"id": ids, "group": groups, "time": None, "text": [" ".join(one) for one in words]})


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A folder with the small student, which learned the pool's first 30 texts."""
    folder = make_student(tmp_path_factory.mktemp("student") / "student")
    (folder / "student.json").write_text('{"max_length": 64}')
    pl.DataFrame({"id": [f"t{number}" for number in range(30)]}).write_parquet(folder / student.LEARNED_FILE)
    return folder


@pytest.fixture
def graphs(tmp_path):
    """A bag-of-words graph as export leaves it, with the card beside it."""
    bundle = make_bundle(tmp_path / "made", words={**dict.fromkeys(NEUTRAL, -0.7), **WORDS})
    folder = tmp_path / "graphs"
    (folder / "fp32").mkdir(parents=True)
    (bundle / "model.onnx").rename(folder / "fp32/model.onnx")
    (bundle / "tokenizer.json").rename(folder / "tokenizer.json")
    (tmp_path / "card").mkdir()
    (tmp_path / "card/card.yaml").write_text(make_card())
    return folder


def made(tmp_path, graphs, studied, pool, most=0.005, **config):
    tables.write(pool, tables.Texts, tmp_path / "pool")
    card = load_card(tmp_path / "card")
    found = first_stage.make(tmp_path / "pool", studied, graphs, ABOUT, card, ExportConfig(**config), most)
    (graphs / "graphs.json").write_text(json.dumps({**ABOUT, "first_stage": found}))
    return found


def calibrated(tmp_path, graphs, *sets, ending=""):
    texts = pool_of(200, seed=9).with_columns(pl.col("text") + ending)
    is_tip = texts["text"].str.contains("ask|bring|avoid")
    gold = texts.select("id", "group", "text").with_columns(
        label=pl.when(is_tip).then(pl.lit("tip")).otherwise(pl.lit("other")),
        split=pl.lit("calibration"),
        annotators=pl.lit(1),
        origin=pl.lit("labels"),
    )
    tables.write(gold, tables.Gold, tmp_path / "gold")
    given = {"card": tmp_path / "card", "gold": tmp_path / "gold", "graphs": graphs, "bundle": tmp_path / "bundle"}
    return execute("calibrate", {**given, "overrides": "\n".join(sets)})


def test_another_threshold_comes_from_a_rerun(tmp_path, graphs, studied):
    made(tmp_path, graphs, studied, pool_of(600))
    calibrated(tmp_path, graphs, "cascade.max_missed=0")
    changes = "objective=recall\nmin_precision=0.8"
    done = step.carry_out(step.plan(tmp_path / "bundle", changes, tmp_path / "again"))
    recorded = done.new["bundle"].provenance["settings"]
    assert (recorded["objective"], recorded["min_precision"], recorded["cascade"]["max_missed"]) == ("recall", 0.8, 0)


def test_the_reference_counts_the_tokens_that_the_student_does_not_know(tmp_path, graphs, studied):
    made(tmp_path, graphs, studied, pool_of(600))
    calibrated(tmp_path, graphs, "cascade.max_missed=0", ending=" 😂 🎉")
    told = Bundle.open(tmp_path / "bundle").settings["reference"]["tokens"]
    vocabulary = Tokenizer.from_file(str(tmp_path / "bundle/tokenizer.json"))
    read = [vocabulary.encode(f"{text} 😂 🎉").tokens for text in pool_of(200, seed=9)["text"]]
    assert (told["texts"], told["tokens"]) == (200, sum(map(len, read)))
    assert told["unknown"] == sum(tokens.count("[UNK]") for tokens in read) >= 400


def test_a_bundle_settles_negatives_and_loses_no_more_than_it_promised(tmp_path, graphs, studied):
    found = made(tmp_path, graphs, studied, pool_of(4000))
    assert found["fitted_texts"] + found["held_out_texts"] <= 4000
    result = calibrated(tmp_path, graphs)
    bundle = Bundle.open(tmp_path / "bundle")
    fresh = pool_of(3000, seed=1)["text"].to_list()
    scored = bundle.score(fresh)
    is_positive = bundle.choose(bundle.student_probabilities(fresh)) == 1
    assert scored.is_settled.mean() > 0.5
    assert (scored.is_settled & is_positive).mean() <= bundle.settings["cascade"]["bound"] <= 0.005
    assert not bundle.choose(scored.probabilities)[scored.is_settled].any()
    assert result.metrics["settled"] == pytest.approx(scored.is_settled.mean(), abs=0.05)
    assert "first_stage.npy" in bundle.settings["files"]


def test_the_fit_is_the_ridge_regression_that_its_columns_say(tmp_path, graphs, studied):
    lot = np.random.default_rng(2)
    graph = exported_graph(graphs, ABOUT, "fp32", 2)
    tokens = graph.tokens(pool_of(60)["text"].to_list())
    log_odds = lot.normal(size=60)
    embeddings = lot.normal(size=(20, 3))
    is_fitted = np.arange(60) < 50
    first = first_stage.fit([tokens], log_odds, is_fitted, embeddings)

    columns = first_stage.columns(tokens, 20).toarray()
    centred = embeddings - embeddings.mean(axis=0)
    scaled = centred * first_stage.EMBEDDING_SCALE / np.sqrt((centred**2).sum(axis=1).mean())
    design = np.hstack([columns / np.sqrt(2), columns[:, :20] @ scaled])
    used = design[:, np.abs(design).sum(axis=0) > 0]
    means = used[is_fitted].mean(axis=0)
    inner = used[is_fitted] - means
    targets = log_odds[is_fitted] - log_odds[is_fitted].mean()
    solved = np.linalg.solve(inner.T @ inner + first_stage.RIDGE * np.eye(inner.shape[1]), inner.T @ targets)
    expected = (used - means) @ solved + log_odds[is_fitted].mean()
    np.testing.assert_allclose(first.scores(tokens), expected, atol=1e-3)


def test_a_rerun_gives_the_same_bytes(tmp_path, graphs, studied):
    files = []
    for _ in range(2):
        made(tmp_path, graphs, studied, pool_of(2500))
        files.append([(graphs / name).read_bytes() for name in ("first_stage.npy", HELD_OUT_FILE, "graphs.json")])
    assert files[0] == files[1]


def test_held_out_texts_are_of_other_groups_and_unknown_to_the_student(tmp_path, graphs, studied):
    pool = pool_of(3000)
    made(tmp_path, graphs, studied, pool)
    kept = pl.read_parquet(graphs / HELD_OUT_FILE)
    drawn = first_stage.chosen(pool, ExportConfig())
    fitted = drawn.filter(~pl.col("is_held_out"))
    assert set(kept["group"]).isdisjoint(fitted["group"])
    assert set(kept["id"]).isdisjoint(f"t{number}" for number in range(30))
    assert kept["weight"].sum() == pytest.approx(drawn["is_held_out"].sum())
    first = FirstStage.open(graphs, json.loads((graphs / "graphs.json").read_text())["first_stage"]["intercept"])
    graph = exported_graph(graphs, ABOUT, "fp32", 2)
    texts = kept.join(pool, on="id", maintain_order="left")["text"].to_list()
    tokens = graph.tokens(texts)
    np.testing.assert_array_equal(first.scores(tokens), kept["score"].to_numpy())
    np.testing.assert_allclose(graph.logits_of(tokens), np.array(kept["logits"].to_list()), atol=1e-5)


def test_what_is_left_of_a_kind_stands_for_all_of_it(tmp_path, graphs):
    card = load_card(tmp_path / "card")
    texts = pl.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e", "f"],
            "group": ["a", "b", "c", "d", "e", "f"],
            "text": ["ask", "ask us", "nice", "view", "bed", "room"],
            "is_held_out": [True, True, True, True, True, False],
        }
    )
    kept = first_stage.weighed(texts, pl.Series(["a", "c"]), card)
    assert kept.rows() == [("b", "b", 2.0), ("d", "d", 1.5), ("e", "e", 1.5)]
    without = first_stage.weighed(texts, pl.Series(["a", "b"]), card)
    assert without.rows()[:2] == [("a", "a", 1.0), ("b", "b", 1.0)]


def test_a_kind_of_which_hardly_a_text_is_left_stands_for_itself(tmp_path, graphs):
    ids = [f"t{number}" for number in range(30)]
    texts = pl.DataFrame({"id": ids, "group": ids, "text": ["ask"] * 20 + ["bed"] * 10, "is_held_out": True})
    card = load_card(tmp_path / "card")
    one_left = first_stage.weighed(texts, pl.Series(ids[1:20]), card)
    assert (len(one_left), one_left["weight"].max()) == (30, 1.0)
    two_left = first_stage.weighed(texts, pl.Series(ids[2:20]), card)
    assert (len(two_left), two_left["weight"].max()) == (12, 10.0)


def test_whole_groups_are_drawn_up_to_the_limit():
    drawn = first_stage.chosen(pool_of(900), ExportConfig(first_stage_texts=300))
    assert len(drawn) == 300
    assert drawn.group_by("group").len()["len"].unique().to_list() == [3]
    assert drawn.group_by("group").agg(pl.col("is_held_out").n_unique())["is_held_out"].max() == 1
    assert 0.3 < drawn["is_held_out"].mean() < 0.5


def test_what_is_held_out_is_drawn_apart_from_what_is_taken_of_a_large_pool():
    pool = pl.DataFrame({"group": [f"g{number}" for number in range(100_000)]})
    drawn = first_stage.chosen(pool, ExportConfig(first_stage_texts=20))
    assert 0.15 < drawn["is_held_out"].mean() < 0.65


def test_a_small_pool_gives_no_first_stage_and_says_so(tmp_path, graphs, studied):
    found = made(tmp_path, graphs, studied, pool_of(900))
    assert "too few texts" in found["reason"]
    assert "needs 598 of each" in found["reason"]
    assert not (graphs / "first_stage.npy").exists()
    result = calibrated(tmp_path, graphs)
    assert "too few texts" in result.headline
    settings = Bundle.open(tmp_path / "bundle").settings
    assert settings["cascade"] == {"reason": found["reason"], "max_missed": 0.005}


def test_none_is_made_when_none_is_asked_for(tmp_path, graphs, studied):
    found = made(tmp_path, graphs, studied, pool_of(3000), most=0.0)
    assert found == {"reason": "none was asked for: cascade.max_missed is 0"}


def test_calibrate_leaves_out_a_first_stage_that_is_no_more_asked_for(tmp_path, graphs, studied):
    made(tmp_path, graphs, studied, pool_of(3000))
    result = calibrated(tmp_path, graphs, "cascade.max_missed=0")
    assert result.parameters["first_stage"] == "none was asked for: cascade.max_missed is 0"
    assert Bundle.open(tmp_path / "bundle").cascade is None


def test_a_student_that_does_not_say_what_it_learned_is_refused(tmp_path):
    with pytest.raises(BadArtifact, match=r"What a student was trained on must be a Parquet table.*Train again"):
        first_stage.learned_by(tmp_path)
