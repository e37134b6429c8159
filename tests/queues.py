"""Review queues for tests, as the step mine makes them."""

from collections.abc import Mapping, Sequence

import polars as pl

from understudy.review import queues
from understudy.store import codecs
from understudy.store.storage import Store
from understudy.task.card import parse_card
from understudy.task.guideline import Guideline


def contested(rows: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Give texts the answers of a student and a teacher that disagree."""
    said = {
        "student_label": "tip",
        "student_probability": 0.9,
        "teacher_probability": 0.2,
        "teacher_label": "other",
        "disagreement": 0.7,
        "guideline": "g0123456789ab",
    }
    return pl.DataFrame(rows).with_columns(pl.lit(value).alias(name) for name, value in said.items())


def put_queue(store: Store, card_text: str, texts: Mapping[str, str], name: str = "mined", **columns: object) -> None:
    """Put a queue into a store as mine does, and the card by whose guideline it asks."""
    card = parse_card(card_text)
    rows = {"id": [*texts], "group": [*texts], "text": [*texts.values()]}
    table = contested(rows).with_columns(guideline=pl.lit(Guideline.of(card).hash))
    table = table.with_columns(pl.lit(value).alias(column) for column, value in columns.items())
    store.put_if_absent(f"cards/{card.name}/{card.hash}.yaml", card_text.encode())
    files = {queues.TABLE: codecs.as_parquet(table), queues.RECORD: codecs.as_json({"queue": name})}
    queues.put(store, card.name, name, files)
