"""What Elasticsearch may answer, and what then becomes of the documents."""

import dataclasses
import json
import threading
import time

import pytest

from tests.nights import prediction, put_segment
from tests.search.conftest import QUICK
from tests.services import proxy
from tests.services.elasticsearch import request
from understudy.errors import BadInput, IndexFailed
from understudy.search import opening, sync
from understudy.search.elastic import MAPPING, ElasticIndex
from understudy.search.query import Query, parse


def indexed(store, card, url, config=QUICK):
    with opening.opened(store, card, url, config) as index:
        done = sync.follow(index, store, card)
        return done, index.count()


def dead_letters(store):
    keys = store.list("dead-letters/")
    return [letter for key in keys for letter in json.loads(store.read(key))["letters"]]


@pytest.fixture
def night(store):
    """Put 300 predictions in three segments."""
    for number in range(3):
        put_segment(store, [prediction(f"{number}-{row}") for row in range(100)], number)


@pytest.mark.usefixtures("night")
def test_requests_that_are_answered_429_are_sent_again(store, es_url, card_name):
    seen = []

    def busy_every_other_time(asked, forward):
        seen.append(asked.is_bulk)
        if asked.is_bulk and seen.count(True) % 2:
            return proxy.error(429, "es_rejected_execution_exception", "rejected execution")
        return forward(asked)

    with proxy.serving(busy_every_other_time, es_url) as url:
        done, total = indexed(store, card_name, url)
    assert (done.written, done.refused, total) == (300, 0, 300)
    assert seen.count(True) == 6


@pytest.mark.usefixtures("night")
def test_only_the_documents_that_were_answered_429_are_sent_again(store, es_url, card_name):
    sizes = []

    def one_in_four_is_busy(asked, forward):
        if not asked.is_bulk:
            return forward(asked)
        lines = asked.body.splitlines(keepends=True)
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        sizes.append(len(pairs))
        refused = {row for row in range(len(pairs)) if row % 4 == 0 and len(pairs) > 1}
        taken = [pair for row, pair in enumerate(pairs) if row not in refused]
        answered = forward(dataclasses.replace(asked, body=b"".join(map(b"".join, taken))))
        items = iter(answered.content["items"])
        busy = {"index": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}}
        return proxy.answer(200, {"items": [busy if row in refused else next(items) for row in range(len(pairs))]})

    with proxy.serving(one_in_four_is_busy, es_url) as url:
        done, total = indexed(store, card_name, url)
    assert (done.written, done.refused, total) == (300, 0, 300)
    assert sizes == [100, 25, 7, 2, 1] * 3


@pytest.mark.usefixtures("night")
def test_a_server_that_stays_busy_ends_the_run_and_the_next_one_goes_on(store, es_url, card_name):
    bulks = []

    def busy_after_the_first(asked, forward):
        bulks.append(asked.is_bulk)
        is_busy = asked.is_bulk and bulks.count(True) > 1
        return proxy.error(429, "es_rejected_execution_exception", "full") if is_busy else forward(asked)

    quick = dataclasses.replace(QUICK, retries=1, max_backoff_s=0.01)
    with proxy.serving(busy_after_the_first, es_url) as url, pytest.raises(IndexFailed, match="within 1 retries"):
        indexed(store, card_name, url, quick)
    done, total = indexed(store, card_name, es_url)
    assert (done.segments, total) == (2, 300)


def test_a_request_that_is_too_large_for_the_server_is_cut(store, es_url, card_name):
    put_segment(store, [prediction("big", "word " * 4000), *[prediction(f"{row}") for row in range(10)]])

    def takes_little(asked, forward):
        if asked.is_bulk and len(asked.body) > 10_000:
            return proxy.answer(413, {})
        return forward(asked)

    with proxy.serving(takes_little, es_url) as url:
        done, total = indexed(store, card_name, url)
    assert (done.written, done.refused, total) == (10, 1, 10)
    assert "larger than a request may be" in dead_letters(store)[0]["reason"]


def test_a_poison_document_becomes_a_dead_letter_and_the_others_go_in(store, es_url, card_name):
    put_segment(store, [prediction("good"), prediction("poison", group="g" * 40_000)])
    done, total = indexed(store, card_name, es_url)
    assert (done.written, done.refused, total) == (1, 1, 1)
    (letter,) = dead_letters(store)
    assert letter["id"] == "poison"
    assert "immense term" in letter["reason"]


def test_dead_letters_are_taken_once_the_mapping_takes_them(store, es_url, card_name):
    put_segment(store, [prediction("good"), prediction("poison", windows=7)])
    narrow = {**MAPPING, "properties": {**MAPPING["properties"], "windows": {"type": "boolean"}}}
    index = ElasticIndex(es_url, card_name, store, QUICK, narrow)
    index.prepare()
    sync.follow(index, store, card_name)
    index.close()
    assert [letter["id"] for letter in dead_letters(store)] == ["good", "poison"]
    with opening.opened(store, card_name, es_url, QUICK) as wide:
        done = sync.replay(wide, store, card_name)
        assert (done.written, wide.count()) == (2, 2)
    assert dead_letters(store) == []


def test_an_unknown_field_is_refused_by_the_template_of_our_own(store, es_url, card_name):
    with opening.opened(store, card_name, es_url, QUICK) as index:
        index.finish()
    with pytest.raises(RuntimeError, match="strict_dynamic_mapping_exception"):
        request(es_url, f"/understudy.{card_name}/_doc/x", "PUT", {"surprise": 1})


@pytest.mark.usefixtures("night")
def test_a_changed_mapping_is_filled_from_the_store_before_the_alias_moves(store, es_url, card_name):
    indexed(store, card_name, es_url)
    changed = {**MAPPING, "properties": {**MAPPING["properties"], "stage": {"type": "text"}}}
    index = ElasticIndex(es_url, card_name, store, QUICK, changed)
    index.prepare()
    alias = f"/_alias/understudy.{card_name}"
    (before,) = request(es_url, alias)
    assert before != index.name
    assert index.search(Query(limit=1)).total == 300, "searches still find the old one"
    sync.follow(index, store, card_name)
    assert list(request(es_url, alias)) == [index.name]
    assert index.search(Query(limit=1)).total == 300
    assert list(request(es_url, f"/understudy.{card_name}.*")) == [index.name], "the old one is gone"
    index.close()


@pytest.mark.usefixtures("night")
def test_an_index_that_was_emptied_is_filled_again(store, es_url, card_name):
    indexed(store, card_name, es_url)
    (name,) = request(es_url, f"/_alias/understudy.{card_name}")
    request(es_url, f"/{name}", "DELETE")
    done, total = indexed(store, card_name, es_url)
    assert (done.documents, total) == (300, 300)


@pytest.mark.usefixtures("night")
def test_two_cards_whose_names_begin_alike_do_not_meet(store, es_url, card_name):
    indexed(store, card_name, es_url)
    longer = f"{card_name}-more"
    try:
        with opening.opened(store, longer, es_url, QUICK) as other:
            other.finish()
            assert other.count() == 0
            assert other.remove(["0-0"]) == 0
    finally:
        for name in request(es_url, f"/understudy.{longer}.*"):
            request(es_url, f"/{name}", "DELETE")
        request(es_url, f"/_index_template/understudy.{longer}", "DELETE")


@pytest.mark.usefixtures("night")
def test_a_server_that_restarts_midway_costs_only_time(store, es_server, es_url, card_name):
    if not es_server.can_restart:
        pytest.skip("the server is not this session's own")
    slow = dataclasses.replace(QUICK, retries=200, max_backoff_s=1.0, documents_per_request=20, workers=1)
    outcome = []
    with opening.opened(store, card_name, es_url, slow) as index:
        segments = sync.list_segments(store)
        sync.send(index, store, card_name, segments[:1])
        es_server.stop()
        run = threading.Thread(target=lambda: outcome.append(sync.follow(index, store, card_name)))
        run.start()
        time.sleep(1)
        es_server.start()
        run.join(timeout=120)
        assert index.count() == 300
    assert [done.written for done in outcome] == [200]


def refusing(status, kind, reason):
    return lambda _asked, _forward: proxy.error(status, kind, reason)


def test_a_wrong_api_key_is_one_sentence(store, monkeypatch):
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "d3Jvbmc6a2V5")
    rule = refusing(401, "security_exception", "unable to authenticate with provided credentials")
    with proxy.serving(rule) as url, pytest.raises(BadInput, match="accept the API key, got 401: the key was refused"):
        indexed(store, "card", url)


def test_the_key_of_a_mounted_file_is_sent_and_a_rotated_one_is_found(store, tmp_path, monkeypatch):
    sent = []

    def note(asked, _forward):
        sent.append(asked.headers["authorization"])
        return proxy.error(403, "security_exception", "action is unauthorized")

    file = tmp_path / "key"
    monkeypatch.setenv("ELASTICSEARCH_API_KEY_FILE", str(file))
    with proxy.serving(note) as url:
        for key in ("Zmlyc3Q6a2V5", "c2Vjb25kOmtleQ=="):
            file.write_text(f"{key}\n")
            with pytest.raises(BadInput, match="must have the rights to the index, got 403"):
                indexed(store, "card", url)
    assert sent == ["ApiKey Zmlyc3Q6a2V5", "ApiKey c2Vjb25kOmtleQ=="]


def test_an_elasticsearch_8_is_one_sentence(store):
    reason = "Invalid media-type value on headers [Accept, Content-Type]"
    rule = refusing(400, "media_type_header_exception", reason)
    with proxy.serving(rule) as url, pytest.raises(BadInput, match="must be Elasticsearch 9, got an older one"):
        indexed(store, "card", url)


def test_a_server_that_is_away_is_one_sentence(store):
    with pytest.raises(IndexFailed, match="Elasticsearch must answer, got"):
        indexed(store, "card", "http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["ftp://host", "https://", "https://elastic:secret@host:9200"])
def test_an_address_that_cannot_serve_is_refused_and_no_password_is_shown(store, url):
    with pytest.raises(BadInput, match="Elasticsearch's address must") as caught:
        indexed(store, "card", url)
    assert "secret" not in str(caught.value)


def test_a_search_before_the_first_night_says_how_to_fill_the_index(store, es_url, card_name):
    with opening.opened_as_is(store, card_name, es_url) as index, pytest.raises(IndexFailed, match="--from-store"):
        index.search(parse("x"))


def test_a_document_is_written_as_elasticsearch_reads_it(store, es_url, card_name):
    put_segment(store, [prediction("a")])
    indexed(store, card_name, es_url)
    found = request(es_url, f"/understudy.{card_name}/_doc/{card_name}:a")
    assert found["_source"] == {**prediction("a"), "when": "2026-11-02T00:00:00Z"}
    assert found["_version"] == 1 * 10**13 + 1793671200000
