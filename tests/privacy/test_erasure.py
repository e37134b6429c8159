"""A text that was forgotten is nowhere in the store, in the caches or in the index, and does not come back."""

import hashlib
import io
import itertools
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.nights import prediction, put_segment, put_shard_end
from tests.watched import KNOWN, make_texts, publish, put_night
from understudy.cli.main import app
from understudy.errors import BadInput, BadSetting, IndexFailed, StorageError
from understudy.privacy import erasure
from understudy.privacy.objects import ERASERS
from understudy.privacy.watch_words import forget_words
from understudy.reports import watch
from understudy.review import labels
from understudy.runtime.shell import execute
from understudy.search import dead_letters, opening
from understudy.search.backend import Letter
from understudy.search.query import Query
from understudy.search.settings import IndexConfig
from understudy.search.sync import follow
from understudy.steps.watch import quality
from understudy.store import tombstones, watch_records
from understudy.store.folder import FolderStore
from understudy.store.registry import Current
from understudy.store.storage import open_store
from understudy.store.watch_records import Quality
from understudy.teacher.response_log import Response, ResponseLog, content_key

SECRET, CARD = "My name is Jane Q. Traveller.", "hotel-tips"


@pytest.fixture
def filled(store, tmp_path, monkeypatch):
    """Fill a store with a text in every place that can name one."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    segment = put_segment(store, [prediction("jane", SECRET, group="g"), prediction("other")])
    put_shard_end(store, [segment])
    scored = pl.DataFrame({"content": [prediction("jane", SECRET)["content"], "x"], "probability": [0.5, 0.5]})
    put_table(store, "scored/v1/date=2026-11-03/00.parquet", scored)
    queue = pl.DataFrame({"id": ["jane", "b"], "group": ["g", "b"], "text": [SECRET, "b"]})
    put_table(store, f"queues/{CARD}/q1/queue.parquet", queue)
    put(store, f"queues/{CARD}/q1/queue.csv", f'id,group,text,label\njane,g,"{SECRET}",\nb,b,b,\n')
    tasks = [{"data": {"id": "jane", "text": SECRET}}, {"data": {"id": "b", "text": "b"}}]
    put(store, f"queues/{CARD}/q1/label-studio.json", json.dumps(tasks))
    put(store, f"splits/{CARD}/000001.jsonl", '{"group": "g", "split": "train"}\n{"group": "b", "split": "train"}\n')
    votes = pl.DataFrame({"id": ["jane", "b"], "label": ["tip", "tip"], "file": ["f", "f"], "row": [1, 2]})
    labels.put(store, CARD, votes, "queue")
    book = ResponseLog(store, CARD)
    for name, text in (("1", SECRET), ("2", "b")):
        book.keep(answer(name, text))
    book.close()
    card = tmp_path / "card.yaml"
    card.write_text(card_yaml(), encoding="utf-8")
    execute("index", {"card": card, "store": store.uri, "indexed": tmp_path / "indexed"})
    dead_letters.keep(store, "elsewhere", segment, [Letter("jane", "too rude"), Letter("other", "too long")])
    return store


def answer(name, text):
    cost = 0.25
    return Response(name, "judge", content_key(text), "tip", None, f"it says: {text}", 1, 1, cost, is_rehearsal=False)


def put(store, key, text):
    assert store.put_if_absent(key, text.encode())


def put_table(store, key, table):
    data = io.BytesIO()
    table.write_parquet(data, compression="uncompressed")
    store.put_if_absent(key, data.getvalue())


def everything(folder):
    """Return all rows and bytes below a folder, Parquet as JSON."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    tables = [pl.read_parquet(path).write_json().encode() for path in files if path.suffix == ".parquet"]
    return b"\n".join([*tables, *(path.read_bytes() for path in files if path.suffix != ".parquet")])


@pytest.mark.parametrize("named", [{"ids": ["jane"], "groups": []}, {"ids": [], "groups": ["g"]}])
def test_a_forgotten_text_is_nowhere(filled, tmp_path, named):
    assert SECRET.encode() in everything(filled.root)
    erased = erasure.forget(filled, **named, today="2026-11-04")
    left = everything(filled.root) + everything(tmp_path / "cache")
    assert SECRET.encode() not in left
    assert b"jane" not in left
    assert prediction("jane", SECRET)["content"].encode() not in left
    assert erased.documents == 1
    assert set(erased.rows) >= {"predictions", "scored", "queues", "labels", "dead-letters", "judgements"}


def test_what_is_not_named_stays(filled):
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    segment = pl.read_parquet(filled.root / "predictions/date=2026-11-03/v1/00-00000.parquet")
    assert segment["id"].to_list() == ["other"]
    assert labels.read_all(filled, CARD)["id"].to_list() == ["b"]
    assert [
        letter.id
        for letter in dead_letters.read(filled, "elsewhere", dead_letters.list_segments(filled, "elsewhere")[0])
    ] == ["other"]
    with opening.opened_for_search(filled) as index:
        assert [found["id"] for found in index.search(Query()).documents] == ["other"]


def test_a_copy_of_the_text_under_another_id_stays(filled):
    segment = put_segment(filled, [prediction("copy", SECRET), prediction("jane", SECRET)], 1)
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    assert pl.read_parquet(filled.root / segment)["id"].to_list() == ["copy"]


def test_what_an_answer_cost_stays_on_the_books(filled):
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    book = ResponseLog(filled, CARD)
    assert book.spent_usd(is_rehearsal=False) == 0.5
    assert list(book.answers("judge")) == [content_key("b")]
    book.close()


def test_the_record_of_a_shard_says_what_its_segments_hold(filled):
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    record = json.loads(filled.read("predictions/date=2026-11-03/v1/00.json"))
    assert record["segments"][0]["rows"] == record["rows"] == 1
    data = filled.read(record["segments"][0]["key"])
    assert record["segments"][0]["sha256"] == hashlib.sha256(data).hexdigest()


def test_forgetting_again_changes_nothing(filled):
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    before = everything(filled.root)
    again = erasure.forget(filled, ["jane"], [], "2026-11-05")
    assert (dict(again.rows), again.documents) == ({}, 0)
    assert everything(filled.root) == before


class Killed(BaseException):
    """The process ends here."""


def kill_after(monkeypatch, number):
    """End the process right after so many writes to a store."""
    done = itertools.count(1)

    def hooked(write):
        def counted(*arguments):
            result = write(*arguments)
            if next(done) == number:
                raise Killed
            return result

        return counted

    for name in ("put_if_absent", "compare_and_swap", "delete"):
        monkeypatch.setattr(FolderStore, name, hooked(getattr(FolderStore, name)))


@pytest.mark.parametrize("named", [{"ids": ["jane"], "groups": []}, {"ids": [], "groups": ["g"]}])
def test_after_a_kill_at_any_write_forgetting_again_ends_what_is_left(filled, tmp_path, monkeypatch, named):
    left_over, is_killed, number = [], True, 0
    while is_killed:
        number += 1
        store = FolderStore(shutil.copytree(filled.root, tmp_path / str(number)))
        with monkeypatch.context() as patch:
            kill_after(patch, number)
            try:
                erasure.forget(store, **named, today="2026-11-04")
            except Killed:
                pass
            else:
                is_killed = False
        erasure.forget(store, **named, today="2026-11-04")
        left = everything(store.root)
        traces = (SECRET.encode(), b"jane", prediction("jane", SECRET)["content"].encode())
        left_over += [(number, trace) for trace in traces if trace in left]
    assert left_over == []
    assert number > len(ERASERS)  # there was something to kill


def test_answers_that_are_merged_while_forgetting_is_killed_go_too(filled, monkeypatch):
    filled.delete(f"queues/{CARD}/q1/queue.parquet")  # only the segment of predictions says what the text says
    merged = f"judgements/{CARD}/judge/{'0' * 32}.jsonl"
    parts = {key: filled.read(key) for key in filled.list("judgements/") if key.endswith(".jsonl")}
    delete, swap = FolderStore.delete, FolderStore.compare_and_swap

    def deleted(store, key):
        if key in parts:
            store.put_if_absent(merged, b"".join(parts.values()))
        delete(store, key)

    def swapped(store, key, data, tag):
        swap(store, key, data, tag)
        if key.startswith("predictions/") and key.endswith(".parquet"):
            raise Killed
        return True

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(FolderStore, "delete", deleted)
        patch.setattr(FolderStore, "compare_and_swap", swapped)
        erasure.forget(filled, ["jane"], [], "2026-11-04")
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    assert prediction("jane", SECRET)["content"].encode() not in everything(filled.root)


def test_a_forgotten_text_that_arrives_again_is_not_indexed(filled, tmp_path):
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    put_segment(filled, [prediction("jane", SECRET, date="2026-11-05")])
    execute("index", {"card": tmp_path / "card.yaml", "store": filled.uri, "indexed": tmp_path / "indexed"})
    with opening.opened_for_search(filled) as index:
        assert index.search(Query()).total == 1


def test_an_index_on_another_machine_forgets_when_it_is_next_opened(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "elsewhere"))
    with opening.opened_for_search(filled) as index:
        assert index.count() == 2
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    erasure.forget(filled, ["jane"], [], "2026-11-04")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "elsewhere"))
    with opening.opened_for_search(filled) as index:
        assert index.count() == 1
    assert SECRET.encode() not in everything(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["@bob-1", "-55", "=x"])
def test_an_id_that_a_spreadsheet_would_run_is_found_in_the_queues(filled, name):
    folder = f"queues/{CARD}/q2"
    put(filled, f"{folder}/queue.csv", f"id,group,text,label\n'{name},g2,BOB WAS HERE,\nb,b,b,\n")
    erasure.forget(filled, [name], [], "2026-11-04")
    assert filled.read(f"{folder}/queue.csv").decode().splitlines() == ["id,group,text,label", "b,b,b,"]


def test_an_index_that_a_search_filled_before_any_night_was_indexed_forgets(filled, tmp_path):
    filled.delete(opening.SERVING)
    said = {"card": CARD, "version": "v1", "previous": None, "generation": 1, "published": "2026-11-01"}
    current = Current(**said, card_hash="0" * 64, report="bundles/v1/papers/0/report.html", is_rehearsal=False)
    put(filled, "current.json", json.dumps(asdict(current)))
    assert SECRET.encode() in everything(tmp_path / "cache")
    assert erasure.forget(filled, ["jane"], [], "2026-11-04").documents == 1
    assert SECRET.encode() not in everything(tmp_path / "cache")


def test_the_indices_before_the_one_that_serves_forget_too(filled, tmp_path, es_url, monkeypatch):
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    config = IndexConfig(replicas=0)
    with opening.opened(filled, CARD, es_url, config) as index:
        follow(index, filled, CARD)
    opening.say_serving(filled, opening.Serving(CARD, es_url))
    opening.say_serving(filled, opening.Serving(CARD, ""))
    assert opening.read_serving(filled).former == (es_url,)
    with pytest.raises(BadInput, match=r"(?s)must be named, got none for http.*All else has forgotten"):
        erasure.forget(filled, ["jane"], [], "2026-11-04")
    assert erasure.forget(filled, ["jane"], [], "2026-11-04", [es_url]).documents == 1
    assert SECRET.encode() not in everything(tmp_path / "cache")
    with opening.opened_as_is(filled, CARD, es_url) as index:
        assert [found["id"] for found in index.search(Query()).documents] == ["other"]
        assert index.remove(["other"]) == 1


def test_an_index_that_is_away_is_said_after_all_else_has_forgotten(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:9")
    opening.say_serving(filled, opening.Serving(CARD, "http://127.0.0.1:9"))
    with pytest.raises(IndexFailed, match=r"(?s)Elasticsearch must answer.*All else has forgotten"):
        erasure.forget(filled, ["jane"], [], "2026-11-04")
    assert SECRET.encode() not in everything(filled.root) + everything(tmp_path / "cache")


@pytest.fixture
def watched(store, tmp_path, monkeypatch):
    """Fill a store with three nights that the watch judged, the last one of other words."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    version = publish(store, tmp_path / "bundle")
    for day, topic in ((1, "hotel"), (2, "hotel"), (3, "ferry")):
        night = f"2026-11-{day:02d}"
        put_night(store, night, make_texts(300, 0.2, seed=day, topic=topic), version)
        outputs = {"watched": tmp_path / f"{day}-watched", "page": tmp_path / f"{day}-page"}
        execute("watch", {"card": tmp_path / "bundle", "store": store.uri, "date": night, **outputs})
    return store


LAST_PAGE, NEWEST_PAGE, RECORD = (
    "watch/date=2026-11-03/page.html",
    "watch/page.html",
    "watch/date=2026-11-03/series.json",
)


def shown_words(store, key):
    return re.findall(r"<bdi>(.*?)</bdi>", store.read(key).decode())


def test_the_words_of_a_forgotten_text_leave_the_watch_and_all_else_stays(watched):
    texts = make_texts(300, 0.2, seed=3, topic="ferry")
    name, text = texts.filter(pl.col("text").str.contains("ferry")).select("id", "text").row(0)
    before = {key: watched.read(key).decode() for key in watched.list("watch/")}
    words = shown_words(watched, LAST_PAGE)
    gone = [word for word in words if word in text.split()]
    assert "ferry" in gone
    assert len(gone) < len(words)
    erasure.forget(watched, [name], [], "2026-11-04")
    for key in (LAST_PAGE, NEWEST_PAGE):
        left = before[key]
        for word in gone:
            left = re.sub(rf"<li><bdi>{word}</bdi> <small>[^<]*</small></li>\n", "", left)
        assert watched.read(key).decode() == left
    record, was = json.loads(watched.read(RECORD)), json.loads(before[RECORD])
    assert record == {**was, "words": [word for word in was["words"] if word["word"] not in gone]}
    touched = {key for key in before if watched.read(key).decode() != before[key]}
    assert touched == {LAST_PAGE, NEWEST_PAGE, RECORD}


def test_a_section_without_words_is_left_out_of_the_page(watched):
    words = frozenset(shown_words(watched, LAST_PAGE))
    forget_words(watched, words)
    for key in (LAST_PAGE, NEWEST_PAGE):
        page = watched.read(key).decode()
        assert "Words that came up" not in page
        assert "Learning curve" in page
        assert shown_words(watched, key) == []


def test_a_page_is_made_again_with_what_people_said_then(watched):
    known = Quality(date="2026-11-03", card="hotel-tips", **KNOWN)
    quality.put(watched, known)
    nights = watch_records.read_nights(watched)
    nights[-1] = replace(nights[-1], quality=quality.key_of(known))
    for key, content in ((RECORD, watch_records.written(nights[-1])), (LAST_PAGE, watch.page(nights, known).encode())):
        watched.compare_and_swap(key, content, watched.read_tagged(key).tag)
    forget_words(watched, frozenset({"ferry"}))
    for key in (LAST_PAGE, NEWEST_PAGE):
        page = watched.read(key).decode()
        assert "people answered 80 of 100 texts" in page
        assert "ferry" not in shown_words(watched, key)


def test_forgetting_words_again_after_a_kill_ends_what_is_left(watched):
    record = watched.read(RECORD)
    forget_words(watched, frozenset({"ferry"}))
    page, done = watched.read(LAST_PAGE), watched.read(RECORD)
    watched.compare_and_swap(RECORD, record, watched.read_tagged(RECORD).tag)  # killed before the record, which is last
    forget_words(watched, frozenset({"ferry"}))
    assert (watched.read(LAST_PAGE), watched.read(RECORD)) == (page, done)


def test_a_page_without_its_record_is_removed_for_nothing_says_what_it_shows(watched):
    watched.delete(RECORD)
    forget_words(watched, frozenset({"anything"}))
    assert watched.read_tagged(LAST_PAGE) is None
    assert watched.read_tagged("watch/date=2026-11-02/page.html") is not None


def test_a_store_that_does_not_exist_is_refused_and_not_made(tmp_path):
    with pytest.raises(BadInput, match="A store to forget in must exist"):
        erasure.forget(open_store(str(tmp_path / "typo")), ["jane"], [], "2026-11-04")
    assert not (tmp_path / "typo").exists()


def test_an_id_that_is_nowhere_is_said_and_remembered(filled):
    said = CliRunner().invoke(app, ["forget", "--id", "nobody", "--store", filled.uri])
    assert (said.exit_code, said.output.count("\n")) == (0, 1)
    assert "no such text is in the store or an index; a note stays" in said.output
    assert tombstones.tombstone("id", "nobody") in tombstones.read(filled).hashes


def test_nothing_named_is_refused(store):
    with pytest.raises(BadSetting, match="neither --id nor --group"):
        erasure.forget(store, [], [], "2026-11-04")


def test_the_command_says_what_went(filled):
    said = CliRunner().invoke(app, ["forget", "--id", "jane", "--store", filled.uri])
    assert said.exit_code == 0, said.output
    assert "predictions/ 1" in said.output
    assert "from the index: 1 documents" in said.output


def test_a_damaged_cache_is_to_be_deleted_and_any_other_object_to_be_restored(filled):
    for key, remedy in {
        "scored/v1/date=2026-11-03/00.parquet": "Delete it: what is lost is time",
        f"queues/{CARD}/q1/queue.parquet": "Restore it.",
    }.items():
        found = filled.read_tagged(key)
        assert filled.compare_and_swap(key, b"damaged", found.tag)
        with pytest.raises(StorageError, match=rf"{key}\)\. {remedy}"):
            erasure.forget(filled, ["jane"], [], "2026-11-30")
        filled.delete(key)


def test_the_header_of_a_queue_is_no_row(filled):
    key = f"queues/{CARD}/q1/queue.csv"
    erasure.forget(filled, ["id"], ["group"], "2026-11-30")
    assert filled.read(key).decode().splitlines()[0] == "id,group,text,label"


def test_a_table_whose_ids_are_numbers_is_read_too(filled):
    put_table(filled, "notes/mine.parquet", pl.DataFrame({"id": [1, 2], "text": ["a", "b"]}))
    erasure.forget(filled, ["1"], [], "2026-11-30")
    assert pl.read_parquet(io.BytesIO(filled.read("notes/mine.parquet")))["id"].to_list() == [2]
