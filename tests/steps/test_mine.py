import csv
import io
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bundles import make_bundle, make_card
from tests.teachers import completion, teacher_server
from understudy.errors import BadArtifact
from understudy.model.decision import DecisionRule
from understudy.privacy import erasure
from understudy.review import labels, queues
from understudy.review.spreadsheet import raw_cell, safe_cell
from understudy.runtime import shell
from understudy.steps.mine import rules
from understudy.steps.mine.config import MineConfig
from understudy.steps.mine.forecast import forecast
from understudy.store import codecs, layout, tables, tombstones
from understudy.store.folder import FolderStore
from understudy.store.storage import open_store
from understudy.task.card import load_card, parse_card
from understudy.task.labels import LabelSpace
from understudy.task.sections import TeacherConfig
from understudy.teacher import simulated
from understudy.teacher.labeller import open_teacher
from understudy.text.normalise import content_hash

# The student's probability of "tip": with ask, bring or avoid 0.881; maybe 0.5; no word it knows 0.119; nice 0.002.
UNLABELLED = {
    "u1": ("g1", "Ask for a room at the back", "other"),  # 0.881 apart
    "u2": ("g2", "Bring cash for the ferry", "tip"),
    "u3": ("g3", "Maybe the early bus is emptier", "tip"),  # 0.500 apart
    "u4": ("g4", "The pool closes at noon, swim before", "tip"),  # 0.881 apart
    "u5": ("g5", "Nice view of the harbour", "tip"),  # 0.998 apart
    "u6": ("g6", "Lunch was served cold", "other"),
}


def write_run(
    folder: Path,
    texts: dict[str, tuple[str, str]],
    labelled: Sequence[str] = (),
    guarded: Sequence[str] = (),
    taught: Sequence[str] = (),
) -> dict[str, Path]:
    """Write what mine reads: texts by id with group, ids with a human label, texts of the test split, ids learned."""
    rows = [{"id": name, "group": group, "time": None, "text": text} for name, (group, text) in texts.items()]
    schema = {"id": pl.String, "group": pl.String, "time": pl.String, "text": pl.String}
    tables.write(pl.DataFrame(rows, schema=schema), tables.Texts, folder / "pool")
    gold = [
        {
            "id": name,
            "group": texts[name][0],
            "text": texts[name][1],
            "label": "tip",
            "split": "train",
            "annotators": 1,
            "origin": "labels",
        }
        for name in labelled
    ]
    table = pl.DataFrame(gold) if gold else tables.empty(tables.Gold)
    tables.write(table, tables.Gold, folder / "gold")
    wall = [{"id": f"test-{number}", "content": content_hash(text)} for number, text in enumerate(guarded)]
    table = pl.DataFrame(wall) if wall else tables.empty(tables.LeakageGuard)
    tables.write(table, tables.LeakageGuard, folder / "gold")
    tables.write(answers_to(taught), tables.Judgements, folder / "judgements")
    bundle = make_bundle(folder / "bundle")
    places = {name: folder / name for name in ("pool", "gold", "judgements")}
    return {"card": bundle, **places, "bundle": bundle}


def answers_to(ids: Sequence[str]) -> pl.DataFrame:
    """Return a teacher's answers to texts."""
    answer = {
        "judge": "rehearsal:r:0", "kind": "teacher", "label": "tip", "probabilities": None, "rationale": None,
        "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.0, "is_rehearsal": True, "weight": 1.0,
    }  # fmt: skip
    rows = [{"id": name, **answer} for name in ids]
    return tables.Judgements.validate(pl.DataFrame(rows), cast=True) if rows else tables.empty(tables.Judgements)


def mine(folder: Path, inputs: dict[str, Path], store: str, *overrides: str) -> shell.Result:
    return shell.execute(
        "mine", {**inputs, "store": store, "queue": folder / "queue", "overrides": "\n".join(overrides)}
    )


def queue_of(folder: Path) -> pl.DataFrame:
    return tables.read(folder / "queue", tables.Queue)


def about(folder: Path) -> dict:
    return json.loads((folder / "queue" / "queue.json").read_text())


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # nobody listens there


@pytest.fixture
def teacher(tmp_path, monkeypatch) -> Iterator[simulated.RehearsalServer]:
    """Run a rehearsal teacher that knows the unlabelled texts, and gives no probabilities."""
    path = tmp_path / "answers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *(row[1:] for row in UNLABELLED.values())])
    with simulated.serve(simulated.Plan(path, unknown="refuse")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.fixture
def run(tmp_path) -> dict[str, Path]:
    return write_run(tmp_path, {name: row[:2] for name, row in UNLABELLED.items()})


def test_the_most_contested_texts_come_first(tmp_path, store, run, teacher):
    result = mine(tmp_path, run, store.uri)
    queue = queue_of(tmp_path)
    assert queue["id"].to_list() == ["u5", "u1", "u4", "u3"]
    assert queue["disagreement"].round(3).to_list() == [0.998, 0.881, 0.881, 0.5]
    assert queue["teacher_label"].to_list() == ["tip", "other", "tip", "tip"]
    assert queue["teacher_probability"].null_count() == 4  # never an invented 1.0
    metrics = dict(result.metrics)
    assert metrics.pop("cost_usd") > 0
    assert metrics == {
        "scored": 6,
        "asked": 6,
        "from_store": 0,
        "left_the_house": 0,
        "disagreements": 4,
        "disagreement_share": pytest.approx(4 / 6, abs=1e-6),
        "queued": 4,
    }


def test_texts_that_measure_the_model_are_not_asked_about_nor_queued(tmp_path, store, run, teacher):
    sampled = pl.DataFrame({"id": ["u5"], "text": ["Something else."]})
    tested = pl.DataFrame({"id": ["q1"], "text": [f"{UNLABELLED['u1'][1]} "]})
    store.put_if_absent(layout.SAMPLE_TABLES.key(day="2026-11-01", name="sample"), codecs.as_parquet(sampled))
    store.put_if_absent(layout.TEST_SETS.key(day="2026-09-30"), codecs.as_parquet(tested))
    result = mine(tmp_path, run, store.uri)
    assert queue_of(tmp_path)["id"].to_list() == ["u4", "u3"]
    assert result.metrics["asked"] == len(UNLABELLED) - 2


def test_people_see_no_answer_of_student_or_teacher_unless_it_is_asked_for(tmp_path, store, run, teacher):
    for folder, overrides in ((tmp_path / "hidden", ()), (tmp_path / "shown", ("show_answers=true",))):
        mine(folder, run, store.uri, *overrides)
        header, *_ = csv.reader((folder / "queue" / "queue.csv").read_text("utf-8-sig").splitlines())
        (data, *_) = (task["data"] for task in json.loads((folder / "queue" / "label-studio.json").read_text()))
        answers = [*queues.ANSWERS] if overrides else []
        assert header == ["id", "group", "text", *answers, "guideline", "label"]
        assert list(data) == ["understudy_id", "id", "group", "text", *answers, "guideline"]
    assert queue_of(tmp_path / "hidden").equals(queue_of(tmp_path / "shown"))  # the store knows them all the same


def test_probabilities_of_the_teacher_stand_above_its_label(tmp_path, store, run, monkeypatch):
    logprobs = {
        "content": [
            {"token": token, "logprob": 0.0, "bytes": None, "top_logprobs": []} for token in ('{"', "label", '":"')
        ]
    }
    sure = [("tip", np.log(0.6)), ("other", np.log(0.4))]
    tops = [{"token": token, "logprob": value, "bytes": None} for token, value in sure]
    logprobs["content"] += [
        {"token": "tip", "logprob": np.log(0.6), "bytes": None, "top_logprobs": tops},
        {"token": '"}', "logprob": 0.0, "bytes": None, "top_logprobs": []},
    ]
    answer = completion('{"label":"tip"}')
    answer.body["choices"][0]["logprobs"] = logprobs
    with teacher_server(lambda *_: answer) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        mine(tmp_path, run, store.uri, "teacher.logprobs=true")
    queue = queue_of(tmp_path).sort("id")
    assert queue["teacher_probability"].round(3).to_list() == [0.6] * len(queue)
    # |0.119 - 0.6| and |0.002 - 0.6| are above 0.3; |0.881 - 0.6| and |0.5 - 0.6| are not.
    assert queue["id"].to_list() == ["u4", "u5", "u6"]


def test_a_rehearsal_says_so_in_the_queue_and_in_its_name(tmp_path, store, run, teacher):
    name = mine(tmp_path, run, store.uri).parameters["queue"]
    assert name.startswith("rehearsal-")
    found = about(tmp_path)
    assert found["is_rehearsal"]
    assert found["judge"].startswith("rehearsal:rehearsal:")
    assert found["bundle"] == json.loads((run["bundle"] / "bundle.json").read_text())["version"]
    assert found["queued"] == 4


def test_the_queue_lies_in_the_store_too(tmp_path, store, run, teacher):
    name = mine(tmp_path, run, store.uri).parameters["queue"]
    keys = store.list("queues/")
    files = ["label-studio.json", "label-studio.xml", "queue.csv", "queue.json", "queue.parquet"]
    assert keys == [f"queues/hotel-tips/{name}/{file}" for file in files]
    for file in files[:3] + files[4:]:
        assert store.read(f"queues/hotel-tips/{name}/{file}") == (tmp_path / "queue" / file).read_bytes()
    stored = json.loads(store.read(f"queues/hotel-tips/{name}/queue.json"))
    assert datetime.fromisoformat(stored.pop("put")).tzinfo is not None  # queues have no other order
    assert stored == about(tmp_path)


def test_the_queue_goes_into_a_bucket(tmp_path, s3_url, run, teacher):
    name = mine(tmp_path, run, f"{s3_url}/learn").parameters["queue"]
    stored = open_store(f"{s3_url}/learn").read(f"queues/hotel-tips/{name}/queue.csv")
    assert stored == (tmp_path / "queue" / "queue.csv").read_bytes()


def test_mining_again_asks_nothing_and_makes_the_same_queue(tmp_path, store, run, teacher):
    first = mine(tmp_path, run, store.uri)
    files = {path.name: path.read_bytes() for path in (tmp_path / "queue").iterdir() if path.name != "provenance.json"}
    again = mine(tmp_path, run, store.uri)
    assert {name: (tmp_path / "queue" / name).read_bytes() for name in files} == files
    assert again.parameters == first.parameters
    assert (again.metrics["asked"], again.metrics["from_store"], again.metrics["cost_usd"]) == (0, 6, 0)
    assert sum(teacher.asked.values()) == 6


def test_texts_with_a_human_label_are_not_mined(tmp_path, store, teacher):
    run = write_run(tmp_path, {name: row[:2] for name, row in UNLABELLED.items()}, labelled=["u5"])
    votes = pl.DataFrame({"id": ["u1"], "label": ["tip"]})
    labels.put(store, "hotel-tips", votes, "queue")  # a person answered since ingest
    result = mine(tmp_path, run, store.uri)
    assert result.metrics["scored"] == 4
    assert queue_of(tmp_path)["id"].to_list() == ["u4", "u3"]


def test_a_text_that_was_forgotten_since_ingest_is_not_mined(tmp_path, store, teacher):
    run = write_run(tmp_path, {name: row[:2] for name, row in UNLABELLED.items()})
    tombstones.remember_to_forget(store, "id", ["u1", "u5"], "2026-11-30")
    assert mine(tmp_path, run, store.uri).metrics["scored"] == len(UNLABELLED) - 2
    assert not {"u5", "u1"} & set(queue_of(tmp_path)["id"])


def everything(folder: Path) -> bytes:
    """Return all that lies below a folder, Parquet as JSON."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    tables = [pl.read_parquet(path).write_json().encode() for path in files if path.suffix == ".parquet"]
    return b"\n".join([*tables, *(path.read_bytes() for path in files if path.suffix != ".parquet")])


def test_a_text_that_is_forgotten_while_its_queue_is_put_leaves_it_again(tmp_path, store, run, teacher, monkeypatch):
    put, done = FolderStore.put_if_absent, []

    def hooked(to, key, data):
        if key.startswith("queues/") and not done:
            done.append(key)
            erasure.forget(store, ["u5"], [], "2026-11-30")
            assert key.endswith("/queue.parquet"), "what says who is in the queue lies there first"
        return put(to, key, data)

    monkeypatch.setattr(FolderStore, "put_if_absent", hooked)
    result = mine(tmp_path, run, store.uri)
    name = result.parameters["queue"]
    assert queue_of(tmp_path)["id"].to_list() == ["u1", "u4", "u3"]
    assert result.metrics["queued"] == 3
    assert "3 texts queued" in result.headline
    (sheet,) = [key for key in store.list("queues/") if key.endswith("queue.csv")]
    assert f"; {store.locate(sheet)} waits for answers (`understudy labels add`)" in result.headline
    for place in (tmp_path / "queue", store.root / f"queues/hotel-tips/{name}"):
        assert b"Nice view" not in everything(place)
        assert b"swim before" in everything(place)


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
def test_a_turn_that_is_forgotten_leaves_the_queue_though_it_is_in_no_table(
    tmp_path, store, run, teacher, monkeypatch, when
):
    pool, turn = tables.read(run["pool"], tables.Texts), tombstones.tombstone("id", "r1")
    hashes = pl.Series([[turn]] + [[]] * (len(pool) - 1), dtype=pl.List(pl.String))
    talk = pool.with_columns(context=pl.lit("Whatever Jane said."), turn_hashes=hashes)
    tables.write(talk.with_columns(context=pl.when(pl.col("id") == "u1").then("context")), tables.Texts, run["pool"])
    put, done = FolderStore.put_if_absent, []

    def hooked(to, key, data):
        if key.startswith("queues/") and not done:
            done.append(key)
            erasure.forget(store, ["r1"], [], "2026-11-30")
        return put(to, key, data)

    with monkeypatch.context() as patch:
        if when == "before":
            tombstones.remember_to_forget(store, "id", ["r1"], "2026-11-30")
        if when == "meanwhile":
            patch.setattr(FolderStore, "put_if_absent", hooked)
        result = mine(tmp_path, run, store.uri)
    place = store.root / f"queues/hotel-tips/{result.parameters['queue']}"
    if when == "after":
        assert b"Jane" in (place / "queue.csv").read_bytes()
        assert erasure.forget(store, ["r1"], [], "2026-11-30").rows == {"queues": 3}
    for folder in (place, tmp_path / "queue") if when != "after" else (place,):
        assert b"Jane" not in everything(folder)
        assert turn.encode() not in b"".join(
            path.read_bytes() for path in folder.iterdir() if path.suffix != ".parquet"
        )
        queue = pl.read_parquet(folder / "queue.parquet")
        assert queue.filter(id="u1")["turn_hashes"].to_list() == [[turn]]
        assert len(queue) == result.metrics["queued"] == 4


def test_a_text_that_is_forgotten_while_the_teacher_answers_is_not_queued(tmp_path, store, run, teacher, monkeypatch):
    choose = rules.choose

    def hooked(*given):
        erasure.forget(store, [], ["g5"], "2026-11-30")
        return choose(*given)

    monkeypatch.setattr(rules, "choose", hooked)
    assert mine(tmp_path, run, store.uri).metrics["queued"] == 3
    assert queue_of(tmp_path)["id"].to_list() == ["u1", "u4", "u3"]


def test_a_text_of_the_test_split_stops_the_step_before_anything_is_asked(tmp_path, store, teacher):
    texts = {name: row[:2] for name, row in UNLABELLED.items()}
    run = write_run(tmp_path, texts, guarded=["nice VIEW of the harbour!"])
    with pytest.raises(BadArtifact, match=r"no text of the test split, got 1, the first 'u5'"):
        mine(tmp_path, run, store.uri)
    run = write_run(tmp_path / "other", {**texts, "test-0": ("g9", "Another one")}, guarded=["Something else"])
    with pytest.raises(BadArtifact, match="the first 'test-0'"):
        mine(tmp_path, run, store.uri)
    assert not teacher.asked


def test_texts_that_the_student_learned_from_are_not_mined(tmp_path, store, teacher):
    run = write_run(tmp_path, {name: row[:2] for name, row in UNLABELLED.items()}, taught=["u5", "u1"])
    assert mine(tmp_path, run, store.uri).metrics["scored"] == len(UNLABELLED) - 2
    assert not {"u5", "u1"} & set(queue_of(tmp_path)["id"])


def test_without_unlabelled_texts_the_queue_is_empty_and_nobody_is_asked(tmp_path, store):
    run = write_run(tmp_path, {"u1": ("g1", "Ask for a room")}, labelled=["u1"])
    result = mine(tmp_path, run, store.uri)
    assert result.headline == "no text that is new to the student, so nothing is queued"
    assert (result.metrics["queued"], result.parameters["queue"]) == (0, "")
    assert len(queue_of(tmp_path)) == 0
    assert store.list("queues/") == []


def test_a_spent_budget_asks_for_the_most_uncertain_first_and_is_no_error(tmp_path, store, run, monkeypatch):
    # An answer of ten tokens costs just over $1, so the budget of $5 ends after four.
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    card = make_card(more="prices: {annotator_usd_per_hour: 100000}")  # so that a label is dearer than an answer
    card = card.replace("output_usd_per_million: 4.0", "output_usd_per_million: 100000.0")
    (snapshot / "card.yaml").write_text(card)
    with teacher_server(lambda *_: completion('{"label": "tip"}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        settings = ("teacher.concurrency=1", "teacher.max_answer_tokens=10", "random_share=0", "teacher_usd=9")
        result = mine(tmp_path, {**run, "card": snapshot}, store.uri, *settings)
        asked = list(log.texts)
        assert result.parameters["is_budget_spent"]
        assert len(asked) == 4
        assert asked[0] == "Maybe the early bus is emptier"  # at 0.5, on the threshold
        assert result.metrics["asked"] == len(asked)
        assert "the card's budget) ended the asking" in result.headline
        name = result.parameters["queue"]
        assert mine(tmp_path, {**run, "card": snapshot}, store.uri, *settings).parameters["queue"] == name
        assert log.texts == asked


def test_mine_has_dollars_of_its_own_that_a_second_run_does_not_begin_anew(tmp_path, store, run, monkeypatch):
    # An answer of ten tokens costs just over $1, so of $2.50 two are bought, and nothing by the next run.
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    card = make_card(more="prices: {annotator_usd_per_hour: 100000}")  # so that a label is dearer than an answer
    card = card.replace("output_usd_per_million: 4.0", "output_usd_per_million: 100000.0")
    (snapshot / "card.yaml").write_text(card)
    with teacher_server(lambda *_: completion('{"label": "tip"}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        settings = ("teacher.concurrency=1", "teacher.max_answer_tokens=10", "teacher_usd=2.5")
        for asked in (2, 0):
            result = mine(tmp_path, {**run, "card": snapshot}, store.uri, *settings)
            assert result.metrics["asked"] == asked
            assert result.parameters["is_budget_spent"]
            assert len(log.texts) == 2


@pytest.mark.parametrize(("decision", "asked"), [("refuse", 2), ("keep-the-teacher", 2), ("publish", 6), ("", 6)])
def test_after_a_refusal_the_teacher_is_asked_about_what_the_queue_can_hold(
    tmp_path, store, run, teacher, decision, asked
):
    result = mine(tmp_path, {**run, "decision": decision}, store.uri, "queue_size=2")
    assert (result.metrics["scored"], result.metrics["asked"]) == (6, asked)
    assert queue_of(tmp_path)["weight"].sum() <= 6


def test_the_forecast_of_mine_keeps_to_its_own_dollars(tmp_path, store):
    unseen = pl.DataFrame(
        {"id": [f"u{n}" for n in range(100)], "text": [f"Where is platform {n}?" for n in range(100)]}
    )
    card = parse_card(make_card())
    with open_teacher(card, store, TeacherConfig(), is_dry_run=True) as teacher:
        whole, half = (forecast(teacher, MineConfig(teacher_usd=usd), unseen) for usd in (2.0, 0.001))
    assert "100 of 100 texts to ask" in whole.words and "mine.teacher_usd" not in whole.words
    assert half.usd == 0.001 < whole.usd
    assert half.tokens < whole.tokens
    assert "(mine.teacher_usd)" in half.words
    assert half.people_s == whole.people_s == 100 * 4.8 * 60
    assert "a queue of at most 100 texts for people at 4.8 minutes each, often far fewer" in whole.words


def test_a_strategy_that_asks_no_teacher_costs_people_alone(store):
    unseen = pl.DataFrame({"id": [f"u{n}" for n in range(10)], "text": [f"Platform {n}?" for n in range(10)]})
    with open_teacher(parse_card(make_card()), store, TeacherConfig(), is_dry_run=True) as teacher:
        found = forecast(teacher, MineConfig(strategy="uncertainty"), unseen)
    assert (found.usd, found.tokens, found.people_s) == (0.0, 0, 10 * 4.8 * 60)
    assert "people at 4.8 minutes each, by uncertainty" in found.words


def test_people_need_the_seconds_that_they_were_measured_to_need(store):
    unseen = pl.DataFrame({"id": [f"u{n}" for n in range(10)], "text": [f"Platform {n}?" for n in range(10)]})
    with open_teacher(parse_card(make_card()), store, TeacherConfig(), is_dry_run=True) as teacher:
        few, enough = (forecast(teacher, MineConfig(), unseen, [20.0] * times) for times in (29, 30))
    assert (few.people_s, enough.people_s) == (10 * 4.8 * 60, 10 * 20.0)
    assert "20 seconds each (the median of 30 answers)" in enough.words


def test_the_forecast_of_mine_says_that_no_queue_is_left_where_label_takes_the_whole_pool(store):
    with open_teacher(parse_card(make_card()), store, TeacherConfig(), is_dry_run=True) as teacher:
        found = forecast(teacher, MineConfig(), pl.DataFrame(schema={"id": pl.String, "text": pl.String}))
    assert (found.usd, found.people_s) == (0.0, 0.0)
    assert "no queue for people: label takes all of the pool (label.texts; fewer leave some)" in found.words


def test_a_bundle_with_other_labels_is_refused(tmp_path, store, run, teacher):
    card = make_card().replace("name: other", "name: rest")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "card.yaml").write_text(card)
    with pytest.raises(
        BadArtifact,
        match=r"its positive label, rest, tip \(positive: tip; one a text\), got other, tip \(positive: tip; one",
    ):
        mine(tmp_path, {**run, "card": tmp_path / "snapshot"}, store.uri)


def test_near_duplicates_are_folded_into_the_most_contested_one():
    table = compared(
        ("a", "g1", "Ask for a room at the back of the house", 0.7),
        ("b", "g2", "ask for a ROOM at the back of the house!", 0.9),
        ("c", "g3", "Nothing like it", 0.8),
    )
    queue = rules.choose(table, MineConfig())
    assert queue.select("id", "copies").rows() == [("b", 2), ("c", 1)]


def test_a_group_fills_only_a_few_places_of_the_queue():
    words = ["harbour", "breakfast", "kettle", "museum"]
    table = compared(*((word, "g1", f"The {word}", 0.9 - number / 10) for number, word in enumerate(words)))
    assert rules.choose(table, MineConfig(per_group=2))["id"].to_list() == words[:2]
    assert rules.choose(table, MineConfig(queue_size=1))["id"].to_list() == words[:1]


def compared(*rows: tuple[str, str, str, float]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["id", "group", "text", "disagreement"], orient="row")
    return table.with_columns(is_contested=pl.lit(value=True), about=pl.lit(0))


def test_a_difference_of_just_the_limit_is_no_disagreement():
    table = pl.DataFrame(
        {
            "student_probabilities": [[0.1, 0.9], [0.1, 0.9], [0.8, 0.2]],
            "teacher_probabilities": [[0.4, 0.6], [0.41, 0.59], None],
            "teacher_label": ["tip", "tip", "other"],
        }
    )
    found = rules.compare(table, LabelSpace(("other", "tip"), "tip"), 0.3)
    assert found["disagreement"].to_list() == [0.3, 0.31, 0.2]
    assert found["is_contested"].to_list() == [False, True, False]
    assert found["about"].n_unique() == 1


def test_of_many_labels_the_distance_is_total_variation_and_pairs_take_turns():
    kinds = LabelSpace(("praise", "blame", "tip"))
    student = [[0.7, 0.2, 0.1]] * 5
    teacher = [[0.1, 0.8, 0.1], [0.15, 0.75, 0.1], [0.2, 0.7, 0.1], [0.3, 0.2, 0.5], None]
    table = pl.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e"],
            "group": ["a", "b", "c", "d", "e"],
            "text": ["one", "two", "three", "four", "five"],
            "student_label": ["praise"] * 5,
            "student_probabilities": student,
            "teacher_probabilities": teacher,
            "teacher_label": ["blame", "blame", "blame", "tip", "tip"],
        }
    )
    found = rules.compare(table, kinds, 0.3)
    assert found["disagreement"].to_list() == [0.6, 0.55, 0.5, 0.4, 0.9]
    queue = rules.choose(found, MineConfig(queue_size=4))
    assert queue["id"].to_list() == ["e", "a", "b", "d"]  # praise or tip: e, d; praise or blame: a, b, c
    shown = rules.with_own_probabilities(queue, kinds)
    assert shown["student_probability"].to_list() == [0.7] * 4
    assert shown["teacher_probability"].to_list() == [None, 0.8, 0.75, 0.5]


def test_where_a_text_may_have_several_labels_the_furthest_one_counts_and_single_labels_take_turns():
    kinds = LabelSpace(("praise", "blame", "tip"), is_many=True)
    teacher = [[0.9, 0.8, 0.1], [0.8, 0.75, 0.1], [0.9, 0.7, 0.2], [0.9, 0.3, 0.6], None, [0.9, 0.2, 0.1]]
    table = pl.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e", "f"],
            "group": ["a", "b", "c", "d", "e", "f"],
            "text": ["one", "two", "three", "four", "five", "six"],
            "student_label": ['["praise"]'] * 6,
            "student_probabilities": [[0.9, 0.2, 0.1]] * 6,
            "teacher_probabilities": teacher,
            "teacher_label": ['["praise", "blame"]'] * 3 + ['["praise", "tip"]', "[]", '["praise"]'],
        }
    )
    found = rules.compare(table, kinds, 0.3)
    # the teacher that said nothing of how sure it was says none: it is 0.9 from the student's praise
    assert found["disagreement"].to_list() == [0.6, 0.55, 0.5, 0.5, 0.9, 0.0]
    assert found["about"].to_list()[:5] == [1, 1, 1, 2, 0]
    queue = rules.choose(found, MineConfig(queue_size=4))
    assert queue["id"].to_list() == ["e", "a", "d", "b"]  # praise: e; blame: a, b, c; tip: d
    shown = rules.with_own_probabilities(queue, kinds)
    assert shown["student_probability"].to_list() == [0.9] * 4
    assert shown["teacher_probability"].to_list() == [None, 0.8, 0.6, 0.75]  # the lowest of the labels that it gave


def test_a_queue_of_texts_with_several_labels_holds_what_both_said(tmp_path, store, monkeypatch):
    # of each label the student's log-odds are -2 and those of its words: 0.119 without, 0.881 with one
    words = {"ask": {"tip": 4.0}, "lovely": {"praise": 4.0}, "never": {"blame": 4.0}}
    said = {
        "a": ("Ask for a lovely room", '["praise", "tip"]'),  # both found: 0.119 apart on each
        "b": ("Never ask them twice", '["tip"]'),  # blame is 0.881 apart
        "c": ("We came by bus", '["praise", "blame"]'),  # praise is 0.881 apart, and so is blame
        "d": ("The pool was closed", "[]"),
    }
    run = write_run(tmp_path, {name: (name, text) for name, (text, _) in said.items()})
    bundle = make_bundle(tmp_path / "several", words=words, labels=("praise", "tip", "blame"), is_many=True)
    pl.DataFrame(list(said.values()), schema=["text", "label"], orient="row").write_csv(tmp_path / "answers.csv")
    with simulated.serve(simulated.Plan(tmp_path / "answers.csv", unknown="refuse", card=bundle)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        mine(tmp_path, {**run, "card": bundle, "bundle": bundle}, store.uri)
    queue = queue_of(tmp_path)
    assert queue.select("id", "student_label", "teacher_label").rows() == [
        ("b", '["tip", "blame"]', '["tip"]'), ("c", "[]", '["praise", "blame"]'),
    ]  # fmt: skip
    assert queue["disagreement"].round(3).to_list() == [0.881, 0.881]
    assert queue["student_probability"].round(3).to_list() == [0.881, 0.881]  # of both labels, and of none


def test_where_a_text_may_have_several_labels_the_nearest_threshold_is_the_distance():
    rule = DecisionRule(thresholds=np.array([0.5, 0.3, 0.5]))
    np.testing.assert_allclose(rules.distances(np.array([[0.9, 0.1, 0.9], [0.9, 0.32, 0.1]]), rule), [0.2, 0.02])


def test_without_a_threshold_the_distance_is_that_of_the_two_likeliest_labels():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.2, 0.4]])
    np.testing.assert_allclose(rules.distances(probabilities, DecisionRule()), [0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(rules.distances(probabilities, DecisionRule(2, 0.3)), [0.1, 0.1], atol=1e-12)


def test_a_larger_draw_begins_with_the_smaller_one_whatever_the_order_of_the_pool():
    pool = pl.DataFrame({"id": [f"u{number}" for number in range(50)]})
    draw = rules.draw(pool, 20, seed=0)
    assert rules.draw(pool.reverse(), 30, seed=0)["id"].to_list()[:20] == draw["id"].to_list()
    assert rules.draw(pool, 20, seed=1)["id"].to_list() != draw["id"].to_list()
    assert draw["id"].to_list() != sorted(draw["id"])


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0, 1))
def test_every_beginning_of_the_asking_order_holds_the_share_by_lot(distance, share):
    order = rules.asking_order(np.array(distance), share)
    assert sorted(order) == list(range(len(distance)))
    ranks = np.argsort(np.argsort(distance, kind="stable"), kind="stable")
    for end in range(1, len(order) + 1):
        nearest = end - int(end * share)
        assert sum(ranks[position] < nearest for position in order[:end]) == nearest


@given(st.lists(st.floats(0, 1), min_size=20, max_size=60), st.integers(0, 2**31))
def test_weights_of_the_answered_texts_sum_to_the_pool(probabilities, seed):
    names = [f"u{number}" for number in range(len(probabilities))]
    distance = np.abs(np.array(probabilities) - 0.5)
    scored = pl.DataFrame({"id": names, "distance": distance})
    parts = np.argsort(np.argsort(distance, kind="stable"), kind="stable") * rules.PARTS // len(names)
    generator = random.Random(seed)  # noqa: S311
    answered = [generator.choice(np.flatnonzero(parts == part).tolist()) for part in range(rules.PARTS)]
    weighed = rules.weigh(scored, [names[index] for index in answered], pool_texts=7 * len(names))
    assert weighed["id"].to_list() == [names[index] for index in sorted(answered)]
    assert weighed["weight"].sum() == pytest.approx(7 * len(names))


def test_the_share_of_the_pool_counts_texts_by_what_they_stand_for():
    table = pl.DataFrame({"weight": [1.0, 9.0], "is_contested": [True, False]})
    assert rules.contested_share(table) == pytest.approx(0.1)


SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
CELLS = st.text() | st.text("a' ;,|\t\r\n\v\"=+-@\uff1d\u00a0\u2028", max_size=12)


@given(CELLS)
def test_a_safe_cell_is_no_formula_and_comes_back_whole(text):
    assert not safe_cell(text).startswith((*SIGNS, "\t", "\r"))
    assert raw_cell(safe_cell(text)) == text


@given(CELLS)
def test_a_cell_holds_no_formula_however_a_spreadsheet_parts_the_line(text):
    """A semicolon, a tab, a bar, a quote or a line break may begin a cell in a spreadsheet that expects it."""
    out = io.StringIO()
    csv.writer(out).writerow(["id", safe_cell(text), "more"])
    for piece in re.split('[;,|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029"]', out.getvalue()):
        assert not piece.lstrip(" \u00a0\u3000").startswith(SIGNS)


def test_a_long_cell_is_guarded_in_time():
    for text in ("\n" * 200_000, "'" * 200_000, ";'" * 100_000, " " * 200_000 + "="):
        started = time.process_time()
        assert raw_cell(safe_cell(text)) == text
        assert time.process_time() - started < 2


def test_the_csv_holds_no_formula_and_an_empty_column_for_people():
    queue = pl.DataFrame(
        {
            "id": ["-7"],
            "group": ["@home"],
            "text": ['=HYPERLINK("http://evil","x")\nsecond line'],
            "student_label": ["=tip"],
            "student_probability": [0.91234],
            "teacher_probability": [None],
            "teacher_label": ["other"],
            "disagreement": [0.91234],
            "guideline": ["g0123456789ab"],
        }
    )
    text = queues.queue_csv(queue, has_answers=True)
    assert text.startswith("\ufeffid,group,text,")
    (row,) = csv.DictReader(text.removeprefix("\ufeff").splitlines(keepends=True))
    assert row == {
        "id": "'-7",
        "group": "'@home",
        "text": '\'=HYPERLINK("http://evil","x")\nsecond line',
        "student_label": "'=tip",
        "student_probability": "0.9123",
        "teacher_label": "other",
        "teacher_probability": "",
        "disagreement": "0.9123",
        "guideline": "g0123456789ab",
        "label": "",
    }


def test_the_labelling_page_shows_the_rules_and_offers_the_labels():
    card = parse_card(make_card().replace("A wish to the hotel is no tip.", 'A price of "$5" & <more> is no tip.'))
    view = ElementTree.fromstring(queues.label_studio_page(card))  # noqa: S314 - our own
    headers = [header.get("value") for header in view.iter("Header")]
    assert headers[0] == card.question
    assert headers[1] == '1. A price of "$\u20605" & <more> is no tip.'  # else Label Studio reads $5 as a field
    assert [choice.get("value") for choice in view.iter("Choice")] == ["other", "tip"]
    assert (view.find("Text").get("value"), view.find("Choices").get("toName")) == ("$text", "text")


def test_the_tasks_hold_the_text_and_no_suggestion(tmp_path, store, run, teacher):
    mine(tmp_path, run, store.uri)
    tasks = json.loads((tmp_path / "queue" / "label-studio.json").read_text())
    assert [task["data"]["id"] for task in tasks] == ["u5", "u1", "u4", "u3"]
    assert all(set(task) == {"data"} for task in tasks)


THINGS = ["harbour", "castle", "breakfast", "museum", "ferry", "garden", "station", "market", "library", "bakery"]


def ingest(folder: Path, store: str) -> dict[str, Path]:
    """Run ingest on a small corpus: 60 labelled texts in as many groups, and the unlabelled ones."""
    folder.mkdir(exist_ok=True)
    (folder / "card.yaml").write_text(make_card())
    rows, said = [("id", "group", "text")], [("id", "label")]
    for number in range(60):
        word, thing, other = ("Ask", "Nice")[number % 2], THINGS[number % 10], THINGS[number // 10]
        rows.append((f"t{number}", f"r{number}", f"{word} words about {thing} {number} and also {other} {number * 7}"))
        said.append((f"t{number}", ("tip", "other")[number % 2]))
    rows += [(f"{'=' if name == 'u5' else ''}{name}", group, text) for name, (group, text, _) in UNLABELLED.items()]
    for name, table in (("texts.csv", rows), ("labels.csv", said)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    places = {name: folder / name for name in ("snapshot", "pool", "gold", "test", "refused")}
    given_ = {name: str(folder / f"{name}s.csv") for name in ("text", "label")}
    arguments = {"card": str(folder / "card.yaml"), "texts": given_["text"], "labels": given_["label"], "store": store}
    shell.execute("ingest", {**arguments, **places, "overrides": "calibrate.min_per_label=5"})
    tables.write(answers_to([]), tables.Judgements, folder / "judgements")
    judgements = folder / "judgements"
    return {"card": places["snapshot"], "pool": places["pool"], "gold": places["gold"], "judgements": judgements}


@pytest.mark.parametrize("tool", ["spreadsheet", "label studio"])
def test_answers_to_the_queue_are_in_the_next_run_as_training_labels(tmp_path, store, teacher, tool):
    first = ingest(tmp_path / "first", store.uri)
    card = load_card(first["card"])
    open_store(store.uri).put_if_absent(f"cards/{card.name}/{card.hash}.yaml", make_card().encode())
    mine(tmp_path, {**first, "bundle": make_bundle(tmp_path / "bundle")}, store.uri)
    answers = {"=u5": "tip", "u1": "tip", "u4": "tip"}
    filled = filled_in(tmp_path / "queue", answers) if tool == "spreadsheet" else annotated(tmp_path / "queue", answers)
    added = labels.add(store, str(filled))
    assert (added.labels, len(added.refusals)) == (3, 0)
    again = ingest(tmp_path / "second", store.uri)
    gold = tables.read(again["gold"], tables.Gold).filter(pl.col("id").is_in(list(answers)))
    assert dict(gold.select("id", "label").rows()) == answers
    assert gold["origin"].cast(pl.String).unique().to_list() == ["queue"]
    assert gold["split"].cast(pl.String).unique().to_list() == ["train"]


def filled_in(queue: Path, answers: dict[str, str]) -> Path:
    """Fill in the CSV as a person does in a spreadsheet."""
    with (queue / "queue.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    path = queue.parent / "filled.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": answers.get(row["id"].removeprefix("'"), "")} for row in rows)
    return path


def annotated(queue: Path, answers: dict[str, str]) -> Path:
    """Annotate the tasks as Label Studio exports them."""
    tasks = json.loads((queue / "label-studio.json").read_text())
    for task in tasks:
        chosen = answers.get(task["data"]["id"])
        result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [chosen]}}]
        task["annotations"] = [{"completed_by": 1, "was_cancelled": False, "result": result}] if chosen else []
    path = queue.parent / "export.json"
    path.write_text(json.dumps(tasks))
    return path
