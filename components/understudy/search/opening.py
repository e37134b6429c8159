"""Choose and open the index that a store's documents go to: Elasticsearch where one is named, else SQLite.

Elasticsearch's address comes from the card or the environment of whoever runs, never from the store: who can write the
store could name a server of their own, and would get the key. What the store says of addresses is told, and never
opened.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from understudy.data import cards
from understudy.errors import BadArtifact, BadInput
from understudy.progress import say
from understudy.search.backend import Index
from understudy.search.connection import URL
from understudy.search.settings import IndexConfig
from understudy.search.sqlite import SqliteIndex
from understudy.search.sync import follow
from understudy.store import codecs, identity, layout, tombstones
from understudy.store.cache import cache_folder
from understudy.store.names import CardName
from understudy.store.registry import read_current
from understudy.store.storage import Store, update
from understudy.task.card import CARD_FILE, Card

SERVING = layout.SERVING.key()
LARGEST_BYTES = 64 << 10
Server = Annotated[
    str, StringConstraints(pattern=r"^(https?://[!-?A-~]{1,500})?\z")
]  # printable, without @: no password


@dataclass(frozen=True, slots=True)
class Serving:
    """Which index the nights of a store go to, as the store says it.

    Attributes:
        card_name: name of the card, which names the index in it: understudy.<card>.
        url: Elasticsearch's address, or "" for SQLite; only ever shown and compared, for the store may be altered.
        former: addresses of Elasticsearch that they went to before; `understudy forget` must go there too.
    """

    card_name: str
    url: str
    former: tuple[str, ...] = ()

    @property
    def addresses(self) -> set[str]:
        """Every Elasticsearch that holds, or held, the store's texts."""
        return {self.url, *self.former} - {""}


class _Said(BaseModel):
    model_config = ConfigDict(strict=True)
    format: Literal[1]
    card: CardName
    url: Server
    former: Annotated[tuple[Server, ...], Field(max_length=100)] = ()


def named_url() -> str:
    """Return Elasticsearch's address as the environment names it; "" where it names none."""
    return os.environ.get(URL, "").strip()


def url_of(config: IndexConfig) -> str:
    """Return Elasticsearch's address: the setting's, else the environment's, else none."""
    return config.url or named_url()


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
    index = _elastic(store, card_name, url, config) if url else _embedded(store, card_name, is_written=True)
    try:
        index.remove_forgotten(tombstones.read(store))
        yield index
    finally:
        index.close()


@contextmanager
def opened_for_search(store: Store) -> Iterator[Index]:
    """Open the index that the environment names, else SQLite, which is brought up to the store first.

    Nothing is written into the store. That its nights go to another index is said.

    Raises:
        BadInput: the store has no night and no published bundle that would say which card.
    """
    serving, url = read_serving(store), named_url()
    if moved := change_of_server(store, url):
        say(f"search: in {place_of(url)}{moved}. {URL} names the server to search.")
    with opened_as_is(store, serving.card_name, url) as index:
        if not url:
            index.remove_forgotten(tombstones.read(store))
            follow(index, store, serving.card_name)
        yield index


@contextmanager
def opened_as_is(store: Store, card_name: str, url: str) -> Iterator[Index]:
    """Open the index without making anything in Elasticsearch."""
    from understudy.search.elastic import ElasticIndex

    config = IndexConfig(retries=3)
    index = ElasticIndex(url, card_name, store, config) if url else _embedded(store, card_name)
    try:
        yield index
    finally:
        index.close()


def say_serving(store: Store, serving: Serving) -> None:
    """Write which index the nights go to; the addresses before it stay known.

    Raises:
        StorageError: others keep changing the object.
    """

    def said(before: bytes | None) -> bytes:
        known = set() if before is None else _serving_of(before, store).addresses
        former = {*known, *serving.former} - {serving.url}
        now = {"format": 1, "card": serving.card_name, "url": serving.url, "former": sorted(former)}
        return codecs.canonical(now)

    update(store, SERVING, said, "The index's address")


def note_address(store: Store, card_name: str, url: str) -> None:
    """Write that an index is about to get texts, before it gets any: what serves stays what it was."""
    serving = find_serving(store)
    if url and (serving is None or url not in serving.addresses):
        say_serving(store, Serving(card_name, serving.url if serving else "", (url,)))


def change_of_server(store: Store, url: str) -> str:
    """Say where the store says that its nights went, when that is not the given index; "" when it is."""
    serving = find_serving(store)
    return f"; the nights went to {place_of(serving.url)}" if serving is not None and serving.url != url else ""


def _serving_of(data: bytes, store: Store) -> Serving:
    where = store.locate(SERVING)
    if len(data) > LARGEST_BYTES:
        raise BadArtifact(f"What names the index must be smaller than 64 kB, got {len(data):,} bytes ({where}).")
    try:
        said = _Said.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors()[0]
        at = ".".join(map(str, fault["loc"]))
        raise BadArtifact(
            f"What names the index must be readable, got {at}: {fault['msg']} ({where}). Delete the object: the next "
            "night writes it again."
        ) from error
    return Serving(said.card, said.url, said.former)


def find_serving(store: Store) -> Serving | None:
    """Read which index the nights go to; None before the first night.

    Raises:
        BadArtifact: the object is damaged, or names what no step writes.
    """
    found = store.read_tagged(SERVING)
    return _serving_of(found.data, store) if found else None


def places(store: Store, servers: Collection[str] = ()) -> list[tuple[str, str]]:
    """List the indices to forget in, as card and address: this machine's own, and every server that whoever runs names.

    Args:
        store: says which cards.
        servers: addresses beside the environment's.
    """
    serving, current = find_serving(store), read_current(store)
    names = {*([serving.card_name] if serving else []), *([current.card] if current else [])}
    ids = {identity.find_id(store), identity.stand_in(store)} - {None}
    own = [(name, "") for name in sorted(names) if any(_own_files(ids, name))]
    return own + [(name, url) for name in sorted(names) for url in sorted({*servers, named_url()} - {""})]


def unnamed_servers(store: Store, servers: Collection[str] = ()) -> list[str]:
    """List the addresses at which the store says its texts are, and which nobody here has named."""
    serving = find_serving(store)
    return sorted((serving.addresses if serving else set()) - {*servers, named_url()})


def _own_files(ids: Collection[str | None], card_name: str) -> Iterator[Path]:
    return (path for name in ids for path in _folder().glob(f"{escape(f'{name}-{card_name}')}-*.sqlite"))


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
    key = layout.BUNDLES.key(version=current.version, path=CARD_FILE)
    return cards.parse(store.read(key), store.locate(key))[0]


def _elastic(store: Store, card_name: str, url: str, config: IndexConfig) -> Index:
    from understudy.search.elastic import ElasticIndex

    index = ElasticIndex(url, card_name, store, config)
    index.prepare()
    return index


def _embedded(store: Store, card_name: str, *, is_written: bool = False) -> SqliteIndex:
    """Open the SQLite file of this store; where only searches did so before, it has another name, and is removed."""
    name = identity.make_id(store) if is_written else identity.find_id(store)
    if name is None:
        return SqliteIndex(_folder(), f"{identity.stand_in(store)}-{card_name}")
    for path in _own_files([identity.stand_in(store)], card_name):
        for file in path.parent.glob(f"{escape(path.name)}*"):
            file.unlink(missing_ok=True)
    return SqliteIndex(_folder(), f"{name}-{card_name}")


def _folder() -> Path:
    return cache_folder() / "index"
