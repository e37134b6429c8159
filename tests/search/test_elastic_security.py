"""A real Elasticsearch that asks who it is, over TLS."""

import dataclasses
import ssl

import pytest

from tests.nights import prediction, put_segment
from tests.search.conftest import QUICK
from tests.services import proxy
from understudy.errors import BadInput
from understudy.search import opening, sync

CARD = "secured"


@pytest.fixture
def secured(secured_es, monkeypatch):
    """Let the environment trust the server's certificate."""
    monkeypatch.setenv("ELASTICSEARCH_CA_CERTS", str(secured_es.certificate))
    return secured_es


def indexed(store, url):
    with opening.opened(store, CARD, url, QUICK) as index:
        sync.follow(index, store, CARD)
        return index.count()


def as_user(secured, user):
    """Let a user of the server stand for the API key that this build of it cannot make."""
    context = ssl.create_default_context(cafile=str(secured.certificate))

    def rule(asked, _forward):
        named = {**asked.headers, "authorization": secured.basic(user)}
        return proxy.forward(secured.url, dataclasses.replace(asked, headers=named), context)

    return proxy.serving(rule)


def test_the_rights_that_the_sentence_names_are_enough(store, secured):
    put_segment(store, [prediction("a"), prediction("b")])
    with as_user(secured, "indexer") as url:
        assert indexed(store, url) == 2
        with opening.opened(store, CARD, url, QUICK) as index:
            assert index.remove(["a"]) == 1


def test_without_these_rights_the_sentence_names_them(store, secured):
    with as_user(secured, "onlooker") as url, pytest.raises(BadInput, match="It needs manage_index_templates"):
        indexed(store, url)


def test_a_wrong_key_and_none_are_told_apart(store, secured, monkeypatch):
    with pytest.raises(BadInput, match="got 401: no key was given"):
        indexed(store, secured.url)
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "d3Jvbmc6a2V5")
    with pytest.raises(BadInput, match="got 401: the key was refused"):
        indexed(store, secured.url)


def test_a_certificate_that_is_not_trusted_is_one_sentence(store, secured, monkeypatch):
    monkeypatch.delenv("ELASTICSEARCH_CA_CERTS")
    with pytest.raises(BadInput, match="certificate must be trusted"):
        indexed(store, secured.url)
    monkeypatch.setenv("ELASTICSEARCH_CA_CERTS", "/nowhere.pem")
    with pytest.raises(BadInput, match=r"got nothing at /nowhere\.pem"):
        indexed(store, secured.url)
