"""Read what people labelled, and spend budgets of human labels on it, for the benchmark of the student's quality.

All labels are people's (SemEval-2019 Task 9; ../shared/data/suggestion-mining). Sentences of the forum's test set that
also stand in its training set are taken out of that.
"""

import csv
import runpy
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.workloads import SHARED
from understudy.stats.draw import share
from understudy.text.normalise import content_hash

TASK = Path(__file__).parents[1] / "pipelines/tasks/suggestion-mining"
DATA = SHARED / "data/suggestion-mining"
FOLDS = 5
COLUMNS = ["id", "group", "text", "label"]


def card(**changes: str) -> str:
    """Return the forum's card as it is written, with what differs."""
    lines = (TASK / "card.yaml").read_text(encoding="utf-8")
    for key, value in changes.items():
        lines = "\n".join(f"{key}: {value}" if line.startswith(f"{key}:") else line for line in lines.splitlines())
    return lines


def forum() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the forum's training sentences, but for those of the test set and repeated ones, and the test set."""
    rows_of = runpy.run_path(str(TASK / "prepare.py"))["rows_of"]
    taught, test = (
        pl.DataFrame([row for row in rows_of(DATA / f"a_{part}.csv", part) if row[2]], schema=COLUMNS, orient="row")
        for part in ("train", "test")
    )
    taught, test = (table.with_columns(content=_contents(table)) for table in (taught, test))
    taught = taught.join(test, on="content", how="anti", maintain_order="left").unique("content", maintain_order=True)
    return taught.select(COLUMNS), test.select(COLUMNS)


def hotel() -> pl.DataFrame:
    """Read the hotel sentences, each a group of its own."""
    with (DATA / "b_trial.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [(row["id"], row["sentence"].strip().strip('"').strip(), row["label"]) for row in csv.DictReader(file)]
    names = {"0": "other", "1": "suggestion"}
    kept = [(f"hotel-{name}", f"hotel-{name}", text, names[label]) for name, text, label in rows if text]
    table = pl.DataFrame(kept, schema=COLUMNS, orient="row")
    return table.with_columns(content=_contents(table)).unique("content", maintain_order=True).select(COLUMNS)


def folds(table: pl.DataFrame, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Deal texts out to FOLDS folds by a hash, shape (texts,)."""
    lots = [share(f"fold {seed}", name, digits=12) for name in table["id"]]
    return np.argsort(np.argsort(lots)) % FOLDS


def spend(table: pl.DataFrame, budget: dict[str, int], seed: int) -> pl.DataFrame:
    """Spend human labels on texts drawn by a hash: the table of those, with the column split."""
    lots = pl.Series([share(f"budget {seed}", name, digits=12) for name in table["id"]])
    names = [split for split, texts in budget.items() for _ in range(texts)]
    drawn = table.with_columns(lot=lots).sort("lot").drop("lot").head(len(names))
    return drawn.with_columns(split=pl.Series(names[: len(drawn)], dtype=pl.String))


def simulated(table: pl.DataFrame, flip: float, seed: int) -> pl.DataFrame:
    """Label texts as a teacher that takes one label for the other in a share of them: columns id and label."""
    wrong = np.array([share(f"teacher {seed}", name, digits=12) < flip for name in table["id"]])
    is_own = (table["label"] == "suggestion").to_numpy() ^ wrong
    return table.select("id", label=pl.Series(np.where(is_own, "suggestion", "other")))


def _contents(table: pl.DataFrame) -> pl.Series:
    return pl.Series([content_hash(text) for text in table["text"]], dtype=pl.String)


def split_forum(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Split the forum's training sentences by whole posts, a tenth for validation and one for calibration."""
    lots = pl.Series([share(f"split {seed}", name, digits=12) for name in table["group"]])
    split = pl.when(lots < 0.1).then(pl.lit("validation")).when(lots < 0.2).then(pl.lit("calibration"))
    return table.with_columns(split=split.otherwise(pl.lit("train")))


def news() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read news sentences that people judged biased or not, and those that three open LLMs alone did.

    Biased is the label that is looked for, under the forum's name for that: a student sees no name. Column vote is the
    majority of the LLMs with eight examples; null where no two of them gave the same usable answer.
    """
    folder = SHARED / "data/llm-answers"
    judged, unjudged = (pl.read_parquet(folder / f"{name}.parquet") for name in ("judged", "unjudged"))
    votes = [pl.col(f"{model}/8-shot") for model in ("zephyr", "openchat", "llama_13b")]
    ones, zeros = (pl.sum_horizontal(vote == answer for vote in votes) for answer in ("1", "0"))
    names = {"0": "other", "1": "suggestion"}
    vote = pl.when(ones > 1).then(pl.lit("suggestion")).when(zeros > 1).then(pl.lit("other"))
    people = judged.select("id", group="id", text="text", label=pl.col("label").replace_strict(names), vote=vote)
    machines = unjudged.select("id", "group", "text", label=pl.col("llm_label").cast(pl.String).replace_strict(names))
    return people, machines
