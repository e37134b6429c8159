"""The step index and the commands around it."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.nights import of_several, prediction, put_segment
from understudy.cli.main import app
from understudy.errors import BadInput, BadSetting, IndexFailed
from understudy.runtime.shell import execute
from understudy.search import opening
from understudy.search.backend import Letter
from understudy.search.sqlite import SqliteIndex
from understudy.search.sync import Followed
from understudy.steps.index import rules
from understudy.store import tombstones
from understudy.store.folder import FolderStore
from understudy.store.s3 import s3_client
from understudy.store.storage import open_store
from understudy.task.card import parse_card
from understudy.task.settings import Overrides


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)


@pytest.fixture
def index(store, tmp_path):
    """Return a function that runs the step with some of the card's keys changed."""

    def run(name="hotel-tips", overrides="", **changes):
        card = tmp_path / "card.yaml"
        card.write_text(card_yaml(name=name, **changes), encoding="utf-8")
        arguments = {"card": card, "store": store.uri, "indexed": tmp_path / "indexed", "overrides": overrides}
        return execute("index", arguments)

    return run


def invoke(*words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_night_is_indexed_and_searched(index, store, tmp_path):
    put_segment(store, [prediction("a"), prediction("b", "No breakfast.", label="other")])
    result = index()
    assert result.metrics == {
        "segments": 1,
        "documents": 2,
        "written": 2,
        "older": 0,
        "refused": 0,
        "waiting": 0,
        "expired": 0,
        "total": 2,
    }
    assert json.loads((tmp_path / "indexed" / "indexed.json").read_text())["total"] == 2
    found = invoke("search", "late checkout", "--label", "tip", "--since", "2026-11-01", "--store", store.uri)
    assert found == "2026-11-02  tip  0.75  a  Ask for a late checkout.\n"
    (line,) = invoke("search", "breakfast", "--json", "--store", store.uri).splitlines()
    assert json.loads(line)["id"] == "b"


def test_a_night_of_several_labels_is_found_by_each_and_says_how_many_texts_have_none(index, store):
    put_segment(store, [of_several("a", ["praise", "tip"]), of_several("b", ["tip"]), of_several("c", [])])
    index()
    done = CliRunner().invoke(app, ["search", "late", "--store", store.uri])
    assert done.stdout.splitlines() == [
        "2026-11-02  praise, tip  0.75  a  Ask for a late checkout.",
        "2026-11-02  tip  0.75  b  Ask for a late checkout.",
        "2026-11-02  none of the labels  0.75  c  Ask for a late checkout.",
    ]
    assert done.stderr == "3 texts found (2 'tip', 1 'praise', 1 none of the labels).\n"
    (line,) = invoke("search", "--label", "[]", "--json", "--store", store.uri).splitlines()
    assert (json.loads(line)["id"], json.loads(line)["label"]) == ("c", [])


def test_a_night_that_was_not_indexed_is_added_by_the_next(index, store):
    put_segment(store, [prediction("a", date="2026-11-01")])
    put_segment(store, [prediction("b", date="2026-11-02")])
    assert index().metrics["segments"] == 2
    assert index().metrics["segments"] == 0


@pytest.mark.parametrize("is_served", [False, pytest.param(True, marks=pytest.mark.xdist_group("elasticsearch"))])
def test_retention_counts_back_from_the_newest_night(index, store, request, monkeypatch, is_served):
    name = "hotel-tips"
    if is_served:
        monkeypatch.setenv("ELASTICSEARCH_URL", request.getfixturevalue("es_url"))
        name = request.getfixturevalue("card_name")
    nights = ["2026-10-01", "2026-11-01", "2026-11-02", "2026-11-03"]
    for night in nights:
        put_segment(store, [prediction(night, date=night)])
        for key in (f"refusals/date={night}/v1/00-00000.parquet", f"samples/{night}/sample.csv"):
            store.put_if_absent(key, b"")
    result = index(name, "index.replicas=0", retention={"predictions_days": 2, "refusals_days": 3})
    assert (result.metrics["expired"], result.metrics["total"]) == (2, 2)
    assert [key.split("/")[1][5:] for key in store.list("predictions/")] == nights[2:]
    assert [key.split("/")[1][5:] for key in store.list("refusals/")] == nights[1:]
    assert len(store.list("samples/")) == len(nights)
    assert store.read_tagged("manifests/date=2026-10-01/manifest.json") is None
    assert index(name, "index.replicas=0", retention={"predictions_days": 2}).metrics["expired"] == 0


def test_a_night_of_a_date_to_come_makes_no_other_night_old(index, store):
    today = datetime.now(UTC).date().isoformat()
    put_segment(store, [prediction("a", date=today)])
    put_segment(store, [prediction("b", date="2062-11-01")])
    assert index(retention={"predictions_days": 30}).metrics["expired"] == 0
    assert len(store.list("predictions/")) == 2


def test_without_retention_everything_stays(index, store):
    put_segment(store, [prediction("a", date="1990-01-01")])
    put_segment(store, [prediction("b")])
    assert index().metrics["total"] == 2


def test_an_empty_elasticsearch_is_filled_from_the_store(index, store, es_url, card_name, tmp_path):
    put_segment(store, [prediction("a"), prediction("b")])
    index(card_name, "index.replicas=0")
    command = ("index", "--from-store", "--card", str(tmp_path / "card.yaml"), "--set", "index.replicas=0")
    said = invoke(*command, "--store", store.uri)
    assert "2 documents added; 2 documents in Elasticsearch" in said
    assert invoke("search", "late", "--store", store.uri).count("\n") == 2


def test_a_search_without_a_server_of_its_own_is_in_sqlite_and_says_where_the_nights_go(
    index, store, es_url, card_name, monkeypatch
):
    monkeypatch.delenv("ELASTICSEARCH_URL")
    put_segment(store, [prediction("a")])
    result = index(card_name, f"index.replicas=0\nindex.url={es_url}")
    assert result.parameters["place"].startswith("Elasticsearch")
    done = CliRunner().invoke(app, ["search", "late", "--store", store.uri])
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert f"search: in SQLite; the nights went to Elasticsearch at {es_url}" in done.stderr


def test_replay_and_refill_go_to_no_server_that_the_store_alone_names(
    index, store, es_url, card_name, tmp_path, monkeypatch
):
    monkeypatch.delenv("ELASTICSEARCH_URL")
    put_segment(store, [prediction("a"), prediction("b", group="g" * 40_000)])
    index(card_name, f"index.replicas=0\nindex.url={es_url}\nindex.max_refused_share=1")
    serving, dead = store.read(opening.SERVING), store.list("dead-letters/")
    assert len(dead) == 1
    for way in ("--replay", "--from-store"):
        command = ("index", way, "--card", str(tmp_path / "card.yaml"), "--set", "index.replicas=0")
        with pytest.raises(BadInput, match="The index to fill must be named, got none where"):
            CliRunner().invoke(app, [*command, "--store", store.uri], catch_exceptions=False)
        command = (*command, "--set", f"index.url={es_url}")
        said = invoke(*command, "--set", "index.max_refused_share=1", "--store", store.uri)
        assert "in Elasticsearch" in said
        assert (store.read(opening.SERVING), store.list("dead-letters/")) == (serving, dead)


def test_another_index_takes_no_dead_letters_away_and_says_that_it_is_another(
    index, store, es_url, card_name, tmp_path, monkeypatch
):
    put_segment(store, [prediction("a"), prediction("b", group="g" * 40_000)])
    command = ("--card", str(tmp_path / "card.yaml"), "--set", "index.replicas=0", "--store", store.uri)
    monkeypatch.delenv("ELASTICSEARCH_URL")
    index(card_name)
    named = ("--set", f"index.url={es_url}", "--set", "index.max_refused_share=1")
    assert "; the nights went to SQLite\n" in invoke("index", "--replay", *command, *named).replace(".\n", "\n")
    dead = store.list("dead-letters/")
    index(card_name)
    assert len(dead) == 1
    assert store.list("dead-letters/") == dead
    assert "the nights went to SQLite; from now on searches go here" in invoke(
        "index", "--from-store", *command, *named
    )
    assert opening.read_serving(store).url == es_url


def test_listings_do_not_grow_with_the_segments(index, store, monkeypatch):
    listed = []
    inner = FolderStore.list
    monkeypatch.setattr(FolderStore, "list", lambda self, prefix="": listed.append(prefix) or inner(self, prefix))
    put_segment(store, [prediction("0")])
    index()
    few = len(listed)
    for number in range(1, 21):
        put_segment(store, [prediction(str(number))], number)
    assert index().metrics["segments"] == 20
    assert len(listed) == 2 * few


def test_what_is_asked_to_be_forgotten_while_segments_are_sent_is_removed_after_them(index, store, monkeypatch):
    for number, name in enumerate(["a", "b", "c"]):
        put_segment(store, [prediction(name)], number)
    inner = SqliteIndex.add

    def add(self, segment, documents, *, is_whole=True):
        tombstones.remember_to_forget(
            store, "id", documents["id"].to_list() if "00001" in segment else [], "2026-11-04"
        )
        return inner(self, segment, documents, is_whole=is_whole)

    monkeypatch.setattr(SqliteIndex, "add", add)
    assert index().metrics["total"] == 2


def test_a_search_in_an_empty_store_says_what_is_missing(store):
    done = CliRunner().invoke(app, ["search", "late", "--store", store.uri])
    assert "A store to search must hold predictions" in str(done.exception)


def test_reindexing_needs_one_of_its_two_ways(store):
    assert CliRunner().invoke(app, ["index", "--from-store", "--replay", "--store", store.uri]).exit_code == 2


def test_an_index_that_refuses_too_much_fails_with_the_first_reason():
    done = Followed(documents=100, refused=6, first=Letter("a", "field is no date"))
    with pytest.raises(IndexFailed, match=r"at most 5% of the documents, got 6 of 100 refused: field is no date"):
        rules.require_taken(done, 0.05, "SQLite")
    rules.require_taken(Followed(documents=100, refused=5), 0.05, "SQLite")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("index.url=es:9200", "url must be http"),
        ("index.url=http://me:secret@es:9200", "must hold no password"),
        ("index.workers=0", "workers must be at least 1, got 0"),
        ("index.max_refused_share=2", r"max_refused_share must be in \[0, 1\]"),
    ],
)
def test_settings_that_cannot_serve_are_refused(setting, says):
    with pytest.raises(BadSetting, match=says):
        parse_card(card_yaml()).settings(Overrides.parse(setting, "index"))


def test_a_store_on_s3_serves_as_a_folder_does_and_one_that_vanishes_is_one_sentence(s3_url, tmp_path):
    store = open_store(f"{s3_url}/prefix")
    put_segment(store, [prediction("a"), prediction("b")])
    card = tmp_path / "card.yaml"
    card.write_text(card_yaml(), encoding="utf-8")
    arguments = {"card": card, "store": store.uri, "indexed": tmp_path / "indexed"}
    assert execute("index", arguments).metrics["total"] == 2
    assert "predictions/ 1" in invoke("forget", "--id", "a", "--store", store.uri)
    assert invoke("search", "late", "--store", store.uri).count("\n") == 1
    client, bucket = s3_client(), s3_url.removeprefix("s3://")
    for key in store.list():
        client.delete_object(Bucket=bucket, Key=f"prefix/{key}")
    client.delete_bucket(Bucket=bucket)
    with pytest.raises(BadInput, match="The bucket must exist"):
        execute("index", arguments)
