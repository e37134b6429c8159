"""Queue texts whose labels were given by an older guideline, so that people label them again by the card's."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from understudy.review import queues
from understudy.review.outdated import Older
from understudy.store import codecs, hashing, tables
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.text.context import COLUMN
from understudy.text.seen import columns_of

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Chosen:
    """Texts to be labelled again.

    Attributes:
        queue: by `tables.SecondLook`, with what was said before each text where the card has context.
        absent: how many labels wait whose text is not there.
    """

    queue: pl.DataFrame
    absent: int


def choose(older: Sequence[Older], texts: pl.DataFrame, card: Card, *, is_all: bool) -> Chosen:
    """Choose the texts to be labelled again: those whose labels may be touched, in the order of the texts.

    People are shown neither the old label nor a model's: they tend to agree with one that they see.

    Args:
        older: the labels.
        texts: columns id, group and text, and what columns_of names.
        card: by which they are to be labelled.
        is_all: also those that the change is not about by its words.
    """
    wanted = [
        (one.votes if is_all else one.touched).select("id", earlier_guideline=pl.lit(one.guideline, pl.String))
        for one in older
    ]
    waiting = pl.concat(wanted).unique("id", keep="last") if wanted else None
    if waiting is None:
        return Chosen(tables.empty(tables.SecondLook), 0)
    found = texts.join(waiting, on="id", how="inner", maintain_order="left")
    queue = found.with_columns(guideline=pl.lit(Guideline.of(card).hash))
    columns = [*tables.SecondLook.column_names(), *columns_of(queue)[1:]]
    return Chosen(queue.select(columns), len(waiting) - len(queue))


def files(queue: pl.DataFrame, card: Card) -> tuple[str, dict[str, bytes]]:
    """Write a queue in the formats that all queues have.

    Returns:
        its name, which its content decides, and its files.
    """
    checked = tables.SecondLook.validate(queue.select(tables.SecondLook.column_names()), cast=True)
    bare = queues.bare_files(queue, card, has_context=COLUMN in queue.columns)
    table = codecs.as_parquet(checked.hstack(queue.select(columns_of(queue)[1:])))
    about = {
        "format": FORMAT,
        "card": card.name,
        "card_hash": card.hash,
        "guideline": Guideline.of(card).hash,
        "queued": len(queue),
    }
    name = f"second-look-{hashing.hash_json({**about, 'sheet': bare['queue.csv'].decode()})[:12]}"
    record = codecs.as_json({"queue": name, **about})
    return name, {queues.TABLE: table, **bare, queues.RECORD: record}
