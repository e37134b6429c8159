"""Tabulate a teacher's answers beside human labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy.errors import BadArtifact
from understudy.model.decision import chances
from understudy.store import codecs
from understudy.task.card import Card
from understudy.task.labels import LabelSpace

SENT_FILE = "sent.json"
SPENT_FILE = "spent.json"


def write_sent(folder: Path, sent: Mapping[str, Any]) -> None:
    """Leave beside a table of answers how many texts left the house for them, and where to."""
    codecs.write_document(folder / SENT_FILE, sent)


def read_sent(folder: Path | None) -> dict[str, Any] | None:
    """Return what `write_sent` left; None where nobody did.

    Raises:
        BadArtifact: it is unreadable.
    """
    return _left_by_label(folder, SENT_FILE)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a task has cost by the end of the step label, and how long the teacher's answers took.

    Attributes:
        teacher_usd: paid to the teacher, and to the card's other models, in this store on this card so far, by every
            step and run.
        is_rehearsal: it was a rehearsal, at the card's prices.
        human_labels: labels that people gave, each person's on each text.
        answers: of which it is kept how long they took.
        p50_ms: of these; None without any.
        p95_ms: of these; None without any.
        estimated: answers whose tokens, and so whose cost, are our estimate, for the server did not count them.
        timed: human labels of which it is known how long they took.
        label_s: seconds that one of them takes; None where too few are timed.
    """

    teacher_usd: float
    is_rehearsal: bool
    human_labels: int
    answers: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    estimated: int = 0
    timed: int = 0
    label_s: float | None = None

    @classmethod
    def of(
        cls, teacher_usd: float, human_labels: int, seconds: Sequence[float], *, is_rehearsal: bool, estimated: int = 0
    ) -> "Spent":
        """Summarise the seconds of answers.

        >>> Spent.of(1.5, 300, [0.5, 0.5, 2.5], is_rehearsal=False).p50_ms
        500.0
        """
        p50, p95 = (round(float(x) * 1000, 3) for x in np.quantile(seconds, [0.5, 0.95])) if seconds else (None, None)
        return cls(teacher_usd, is_rehearsal, human_labels, len(seconds), p50, p95, estimated)


def write_spent(folder: Path, spent: Spent) -> None:
    """Leave beside a table of answers what the task has cost."""
    codecs.write_document(folder / SPENT_FILE, asdict(spent))


def read_spent(folder: Path | None) -> Spent | None:
    """Return what `write_spent` left; None where nobody did.

    Raises:
        BadArtifact: it is unreadable.
    """
    found = _left_by_label(folder, SPENT_FILE)
    try:
        return None if found is None else Spent(**found)
    except TypeError as error:
        raise BadArtifact(
            f"What a task has cost must be as label leaves it, got {error} ({folder}/{SPENT_FILE}). Run label again."
        ) from error


def _left_by_label(folder: Path | None, name: str) -> dict[str, Any] | None:
    """Read a document that label leaves beside its answers; None where there is none."""
    if folder is None or not (folder / name).is_file():
        return None
    return codecs.read_document(folder / name, "label")


def teacher_answers(judgements: pl.DataFrame, card: Card) -> pl.DataFrame:
    """Turn judgements into one row a text, ready to be joined by id.

    Args:
        judgements: rows of `tables.Judgements`; those of other judges than the teacher are left out.
        card: for its labels.

    Returns:
        columns id, teacher_label, teacher_probabilities (a list in the card's order of labels; null when the teacher
        gave none, or not one a label), rationale, prompt_tokens, completion_tokens, cost_usd, is_rehearsal.

    Raises:
        BadArtifact: a text has several answers, so that it is unclear which one is meant.
    """
    answers = judgements.filter(pl.col("kind").cast(pl.String) == "teacher").sort("id")
    if twice := int(answers["id"].is_duplicated().sum()):
        judges = ", ".join(sorted(set(answers["judge"])))
        raise BadArtifact(f"Judgements must hold one answer a text, got {twice} rows that share a text ({judges}).")
    return answers.select(
        "id",
        pl.col("label").alias("teacher_label"),
        pl.when(pl.col("probabilities").list.len() == len(card.labels))
        .then(pl.col("probabilities"))
        .alias("teacher_probabilities"),
        "rationale",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
        "is_rehearsal",
    )


def own_probability(who: str, space: LabelSpace) -> pl.Expr:
    """Return the probability that somebody gave to what they labelled a text; null where they gave none.

    It is that of the label, and where a text may have several what `model.decision.chances` makes of all.

    Args:
        who: "student" or "teacher", with the columns <who>_label and <who>_probabilities (a list in the card's order).
        space: the labels.
    """
    label, given = f"{who}_label", f"{who}_probabilities"
    if space.is_many:

        def of_sets(texts: pl.Series) -> pl.Series:
            known = texts.struct.unnest().drop_nulls()
            rows = np.array(known[given].to_list(), dtype=np.float64).reshape(-1, len(space))
            found = iter(chances(rows, space.codes(known[label])))
            is_known = texts.struct.field(label).is_not_null() & texts.struct.field(given).is_not_null()
            return pl.Series([next(found) if is_so else None for is_so in is_known], dtype=pl.Float64)

        return pl.struct(label, given).map_batches(of_sets, return_dtype=pl.Float64).alias(f"{who}_probability")
    columns = {name: index for index, name in enumerate(space.names)}
    column = pl.col(label).replace_strict(columns, return_dtype=pl.Int64)
    return pl.col(given).list.get(column, null_on_oob=True).alias(f"{who}_probability")
