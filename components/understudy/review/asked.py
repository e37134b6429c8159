"""Read what people were asked: the texts of the store's queues, and the guideline that each was to be labelled by."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from understudy.errors import BadArtifact, StorageError
from understudy.review.origins import QUEUE, SECOND_LOOK, SETTLE
from understudy.review.spreadsheet import raw_cell
from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.text.numbers import clipped

Row = tuple[str, str | None, str | None, str]  # id, text, guideline, and the origin of an answer


@dataclass(frozen=True, slots=True)
class Asked:
    """What people were asked.

    Attributes:
        texts: by id; several where queues have other texts under one id.
        guidelines: of each id, the guidelines of the queues that ask about it.
        origins: of an answer, by id and guideline, where it is not an answer to a queue like others.
    """

    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    guidelines: Mapping[str, Collection[str]] = field(default_factory=dict)
    origins: Mapping[tuple[str, str | None], str] = field(default_factory=dict)

    def guideline_of(self, identity: str) -> str | None:
        """Return the guideline under which people were asked about a text; None where it was none, or several."""
        asked = set(self.guidelines.get(identity, ()))
        return asked.pop() if len(asked) == 1 else None


def asked(rows: Sequence[Row]) -> Asked:
    """Sort what queues ask by id."""
    texts: dict[str, list[str]] = {}
    guidelines: dict[str, set[str]] = {}
    for identity, text, guideline, _ in rows:
        texts.setdefault(identity, []).extend([text] if text else [])
        guidelines.setdefault(identity, set()).update([guideline] if guideline else [])
    origins = {(identity, guideline): origin for identity, _, guideline, origin in rows if origin != QUEUE}
    return Asked(texts, guidelines, origins)


def by_queues(store: Store, card_name: str) -> Asked:
    """Return what the store's review queues ask about a card's texts.

    Raises:
        StorageError: a queue has no ids.
    """
    families = (layout.QUEUE_SHEETS, layout.QUEUE_TABLES)  # a table stands for its sheet
    kept = [it for family in families for it in family.listed(store, card=card_name, name="queue")]
    keys = {fields["queue"]: key for key, fields in kept}.values()
    return asked([row for key in keys for row in _rows(store, key)])


def _rows(store: Store, key: str) -> list[Row]:
    """Read a queue; what it does not have is None."""
    data = store.read(key)
    try:
        return _of_table(data, store.locate(key)) if layout.QUEUE_TABLES.fields(key) else _of_sheet(data)
    except (
        BadArtifact,
        pl.exceptions.PolarsError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        csv.Error,
    ) as error:
        got = clipped(repr(error), 200)
        raise StorageError(f"A queue must have ids, got {got} ({store.locate(key)}). Restore it.") from error


def _of_table(data: bytes, where: str) -> list[Row]:
    table = codecs.read_table(data, where).with_columns(pl.col("id").cast(pl.String))
    names = [name for name in ("text", "guideline") if name in table.columns]
    missing = [pl.lit(None, pl.String).alias(name) for name in ("text", "guideline") if name not in names]
    said = table.drop_nulls("id").with_columns(pl.col(names).cast(pl.String), *missing)
    return [(*row, origin_of(table)) for row in said.select("id", "text", "guideline").iter_rows()]


def origin_of(table: pl.DataFrame) -> str:
    """Return the origin that answers to a queue get, which its columns say."""
    if "earlier_guideline" in table.columns:
        return SECOND_LOOK
    return SETTLE if SETTLE in table.columns else QUEUE


def _of_sheet(data: bytes) -> list[Row]:
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    return [(raw_cell(row["id"]), raw_cell(row.get("text") or ""), row.get("guideline") or None, QUEUE) for row in rows]
