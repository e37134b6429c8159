"""Define the tables that steps hand to one another, and read and write them as Parquet.

Where a text may have several labels, what a column calls its label is all of them, as `task.label_sets` writes them.
"""

from pathlib import Path
from typing import Literal

import dataframely as dy
import polars as pl

from understudy.errors import BadArtifact
from understudy.store import codecs

Split = Literal["train", "validation", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "calibration", "test")


class Texts(dy.Schema):
    """Texts of the pool; columns that the card's slices use stand beside these as strings."""

    id = dy.String(primary_key=True, min_length=1)
    group = dy.String(min_length=1)
    time = dy.String(nullable=True)
    text = dy.String(min_length=1)


class Gold(dy.Schema):
    """Human labels, one row a text, with the split of the text's group.

    Where some were given by another guideline than the card's, or by one that is not known, a column `guideline` says
    by which each was (null: not known). `origin` "settle": the text was drawn by lot from a slice of the audit.
    """

    id = dy.String(primary_key=True, min_length=1)
    group = dy.String(min_length=1)
    text = dy.String(min_length=1)
    label = dy.String(min_length=1)
    split = dy.Enum(list(SPLITS))
    annotators = dy.Int64(min=1)
    origin = dy.Enum(["labels", "queue", "settle"])


class LeakageGuard(dy.Schema):
    """What may enter no training input: ids and content hashes of the test split."""

    id = dy.String(primary_key=True)
    content = dy.String()


class Judgements(dy.Schema):
    """Answers of a judge (teacher, editor), one row a text and judge.

    `probabilities` follow the card's order of labels; null when the judge gave none. `weight` is the inverse of the
    text's chance to be drawn, so that weighted figures speak of the whole pool. `cost_usd` is null where nobody says
    what an imported answer did cost.
    """

    id = dy.String(primary_key=True, min_length=1)
    judge = dy.String(primary_key=True, min_length=1)
    kind = dy.Enum(["teacher", "editor"])
    label = dy.String(min_length=1)
    probabilities = dy.List(dy.Float64(min=0, max=1), nullable=True)
    rationale = dy.String(nullable=True)
    prompt_tokens = dy.Int64(min=0)
    completion_tokens = dy.Int64(min=0)
    cost_usd = dy.Float64(min=0, nullable=True)
    is_rehearsal = dy.Bool()
    weight = dy.Float64(min_exclusive=0)


class Refusals(dy.Schema):
    """Rows of the user's files that were refused. `is_fault` is False for what is redundant or kept out of training."""

    file = dy.String()
    row = dy.Int64(min=0)  # 0: the whole file
    id = dy.String(nullable=True)
    reason = dy.String(min_length=1)
    detail = dy.String()
    is_fault = dy.Bool()


class Queue(dy.Schema):
    """Texts that wait for people, most contested first. A probability is of the label that its giver gave.

    `guideline` is the hash of that by which they are to be labelled. Of a text that the teacher was not asked about its
    label and the disagreement are null.
    """

    id = dy.String(primary_key=True, min_length=1)
    group = dy.String(min_length=1)
    text = dy.String(min_length=1)
    student_label = dy.String()
    student_probability = dy.Float64(min=0, max=1)
    teacher_label = dy.String(nullable=True)
    teacher_probability = dy.Float64(min=0, max=1, nullable=True)
    disagreement = dy.Float64(min=0, max=1, nullable=True)
    guideline = dy.String(min_length=1)


class SecondLook(dy.Schema):
    """Texts that people labelled by an earlier guideline (null where it is not known), to be labelled by another."""

    id = dy.String(primary_key=True, min_length=1)
    group = dy.String(min_length=1)
    text = dy.String(min_length=1)
    guideline = dy.String(min_length=1)
    earlier_guideline = dy.String(nullable=True)


class AuditQueue(dy.Schema):
    """Texts of slices where the teacher is biased, for people to label.

    `direction` is the teacher's fault there and `label` the label that it is about: one that it misses, gives too
    often, or gives `teacher_label` in place of. `teacher_probability` is of `teacher_label`.
    """

    id = dy.String(primary_key=True, min_length=1)
    group = dy.String(min_length=1)
    text = dy.String(min_length=1)
    slice = dy.String(min_length=1)
    direction = dy.Enum(["under-labels", "over-labels", "confuses"])
    label = dy.String(min_length=1)
    teacher_label = dy.String()
    teacher_probability = dy.Float64(min=0, max=1, nullable=True)
    guideline = dy.String(min_length=1)


class Evaluated(dy.Schema):
    """Answers to human-labelled texts. A probability is of the label beside it; the teacher's may be null.

    Where a text may have several labels, `runner_up` is the likeliest that it does not get, null where it gets all.
    """

    id = dy.String(primary_key=True, min_length=1)
    group = dy.String(min_length=1)
    text = dy.String(min_length=1)
    label = dy.String(min_length=1)
    predicted = dy.String(min_length=1)
    probability = dy.Float64(min=0, max=1)
    runner_up = dy.String(nullable=True, min_length=1)
    runner_up_probability = dy.Float64(nullable=True, min=0, max=1)
    rules_label = dy.String(min_length=1)
    teacher_label = dy.String(nullable=True)
    teacher_probability = dy.Float64(min=0, max=1, nullable=True)


FILES: dict[type[dy.Schema], str] = {
    Texts: "texts.parquet",
    Gold: "gold.parquet",
    LeakageGuard: "leakage_guard.parquet",
    Judgements: "judgements.parquet",
    Refusals: "refusals.parquet",
    Queue: "queue.parquet",
    SecondLook: "queue.parquet",
    AuditQueue: "queue.parquet",
    Evaluated: "predictions.parquet",
}


def write(table: pl.DataFrame, schema: type[dy.Schema], folder: Path) -> None:
    """Write a table as the file that its schema names, its required columns first.

    Raises:
        dataframely.exc.ValidationError: the table breaks its schema, which is a defect of the step that made it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    required = schema.validate(table.select(schema.column_names()), cast=True)
    extra = [name for name in table.columns if name not in schema.column_names()]
    (folder / FILES[schema]).write_bytes(codecs.as_parquet(required.hstack(table.select(extra))))


def read(folder: Path, schema: type[dy.Schema]) -> pl.DataFrame:
    """Read the table of a schema from an artifact folder.

    Raises:
        BadArtifact: the file is missing or unreadable, lacks a column, or holds rows that break the schema.
    """
    path = folder / FILES[schema]
    try:
        table = codecs.read_table(path, str(path), what=f"A table of {schema.__name__}")
        required = table.select(schema.column_names())
        good, failure = schema.filter(required, cast=True)
    except (pl.exceptions.PolarsError, dy.exc.SchemaError) as error:
        raise BadArtifact(f"A table must be readable as {schema.__name__}, got {error} ({path}).") from error
    if len(good) < len(table):
        raise BadArtifact(f"A table's rows must follow {schema.__name__}, got faults {failure.counts()} ({path}).")
    return good.hstack(table.drop(schema.column_names()))


def read_gold(folder: Path, *splits: Split) -> pl.DataFrame:
    """Read the human labels of the named splits only, so that a step states what it looks at."""
    return read(folder, Gold).filter(pl.col("split").cast(pl.String).is_in(splits))


def empty(schema: type[dy.Schema]) -> pl.DataFrame:
    """Return a table of the schema without rows."""
    return schema.create_empty()
