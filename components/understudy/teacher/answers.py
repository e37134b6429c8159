"""Tabulate a teacher's answers beside human labels."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from understudy.errors import BadArtifact
from understudy.task import label_sets
from understudy.task.card import Card
from understudy.task.labels import LabelSpace


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
    """Return the probability that somebody gave to the label that they gave; null where they gave none.

    Where a text may have several labels, it is of the label of which they were least sure: the lowest among those that
    they gave, or, where they gave none, how sure they were that the likeliest does not apply.

    Args:
        who: "student" or "teacher", with the columns <who>_label and <who>_probabilities (a list in the card's order).
        space: the labels.
    """
    if space.is_many:
        both = pl.struct(pl.col(f"{who}_label").alias("given"), pl.col(f"{who}_probabilities").alias("chances"))
        return both.map_elements(partial(_of_set, space), return_dtype=pl.Float64).alias(f"{who}_probability")
    columns = {name: index for index, name in enumerate(space.names)}
    column = pl.col(f"{who}_label").replace_strict(columns, return_dtype=pl.Int64)
    return pl.col(f"{who}_probabilities").list.get(column, null_on_oob=True).alias(f"{who}_probability")


def _of_set(space: LabelSpace, row: Mapping[str, Any]) -> float | None:
    if row["given"] is None or row["chances"] is None:
        return None
    given = label_sets.read(row["given"])
    least = min((row["chances"][space.index(name)] for name in given), default=1 - max(row["chances"]))
    return float(least)
