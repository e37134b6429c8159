"""A MiniLM student that looks for tips in hotel reviews, and real sentences that it has never seen.

The student learns from the demo's labels (pipelines/tasks/hotel-tips), which were written for this project. The
sentences are those of 1,427 real reviews (../shared/data/hotel-reviews), each known by its review.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.figures import BUILD
from benchmarks.workloads import REVIEWS
from understudy.task import Card, load_card

TASK = Path(__file__).parents[1] / "pipelines/tasks/hotel-tips"
SENTENCE_END = re.compile(r"(?<=[.!?])\s*(?=[A-Z\"'(])|(?<=[.!?])\s+")
FEWEST_WORDS = 2
STUDENT = BUILD / "benchmark-hotel/student"


def sentences() -> pl.DataFrame:
    """Read the sentences of the reviews, each text once: columns id, group (the review) and text."""
    reviews = pl.read_csv(REVIEWS, encoding="utf8-lossy", infer_schema=False)
    rows = [(f"{name}-{place}", name, sentence) for name, text in _texts(reviews) for place, sentence in _split(text)]
    return pl.DataFrame(rows, schema=["id", "group", "text"], orient="row").unique("text", maintain_order=True)


def card() -> Card:
    """Read the demo's card."""
    return load_card(TASK)


def gold() -> pl.DataFrame:
    """Read the demo's human labels as `records.Gold`."""
    labels = pl.read_csv(TASK / "labels.csv", infer_schema=False)
    texts = pl.read_csv(TASK / "texts.csv", infer_schema=False).select("id", "group", "text")
    return labels.join(texts, on="id").with_columns(annotators=pl.lit(1), origin=pl.lit("labels"))


def student() -> Path:
    """Train the student, or return the folder of the one that was trained before."""
    if (STUDENT / "student.json").is_file():
        return STUDENT
    fresh = STUDENT.with_name("training")
    shutil.rmtree(fresh, ignore_errors=True)
    _train(fresh)
    fresh.rename(STUDENT)
    return STUDENT


def _texts(reviews: pl.DataFrame) -> Iterator[tuple[str, str]]:
    for name, text in reviews.select("review_id", "text").iter_rows():
        yield name, " ".join((text or "").split())


def _split(text: str) -> Iterator[tuple[int, str]]:
    for place, part in enumerate(SENTENCE_END.split(text)):
        if len(re.findall(r"\w+", part)) >= FEWEST_WORDS:
            yield place, part.strip()


def _train(folder: Path) -> None:
    """Learn from the texts outside of the held-out splits, with the answers of the demo's teacher."""
    import torch

    from understudy import student as students
    from understudy.steps.train import learn
    from understudy.steps.train.config import TrainConfig

    task, labels = card(), gold()
    held_out = labels.filter(pl.col("split") != "train")
    answers = pl.read_csv(TASK / "answers.csv").unique("text", maintain_order=True)
    texts = pl.read_csv(TASK / "texts.csv", infer_schema=False).join(held_out, on="group", how="anti")
    taught = texts.join(answers, on="text", maintain_order="left")
    checked = labels.filter(pl.col("split") == "validation")
    device = learn.make_deterministic(TrainConfig().seed)
    model, tokenizer = students.load("minilm", task.label_names)
    longest = TrainConfig().max_length
    is_tip = (taught["label"] == task.positive_label).to_numpy()
    targets = torch.tensor(np.eye(2, dtype=np.float32)[is_tip.astype(int)])
    learner = learn.Learner(
        model,
        tokenizer.pad_token_id,
        learn.Examples(
            students.tokens_of(tokenizer, taught["text"].to_list(), longest), targets, torch.ones(len(taught))
        ),
        learn.Validation(
            students.tokens_of(tokenizer, checked["text"].to_list(), longest),
            (checked["label"] == task.positive_label).to_numpy(),
            task.positive_index,
        ),
        TrainConfig(),
        students.learning_rate_of("minilm"),
        device,
    )
    learner.run(lambda _: None, lambda *_: None)
    about = {
        "student": "minilm",
        "labels": list(task.label_names),
        "positive_label": task.positive_label,
        "max_length": longest,
        "texts": len(taught),
        "is_rehearsal": True,
    }
    students.save(learner.model.cpu(), tokenizer, about, folder)
    taught.select("id").write_parquet(folder / students.LEARNED_FILE)
