import json

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle, make_card
from tests.steps.test_mine import UNLABELLED, mine, own_cache, queue_of, run, teacher, write_run  # noqa: F401
from tests.teachers import completion, teacher_server
from understudy.privacy import erasure
from understudy.review import standing
from understudy.steps.mine import strategies
from understudy.steps.mine.config import MineConfig
from understudy.store import cycles, tables
from understudy.task.card import load_card

FIRST_UNSURE = ["u3", "u1", "u2"]  # at the threshold, then 0.381 from it by either label


def drawn_by(folder):
    return dict(queue_of(folder).select("id", "drawn_by").iter_rows())


def test_uncertainty_asks_no_teacher(tmp_path, store, run):  # noqa: F811
    result = mine(tmp_path, run, store.uri, "strategy=uncertainty", "queue_size=3")  # nobody listens for questions
    queue = queue_of(tmp_path)
    assert queue["id"].to_list() == FIRST_UNSURE
    assert queue["teacher_label"].null_count() == queue["disagreement"].null_count() == 3
    assert (result.metrics["asked"], result.metrics["cost_usd"]) == (0, 0)
    assert "by uncertainty, which asks no teacher" in result.headline


@pytest.mark.parametrize("strategy", ["disagreement", "mixed"])
def test_a_student_of_people_alone_queues_what_it_is_unsure_of_and_asks_no_teacher(tmp_path, store, run, strategy):  # noqa: F811
    settings = ("train.stages=people", f"strategy={strategy}", "queue_size=3")
    result = mine(tmp_path, run, store.uri, *settings)  # nobody listens for questions
    assert queue_of(tmp_path)["id"].to_list() == FIRST_UNSURE
    assert (result.metrics["asked"], result.metrics["cost_usd"]) == (0, 0)


def test_what_is_drawn_by_lot_keeps_its_chance_so_that_it_speaks_of_the_whole_pool(tmp_path, store):
    texts = {
        f"u{number}": (f"g{number}", f"{'Ask' if number < 10 else 'Nice'} number {number}") for number in range(40)
    }
    inputs = write_run(tmp_path, texts)
    estimates = []
    for seed in range(12):
        folder = tmp_path / str(seed)
        mine(folder, inputs, store.uri, "strategy=random", "queue_size=8", f"seed={seed}")
        queue = queue_of(folder)
        assert queue["inclusion"].to_list() == [8 / 40] * 8
        is_tip = queue["text"].str.starts_with("Ask")
        estimates.append(float((is_tip / queue["inclusion"]).sum()))
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - 10) < 3 * error


def test_a_mixed_queue_takes_each_strategy_in_turn_and_a_share_by_lot(tmp_path, store, run, teacher):  # noqa: F811
    mine(tmp_path, run, store.uri, "strategy=mixed", "queue_size=4", "random_share=0.25", "min_disagreement=0.6")
    found = drawn_by(tmp_path)
    assert sorted(found.values()) == ["disagreement", "diversity", "random", "uncertainty"]
    queue = queue_of(tmp_path)
    assert queue.filter(drawn_by="random")["inclusion"].to_list() == [1 / 6]
    assert queue.filter(pl.col("drawn_by") != "random")["inclusion"].null_count() == 3
    assert queue["id"].n_unique() == 4


def test_slices_are_those_where_the_audit_found_the_teacher_biased(tmp_path, store, run):  # noqa: F811
    audit, snapshot = tmp_path / "audit", tmp_path / "snapshot"
    audit.mkdir()
    snapshot.mkdir()
    found = [{"name": "pool", "is_biased": True}, {"name": "view", "is_biased": False}]
    (audit / "audit.json").write_text(json.dumps({"slices": found}))
    slices = "slices: [{name: pool, pattern: '\\bpool\\b'}, {name: view, pattern: '\\bview\\b'}]"
    (snapshot / "card.yaml").write_text(make_card(more=slices))
    mine(tmp_path, {**run, "card": snapshot, "audit": audit}, store.uri, "strategy=slices")
    assert drawn_by(tmp_path) == {"u4": "slices"}


def test_diversity_covers_what_the_student_tells_apart(tmp_path, store):
    texts = {
        "a1": ("g1", "Ask for this"), "a2": ("g2", "Bring that along"), "a3": ("g3", "Avoid the other"),
        "n1": ("g4", "Nice and quiet"), "m1": ("g5", "Maybe tomorrow then"),
    }  # fmt: skip
    mine(tmp_path, write_run(tmp_path, texts), store.uri, "strategy=diversity", "queue_size=2")
    assert "n1" in set(queue_of(tmp_path)["id"])  # the other one stands for the tips


def test_a_cover_never_takes_a_text_twice():
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert sorted(strategies.by_cover(vectors, 99)) == list(range(30))
    assert strategies.by_cover(np.empty((0, 1)), 3) == []


def test_near_duplicates_and_crowded_groups_leave_their_places_to_others(tmp_path, store):
    texts = {f"u{n}": ("same", f"Maybe the bus number {word} is late") for n, word in enumerate(["one", "two", "ten"])}
    texts |= {"v1": ("g1", "Maybe the early ferry leaves from the other side"), "v2": ("g2", "Maybe lunch")}
    mine(tmp_path, write_run(tmp_path, texts), store.uri, "strategy=uncertainty", "queue_size=3", "per_group=1")
    assert set(queue_of(tmp_path)["id"]) == {"u0", "v1", "v2"}


def test_the_teacher_is_asked_where_it_pays(tmp_path, store, run, monkeypatch):  # noqa: F811
    # A label of people costs $2 (4.8 minutes at $25 an hour), an answer $0.50: it pays from a doubt of 0.25,
    # which only the text at the threshold has.
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    card = make_card().replace("output_usd_per_million: 4.0", "output_usd_per_million: 100000.0")
    (snapshot / "card.yaml").write_text(card)
    with teacher_server(lambda *_: completion('{"label": "tip"}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        mine(tmp_path, {**run, "card": snapshot}, store.uri, "random_share=0", "teacher.max_answer_tokens=10")
        assert log.texts == [UNLABELLED["u3"][1]]


def with_validation(folder, labels):
    """Give a run a validation split: texts by label."""
    rows = [
        {
            "id": f"v{number}", "group": f"vg{number}", "text": text, "label": label, "split": split, "annotators": 1,
            "origin": "labels",
        }
        for number, (text, label, split) in enumerate(labels)
    ]  # fmt: skip
    tables.write(pl.DataFrame(rows), tables.Gold, folder / "gold")


VALIDATION = [
    ("Ask for this", "tip", "validation"),
    ("Nice view", "other", "validation"),
    ("Lunch was served", "tip", "validation"),
    ("Bring cash", "tip", "train"),
]


def test_a_cycle_records_its_answers_to_the_validation_split_once(tmp_path, store, run):  # noqa: F811
    with_validation(tmp_path, VALIDATION)
    settings = ("strategy=uncertainty", "queue_size=2")
    mine(tmp_path / "first", run, store.uri, *settings)
    mine(tmp_path / "again", run, store.uri, *settings)
    (cycle,) = cycles.read_all(store, "hotel-tips")
    (answers,) = cycles.read_answers(store, "hotel-tips")
    assert (cycle.taught_by_people, cycle.queued, cycle.is_rehearsal) == (1, 2, True)
    assert answers.select("id", "label", "answer").rows() == [
        ("v0", "tip", "tip"), ("v1", "other", "other"), ("v2", "tip", "other"),
    ]  # fmt: skip
    better = {**run, "bundle": make_bundle(tmp_path / "better", words={"ask": 4.0, "lunch": 4.0, "nice": -4.0})}
    result = mine(tmp_path / "second", better, store.uri, *settings)
    stands = standing.read(store, load_card(run["bundle"]), 2.0)
    assert [point.figure.value for point in stands.points] == [pytest.approx(2 / 3), 1.0]
    assert "go on: every cycle has answered 3 validation texts, too few to say (50)" in result.headline
    assert result.parameters["stop"] == ""


def test_a_forgotten_text_leaves_a_cycles_answers(tmp_path, store, run):  # noqa: F811
    with_validation(tmp_path, VALIDATION)
    mine(tmp_path, run, store.uri, "strategy=uncertainty")
    erasure.forget(store, ["v1"], [], "2026-11-30")
    (answers,) = cycles.read_answers(store, "hotel-tips")
    assert answers["id"].to_list() == ["v0", "v2"]
    mine(tmp_path / "again", run, store.uri, "strategy=uncertainty")
    assert len(cycles.read_all(store, "hotel-tips")) == 1


def test_the_share_by_lot_of_a_mixed_queue_is_rounded_up():
    config = MineConfig(strategy="mixed", queue_size=15, random_share=0.1)
    table = pl.DataFrame({"id": [str(n) for n in range(40)], "group": [str(n) for n in range(40)]})
    table = table.with_columns(
        text=pl.format("word{} and{} more{}", "id", "id", "id"), distance=pl.lit(0.5), student_label=pl.lit("tip")
    )
    compared = table.head(0).with_columns(
        disagreement=pl.lit(0.0), is_contested=pl.lit(value=False), about=pl.lit(0, pl.Int64)
    )
    vectors = np.eye(40)
    queue = strategies.choose(table, compared, config, 40, np.zeros(40, bool), lambda: vectors)
    assert len(queue) == 15
    assert queue.filter(drawn_by="random")["inclusion"].to_list() == [2 / 40] * 2
