"""What nights, samples and dated test sets hold of the turns before a text, and how a forgotten turn leaves them."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.night_desk import Desk
from tests.nights import prediction
from tests.steps.test_context import CONTEXT, conversation, is_forgetting_killed, night_desk, write
from tests.steps.test_infer import forget_after
from tests.teachers import completion, teacher_server
from understudy.data import turns
from understudy.errors import BadArtifact
from understudy.privacy import erasure
from understudy.review import samples
from understudy.runtime import shell
from understudy.search import opening
from understudy.search.documents import documents
from understudy.search.query import parse
from understudy.steps.evaluate import testset
from understudy.steps.sample import rules
from understudy.steps.watch import testsets
from understudy.store import codecs, manifests, segments, tombstones
from understudy.store.cache import cache_folder
from understudy.store.predictions import OF_SEVERAL, PREDICTIONS, TURNS
from understudy.store.tombstones import tombstone
from understudy.task.card import load_card

NIGHT, DAY = "2026-11-01", "2026-11-07"
LABELS = {"labels": ("praise", "tip"), "is_many": True}
TALK = [
    ("a", "g", "1", "Secretly ask Jane"),
    ("b", "g", "2", "Bring two"),
    ("c", "g", "3", "Avoid three"),
    ("d", "g", "4", "Okay"),
    ("e", "", "5", "Nice five"),
]
CONTEXTS = [None, "Secretly ask Jane", "Secretly ask Jane | Bring two", "Bring two | Avoid three", None]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)


def hashes_of(names: str) -> list[str]:
    return [tombstone("id", name) for name in names]


@pytest.fixture
def desk(tmp_path) -> Desk:
    """A night of one talk, in segments of two texts."""
    made = night_desk(tmp_path / "desk", CONTEXT)
    write(made, TALK)
    made.night(NIGHT, overrides="infer.texts_per_segment=2")
    return made


def stored(desk: Desk) -> list[bytes]:
    return [desk.store.read(key) for key in desk.store.list("predictions/") if key.endswith(".parquet")]


# Nights


def test_predictions_hold_what_was_read_before_each_text_and_the_hashes_of_its_turns(desk):
    found = desk.predictions(NIGHT)
    assert found.schema == {**PREDICTIONS, **TURNS}
    assert found["context"].to_list() == CONTEXTS
    assert found["turn_hashes"].to_list() == [hashes_of(names) for names in ("", "a", "ab", "bc", "")]
    assert all(segments.parse(data, "here").equals(pl.read_parquet(data)) for data in stored(desk))


def test_a_night_without_context_keeps_its_columns(tmp_path):
    desk = night_desk(tmp_path / "desk", "")
    write(desk, TALK)
    desk.night(NIGHT)
    assert desk.predictions(NIGHT).schema == PREDICTIONS


@pytest.mark.parametrize("order", [None, "turn"])
def test_the_turns_of_a_night_are_those_of_ingest_and_the_same_bytes_however_it_is_dealt_out(tmp_path, order):
    more, bytes_of = f"context: {{turns: 2, order: {order or 'null'}, words: 5}}", {}
    for size in (1_000, 15):
        desk = night_desk(tmp_path / str(size), more)
        write(desk, conversation())
        desk.night(NIGHT, overrides=f"shard.texts_per_shard={size}")
        found = desk.predictions(NIGHT).sort("id")
        bytes_of[size] = codecs.as_parquet(found.drop("scored_at"))
    assert bytes_of[1_000] == bytes_of[15]
    rows = pl.DataFrame(conversation(), schema=["id", "group", "turn", "text"], orient="row")
    ingested = rows.with_columns(file=pl.lit("day.csv"), row=pl.int_range(pl.len()))
    context = load_card(tmp_path / "15/with").context
    assert found.select("id", *TURNS).equals(turns.with_context(ingested, context).sort("id").select("id", *TURNS))


def test_a_night_that_goes_on_after_a_kill_leaves_the_same_bytes(desk):
    before, manifest = stored(desk), manifests.read_manifest(desk.store, NIGHT)
    desk.store.delete(manifests.shard_key(manifest, 0))
    desk.store.delete(manifests.prediction_key(manifest, 0, 1))
    desk.infer(f"{NIGHT}/00")
    assert stored(desk) == before


def test_a_text_that_another_night_has_scored_has_its_turns_beside_it_too(desk):
    write(desk, [(f"{name}2", f"{group}2" if group else "", turn, text) for name, group, turn, text in TALK])
    desk.shard("2026-11-02")
    assert desk.infer("2026-11-02/00").metrics["scored"] == 0
    found = desk.predictions("2026-11-02")
    assert found["context"].to_list() == CONTEXTS
    assert found["turn_hashes"][3].to_list() == [tombstone("id", name) for name in ("b2", "c2")]


def test_predictions_of_several_labels_have_the_turns_last(tmp_path):
    desk = night_desk(tmp_path / "desk", CONTEXT, **LABELS)
    write(desk, TALK)
    desk.night(NIGHT)
    assert desk.predictions(NIGHT).schema == {**OF_SEVERAL, **TURNS}
    assert desk.predictions(NIGHT)["context"].to_list() == CONTEXTS


@pytest.mark.parametrize(
    "change",
    [
        {"turn_hashes": None},
        {"turn_hashes": []},
        {"turn_hashes": ["jane"]},
        {"turn_hashes": [None]},
        {"context": None, "turn_hashes": None},
    ],
)
def test_a_context_that_does_not_say_whose_it_is_is_refused(change):
    rows = [{**prediction("a"), "context": "No.", "turn_hashes": hashes_of("b"), **change}]
    table = pl.DataFrame(rows, schema={**PREDICTIONS, **TURNS})
    with pytest.raises(BadArtifact, match="got a context without the hashes of its turns"):
        segments.parse(codecs.as_parquet(table), "here")
    with pytest.raises(BadArtifact, match="got a context without the hashes of its turns"):
        segments.parse(codecs.as_parquet(table.drop("turn_hashes")), "here")


def test_no_index_gets_the_turns_of_a_text(desk):
    found = documents(desk.predictions(NIGHT), "hotel-tips")
    assert not {*TURNS} & {*found.columns}
    card = desk.folder / "card.yaml"
    shell.execute("index", {"card": card, "store": desk.uri, "indexed": desk.folder / "indexed"})
    erasure.forget(desk.store, ["a"], [], DAY)
    with opening.opened_for_search(desk.store) as index:
        assert [found["id"] for found in index.search(parse("bring")).documents] == ["b"]  # a turn of "c" and "d"
    assert not any(b"Secretly" in path.read_bytes() for path in Path(cache_folder()).rglob("*") if path.is_file())


# Forgetting


def require_forgotten(desk: Desk, rows: list[str], contexts: list[str | None], forgotten: int) -> None:
    """Check that Jane is nowhere in the night, and that its record says what is left."""
    found, record = desk.predictions(NIGHT), desk.record(NIGHT)
    assert (found["id"].to_list(), found["context"].to_list()) == (rows, contexts)
    assert record["rows"] == len(rows)
    assert record["refused"] == ({"forgotten": forgotten} if forgotten else {})
    assert [part["sha256"] for part in record["segments"]] == [
        hashlib.sha256(data).hexdigest() for data in stored(desk)
    ]
    assert not any("rewrites" in part for part in record["segments"])


def test_a_turn_that_is_forgotten_leaves_the_contexts_of_the_night_and_the_texts_stay(desk):
    before = desk.predictions(NIGHT)
    assert erasure.forget(desk.store, ["a"], [], DAY).rows == {"predictions": 3, "scored": 1}
    left = [None, None, "Bring two | Avoid three", None]
    require_forgotten(desk, list("bcde"), left, 1)
    after = desk.predictions(NIGHT)
    assert after["turn_hashes"].equals(before["turn_hashes"][1:])
    assert after["label"].equals(before["label"][1:])
    assert erasure.forget(desk.store, ["a"], [], DAY).rows == {}
    kept = stored(desk)
    desk.infer(f"{NIGHT}/00")
    assert stored(desk) == kept
    require_forgotten(desk, list("bcde"), left, 1)


def test_a_segment_that_loses_contexts_alone_counts_no_row_as_forgotten(tmp_path):
    desk = night_desk(tmp_path / "desk", CONTEXT)
    write(desk, TALK)
    desk.night(NIGHT)
    table = desk.predictions(NIGHT).filter(pl.col("id") != "a")  # as where the turn's own prediction lies elsewhere
    (key,) = [key for key in desk.store.list("predictions/") if key.endswith(".parquet")]
    record = desk.record(NIGHT)
    data = codecs.as_parquet(table)
    record["segments"][0] |= {"rows": 4, "sha256": hashlib.sha256(data).hexdigest()}
    for name, content in ((key, data), (key.replace("-00000.parquet", ".json"), codecs.as_json({**record, "rows": 4}))):
        desk.store.delete(name)
        desk.store.put_if_absent(name, content)
    erasure.forget(desk.store, ["a"], [], DAY)
    require_forgotten(desk, list("bcde"), [None, None, "Bring two | Avoid three", None], 0)


def test_contexts_that_a_kill_left_go_when_the_turn_is_forgotten_again(tmp_path, monkeypatch):
    number, is_killed = 0, True
    while is_killed:
        desk = night_desk(tmp_path / str(number), CONTEXT)
        write(desk, TALK)
        desk.night(NIGHT, overrides="infer.texts_per_segment=2")
        is_killed = is_forgetting_killed(monkeypatch, desk.store, number, DAY)
        number += is_killed
        erasure.forget(desk.store, ["a"], [], DAY)
        require_forgotten(desk, list("bcde"), [None, None, "Bring two | Avoid three", None], 1)
    assert number == 4  # three segments and the scores


def test_a_turn_that_is_forgotten_while_a_worker_runs_stays_in_no_context(tmp_path, monkeypatch):
    desk = night_desk(tmp_path / "desk", CONTEXT)
    write(desk, TALK)
    desk.shard(NIGHT)
    forget_after(monkeypatch, "predictions/", "a")
    desk.infer(f"{NIGHT}/00", overrides="infer.texts_per_segment=2")
    assert not any(b"Secretly" in pl.read_parquet(data).write_json().encode() for data in stored(desk))
    assert desk.predictions(NIGHT)["id"].to_list() == list("bcde")
    assert desk.record(NIGHT)["rows"] == 4


def test_a_worker_that_goes_on_takes_out_the_contexts_of_what_was_forgotten_meanwhile(desk):
    tombstones.remember_to_forget(desk.store, "id", ["c"], DAY)
    desk.infer(f"{NIGHT}/00")
    require_forgotten(desk, list("abde"), [None, "Secretly ask Jane", None, None], 1)


# Samples


def sample(desk: Desk, day: str = DAY, answers: str = "", *overrides: str) -> shell.Result:
    places = {name: desk.folder / f"{day}-{name}" for name in ("snapshot", "sample")}
    given = {"card": str(desk.folder / "card.yaml"), "store": desk.uri, "date": day, "answers": answers}
    return shell.execute("sample", {**given, **places, "overrides": "\n".join(overrides)})


@pytest.fixture
def asked(monkeypatch) -> Any:
    """What a teacher is asked that calls every text a tip."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with teacher_server(lambda *_: completion('{"label":"tip"}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        yield log


def files_of(desk: Desk) -> dict[str, bytes]:
    return {key.rpartition("/")[2]: desk.store.read(key) for key in desk.store.list(f"samples/{DAY}/")}


def rows_of(sheet: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet.decode("utf-8-sig"))))


def test_people_and_the_teacher_are_shown_the_turns_before_a_text_of_the_sample(desk, asked):
    found = sample(desk)
    assert (found.metrics["drawn"], found.metrics["taught"]) == (5, 5)
    prompts = [request["messages"][1]["content"] for request in asked.requests]
    assert sum("Bring two | Avoid three\n" in prompt for prompt in prompts) == 1
    contexts = dict(zip("abcde", CONTEXTS, strict=True))
    files = files_of(desk)
    table = samples.read_sample(desk.store, DAY)
    assert dict(table.select("id", "context").iter_rows()) == contexts
    assert dict(table.select("id", "turn_hashes").iter_rows())["d"] == hashes_of("bc")
    assert table["teacher_label"].to_list() == ["tip"] * 5
    sheet = rows_of(files["queue.csv"])
    assert list(sheet[0]) == ["id", "group", "context", "text", "guideline", "label"]
    assert {row["id"]: row["context"] or None for row in sheet} == contexts
    tasks = [task["data"] for task in json.loads(files["label-studio.json"])]
    assert {task["id"]: task["context"] or None for task in tasks} == contexts
    page = files["label-studio.xml"].decode()
    assert page.index("$context") < page.index("$text")
    shown = b"".join(files[name] for name in ("queue.csv", "label-studio.json", "label-studio.xml"))
    assert b"turn_hashes" not in shown
    assert not any(name.encode() in shown for name in hashes_of("abcd"))


def test_the_teacher_stays_within_the_samples_budget_with_the_turns_too(desk, asked):
    found = sample(desk, DAY, "", "teacher_usd=0.002", "teacher.concurrency=1")
    assert 0 < found.metrics["taught"] < 5
    assert 0 < found.metrics["cost_usd"] <= 0.002


def test_texts_of_predictions_without_turns_are_shown_to_people_alone(desk, asked):
    write(desk, [("f", "h", "1", "Maybe six"), ("g", "h", "2", "Stayed seven")])
    manifest = desk.night("2026-11-02")
    key = manifests.prediction_key(manifest, 0, 0)
    bare = codecs.as_parquet(pl.read_parquet(desk.store.read(key)).drop(TURNS))
    desk.store.delete(key)
    desk.store.put_if_absent(key, bare)
    found = sample(desk)
    assert (found.metrics["drawn"], found.metrics["taught"]) == (7, 5)
    table = samples.read_sample(desk.store, DAY)
    assert set(table.filter(pl.col("teacher_label").is_null())["id"]) == {"f", "g"}
    assert samples.of_known_turns(table)["id"].sort().to_list() == list("abcde")


def test_a_teacher_whose_card_has_no_context_is_asked_about_the_text_alone(desk):
    sample(desk)
    drawn = samples.read_sample(desk.store, DAY)
    assert rules.for_teacher(drawn, 3, has_context=False).columns == ["id", "text", "weight"]
    assert rules.for_teacher(drawn, 3, has_context=True).columns == ["id", "text", *TURNS, "weight"]


def test_a_turn_that_is_forgotten_leaves_the_sample_and_its_texts_stay(desk):
    sample(desk)
    erasure.forget(desk.store, ["a"], [], DAY)
    files = files_of(desk)
    assert not any(b"Secretly" in data for name, data in files.items() if name != "sample.parquet")
    left = {"b": None, "c": None, "d": "Bring two | Avoid three", "e": None}
    table = samples.read_sample(desk.store, DAY)
    assert dict(table.select("id", "context").iter_rows()) == left
    assert dict(table.select("id", "turn_hashes").iter_rows())["c"] == hashes_of("ab")
    assert {row["id"]: row["context"] or None for row in rows_of(files["queue.csv"])} == left
    assert {task["data"]["id"] for task in json.loads(files["label-studio.json"])} == set(left)
    assert erasure.forget(desk.store, ["a"], [], DAY).rows == {}


def test_a_turn_that_is_forgotten_while_the_sample_is_drawn_is_in_no_context(desk, monkeypatch):
    put = samples.put_drawn

    def hooked(*given):
        erasure.forget(desk.store, ["a"], [], DAY)
        put(*given)

    monkeypatch.setattr(samples, "put_drawn", hooked)
    assert sample(desk).metrics["drawn"] == 4
    assert not any(b"Secretly" in data for name, data in files_of(desk).items() if name != "sample.parquet")
    assert "Secretly" not in samples.read_sample(desk.store, DAY).write_json()


def test_a_sample_whose_contexts_are_nobodys_is_one_sentence(desk):
    sample(desk)
    key = f"samples/{DAY}/sample.parquet"
    table = pl.read_parquet(desk.store.read(key)).drop("turn_hashes")
    desk.store.delete(key)
    desk.store.put_if_absent(key, codecs.as_parquet(table))
    with pytest.raises(
        BadArtifact, match=r"must be a sample whose contexts have the hashes of their turns.*Restore it"
    ):
        samples.read_sample(desk.store, DAY)


# Dated test sets


def test_a_dated_test_set_has_the_turns_and_evaluate_reads_it_as_the_split(desk, tmp_path):
    sample(desk)
    sheet = rows_of(files_of(desk)["queue.csv"])
    with (tmp_path / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, sheet[0].keys())
        writer.writeheader()
        writer.writerows({**row, "label": "tip" if row["id"] in "bc" else "other"} for row in sheet)
    assert sample(desk, "2026-11-14", str(tmp_path / "answers.csv")).metrics["answers"] == 5
    card = load_card(desk.folder / "with")
    testsets.make_due(desk.store, card, samples.read_answered(desk.store, "2027-01-02"), "2027-01-02", 5)
    read = testset.read(desk.store.root / "testsets/2026-12-31", card, None, 0.0).table
    assert read["context"].to_list() == CONTEXTS
    assert testset.seen_texts(read, card)[3] == "Bring two | Avoid three || Okay"
    assert read["label"].to_list() == ["other", "tip", "tip", "other", "other"]

    for key in desk.store.list("samples/") + desk.store.list("predictions/"):
        desk.store.delete(key)  # past their retention: the test set itself says whose words stand in it
    erasure.forget(desk.store, ["b"], [], "2027-01-03")
    left = pl.read_parquet(desk.store.read("testsets/2026-12-31/gold.parquet")).sort("id")
    assert (left["id"].to_list(), left["context"].to_list()) == (list("acde"), [None] * 4)


def test_a_dated_test_set_holds_no_text_of_which_the_turns_are_not_known(desk):
    sample(desk)
    table = samples.read_sample(desk.store, DAY)
    answered = table.with_columns(human_label=pl.lit("tip"), annotators=pl.lit(1, pl.Int64), day=pl.lit(DAY))
    is_known = pl.col("id").is_in(list("abc"))
    partly = answered.with_columns(pl.when(is_known).then(name).alias(name) for name in TURNS)
    testsets.make_due(desk.store, load_card(desk.folder / "with"), partly, "2027-01-02", 1)
    gold = pl.read_parquet(desk.store.read("testsets/2026-12-31/gold.parquet"))
    assert sorted(gold["id"]) == list("abc")
    testsets.make_due(desk.store, load_card(desk.folder / "bundle"), answered, "2026-11-01", 1)
    assert desk.store.list("testsets/2026-09-30/") == []
    bare = testsets.gold(answered.drop(TURNS))
    assert "context" not in pl.read_parquet(bare).columns


def test_samples_with_and_without_turns_are_read_together(desk):
    sample(desk)
    later, bare = "2026-11-14", samples.read_sample(desk.store, DAY).drop(TURNS)
    samples.put_drawn(desk.store, later, bare, {})
    samples.put_about(desk.store, later, {"drawn": 5, "taught": 0})
    found = samples.read_answered(desk.store, later)
    assert found.filter(day=DAY)["context"].sort().to_list() == sorted(CONTEXTS, key=lambda one: (one is not None, one))
    assert found.filter(day=later)["turn_hashes"].null_count() == 5


def test_a_turn_that_was_to_be_forgotten_before_the_test_set_was_put_is_in_no_context(desk):
    sample(desk)
    table = samples.read_sample(desk.store, DAY)
    answered = table.with_columns(human_label=pl.lit("tip"), annotators=pl.lit(1, pl.Int64), day=pl.lit(DAY))
    erasure.forget(desk.store, ["a"], [], DAY)
    testsets.make_due(desk.store, load_card(desk.folder / "with"), answered, "2027-01-02", 1)
    assert "Secretly" not in pl.read_parquet(desk.store.read("testsets/2026-12-31/gold.parquet")).write_json()
