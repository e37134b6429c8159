"""Where the key goes: to the server that whoever runs names, whatever a store says."""

import json
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.nights import prediction, put_segment
from tests.search.conftest import QUICK
from tests.services import local, proxy
from understudy.cli.main import app
from understudy.errors import BadArtifact, BadInput, IndexFailed
from understudy.runtime.shell import execute
from understudy.search import opening
from understudy.store.identity import STORE_ID
from understudy.task.card import parse_card

KEY = "c2VjcmV0OmtleQ=="


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Write a card, and put a key into the environment."""
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", KEY)
    path = tmp_path / "card.yaml"
    path.write_text(card_yaml(), encoding="utf-8")
    return path


@contextmanager
def listening():
    """Listen as a server that takes anything, and note every connection."""
    met = []

    class Handler(local.Quiet):
        def setup(self):
            met.append(self.client_address)
            super().setup()

        def answer(self):
            self.send(200, b"{}", {"X-elastic-product": "Elasticsearch"})

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    with local.serving(Handler) as address:
        yield address, met


def tamper(store, url, former=()):
    said = {"format": 1, "card": "hotel-tips", "url": url, "former": list(former)}
    found = store.read_tagged(opening.SERVING)
    assert store.compare_and_swap(opening.SERVING, json.dumps(said).encode(), found.tag if found else None)


def indexing(store, card, tmp_path, **changes):
    arguments = {"card": card, "store": store.uri, "indexed": tmp_path / "indexed", **changes}
    return execute("index", arguments)


COMMANDS = {
    "search": ("search", "late"),
    "refill": ("index", "--from-store"),
    "replay": ("index", "--replay"),
    "forget": ("forget", "--id", "a"),
}


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize("as_former", [False, True])
@pytest.mark.parametrize("command", [*COMMANDS, "step"])
def test_a_server_that_a_tampered_store_names_is_sent_nothing(
    store, card, tmp_path, monkeypatch, command, as_former, has_own
):
    put_segment(store, [prediction("a")])
    sent = []

    def mine(asked, _forward):
        sent.append(asked.headers.get("authorization"))
        return proxy.error(403, "security_exception", "no rights")

    with listening() as (theirs, met), proxy.serving(mine) as own:
        tamper(store, "" if as_former else theirs, [theirs] if as_former else [])
        if has_own:
            monkeypatch.setenv("ELASTICSEARCH_URL", own)
        if command == "step":
            try:
                indexing(store, card, tmp_path)
            except BadInput as error:
                assert "got 403" in str(error)
        else:
            given = ["--card", str(card)] if command in {"refill", "replay"} else []
            CliRunner().invoke(app, [*COMMANDS[command], *given, "--store", store.uri])
        assert met == []
    assert set(sent) == ({f"ApiKey {KEY}"} if has_own else set()), "the server of whoever runs got the key"


def test_the_card_of_a_bundle_in_the_store_names_no_server(store, card, monkeypatch):
    with listening() as (theirs, met):
        text = card_yaml(index={"url": theirs})
        published = parse_card(text, "card.yaml")
        monkeypatch.setattr(opening, "published_card", lambda _: published)
        put_segment(store, [prediction("a")])
        done = CliRunner().invoke(app, ["index", "--from-store", "--store", store.uri])
        assert (done.exit_code, met) == (0, [])
        assert "in SQLite" in done.stdout


def test_a_change_of_server_is_said_by_the_step(store, card, tmp_path):
    put_segment(store, [prediction("a")])
    tamper(store, "http://elsewhere:9200")
    assert indexing(store, card, tmp_path).headline.endswith(
        "; the nights went to Elasticsearch at http://elsewhere:9200"
    )
    assert opening.find_serving(store).former == ("http://elsewhere:9200",), "forget must know of it"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(store, card, tmp_path, monkeypatch, status):
    put_segment(store, [prediction("a")])
    with listening() as (theirs, met), redirecting(status, theirs) as (own, asked):
        monkeypatch.setenv("ELASTICSEARCH_URL", own)
        with pytest.raises(BadInput, match=f"got a redirect, {status}"):
            indexing(store, card, tmp_path)
        assert (met, len(asked)) == ([], 1)


@contextmanager
def redirecting(status, target):
    """Answer every request by a redirect to another server."""
    asked = []

    class Handler(local.Quiet):
        def answer(self):
            asked.append(self.path)
            self.body()
            self.send(status, headers={"Location": f"{target}{self.path}", "X-elastic-product": "Elasticsearch"})

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    with local.serving(Handler) as address:
        yield address, asked


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"null",
        b"{" * 100_000,
        b'{"format": 1}',
        b'{"format": 2, "card": "hotel-tips", "url": ""}',
        b'{"format": 1, "card": "../../../.ssh", "url": ""}',
        b'{"format": 1, "card": "hotel-tips", "url": "file:///etc/passwd"}',
        b'{"format": 1, "card": "hotel-tips", "url": "http://me:secret@es"}',
        b'{"format": 1, "card": "hotel-tips", "url": "http://es\\nX"}',
        b'{"format": 1, "card": "hotel-tips", "url": "", "former": "http://es"}',
        b'{"format": 1, "card": 7, "url": ""}',
        b" " * 100_000 + b'{"format": 1, "card": "hotel-tips", "url": ""}',
    ],
)
def test_a_damaged_note_of_the_index_is_one_sentence(store, said):
    put_segment(store, [prediction("a")])
    store.put_if_absent(opening.SERVING, said)
    with pytest.raises(BadArtifact, match=r"What names the index must be .* \(.*serving\.json\)") as caught:
        CliRunner().invoke(app, ["search", "late", "--store", store.uri], catch_exceptions=False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("said", [b"../../../../evil", b"\0" * 32, b"", b"\xff" * 32, b"A" * 32])
def test_a_stores_id_leads_nowhere(store, tmp_path, said):
    put_segment(store, [prediction("a")])
    store.put_if_absent(opening.SERVING, b'{"format": 1, "card": "hotel-tips", "url": ""}')
    store.put_if_absent(STORE_ID, said)
    with pytest.raises(BadArtifact, match="A store's id must be 32 hexadecimal digits"):
        CliRunner().invoke(app, ["search", "late", "--store", store.uri], catch_exceptions=False)


@pytest.mark.parametrize("answer", [{}, {"a": 1}, [], {"understudy": 1}])
def test_a_server_that_answers_otherwise_is_one_sentence(store, answer):
    def rule(_asked, _forward):
        return proxy.answer(200, answer)

    with (
        proxy.serving(rule) as url,
        pytest.raises(IndexFailed, match="must answer as version 9 does"),
        opening.opened(store, "card", url, QUICK),
    ):
        pass
