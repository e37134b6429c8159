"""Read which texts the teacher is asked about."""

from pathlib import Path

import polars as pl

from understudy.steps.label import rules, sampler
from understudy.steps.label.config import LabelConfig
from understudy.store import tables
from understudy.store.tombstones import Forgotten
from understudy.task.card import Card
from understudy.text.seen import columns_of


def texts_to_ask(
    card: Card,
    config: LabelConfig,
    pool: Path,
    gold: Path,
    test: Path,
    forgotten: Forgotten,
    first: sampler.First,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the draw, the texts for training in the order of asking, and the test texts.

    Nobody is asked about what somebody asked to forget since these were read, nor shown it before another text.

    Args:
        card: the task.
        config: which texts.
        pool: texts that may be used for training.
        gold: human labels of train and validation.
        test: human labels of the test split.
        forgotten: what somebody asked to forget.
        first: gives the answers to the first set, where the draw goes by them (`sampler.draw`).
    """
    human = forgotten.without(tables.read_gold(gold, "train", "validation"))
    texts = forgotten.without(tables.read(pool, tables.Texts))
    unlabelled = texts.join(human.select("id"), on="id", how="anti")
    drawn = sampler.draw(card, unlabelled, config, first)
    held_out = forgotten.without(tables.read_gold(test, "test")).sort("id")
    held_out = held_out.select("id", *columns_of(held_out), weight=pl.lit(1.0))
    return drawn, rules.for_training(drawn, human), held_out


def human_labels(gold: Path, test: Path) -> int:
    """Count the labels that people gave for this run, each person's on each text."""
    return sum(int(tables.read(folder, tables.Gold)["annotators"].sum()) for folder in (gold, test))
