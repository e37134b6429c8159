"""Write a sample for people's tools, without any model's answer: people tend to agree with one they see."""

import csv
import io

import polars as pl

from understudy.review.queues import BYTE_ORDER_MARK, TEXT_COLUMNS, label_studio_page, shown_columns, tasks_json
from understudy.review.spreadsheet import safe_cell
from understudy.store.predictions import has_turns
from understudy.task.card import Card


def files(sample: pl.DataFrame, card: Card) -> dict[str, bytes]:
    """Return queue.csv to fill in, and Label Studio's tasks with their page."""
    texts = {
        "queue.csv": _csv(sample),
        "label-studio.json": tasks_json(sample.select(shown_columns(TEXT_COLUMNS, sample))),
        "label-studio.xml": label_studio_page(card, has_context=has_turns(sample)),
    }
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


def _csv(sample: pl.DataFrame) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    shown = sample.select(shown_columns(TEXT_COLUMNS, sample))
    writer.writerow([*shown.columns, "label"])
    for row in shown.iter_rows():
        writer.writerow([*(safe_cell(value or "") for value in row), ""])
    return BYTE_ORDER_MARK + out.getvalue()
