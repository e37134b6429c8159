"""What `understudy search` and `understudy index --from-store` or `--replay` do, and how they say it."""

import json
from collections.abc import Mapping
from pathlib import Path

from understudy.index import following, opening
from understudy.index.query import Answer, Query
from understudy.steps.index import core
from understudy.steps.index.config import IndexConfig
from understudy.storage import Store, prepare_store
from understudy.task import Card, load_card, load_config
from understudy.wording import clip, count

WIDTH = 110


def search(store: Store, query: Query) -> Answer:
    """Search the index that a store's nights go to.

    Raises:
        BadInput: the store has no night yet.
        IndexFailed: the server does not answer, or holds no index of this card.
    """
    with opening.opened_for_search(store) as index:
        return index.search(query)


def from_store(address: str, card: Path | None, overrides: str = "") -> str:
    """Send every prediction of a store to its index again, and say how many there are then.

    Raises:
        BadInput: no card is given and nothing is published; or the server refuses the key.
        IndexFailed: the server does not answer, or refused too many documents.
    """
    store, task, config = _given(address, card, overrides)
    url = opening.url_of(config)
    with opening.opened(store, task.name, url, config) as index:
        index.forget_progress()
        done = following.follow(index, store, task.name)
        opening.say_serving(store, opening.Serving(task.name, url))
        core.require_taken(done, config.max_refused_share, index.place)
        return core.headline(done, index.count(), index.place)


def replay(address: str, card: Path | None, overrides: str = "") -> str:
    """Send the dead letters of a store again, and say how many are left.

    Raises:
        BadInput: no card is given and nothing is published; or the server refuses the key.
        IndexFailed: the server does not answer.
    """
    store, task, config = _given(address, card, overrides)
    with opening.opened(store, task.name, opening.url_of(config), config) as index:
        done = following.replay(index, store, task.name)
        return core.headline(done, index.count(), index.place)


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


def _given(address: str, card: Path | None, overrides: str) -> tuple[Store, Card, IndexConfig]:
    store = prepare_store(address)
    task = load_card(card) if card else opening.published_card(store)
    return store, task, load_config("index", task, overrides)
