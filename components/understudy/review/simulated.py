"""Answer a review queue from a file, as simulated reviewers: the answers go the way of all, through `labels.add`."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from understudy.data import sources
from understudy.review import labels
from understudy.review.spreadsheet import safe_cell
from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.task.card import Card
from understudy.text.normalise import normalise

ANNOTATOR = "simulated"
ASKED = {"id": pl.String, "text": pl.String, "guideline": pl.String}


@dataclass(frozen=True, slots=True)
class Answered:
    """What simulated reviewers did with a queue: texts that they answered now, and those that their file lacks."""

    texts: int
    lacking: int


def answer(store: Store, card: Card, queue: str, address: str) -> Answered:
    """Answer what of a queue nobody has labelled yet; asking again adds nothing.

    Args:
        store: of the loop.
        card: the task.
        queue: its name in the store.
        address: a file with label, and id or text: by its id a text is looked up first.

    Raises:
        BadData: the file cannot be read, or its labels are not the card's.
        BadArtifact: the queue is damaged.
    """
    key = layout.QUEUE_TABLES.key(card=card.name, queue=queue, name="queue")
    asked = codecs.read_table(store.read(key), store.locate(key), ASKED)
    waiting = asked.join(labels.read_all(store, card.name), on="id", how="anti")
    by_id, by_text = _known(card, address)
    said = [by_id.get(row["id"]) or by_text.get(normalise(row["text"])) for row in waiting.iter_rows(named=True)]
    answers = waiting.with_columns(label=pl.Series(said, dtype=pl.String)).drop_nulls("label")
    if len(answers):
        ids = pl.Series(map(safe_cell, answers["id"]), dtype=pl.String)
        sheet = answers.select(id=ids, label="label", guideline="guideline", annotator=pl.lit(ANNOTATOR))
        with tempfile.TemporaryDirectory(prefix="understudy-answers-") as folder:
            path = Path(folder) / "answers.parquet"
            sheet.write_parquet(path)
            labels.add(store, str(path), card.name)
    return Answered(len(answers), len(waiting) - len(answers))


def _known(card: Card, address: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Read a file of answers: labels by id, and by what a text says."""
    lists = ["label"] if card.is_many else []
    with sources.opened(address, ["label"], ["id", "text"], lists) as source:
        table, _ = source.read(filled=["label"])
    rows = table.to_dicts()
    by_id = {row["id"]: row["label"] for row in rows if row.get("id")}
    return by_id, {normalise(row["text"]): row["label"] for row in rows if row.get("text")}
