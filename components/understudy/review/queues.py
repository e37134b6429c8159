"""Write a review queue for people's tools: CSV for spreadsheets, tasks and a page for Label Studio.

They show no answer of student or teacher unless it is asked for: people who see one tend to agree with it, and their
labels would measure nothing. The store has the answers, and whoever compares takes them from there.
"""

import csv
import io
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

import polars as pl

from understudy.review.label_studio import CONTROL, ID_FIELD
from understudy.review.spreadsheet import safe_cell
from understudy.store import codecs
from understudy.task import label_sets
from understudy.task.card import Card
from understudy.text.context import COLUMN

BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for Latin-1
TEXT_COLUMNS = ("id", "group", "text")
ANSWER_COLUMNS = ("student_label", "student_probability", "teacher_label", "teacher_probability", "disagreement")
SEVERAL = "Choose every label that fits; a text may have several, or none of them."
NO_LABEL_HINT = "No label fits. It cannot be chosen beside a label."


def queue_csv(queue: pl.DataFrame, *, has_answers: bool = False) -> str:
    """Write a queue for a spreadsheet, with an empty column `label` to fill in; no cell can run as a formula.

    Args:
        queue: texts with what student and teacher said of them.
        has_answers: show that too.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = [*_columns(queue, has_answers=has_answers), "label"]
    writer.writerow(columns)
    for row in queue.with_columns(pl.lit("").alias("label")).select(columns).iter_rows():
        writer.writerow([_cell(value) for value in row])
    return BYTE_ORDER_MARK + out.getvalue()


def label_studio_tasks(queue: pl.DataFrame, *, has_answers: bool = False) -> str:
    """Write a queue as Label Studio's tasks; they hold no pre-annotation, and our page shows no model's answer.

    Args:
        queue: texts with what student and teacher said of them.
        has_answers: put that into the tasks' data, where Label Studio's table of tasks shows it.
    """
    return tasks_json(queue.select(_columns(queue, has_answers=has_answers)))


def _columns(queue: pl.DataFrame, *, has_answers: bool) -> list[str]:
    return shown_columns((*TEXT_COLUMNS, *(ANSWER_COLUMNS if has_answers else ())), queue)


def shown_columns(columns: Sequence[str], queue: pl.DataFrame) -> list[str]:
    """Put the context, where the queue has it, before the text; the hashes of its turns are shown to nobody."""
    parts = [[COLUMN, name] if name == "text" and COLUMN in queue.columns else [name] for name in columns]
    return [name for part in parts for name in part]


def tasks_json(rows: pl.DataFrame) -> str:
    """Write rows as Label Studio's tasks: their columns, and the id once more in a field that no export overwrites."""
    shown = rows.with_columns(pl.col(f"^{COLUMN}$").fill_null(""))
    tasks = [{"data": {ID_FIELD: row["id"], **row}} for row in shown.iter_rows(named=True)]
    return codecs.as_json(tasks, is_sorted=False, is_ascii=False).decode()


def label_studio_page(card: Card, *, has_context: bool = False) -> str:
    """Write Label Studio's labelling page for a card: question, decision rules, the text, and the choice of a label.

    Where a text may have several labels, each can be chosen, and that it has none is a choice of its own: an annotation
    without a choice may have been left by mistake.

    Args:
        card: the task.
        has_context: whether the tasks have the turns before the text.
    """
    view = Xml.Element("View")
    Xml.SubElement(view, "Header", value=_literal(card.question))
    for number, rule in enumerate(card.rules, start=1):
        Xml.SubElement(view, "Header", value=_literal(f"{number}. {rule}"), size="5")
    if card.is_many:
        Xml.SubElement(view, "Header", value=SEVERAL, size="5")
    if has_context:
        Xml.SubElement(view, "Header", value="What was said before, oldest first:", size="5")
        Xml.SubElement(view, "Text", name=COLUMN, value=f"${COLUMN}")
        Xml.SubElement(view, "Header", value="What is to be labelled:", size="5")
    Xml.SubElement(view, "Text", name="text", value="$text")
    way = "multiple" if card.is_many else "single"
    choices = Xml.SubElement(view, "Choices", name=CONTROL, toName="text", choice=way, required="true")
    for label in card.labels:
        Xml.SubElement(choices, "Choice", value=label.name, hint=_literal(label.definition))
    if card.is_many:  # the alias is what comes back
        Xml.SubElement(choices, "Choice", value=label_sets.NO_LABEL, alias=label_sets.NOTHING, hint=NO_LABEL_HINT)
    Xml.indent(view)
    return Xml.tostring(view, encoding="unicode") + "\n"


def _cell(value: str | float | None) -> str:
    if isinstance(value, str):
        return safe_cell(value)
    return "" if value is None else f"{value:.4f}"


def _literal(text: str) -> str:
    """Keep Label Studio from reading "$5" as a field of the task: an invisible word joiner parts the two."""
    return text.replace("$", "$\u2060")
