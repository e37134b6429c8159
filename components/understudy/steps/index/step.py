"""Run the step index: send the store's predictions to the search index."""

from functools import partial
from pathlib import Path
from typing import Any

from understudy.privacy import retention
from understudy.runtime.shell import In, Out, Result
from understudy.search import opening
from understudy.search.sync import Followed, follow
from understudy.steps.index import rules
from understudy.steps.index.config import IndexConfig
from understudy.store import codecs
from understudy.store.storage import prepare_store
from understudy.task.card import load_card
from understudy.task.settings import NO_OVERRIDES, Overrides

COUNTED = ("segments", "documents", "written", "older", "refused", "waiting")


def run(card: In, store: str, indexed: Out, date: str = "", overrides: Overrides = NO_OVERRIDES) -> Result:
    """Put the nights' predictions into the searchable index: Elasticsearch where one is named, else SQLite.

    Every text has one document, by its newest answer; doing it again changes nothing, and after a kill it goes on where
    it stopped. The card's retention is applied. `understudy index --from-store --store STORE` fills an empty index,
    `understudy index --replay --store STORE` sends again what was refused.

    Args:
        card: snapshot of the task card.
        store: folder or s3://bucket/prefix that holds the predictions.
        indexed: indexed.json: where the documents are, and what was done.
        date: the night, YYYY-MM-DD, for the record: nights that the index lacks for any reason are added as well.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics segments, documents, written, older, refused, waiting (dead letters of earlier runs), expired, total;
        parameter place.

    Raises:
        BadInput: the server refuses the key, or is not Elasticsearch 9.
        BadArtifact: a segment or a shard's record is damaged.
        IndexFailed: the server does not answer, is closed for writing, or refused too many documents: those of earlier
            runs count, and nothing is noted as added.
        StorageError: a segment lacks rows that its shard's record counts.
    """
    task = load_card(card)
    config = task.settings(overrides).of(IndexConfig)
    keep, url = prepare_store(store), opening.url_of(config)
    with opening.opened(keep, task.name, url, config) as index:
        moved = opening.change_of_server(keep, url)
        opening.note_address(keep, task.name, url)
        done = follow(index, keep, task.name, partial(_require, config, index.place))
        opening.say_serving(keep, opening.Serving(task.name, url))
        expired = retention.expire(keep, index, task.retention)
        total, place = index.count(), index.place
    figures = _figures(done, expired, total)
    _write(indexed, {"place": place, "date": date, **figures})
    return Result(rules.headline(done, total, place) + moved, figures, {"place": place})


def _require(config: IndexConfig, place: str, done: Followed) -> None:
    rules.require_taken(done, config.max_refused_share, place)


def _figures(done: Followed, expired: int, total: int) -> dict[str, float]:
    counted = {name: getattr(done, name) for name in COUNTED}
    return {**counted, "expired": expired, "total": total}


def _write(folder: Path, said: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "indexed.json").write_bytes(codecs.as_json(said))
