"""What `understudy search` and `understudy index --from-store` or `--replay` do, and how they say it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from understudy.errors import BadInput
from understudy.search import opening, sync
from understudy.search.connection import URL
from understudy.search.query import Answer, Query
from understudy.search.settings import IndexConfig
from understudy.steps.index import rules
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card, load_card
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.text.numbers import clip, count

WIDTH = 110


def search(store: Store, query: Query) -> Answer:
    """Search the index that the environment names, else SQLite, filled from the store; the store is only read.

    Raises:
        BadInput: the store has no night yet.
        IndexFailed: the server does not answer, or holds no index of this card.
    """
    with opening.opened_for_search(store) as index:
        return index.search(query)


def from_store(address: str, card: Path | None, overrides: Overrides = NO_OVERRIDES) -> str:
    """Send every prediction of a store to its index again, and say how many there are then.

    The index is the one that the nights go to; another one that is named takes its place.

    Raises:
        BadInput: no card is given and nothing is published; or the server refuses the key.
        IndexFailed: the server does not answer, or refused too many documents.
    """
    given = _given(address, card, overrides)
    store, name = given.store, given.card_name
    with opening.opened(store, name, given.url, given.config) as index:
        opening.note_address(store, name, given.url)
        index.forget_progress()
        done = sync.follow(index, store, name, partial(_require, given, index.place))
        opening.say_serving(store, opening.Serving(name, given.url))
        now = f"{given.remark}; from now on searches go here" if given.remark else ""
        return rules.headline(done, index.count(), index.place) + now


def replay(address: str, card: Path | None, overrides: Overrides = NO_OVERRIDES) -> str:
    """Send the dead letters again to the index that refused them, and say how many are left.

    The index is the one that the nights go to, unless another is named.

    Raises:
        BadInput: no card is given and nothing is published; or the server refuses the key.
        IndexFailed: the server does not answer, or refused too many documents again.
    """
    given = _given(address, card, overrides)
    store, name = given.store, given.card_name
    with opening.opened(store, name, given.url, given.config) as index:
        done = sync.replay(index, store, name, partial(_require, given, index.place))
        return rules.headline(done, index.count(), index.place) + given.remark


def lines(answer: Answer, *, as_json: bool) -> list[str]:
    """Write what was found, a line a text."""
    return [_json_line(found) if as_json else _line(found) for found in answer.documents]


def summary(answer: Answer) -> str:
    """Say how many were found.

    >>> summary(Answer(3, [{}, {}]))
    '3 texts found, the newest 2 shown; --limit shows more.'
    """
    shown = len(answer.documents)
    more = f", the newest {shown:,} shown; --limit shows more" if shown < answer.total else ""
    return f"{count(answer.total, 'text')} found{more}."


def _line(found: Mapping[str, object]) -> str:
    day, text = str(found["when"])[:10], clip(str(found["text"]), WIDTH)
    return f"{day}  {found['label']}  {found['probability']:.2f}  {found['id']}  {text}"


def _json_line(found: Mapping[str, object]) -> str:
    return json.dumps(found, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Given:
    """Where to send what.

    Attributes:
        store: holds the predictions.
        card_name: name of the card.
        config: settings of the index.
        url: of the index, "" for SQLite.
        remark: what is to be said where this is not the index that the nights go to.
    """

    store: Store
    card_name: str
    config: IndexConfig
    url: str
    remark: str


def _require(given: _Given, place: str, done: sync.Followed) -> None:
    rules.require_taken(done, given.config.max_refused_share, place)


def _given(address: str, card: Path | None, overrides: Overrides) -> _Given:
    """Take the index that whoever runs names; the store's own card names no server, and neither does its last night.

    Raises:
        BadInput: the nights go to a server, and nobody here names one.
    """
    store = prepare_store(address)
    task = load_card(card) if card else _without_server(opening.published_card(store))
    config = task.settings(overrides).of(IndexConfig)
    named, serving = opening.url_of(config), opening.find_serving(store)
    if serving is not None and serving.url and not named:
        raise BadInput(
            f"The index to fill must be named, got none where the store's nights go to {serving.url} "
            f"({store.locate(opening.SERVING)}). If this server is yours, set {URL} or index.url: a key goes to no "
            "address that a store names."
        )
    return _Given(store, task.name, config, named, opening.change_of_server(store, named))


def _without_server(card: Card) -> Card:
    settings = {name: value for name, value in card.index.items() if name != "url"}
    return card.model_copy(update={"index": settings})
