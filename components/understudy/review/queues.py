"""Write a review queue for people's tools: CSV for spreadsheets, tasks and a page for Label Studio.

They show no answer of student or teacher unless it is asked for: people who see one tend to agree with it, and their
labels would measure nothing. The store has the answers, and whoever compares takes them from there.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

import polars as pl

from understudy.review.label_studio import CONTROL, ID_FIELD
from understudy.review.spreadsheet import safe_cell
from understudy.store import codecs, layout, tables
from understudy.store.storage import Store
from understudy.task import label_sets
from understudy.task.card import Card
from understudy.text.context import COLUMN

BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for Latin-1
BARE = ("id", "group", "text", "guideline")  # columns of a queue without any answer: people agree with those they see
ANSWERS = ("student_label", "student_probability", "teacher_label", "teacher_probability", "disagreement")
TABLE, RECORD = tables.FILES[tables.Queue], "queue.json"
PUT = "put"  # of queue.json: when the queue came into the store
SEVERAL = "Choose every label that fits; a text may have several, or none of them."
NO_LABEL_HINT = "No label fits. It cannot be chosen beside a label."


def queue_csv(queue: pl.DataFrame, *, has_answers: bool = False) -> str:
    """Write a queue for a spreadsheet, with an empty column `label` to fill in; no cell can run as a formula.

    Args:
        queue: texts with what student and teacher said of them.
        has_answers: show that too.
    """
    return _sheet(queue, (*_columns(has_answers=has_answers), "label"))


def bare_files(queue: pl.DataFrame, card: Card, *, has_context: bool) -> dict[str, bytes]:
    """Write texts for people without any answer: queue.csv to fill in, and Label Studio's tasks with their page.

    Args:
        queue: columns `BARE`, and the context where the card has one.
        card: the task.
        has_context: whether the queue has the turns before the texts.
    """
    texts = {
        "queue.csv": _sheet(queue, (*BARE, "label")),
        "label-studio.json": tasks_json(queue.select(shown_columns(BARE, queue))),
        "label-studio.xml": label_studio_page(card, has_context=has_context),
    }
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


def tables_of(store: Store, card_name: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Read the card's queues that have a table: the name of each, and its texts.

    Raises:
        BadArtifact: one is damaged.
    """
    for key, fields in layout.QUEUE_TABLES.listed(store, card=card_name, name="queue"):
        yield fields["queue"], codecs.read_table(store.read(key), store.locate(key))


def put(store: Store, card_name: str, queue: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Put a queue's files into the store, queue.json last: with it the queue is whole.

    The table is the first: it alone says whose turns stand in the contexts, for whoever forgets one after a kill.

    Queues have no order but the time at which they came, which the store's queue.json says.

    Returns:
        the key of each file.
    """
    files = {**files, RECORD: _dated(files[RECORD])}
    ordered = sorted(files, key=lambda file: ({TABLE: 0, RECORD: 2}.get(file, 1), file))
    keys = {file: layout.file_key(layout.QUEUE, file, card=card_name, queue=queue) for file in ordered}
    for file, key in keys.items():
        store.put_if_absent(key, files[file])
    return keys


def _dated(record: bytes) -> bytes:
    return codecs.as_json({**codecs.read_mapping(record, RECORD), PUT: datetime.now(UTC).isoformat(timespec="seconds")})


def label_studio_tasks(queue: pl.DataFrame, *, has_answers: bool = False) -> str:
    """Write a queue as Label Studio's tasks; they hold no pre-annotation, and our page shows no model's answer.

    Args:
        queue: texts with what student and teacher said of them.
        has_answers: put that into the tasks' data, where Label Studio's table of tasks shows it.
    """
    return tasks_json(queue.select(shown_columns(_columns(has_answers=has_answers), queue)))


def _columns(*, has_answers: bool) -> tuple[str, ...]:
    return (*BARE[:-1], *(ANSWERS if has_answers else ()), BARE[-1])


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


def _sheet(queue: pl.DataFrame, names: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = shown_columns(names, queue)
    writer.writerow(columns)
    for row in queue.with_columns(pl.lit("").alias("label")).select(columns).iter_rows():
        writer.writerow([_cell(value) for value in row])
    return BYTE_ORDER_MARK + out.getvalue()


def _cell(value: str | float | None) -> str:
    if isinstance(value, str):
        return safe_cell(value)
    return "" if value is None else f"{value:.4f}"


def _literal(text: str) -> str:
    """Keep Label Studio from reading "$5" as a field of the task: an invisible word joiner parts the two."""
    return text.replace("$", "$\u2060")
