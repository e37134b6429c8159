"""Texts that are split into sentences, from the files to the index: nothing is lost, counted twice or remembered."""

import io
import json
from pathlib import Path

import polars as pl
import pytest

from tests.bundles import make_bundle, make_card
from tests.night_desk import make_desk
from tests.steps.test_ingest import Desk, sentence
from tests.text.test_sentences import REVIEW, SAID
from understudy.cli.search import lines
from understudy.errors import BadData, BadSetting, UnderstudyError
from understudy.privacy import erasure
from understudy.privacy.sentences import holds_sentences
from understudy.runtime.shell import execute
from understudy.search import opening
from understudy.search.query import Query, parse
from understudy.steps.infer import rules
from understudy.store import layout, manifests, segments, tombstones
from understudy.store.predictions import PREDICTIONS
from understudy.store.storage import open_store
from understudy.task.card import parse_card
from understudy.task.settings import NO_OVERRIDES

NIGHT, TODAY, SPLIT = "2026-11-01", "2026-11-21", "ingest: {split: sentences}"
SAMPLE_KEY = "samples/2026-11-20/sample.parquet"
REVIEWS = [
    {"id": "r1", "text": f" \n{REVIEW}\n", "time": "2026-10-30"},
    {"id": "r2", "group": "jane", "text": "Avoid the bar. It was nice."},
    {"id": "r3", "text": "  "},
    {"id": "ticket#7", "text": "Ask for it."},
    {"id": "r12", "text": "Nice. Ask early! Avoid the bar."},
]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)


@pytest.fixture
def night_desk(tmp_path):
    desk = make_desk(tmp_path)
    desk.publish(more=SPLIT)
    (tmp_path / "card.yaml").write_text(make_card(more=SPLIT), encoding="utf-8")
    write(desk, REVIEWS)
    return desk


def write(desk, rows, name="a.jsonl"):
    desk.source.mkdir(exist_ok=True)
    (desk.source / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def begin_index(desk):
    execute("index", {"card": desk.folder / "card.yaml", "store": desk.uri, "indexed": desk.folder / "indexed"})


def left(desk):
    """Return all that lies in the store, Parquet as JSON."""
    files = [path for path in Path(desk.uri).rglob("*") if path.is_file()]
    tables = [pl.read_parquet(path).write_json() for path in files if path.suffix == ".parquet"]
    return "\n".join([*tables, *(path.read_text(errors="replace") for path in files if path.suffix != ".parquet")])


def test_a_night_labels_each_sentence_where_it_stands(night_desk):
    night_desk.shard(NIGHT)
    result = night_desk.infer(f"{NIGHT}/00")
    found = night_desk.predictions(NIGHT)
    assert found.schema == PREDICTIONS
    ours = found.filter(pl.col("id").str.starts_with("r1#"))
    assert ours["id"].to_list() == [f"r1#{number}" for number in range(1, 9)]
    assert ours["text"].to_list() == SAID
    source = REVIEWS[0]["text"]
    assert [source[start:end] for start, end in ours.select("start", "end").iter_rows()] == SAID
    assert set(ours["group"]) == {"r1"}
    assert set(ours["time"]) == {"2026-10-30"}
    tips = found.filter(label="tip")["text"].to_list()
    assert tips == [SAID[2], SAID[4], "Avoid the bar.", "Ask early!", "Avoid the bar."]
    assert found.filter(pl.col("id").str.starts_with("r2#"))["group"].to_list() == ["jane", "jane"]
    assert result.headline.startswith(f"{NIGHT}/00: 13 sentences of 3 texts labelled, 5 'tip'")
    assert (result.metrics["texts"], result.metrics["source_texts"], result.metrics["scored"]) == (13, 3, 12)
    assert segments.parse(night_desk.store.read(night_desk.record(NIGHT)["segments"][0]["key"]), "").equals(found)


def test_a_record_counts_sentences_and_answers_for_the_rows_of_the_source(night_desk):
    manifest = night_desk.night(NIGHT)
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"], record["labels"]) == (13, 3, {"other": 8, "tip": 5})
    assert record["refused"] == {"empty_text": 1, "sentence_id": 1}
    assert night_desk.refused(NIGHT)["id"].to_list() == ["r3", "ticket#7"]
    (read,) = segments.shard_records(night_desk.store, manifest)
    assert read.read_rows == manifest.texts == 5
    again = night_desk.infer(f"{NIGHT}/00")
    assert (again.metrics["texts"], again.metrics["source_texts"], again.metrics["scored"]) == (13, 3, 0)


def test_a_bundle_that_was_taught_whole_texts_is_given_whole_texts_whatever_the_card_says_by_now(night_desk):
    night_desk.publish(bias=-1.0)
    night_desk.night(NIGHT)
    assert "source_rows" not in night_desk.record(NIGHT)
    assert "ticket#7" in night_desk.predictions(NIGHT)["id"]
    assert night_desk.predictions(NIGHT)["start"].null_count() == 4


def test_a_killed_worker_goes_on_with_the_same_sentences(night_desk):
    manifest = night_desk.night(NIGHT, overrides="infer.texts_per_segment=1")
    whole = {key: night_desk.store.read(key) for key in night_desk.store.list()}
    gone = [manifests.shard_key(manifest, 0), manifests.prediction_key(manifest, 0, 1)]
    for key in [*night_desk.store.list("scored/"), *gone]:
        night_desk.store.delete(key)
    night_desk.infer(f"{NIGHT}/00")
    assert {key: night_desk.store.read(key) for key in night_desk.store.list()} == whole


def test_a_bundle_outside_of_any_night_splits_as_its_card_says(tmp_path, night_desk):
    folder = make_bundle(tmp_path / "splits", more=SPLIT)
    given = {"bundle": folder, "texts": str(night_desk.source), "predictions": tmp_path / "out"}
    result = execute("infer", given)
    assert "13 sentences of 3 texts labelled" in result.headline
    found = pl.concat([pl.read_parquet(file) for file in (tmp_path / "out").glob("predictions/**/*.parquet")])
    assert found["text"].to_list()[:8] == SAID
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["texts"], summary["source_texts"]) == (13, 3)


def test_an_empty_night_has_no_sentences(night_desk):
    night_desk.night(NIGHT)
    night_desk.night("2026-11-02")
    assert (night_desk.record("2026-11-02")["rows"], night_desk.record("2026-11-02")["source_rows"]) == (0, 0)


def test_a_search_says_where_a_tip_stands(night_desk):
    night_desk.night(NIGHT)
    begin_index(night_desk)
    with opening.opened_for_search(night_desk.store) as index:
        answer = index.search(parse("quieter", "tip"))
    (said,) = [json.loads(line) for line in lines(answer, as_json=True)]
    assert REVIEWS[0]["text"][said["start"] : said["end"]] == SAID[2]
    assert (said["id"], said["group"]) == ("r1#3", "r1")


@pytest.mark.parametrize(("ids", "groups"), [(["r1"], []), ([], ["r1"])])
def test_a_forgotten_text_leaves_with_all_its_sentences(night_desk, ids, groups):
    manifest = night_desk.night(NIGHT, overrides="infer.texts_per_segment=2")
    begin_index(night_desk)
    erased = erasure.forget(night_desk.store, ids, groups, TODAY)
    assert (erased.documents, erased.rows["predictions"], erased.rows["scored"]) == (8, 8, 8)
    assert night_desk.predictions(NIGHT)["id"].to_list() == ["r2#1", "r2#2", "r12#1", "r12#2", "r12#3"]
    everything = left(night_desk)
    assert not any(text in everything for text in SAID if text != "Yes")
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"], record["refused"]["forgotten"]) == (5, 2, 1)
    (read,) = segments.shard_records(night_desk.store, manifest)
    assert read.read_rows == manifest.texts
    with opening.opened_for_search(night_desk.store) as index:
        assert {found["group"] for found in index.search(Query()).documents} == {"jane", "r12"}
    night_desk.infer(f"{NIGHT}/00")
    assert night_desk.record(NIGHT) == record


def test_a_forgotten_sentence_leaves_its_text_counted(night_desk):
    manifest = night_desk.night(NIGHT)
    erasure.forget(night_desk.store, ["r2#1"], [], TODAY)
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"]) == (12, 3)
    assert "r2#1" not in night_desk.predictions(NIGHT)["id"]
    erasure.forget(night_desk.store, ["r2#2"], [], TODAY)
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"], record["refused"]["forgotten"]) == (11, 2, 1)
    assert segments.shard_records(night_desk.store, manifest)[0].read_rows == manifest.texts


@pytest.mark.parametrize(
    ("names", "rows", "source_rows", "refused"),
    [(["r1"], 5, 2, 1), (["r2#1"], 12, 3, 0), (["r2#1", "r2#2"], 11, 2, 1), (["r12", "r1"], 2, 1, 2)],
)
def test_a_later_night_does_not_take_what_was_forgotten(night_desk, names, rows, source_rows, refused):
    for kind in ("id", "sentences"):
        tombstones.remember_to_forget(night_desk.store, kind, names, TODAY)
    manifest = night_desk.night(NIGHT)
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"], record["refused"].get("forgotten", 0)) == (
        rows,
        source_rows,
        refused,
    )
    assert segments.shard_records(night_desk.store, manifest)[0].read_rows == manifest.texts


def test_a_text_without_a_group_is_forgotten_by_the_group_that_its_sentences_have(night_desk):
    night_desk.night(NIGHT)
    erasure.forget(night_desk.store, [], ["r12", "r3"], TODAY)
    night_desk.infer(f"{NIGHT}/00")
    write(night_desk, REVIEWS, "b.jsonl")
    night_desk.night("2026-11-02")
    assert night_desk.predictions("2026-11-02")["group"].unique().sort().to_list() == ["jane", "r1"]
    refused = night_desk.refused("2026-11-02")
    assert refused.filter(reason="forgotten").height == 1
    assert set(refused["id"]) == {None, "ticket#7"}


def test_a_worker_that_goes_on_counts_what_was_forgotten_after_its_segments_were_put(night_desk):
    night_desk.night(NIGHT, overrides="infer.texts_per_segment=1")
    for kind in ("id", "sentences"):
        tombstones.remember_to_forget(night_desk.store, kind, ["r12", "r2#2"], TODAY)
    night_desk.infer(f"{NIGHT}/00")
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"], record["refused"]["forgotten"]) == (9, 2, 1)
    assert night_desk.predictions(NIGHT)["id"].to_list() == [*(f"r1#{n}" for n in range(1, 9)), "r2#1"]


def test_a_text_whose_id_only_looks_like_a_sentence_stays(tmp_path):
    desk = make_desk(tmp_path)
    desk.write("a.csv", [("case", "Ask for it."), ("case#2", "Bring towels."), ("case#2#1", "Avoid the bar.")])
    desk.night(NIGHT)
    begin_index(desk)
    desk.store.put_if_absent("labels/c/000001-labels.jsonl", b'{"id": "case#2", "label": "tip"}\n')
    desk.store.put_if_absent("cards/c/0.yaml", make_card().encode())
    erased = erasure.forget(desk.store, ["case"], [], TODAY)
    assert (erased.documents, erased.rows["predictions"], "labels" in erased.rows) == (1, 1, False)
    assert desk.predictions(NIGHT)["id"].to_list() == ["case#2", "case#2#1"]
    with opening.opened_for_search(desk.store) as index:
        assert index.count() == 2
    desk.write("b.csv", [("case#2", "Bring towels."), ("case", "Ask for it.")])
    desk.night("2026-11-02")
    assert desk.predictions("2026-11-02")["id"].to_list() == ["case#2"]


@pytest.mark.parametrize(
    ("key", "data", "is_split"),
    [
        ("cards/c/0.yaml", make_card(), False),
        ("cards/c/0.yaml", make_card(more=SPLIT), True),
        ("cards/c/0.yaml", "of another release: [", True),
        (f"manifests/date={NIGHT}/00.json", '{"texts_per_segment": 9}', False),
        (f"manifests/date={NIGHT}/00.json", '{"texts_per_segment": 9, "language": "en"}', True),
        (f"manifests/date={NIGHT}/00.json", "{", True),
    ],
)
def test_a_store_holds_sentences_where_a_card_or_a_night_says_so(store, key, data, is_split):
    assert not holds_sentences(store)
    store.put_if_absent(key, data.encode())
    assert holds_sentences(store) == is_split
    erasure.forget(store, ["r1"], [], TODAY)
    assert tombstones.read(store).covers_text("r1#2", None) == is_split
    assert not tombstones.read(store).covers_text("r11#2", None)


def test_forgetting_again_ends_what_a_kill_left_in_the_index(night_desk, monkeypatch):
    night_desk.night(NIGHT)
    begin_index(night_desk)
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_forget_in_indices", lambda *_: 0)
        erasure.forget(night_desk.store, ["r1"], [], TODAY)
    assert erasure.forget(night_desk.store, ["r1"], [], TODAY).documents == 8


def test_a_text_that_is_repeated_counts_as_two_rows_of_the_source(night_desk):
    write(night_desk, [REVIEWS[1], REVIEWS[1], REVIEWS[4]])
    manifest = night_desk.night(NIGHT)
    assert night_desk.record(NIGHT)["source_rows"] == 3
    erasure.forget(night_desk.store, ["r2"], [], TODAY)
    record = night_desk.record(NIGHT)
    assert (record["rows"], record["source_rows"], record["refused"]) == (3, 1, {"forgotten": 2})
    assert segments.shard_records(night_desk.store, manifest)[0].read_rows == manifest.texts


@pytest.mark.parametrize("setting", ["split: words", "language: English", "language: ''"])
def test_odd_settings_are_refused(setting):
    with pytest.raises(UnderstudyError, match=r"split|language"):
        parse_card(make_card(more=f"ingest: {{{setting}}}")).settings(NO_OVERRIDES)


# The step ingest

COUNT = 60


@pytest.fixture
def desk(tmp_path):
    """Make reviews of three sentences, of which people labelled the second."""
    desk = Desk(tmp_path)
    desk.card(ingest={"min_per_label": 1, "split": "sentences"})
    desk.texts([(f"r{i}", text_of(i)) for i in range(COUNT)])
    desk.labels([(f"r{i}#2", "tip" if i % 3 == 0 else "other") for i in range(COUNT)])
    return desk


def text_of(number):
    return " ".join(f"{sentence(f'{number}-{part}')}." for part in range(3))


def test_ingest_makes_a_text_of_each_sentence(desk):
    result = desk.run()
    gold = desk.gold()
    assert set(gold["id"]) == {f"r{i}#2" for i in range(COUNT)}
    assert dict(gold.select("id", "text").iter_rows())["r7#2"] == f"{sentence('7-1')}."
    assert dict(gold.select("id", "group").iter_rows())["r7#2"] == "r7"
    in_train = gold.filter(split="train")["group"]
    assert desk.pool() == {f"{name}#{part}" for name in in_train for part in (1, 2, 3)}
    assert (result.metrics["texts"], result.metrics["source_texts"]) == (180, 60)
    assert result.headline.startswith("180 sentences of 60 texts (45 in the pool), 60 labels")
    assert desk.refused().keys() == {"group_held_out"}
    assert len(desk.pool()) + len(gold.filter(pl.col("split") != "train")) + result.metrics["refused"] == 180


def test_how_texts_are_split_stands_in_the_card_where_nights_find_it(desk):
    (fault,) = desk.faults(BadSetting, overrides="ingest.language=de")
    assert "must stand in the card" in fault


def test_a_label_on_a_whole_text_says_what_to_do(desk):
    desk.labels([(f"r{i}#2", "tip" if i % 3 == 0 else "other") for i in range(COUNT - 1)] + [("r59", "tip")])
    desk.run()
    refused = pl.read_parquet(desk.out / "refused/refusals.parquet").filter(reason="split_text")
    assert refused["id"].to_list() == ["r59"]
    assert refused["is_fault"].to_list() == [True]
    assert "split into sentences: label these, by its id with '#' and the sentence's number" in refused["detail"][0]
    desk.labels([(f"r{i}", "tip") for i in range(COUNT)])
    with pytest.raises(BadData, match="split_text 60"):
        desk.run()


def test_labels_of_absent_and_of_refused_texts_are_told_apart(desk):
    ours = [(f"r{i}", text_of(i)) for i in range(COUNT)]
    desk.texts([*ours, ("a#3", "Ask for it."), ("gone", "\0")])
    labels = [(f"r{i}#2", "tip" if i % 3 == 0 else "other") for i in range(COUNT)]
    desk.labels([*labels, ("r1#9", "tip"), ("gone#1", "tip"), ("a#3", "tip")])
    desk.run()
    refused = desk.refused()
    assert refused["sentence_id"] == ["a#3"]
    assert refused["unknown_id"] == ["r1#9"]
    assert sorted(refused["text_refused"]) == ["a#3", "gone#1"]


def test_a_repeated_row_is_refused_once_and_not_sentence_by_sentence(desk):
    desk.texts([*[(f"r{i}", text_of(i)) for i in range(COUNT)], ("r1", text_of(1)), ("r2", text_of(3))])
    desk.run()
    assert (desk.refused()["duplicate_row"], desk.refused()["duplicate_id"]) == (["r1"], ["r2"])


def test_what_is_forgotten_is_in_no_training_run(desk):
    desk.run()
    erasure.forget(open_store(desk.store), ["r3", "r4#1"], [], TODAY)
    desk.run()
    assert not desk.pool() & {"r3#1", "r3#2", "r3#3", "r4#1"}
    assert "r3#2" not in set(desk.gold()["id"])
    assert set(desk.refused()["forgotten"]) == {"r3", "r4#1"}


def test_the_splits_of_a_segment_are_those_of_its_rows():
    segment = rules.Segment(0, [], [])
    split = rules.in_sentences(segment, "en", tombstones.Forgotten(frozenset()))
    assert (split.rows, split.places, split.source_rows) == ([], [], 0)


def test_a_forgotten_text_takes_its_sentences_out_of_labels_queues_and_samples(store):
    rows = [{"id": name, "group": group, "text": f"Said by {name}."} for name, group in (("r1#2", "g"), ("r12#2", "h"))]
    table = io.BytesIO()
    pl.DataFrame(rows).write_parquet(table)
    names = (f"queues/c/q1/queue.{kind}" for kind in ("parquet", "csv", "json"))
    as_cells = "id,group,text\n" + "".join(",".join(row.values()) + "\n" for row in rows)
    as_items = json.dumps([{"data": row} for row in rows])
    as_lines = "".join(json.dumps({"id": row["id"], "label": "tip"}) + "\n" for row in rows)
    said = dict(zip(names, (table.getvalue(), as_cells.encode(), as_items.encode()), strict=True))
    said |= {"labels/c/000001-labels.jsonl": as_lines.encode(), SAMPLE_KEY: table.getvalue()}
    store.put_if_absent("cards/c/0.yaml", make_card(more=SPLIT).encode())
    for key, data in said.items():
        assert layout.erasure_of(key) is not None
        store.put_if_absent(key, data)
    erased = erasure.forget(store, ["r1"], [], TODAY)
    assert erased.rows == {"labels": 1, "queues": 3, "samples": 1}
    left = [store.read(key) for key in said]
    assert not any(b"r1#2" in data for data in left[1:4])
    assert all(b"r12#2" in data for data in left[1:4])
    assert all(pl.read_parquet(left[place])["id"].to_list() == ["r12#2"] for place in (0, 4))
