"""Read which texts the teacher is asked about."""

from pathlib import Path

import polars as pl

from understudy.steps.label import rules
from understudy.steps.label.config import LabelConfig
from understudy.store import tables
from understudy.store.tombstones import Forgotten
from understudy.task.card import Card
from understudy.task.labels import Integers
from understudy.task.slices import weak_hints, weak_labels
from understudy.text.seen import columns_of


def texts_to_ask(
    card: Card, config: LabelConfig, pool: Path, gold: Path, test: Path, forgotten: Forgotten
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the draw, the texts for training in the order of asking, and the test texts.

    Nobody is asked about what somebody asked to forget since these were read, nor shown it before another text.
    """
    human = forgotten.without(tables.read_gold(gold, "train", "validation"))
    texts = forgotten.without(tables.read(pool, tables.Texts))
    unlabelled = texts.join(human.select("id"), on="id", how="anti")
    drawn = rules.draw(unlabelled, _hints(card, unlabelled["text"].to_list()), config)
    held_out = forgotten.without(tables.read_gold(test, "test")).sort("id")
    held_out = held_out.select("id", *columns_of(held_out), weight=pl.lit(1.0))
    return drawn, rules.for_training(drawn, human), held_out


def human_labels(gold: Path, test: Path) -> int:
    """Count the labels that people gave for this run, each person's on each text."""
    return sum(int(tables.read(folder, tables.Gold)["annotators"].sum()) for folder in (gold, test))


def _hints(card: Card, texts: list[str]) -> Integers:
    """Column of the label for which each text stands in the draw, by the weak rules; `NO_RULE` where for none."""
    return rules.scarcest(weak_labels(card, texts)) if card.is_many else weak_hints(card, texts)
