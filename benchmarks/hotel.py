"""A MiniLM student that looks for tips in hotel reviews, and real sentences that it has never seen.

The student learns from the demo's labels (pipelines/tasks/hotel-tips), which were written for this project. The
sentences are those of 1,427 real reviews (../shared/data/hotel-reviews), each known by its review.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks import taught
from benchmarks.figures import BUILD
from benchmarks.workloads import REVIEWS
from understudy.task.card import Card, load_card

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
    """Read the demo's human labels as `tables.Gold`."""
    labels = pl.read_csv(TASK / "labels.csv", infer_schema=False)
    texts = pl.read_csv(TASK / "texts.csv", infer_schema=False).select("id", "group", "text")
    return labels.join(texts, on="id").with_columns(annotators=pl.lit(1), origin=pl.lit("labels"))


def student() -> Path:
    """Train the student on the texts outside of the held-out splits, with the answers of the demo's teacher, once."""
    labels = gold()
    held_out = labels.filter(pl.col("split") != "train")
    answers = pl.read_csv(TASK / "answers.csv").unique("text", maintain_order=True)
    texts = pl.read_csv(TASK / "texts.csv", infer_schema=False).join(held_out, on="group", how="anti")
    answered = texts.join(answers, on="text", maintain_order="left")
    return taught.student(STUDENT, card(), answered, labels.filter(pl.col("split") == "validation"))


def _texts(reviews: pl.DataFrame) -> Iterator[tuple[str, str]]:
    for name, text in reviews.select("review_id", "text").iter_rows():
        yield name, " ".join((text or "").split())


def _split(text: str) -> Iterator[tuple[int, str]]:
    for place, part in enumerate(SENTENCE_END.split(text)):
        if len(re.findall(r"\w+", part)) >= FEWEST_WORDS:
            yield place, part.strip()
