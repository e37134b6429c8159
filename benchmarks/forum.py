"""A MiniLM student that looks for suggestions in a software forum, and labelled sentences that it has not seen.

All labels are people's (../shared/data/suggestion-mining, SemEval-2019 Task 9, Subtask A). The budget that
pipelines/tasks/suggestion-mining/prepare.py spends serves for validation and calibration.
"""

import runpy
from pathlib import Path

import polars as pl

from benchmarks import taught
from benchmarks.figures import BUILD
from benchmarks.workloads import SHARED
from understudy.task.card import Card, load_card

TASK = Path(__file__).parents[1] / "pipelines/tasks/suggestion-mining"
FOLDER = BUILD / "benchmark-forum"
TAUGHT = 2000
SEED = 20261121


def card() -> Card:
    """Read the tutorial's card."""
    return load_card(TASK / "card.yaml")


def labelled() -> pl.DataFrame:
    """Read each sentence once: columns id, group (the post), text, label and split (null beyond the budget)."""
    if not (FOLDER / "answers.csv").exists():
        runpy.run_path(str(TASK / "prepare.py"))["main"](SHARED / "data/suggestion-mining", FOLDER)
    texts, answers = (pl.read_csv(FOLDER / name, infer_schema=False) for name in ("texts.csv", "answers.csv"))
    splits = pl.read_csv(FOLDER / "labels.csv", infer_schema=False).select("id", "split")
    whole = texts.with_columns(answers["label"]).join(splits, on="id", how="left", maintain_order="left")
    return whole.unique("text", keep="last", maintain_order=True)  # the test set stands last, and keeps its copies


def gold() -> pl.DataFrame:
    """Return the labels of the budget as `tables.Gold`."""
    return labelled().filter(pl.col("split").is_not_null()).with_columns(annotators=pl.lit(1), origin=pl.lit("labels"))


def learned() -> pl.DataFrame:
    """Draw the sentences that the student learns."""
    return labelled().filter(pl.col("split").is_null()).sample(TAUGHT, seed=SEED)


def unseen() -> pl.DataFrame:
    """Return the sentences that neither training nor calibration has read."""
    others = labelled().join(learned(), on="id", how="anti", maintain_order="left")
    return others.filter(pl.col("split").is_null() | pl.col("split").is_in(["train", "test"]))


def student() -> Path:
    """Train the student, once."""
    return taught.student(FOLDER / "student", card(), learned(), gold().filter(pl.col("split") == "validation"))
