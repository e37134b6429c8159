"""Fill an index from the store: `understudy reindex`, `index --from-store` and `index --replay`."""

from dataclasses import dataclass
from functools import partial

import click

from understudy.data import cards
from understudy.errors import BadInput
from understudy.search import opening, sync
from understudy.search.connection import URL
from understudy.search.settings import IndexConfig
from understudy.steps.index import rules
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card
from understudy.task.settings import NO_OVERRIDES, Overrides, require_read


@click.command("reindex")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the predictions.")
@click.option("--from-store", "is_whole", is_flag=True, help="Send every prediction that the store holds.")
@click.option("--replay", "is_replay", is_flag=True, help="Send again only what the index refused.")
@click.option("--card", help="The task card: a file, a folder or s3:// address; without it the published bundle's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable.")
def command(store: str, is_whole: bool, is_replay: bool, card: str | None, overrides: tuple[str, ...]) -> None:
    """Fill an empty index from the store; `index --from-store` and `index --replay` are the same."""
    if is_whole == is_replay:
        raise click.UsageError("Give one of --from-store and --replay.")
    send = from_store if is_whole else replay
    changes = Overrides.parse("\n".join(overrides), "index")
    require_read(changes, "index")
    click.echo(f"index: {send(store, card, changes)}.")


def from_store(address: str, card: str | None, overrides: Overrides = NO_OVERRIDES) -> str:
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


def replay(address: str, card: str | None, overrides: Overrides = NO_OVERRIDES) -> str:
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


def _given(address: str, card: str | None, overrides: Overrides) -> _Given:
    """Take the index that whoever runs names; the store's own card names no server, and neither does its last night.

    Raises:
        BadInput: the nights go to a server, and nobody here names one.
    """
    store = prepare_store(address)
    task = cards.read(card)[0] if card else _without_server(opening.published_card(store))
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
    settings = {name: value for name, value in card.section("index").items() if name != "url"}
    return card.model_copy(update={"index": settings})
