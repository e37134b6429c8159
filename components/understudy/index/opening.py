"""Choose and open the index that a store's documents go to: Elasticsearch where one is named, else SQLite."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from understudy import forgetting
from understudy.cache import cache_folder
from understudy.errors import BadInput
from understudy.index.backend import Index
from understudy.index.connection import URL
from understudy.index.following import follow
from understudy.index.sqlite import SqliteIndex
from understudy.registry import read_current
from understudy.steps.index.config import IndexConfig
from understudy.storage import Store, update
from understudy.store.identity import parse_store_id
from understudy.task import Card, parse_card
from understudy.teacher.purchases import STORE_ID

SERVING = "indexed/serving.json"


@dataclass(frozen=True, slots=True)
class Serving:
    """Which index the nights of a store go to.

    Attributes:
        card_name: name of the card.
        url: Elasticsearch's address, or "" for SQLite.
        former: addresses of Elasticsearch that they went to before; `understudy forget` goes there too.
    """

    card_name: str
    url: str
    former: tuple[str, ...] = ()

    @property
    def addresses(self) -> set[str]:
        """Every Elasticsearch that holds, or held, the store's texts."""
        return {self.url, *self.former} - {""}


def url_of(config: IndexConfig) -> str:
    """Return Elasticsearch's address: the setting's, else the environment's, else none."""
    return config.url or os.environ.get(URL, "").strip()


def place_of(url: str) -> str:
    """Say where an index is.

    >>> place_of("http://es:9200"), place_of("")
    ('Elasticsearch at http://es:9200', 'SQLite')
    """
    return f"Elasticsearch at {url}" if url else "SQLite"


@contextmanager
def opened(store: Store, card_name: str, url: str, config: IndexConfig) -> Iterator[Index]:
    """Open the index for writing; it is made when it is not there.

    Raises:
        BadInput: the server refuses the key, is not Elasticsearch 9, or SQLite cannot write in the cache's folder.
        IndexFailed: the server does not answer.
    """
    index = _elastic(store, card_name, url, config) if url else _embedded(store, card_name)
    try:
        index.remove_forgotten(forgetting.read(store))
        yield index
    finally:
        index.close()


@contextmanager
def opened_for_search(store: Store) -> Iterator[Index]:
    """Open the index that the store's nights go to; SQLite is brought up to the store first.

    Raises:
        BadInput: the store has no night and no published bundle that would say which card.
    """
    serving = read_serving(store)
    url = os.environ.get(URL, "").strip() or serving.url
    with opened_as_is(store, serving.card_name, url) as index:
        if not url:
            index.remove_forgotten(forgetting.read(store))
            follow(index, store, serving.card_name)
        yield index


@contextmanager
def opened_as_is(store: Store, card_name: str, url: str) -> Iterator[Index]:
    """Open the index without making anything in Elasticsearch."""
    from understudy.index.elastic import ElasticIndex

    config = IndexConfig(retries=3)
    index = ElasticIndex(url, card_name, store, config) if url else _embedded(store, card_name)
    try:
        yield index
    finally:
        index.close()


def say_serving(store: Store, serving: Serving) -> None:
    """Write which index the nights go to, so that a search finds it; the addresses before it stay known.

    Raises:
        StorageError: others keep changing the object.
    """

    def said(before: bytes | None) -> bytes:
        known = set() if before is None else _serving_of(before).addresses
        former = {*known, *serving.former} - {serving.url}
        now = {"format": 1, "card": serving.card_name, "url": serving.url, "former": sorted(former)}
        return json.dumps(now, sort_keys=True).encode()

    update(store, SERVING, said, "The index's address")


def _serving_of(data: bytes) -> Serving:
    said = json.loads(data)
    return Serving(str(said["card"]), str(said["url"]), tuple(map(str, said.get("former", ()))))


def find_serving(store: Store) -> Serving | None:
    """Read which index the nights go to; None before the first night."""
    found = store.read_tagged(SERVING)
    return _serving_of(found.data) if found else None


def places(store: Store) -> list[tuple[str, str]]:
    """List the indices that may hold the texts, as card and address: every Elasticsearch, and this machine's own."""
    serving, current = find_serving(store), read_current(store)
    names = {*([serving.card_name] if serving else []), *([current.card] if current else [])}
    named = os.environ.get(URL, "").strip()
    urls = (serving.addresses if serving else set()) | ({named} - {""})
    own = [(name, "") for name in sorted(names) if any(_folder().glob(f"{_store_id(store)}-{name}-*.sqlite"))]
    return own + [(name, url) for name in sorted(names) for url in sorted(urls)]


def read_serving(store: Store) -> Serving:
    """Read which index the nights go to; before the first night, SQLite and the card that is published.

    Raises:
        BadInput: nothing says which card.
    """
    serving = find_serving(store)
    if serving is not None:
        return serving
    current = read_current(store)
    if current is None:
        raise BadInput(
            f"A store to search must hold predictions, got neither a night nor a published bundle ({store.uri}). "
            "Run the nightly pipeline first."
        )
    return Serving(current.card, "")


def published_card(store: Store) -> Card:
    """Read the card of the bundle that serves.

    Raises:
        BadInput: nothing is published.
    """
    current = read_current(store)
    if current is None:
        raise BadInput(f"A store must hold a published bundle, got none ({store.uri}). Name the card with --card.")
    key = f"bundles/{current.version}/card.yaml"
    return parse_card(store.read(key).decode("utf-8", "replace"), store.locate(key))


def _elastic(store: Store, card_name: str, url: str, config: IndexConfig) -> Index:
    from understudy.index.elastic import ElasticIndex

    index = ElasticIndex(url, card_name, store, config)
    index.prepare()
    return index


def _embedded(store: Store, card_name: str) -> SqliteIndex:
    """Open the SQLite file of this store."""
    return SqliteIndex(_folder(), f"{_store_id(store)}-{card_name}")


def _folder() -> Path:
    return cache_folder() / "index"


def _store_id(store: Store) -> str:
    """Return what tells this store from another one that was made anew at its address."""
    store.put_if_absent(STORE_ID, uuid.uuid4().hex.encode())
    return parse_store_id(store.read(STORE_ID), store.locate(STORE_ID))
