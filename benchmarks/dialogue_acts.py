"""Measure what the turns before a text are worth: acts of speech in meetings, told with three turns before and without.

The utterances are people's, with their act: statement, backchannel, disruption, floor grabber or question
(../shared/data/dialogue-acts: the ICSI Meeting Recorder Dialog Act corpus; Shriberg et al., 2004). "Okay." is any of
them. Whole meetings are learned from, others are measured on.
"""

from functools import partial

import numpy as np
import polars as pl
import yaml

from benchmarks import taught
from benchmarks.figures import BUILD, Figure
from benchmarks.workloads import SHARED
from understudy.model import student
from understudy.stats import metrics
from understudy.stats.metrics import Codes
from understudy.task.card import Card, parse_card
from understudy.task.labels import LabelSpace
from understudy.text.context import contexts
from understudy.text.seen import seen_of

DATA = SHARED / "data/dialogue-acts/utterances.csv.gz"
FOLDER = BUILD / "benchmark-dialogue-acts"
SEED = 20261130
TAUGHT, CHECKED, TESTED = 6_000, 1_000, 4_000
TURNS, WORDS = 3, 60
ACTS = {
    "S": "A statement.",
    "B": "A backchannel: the speaker shows that they listen.",
    "D": "A disruption: broken off, or not to be made out.",
    "F": "A floor grabber or holder: the speaker takes the word or keeps it.",
    "Q": "A question.",
}


def card() -> Card:
    """Return the task."""
    said = {
        "name": "dialogue-acts",
        "unit": "utterance",
        "question": "What is this utterance for?",
        "labels": [{"name": name, "definition": definition} for name, definition in ACTS.items()],
        "rules": ["What it is for counts, not its words."],
        "context": {"turns": TURNS, "order": "turn", "words": WORDS},
        "teacher": {"model": "none", "input_usd_per_million": 0.0, "output_usd_per_million": 0.0},
        "budget": {"teacher_usd": 1},
    }
    return parse_card(yaml.safe_dump(said))


def utterances() -> pl.DataFrame:
    """Read the corpus: columns id, group (the meeting), text, label, split, and context, the three turns before."""
    rows = pl.read_csv(DATA, infer_schema=False).filter(pl.col("text").str.strip_chars() != "")
    found = contexts(rows["dialogue_id"].to_list(), rows["text"].to_list(), rows["turn"].to_list(), TURNS, WORDS)
    return rows.select(
        pl.format("{}-{}", "dialogue_id", "turn").alias("id"),
        pl.col("dialogue_id").alias("group"),
        "text",
        pl.col("act").alias("label"),
        "split",
        pl.Series("context", found, dtype=pl.String),
    )


def learned(rows: pl.DataFrame) -> pl.DataFrame:
    """Draw whole meetings of the training part, as many as hold TAUGHT utterances; the last is cut."""
    known = rows.filter(pl.col("split") == "train")
    meetings = known["group"].unique().sort().shuffle(seed=SEED).to_list()
    return pl.concat([known.filter(pl.col("group") == name) for name in meetings]).head(TAUGHT)


def drawn(rows: pl.DataFrame, split: str, texts: int) -> pl.DataFrame:
    """Draw utterances of all meetings of a part."""
    return rows.filter(pl.col("split") == split).sample(texts, seed=SEED)


def told(name: str, rows: pl.DataFrame, *, has_context: bool) -> Codes:
    """Train MiniLM on what is read of the utterances, and return its labels of the test's, shape (TESTED,)."""
    read = rows.with_columns(text=seen_of(rows)) if has_context else rows
    task, test = card(), drawn(read, "test", TESTED)
    folder = taught.student(FOLDER / name, task, learned(read), drawn(read, "val", CHECKED))
    model, tokenizer, about = student.open_student(folder)
    tokens = student.tokens_of(tokenizer, test["text"].to_list(), about["max_length"])
    return np.asarray(student.logits(model, tokens, tokenizer.pad_token_id).argmax(axis=1))


def by_words(rows: pl.DataFrame) -> Codes:
    """Label the test's utterances by TF-IDF of words and pairs with logistic regression, shape (TESTED,)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    known, space = learned(rows), LabelSpace.of(card())
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")  # noqa: S106 - no password
    model = make_pipeline(vectors, LogisticRegression(max_iter=2_000, class_weight="balanced"))
    model.fit(known["text"].to_list(), space.codes(known["label"]))
    return np.asarray(model.predict(drawn(rows, "test", TESTED)["text"].to_list()))


def measure() -> dict[str, Figure]:
    """Return the macro F1 of the student with and without the turns, of words alone, and what the turns add."""
    rows, space = utterances(), LabelSpace.of(card())
    test = drawn(rows, "test", TESTED)
    truth, groups = space.codes(test["label"]), test["group"].to_numpy()
    figure = partial(metrics.macro_f1, labels=len(space))
    words = by_words(rows)
    without, behind = told("alone", rows, has_context=False), told("behind", rows, has_context=True)
    systems = {"": without, "_context": behind, "_words": words}
    found = {
        f"dialogue_acts_macro_f1{name}": Figure.of(metrics.bootstrap(figure, truth, given, groups=groups))
        for name, given in systems.items()
    }
    gain, _ = metrics.paired_bootstrap(figure, truth, behind, without, groups)
    return {**found, "dialogue_acts_context_gain": Figure.of(gain)}


if __name__ == "__main__":
    for name, found in measure().items():
        print(name, found)
