"""A gate holds as often as it is asked: what the index did not take is lacking for the next run too."""

import dataclasses
import json
import socket
import time

import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.nights import prediction, put_segment, put_shard_end
from tests.search.conftest import QUICK
from tests.services import proxy
from tests.services.elasticsearch import request
from understudy.cli.main import app
from understudy.errors import BadArtifact, IndexFailed, StorageError
from understudy.runtime.shell import execute
from understudy.search import dead_letters, opening
from understudy.search.elastic import MAPPING, ElasticIndex
from understudy.search.query import Query
from understudy.search.sync import follow
from understudy.steps.index import rules

POISON = "g" * 40_000


@pytest.fixture
def step(store, tmp_path, es_url, card_name):
    """Return a function that runs the step index against the server."""
    card = tmp_path / "card.yaml"
    card.write_text(card_yaml(name=card_name), encoding="utf-8")

    def run(*overrides):
        given = "\n".join(["index.replicas=0", "index.retries=3", "index.max_backoff_s=0.1", *overrides])
        arguments = {"card": card, "store": store.uri, "indexed": tmp_path / "indexed", "overrides": given}
        return execute("index", arguments)

    return run


def block(url, card, *, is_on):
    for name in request(url, f"/understudy.{card}.*/_settings?filter_path=*.settings.index.uuid"):
        request(url, f"/{name}/_settings", "PUT", {"index.blocks.write": is_on})


def test_a_closed_index_fails_every_run_until_it_is_open_and_then_takes_all(store, step, es_url, card_name):
    put_segment(store, [prediction("first")])
    step()
    block(es_url, card_name, is_on=True)
    for number in (1, 2):
        put_segment(store, [prediction(f"{number}-{row}") for row in range(50)], number)
    for _ in range(2):
        with pytest.raises(IndexFailed, match=r"(?s)open for writing, got cluster_block.*2 segments .* wait") as caught:
            step()
        assert caught.value.exit_code == 1
    put_segment(store, [prediction("later", date="2026-11-04")])
    with pytest.raises(IndexFailed, match="3 segments of predictions wait for the index"):
        step()
    assert store.list("dead-letters/") == [], "no document is at fault"
    block(es_url, card_name, is_on=False)
    metrics = step().metrics
    assert (metrics["written"], metrics["waiting"], metrics["total"]) == (101, 0, 102)


def test_a_night_that_is_refused_fails_every_run_and_is_sent_again_by_each(store, step, es_url, card_name):
    put_segment(store, [prediction(f"{row}", group=POISON) for row in range(10)])
    for _ in range(2):
        with pytest.raises(IndexFailed, match=r"10 of 10 refused: .*immense term"):
            step()
    assert request(es_url, f"/_alias/understudy.{card_name}") == {}, "nothing serves that was not accepted"
    assert opening.read_serving(store).url == "", "searches do not go there"
    assert opening.read_serving(store).former == (es_url,), "forgetting does"


def test_dead_letters_of_earlier_runs_are_counted_on_the_line_of_every_later_one(store, step):
    put_segment(store, [*(prediction(f"{row}") for row in range(30)), prediction("bad", group=POISON)])
    assert "30 documents added, 1 refused (dead-letters/)" in step().headline
    for _ in range(2):
        result = step()
        assert "0 documents added, 1 waits from earlier runs (dead-letters/); 30 documents in" in result.headline
        assert result.metrics["waiting"] == 1
    put_segment(store, [prediction("new", date="2026-11-04")])
    assert "1 document added, 1 waits from earlier runs" in step().headline


def test_too_many_dead_letters_of_earlier_runs_fail_a_run_that_has_nothing_to_add(store, step, es_url, card_name):
    """An earlier version noted segments as added before its verdict."""
    put_segment(store, [prediction(f"{row}") for row in range(10)])
    segment = put_segment(store, [prediction(f"bad-{row}", group=POISON) for row in range(5)], 1)
    step("index.max_refused_share=1")
    for _ in range(2):
        with pytest.raises(IndexFailed, match=r"got 5 of 15 that wait as dead letters.*--replay"):
            step()
    with opening.opened_as_is(store, card_name, es_url) as index:
        index.prepare()
        assert len(dead_letters.read(store, index.key, segment)) == 5


def test_a_replay_that_is_refused_again_fails(store, step, es_url, tmp_path):
    put_segment(store, [prediction(f"{row}", group=POISON) for row in range(5)])
    step("index.max_refused_share=1")
    card = ("--card", str(tmp_path / "card.yaml"), "--set", "index.replicas=0", "--store", store.uri)
    done = CliRunner().invoke(app, ["index", "--replay", *card])
    assert isinstance(done.exception, IndexFailed)
    assert len(store.list("dead-letters/")) == 1


def test_a_new_mapping_that_refuses_the_texts_does_not_take_the_old_ones_place(store, step, es_url, card_name):
    put_segment(store, [prediction(f"{row}", windows=7) for row in range(10)])
    step()
    (serving,) = request(es_url, f"/_alias/understudy.{card_name}")
    narrow = {**MAPPING, "properties": {**MAPPING["properties"], "windows": {"type": "boolean"}}}
    index = ElasticIndex(es_url, card_name, store, QUICK, narrow)
    index.prepare()
    for _ in range(2):
        with pytest.raises(IndexFailed, match="10 of 10 refused"):
            follow(index, store, card_name, lambda done: rules.require_taken(done, 0.05, index.place))
    index.close()
    assert list(request(es_url, f"/_alias/understudy.{card_name}")) == [serving]
    assert request(es_url, f"/{serving}/_count")["count"] == 10


def test_a_run_that_is_killed_before_its_verdict_notes_no_segment_with_refused_documents(store, es_url, card_name):
    put_segment(store, [prediction(f"{row}", group=POISON) for row in range(5)])

    def killed(_):
        raise KeyboardInterrupt

    with opening.opened(store, card_name, es_url, QUICK) as index:
        with pytest.raises(KeyboardInterrupt):
            follow(index, store, card_name, killed)
        assert len(index.missing(store.list("predictions/"))) == 1


@pytest.mark.parametrize("fault", [429, 502, 503, 504, "cut"])
def test_a_fault_that_passes_is_waited_for_at_every_request(store, es_url, card_name, fault):
    """Opening, sending, the alias, counting and deleting: each request fails once before it is answered."""
    put_segment(store, [prediction("a"), prediction("b")])
    met = set()

    def once_in_two(asked, forward):
        place = (asked.method, asked.path.partition("?")[0])
        if place in met:
            return forward(asked)
        met.add(place)
        if fault == "cut":
            raise ConnectionResetError
        return proxy.error(fault, "unavailable", "away")

    with proxy.serving(once_in_two, es_url) as url, opening.opened(store, card_name, url, QUICK) as index:
        assert follow(index, store, card_name).written == 2
        assert index.count() == 2
        met.clear()
        assert index.remove(["a"]) == 1
        assert index.search(Query()).total == 1


def test_a_name_that_is_not_found_for_a_moment_is_looked_up_again(store, es_url, card_name, monkeypatch):
    put_segment(store, [prediction("a")])
    found, asked = socket.getaddrinfo, []

    def hiccup(*given, **named):
        asked.append(given[0])
        if len(asked) < 4:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return found(*given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hiccup)
    with opening.opened(store, card_name, es_url, QUICK) as index:
        assert follow(index, store, card_name).written == 1
    assert len(asked) >= 4


def test_a_request_without_an_answer_is_sent_again(store, es_url, card_name):
    put_segment(store, [prediction("a")])
    slow = []

    def slow_once(asked, forward):
        if asked.is_bulk and not slow:
            slow.append(asked.path)
            time.sleep(1.5)
        return forward(asked)

    hasty = dataclasses.replace(QUICK, timeout_s=0.7)
    with proxy.serving(slow_once, es_url) as url, opening.opened(store, card_name, url, hasty) as index:
        assert follow(index, store, card_name).written == 1


def test_a_segment_that_lacks_rows_of_its_shards_record_is_an_error(store, step):
    segment = put_segment(store, [prediction("a"), prediction("b")])
    put_shard_end(store, [segment])
    store.delete(segment)
    put_segment(store, [prediction("a")])
    for _ in range(2):
        with pytest.raises(StorageError, match="must hold the rows that its shard's record counts, got 1 of 2"):
            step()


@pytest.mark.parametrize(
    "changes",
    [
        {"probability": float("nan")},
        {"probability": float("inf")},
        {"probability": 1.5},
        {"probability": None},
        {"generation": 2**62},
        {"generation": -1},
        {"text": None},
        {"id": None},
        {"scored_at": "yesterday"},
    ],
)
def test_a_segment_of_values_that_no_worker_writes_is_refused_by_name(store, step, changes):
    put_segment(store, [prediction("a")])
    put_segment(store, [prediction("b")], 1, **changes)
    with pytest.raises(BadArtifact, match=r"00-00001|scored_at"):
        step()


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"\xff", b'{"format": 1, "segment": "x", "letters": [{"id": 7, "reason": ""}]}', b"{" * 9999]
)
def test_damaged_dead_letters_are_one_sentence(store, step, said):
    put_segment(store, [*(prediction(f"{row}") for row in range(30)), prediction("bad", group=POISON)])
    step()
    (key,) = store.list("dead-letters/")
    found = store.read_tagged(key)
    assert store.compare_and_swap(key, said, found.tag)
    with pytest.raises(StorageError, match="Dead letters must be readable"):
        step()


def test_objects_that_no_night_wrote_are_left_out_and_said(store, step, capsys):
    put_segment(store, [prediction("a")])
    store.put_if_absent("predictions/date=2026-11-03/v1/copy of 00-00000.parquet", b"x")
    assert step().metrics["total"] == 1
    assert "1 object that no night wrote left out" in capsys.readouterr().err


def test_the_record_of_a_shard_is_read_strictly(store, step):
    segment = put_segment(store, [prediction("a")])
    key = segment.replace("00-00000.parquet", "00.json")
    store.put_if_absent(key, json.dumps({"rows": 1, "refused": {}, "segments": [{"key": "../x", "rows": 1}]}).encode())
    with pytest.raises(BadArtifact, match="What is read from a store or an artifact must be"):
        step()
