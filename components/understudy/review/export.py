"""Write people's labels with who gave each, when, by which guideline and where it came from, for use elsewhere."""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import polars as pl

from understudy.errors import BadInput
from understudy.review import firewall, labels
from understudy.review.spreadsheet import safe_cell
from understudy.store import codecs, layout
from understudy.store.storage import Store

COLUMNS = ("id", "label", "annotator", "split", "guideline", "origin", "at", "seconds", "reason", "file", "row")
SAID = ("file", "row", "at", "seconds", "reason")
TAUGHT_ONLY = ("queue", "settle")  # origins of labels that may not measure: their texts were chosen


def counting(store: Store, card_name: str) -> pl.DataFrame:
    """Return the votes that count, oldest first, columns `COLUMNS`.

    An answer to a queue has the split train, where its author asks for none, and so has a second look at a text of the
    train split: whoever takes the table in as labels keeps texts that were chosen out of what measures. A second look
    at a text of the test split by the same rules counts for nothing, here as in ingest.

    Raises:
        BadArtifact: a segment of the store is damaged.
    """
    asked = firewall.asked(store, card_name).select("id", "guideline", "measures", is_taught=pl.col("split") == "train")
    pair, votes = ["id", "guideline"], labels.read_all(store, card_name)
    votes = votes.join(asked, on=pair, how="left", nulls_equal=True, maintain_order="left")
    is_again = pl.col("origin") == "second_look"
    votes = votes.filter(~(is_again & pl.col("measures").fill_null(value=False)))
    votes = labels.current(labels.without_outvoted(votes), "guideline")
    is_chosen = pl.col("origin").is_in(TAUGHT_ONLY) | (is_again & pl.col("is_taught").fill_null(value=False))
    is_chosen &= pl.col("split").is_null()
    votes = votes.with_columns(split=pl.when(is_chosen).then(pl.lit("train")).otherwise("split"))
    said = everything(store, card_name).select(SAID)
    return votes.join(said, on=["file", "row"], how="left", maintain_order="left").select(COLUMNS)


def everything(store: Store, card_name: str) -> pl.DataFrame:
    """Return every line that was ever kept, oldest first, columns `COLUMNS`; no label: taken back, or cannot say."""
    keys = [key for key, _ in layout.LABELS.listed(store, card=card_name)]
    rows = [
        {**dict.fromkeys(COLUMNS), **line, "file": key, "row": row}
        for key in keys
        for row, line in enumerate(codecs.read_lines(store.read(key), store.locate(key), labels.Said), start=1)
    ]
    kinds = {**dict.fromkeys(COLUMNS, pl.String), "row": pl.Int64, "seconds": pl.Float64}
    return pl.DataFrame(rows, schema=kinds)


def written(table: pl.DataFrame, name: str) -> bytes:
    """Write a table as its file's ending says; in a CSV no cell can run as a formula.

    Raises:
        BadInput: the ending is none of `WRITERS`.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending not in WRITERS:
        listed = ", ".join(WRITERS)
        raise BadInput(f"A file of labels must end in one of {listed}, got '{name}' (FILE). Give it another name.")
    return WRITERS[ending](table)


def _csv(table: pl.DataFrame) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(table.columns)
    for row in table.iter_rows():
        writer.writerow([safe_cell(value) if isinstance(value, str) else value for value in row])
    return out.getvalue().encode("utf-8", "replace")


def _jsonl(table: pl.DataFrame) -> bytes:
    return codecs.as_lines(table.iter_rows(named=True))


WRITERS: Mapping[str, Callable[[pl.DataFrame], bytes]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": codecs.as_parquet,
}
