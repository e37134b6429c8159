"""Read the test set: the test artifact of a run, or anybody's labelled file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from understudy.data import sources, turns
from understudy.data.rows import Refusal
from understudy.errors import BadArtifact, BadData
from understudy.progress import say
from understudy.review.labels import tally, told_letters
from understudy.store import tables
from understudy.task.card import Card, Context
from understudy.task.labels import LabelSpace
from understudy.teacher.answers import Spent, read_sent, read_spent, teacher_answers
from understudy.text.context import COLUMN
from understudy.text.seen import seen_of

LONGEST_TEXT = 1_000_000  # characters; a student reads some hundred tokens of a text
TEACHER_COLUMNS = ("teacher_label", "teacher_probabilities", "cost_usd", "is_rehearsal")
NAMED = 10  # labels that a message lists


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Human-labelled texts, sorted by id.

    Attributes:
        name: of the file or folder they came from.
        table: id, group, text, label, columns of slices, and the teacher's answers where there are any.
        refused: how many rows were refused, by reason.
        spent: what the task has cost by the end of the step label; None where nobody says.
        sent: how many texts left the house for the teacher's answers, of the step label; None where nobody says.
    """

    name: str
    table: pl.DataFrame
    refused: dict[str, int]
    sent: dict[str, Any] | None = None
    spent: Spent | None = None


def read(
    test: Path,
    card: Card,
    test_judgements: Path | None,
    most_faulty: float,
    called: Mapping[str, str] | None = None,
) -> LabelledTexts:
    """Read the test texts, and put the teacher's answers beside them.

    Args:
        test: a folder with gold.parquet, of which the split test is read; or a CSV, JSONL or Parquet file, or a folder
            of them, with the columns text and label, and id and group when there are.
        card: for its labels and slices.
        test_judgements: the teacher's answers to the same ids.
        most_faulty: in [0, 1]; largest share of faulty rows with which the others are taken.
        called: what a file calls these columns, where it is another name.

    Raises:
        BadData: no labelled text is there, or too many rows are faulty.
        BadArtifact: the teacher's answers are unclear.
    """
    is_artifact = (test / tables.FILES[tables.Gold]).is_file()
    found, faults = (_artifact(test), []) if is_artifact else _file(test, card, called or {})
    if not len(found.table):
        why = ", ".join(f"{rows} {reason}" for reason, rows in found.refused.items()) or "no rows"
        raise BadData(
            f"A test set must hold texts with a human label among {_listed(card)}, got none ({test}; refused: {why}). "
            "Use the card's names of the labels."
        )
    _require_context(found.table, card, test)
    _require_few_faults(test, faults, len(found.table) + sum(found.refused.values()), most_faulty)
    table = found.table.sort("id").join(_answers(test_judgements, card), on="id", how="left", maintain_order="left")
    return LabelledTexts(found.name, table, found.refused, read_sent(test_judgements), read_spent(test_judgements))


def _artifact(test: Path) -> LabelledTexts:
    table = tables.read_gold(test, "test")
    if not len(table):
        raise BadArtifact(
            f"A test artifact must hold texts of the split test, got none ({test}). Give the test folder."
        )
    return LabelledTexts("the split test", table, {})


def _file(test: Path, card: Card, called: Mapping[str, str]) -> tuple[LabelledTexts, list[Refusal]]:
    """Read a labelled file: what can be measured on, and the rows that are faulty; a row that stands twice is not."""
    columns = [part.column for part in card.slices if part.column]
    columns += [COLUMN, *card.context.columns] if card.context else []
    lists = ["label"] * card.is_many
    with sources.opened(str(test), ["text", "label"], ["id", "group", *columns], lists, called=called) as source:
        table, refusals = source.read(filled=("text", "label"), max_chars=LONGEST_TEXT)
    table = _with_ids(_with_context(table, card.context))
    space = LabelSpace.of(card)
    meant = pl.Series(space.of_cells(table["label"]), dtype=pl.String)
    if in_other_letters := space.in_other_letters(table["label"]):
        say(f"{told_letters(in_other_letters)} ({test}).")
    table = table.with_columns(label_given="label", label=meant)
    is_known = pl.col("label").is_not_null()
    is_first = pl.col("id").is_first_distinct()
    is_copy = ~pl.struct("id", "text", "label").is_first_distinct()
    table = table.with_columns(is_known=is_known, is_first=is_first, is_copy=is_copy)
    unknown = table.filter(~pl.col("is_known"))
    repeated = table.filter(pl.col("is_known") & ~pl.col("is_first"))
    strange = "'{}' names others than {}" if card.is_many else "'{}' is none of {}"
    faults = [
        *refusals,
        *_faults(unknown, "unknown_label", pl.format(strange, "label_given", pl.lit(_listed(card)))),
        *_faults(repeated.filter(~pl.col("is_copy")), "repeated_id", pl.lit("an earlier row has this id")),
    ]
    reasons = Counter(refusal.reason for refusal in refusals)
    reasons += Counter(unknown_label=len(unknown), repeated_id=len(repeated))
    kept = table.filter(pl.col("is_known") & pl.col("is_first"))
    kept = kept.drop("label_given", "is_known", "is_first", "is_copy", "file", "row")
    return LabelledTexts(test.name, kept, dict(sorted(reasons.items()))), faults


def _with_context(table: pl.DataFrame, context: Context | None) -> pl.DataFrame:
    """Put the turns before each text beside it, unless the file names them, or lacks what they are made of."""
    if context is None or COLUMN in table.columns or not {*context.columns} <= {*table.columns}:
        return table
    return turns.with_context(table, context)


def _require_context(table: pl.DataFrame, card: Card, test: Path) -> None:
    """Refuse to measure without the turns before each text what was trained with them.

    Raises:
        BadData: the column is missing.
    """
    if card.context is not None and COLUMN not in table.columns:
        raise BadData(
            f"A test set must hold the turns before each text where the card has context, got none ({test}). Give it "
            f"the column {COLUMN}, or {' and '.join(card.context.columns)}."
        )


def seen_texts(table: pl.DataFrame, card: Card) -> list[str]:
    """Return what the student reads of each text, shape (texts,)."""
    return (seen_of(table) if card.context else table["text"]).to_list()


def _listed(card: Card) -> str:
    """Name the labels in a message, the first of many."""
    more = len(card.label_names) - NAMED
    return ", ".join(card.label_names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _faults(rows: pl.DataFrame, reason: str, detail: pl.Expr) -> list[Refusal]:
    found = rows.select("file", "row", "id", reason=pl.lit(reason), detail=detail)
    return [Refusal(*row) for row in found.iter_rows()]


def _require_few_faults(test: Path, faults: Sequence[Refusal], rows: int, most: float) -> None:
    """End what would be measured on a file of which much is lost."""
    if len(faults) > most * rows:
        raise BadData(
            f"At most {most:.0%} of the rows must be faulty, got {len(faults):,} of {rows:,} ({test}): "
            f"{tally(faults)}. Mend or drop these rows, or raise ingest.max_refused_share in the card."
        )


def _with_ids(table: pl.DataFrame) -> pl.DataFrame:
    """Name rows without an id by their place, and make each text without a group its own group."""
    place = pl.format("{}:{}", "file", "row")
    identity = pl.coalesce("id", place) if "id" in table.columns else place
    named = table.with_columns(identity.alias("id"))
    group = pl.coalesce("group", "id") if "group" in table.columns else pl.col("id")
    return named.with_columns(group.alias("group"))


def _answers(test_judgements: Path | None, card: Card) -> pl.DataFrame:
    judgements = tables.empty(tables.Judgements)
    if test_judgements is not None:
        judgements = tables.read(test_judgements, tables.Judgements)
    return teacher_answers(judgements, card).select("id", *TEACHER_COLUMNS)
