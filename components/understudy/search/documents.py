"""Make documents of predictions: fields, id, and a version that never goes back."""

import hashlib

import polars as pl

from understudy.data.times import moment_of
from understudy.errors import BadArtifact
from understudy.store.predictions import PREDICTIONS, is_of_several
from understudy.task import label_sets

FIELDS = (*PREDICTIONS.names(), "when")
DOCUMENT_ID, DOCUMENT_VERSION = "document_id", "document_version"
LONGEST_ID_BYTES = 512
GENERATION_STEP = 10**13  # milliseconds until the year 2286 fit below it, 922,000 generations above it


def documents(predictions: pl.DataFrame, card_name: str, where: str = "") -> pl.DataFrame:
    """Return the documents of a segment of predictions.

    Args:
        predictions: with at least the columns of PREDICTIONS; others are left out.
        card_name: name of the task card.
        where: the segment, named in the messages.

    Returns:
        columns document_id, document_version, those of PREDICTIONS, and `when`; of an id that stands twice the last.
        Where a text may have several labels, `label` is a list of them.

    Raises:
        BadArtifact: a column is missing.
    """
    missing = [name for name in PREDICTIONS.names() if name not in predictions.columns]
    if missing:
        raise BadArtifact(f"A segment of predictions must have all columns, got none of {missing} ({where}).")
    table = predictions.select(PREDICTIONS.names()).cast(PREDICTIONS)
    if is_of_several(predictions):
        sets = [label_sets.read(labels) for labels in table["label"]]
        table = table.with_columns(pl.Series("label", sets, dtype=pl.List(pl.String())))
    return table.with_columns(
        pl.Series(DOCUMENT_ID, [document_id(card_name, name) for name in table["id"]], dtype=pl.String),
        pl.Series(DOCUMENT_VERSION, _versions(table), dtype=pl.Int64),
        pl.Series("when", list(map(when, table["time"], table["date"])), dtype=pl.String),
    ).unique(DOCUMENT_ID, keep="last", maintain_order=True)


def document_id(card_name: str, text_id: str) -> str:
    """Return the id of a text's one document; Elasticsearch takes at most 512 bytes, so a longer one is hashed.

    >>> document_id("hotel-tips", "n001-02")
    'hotel-tips:n001-02'
    """
    name = f"{card_name}:{text_id}"
    if len(name.encode()) <= LONGEST_ID_BYTES:
        return name
    return f"{card_name}:sha256:{hashlib.sha256(text_id.encode()).hexdigest()}"


def document_version(generation: int, scored_at: str) -> int:
    """Return the version by which the newer of two answers about a text stays.

    The generation counts first: it rises with every change of the current bundle, a rollback too. Then counts when the
    night's manifest was made, which is when its texts arrived: neither the night's date, so that a backfill of an older
    date with the same bundle replaces only what arrived before it, nor the clock, so that a re-run changes nothing.

    >>> document_version(3, "2026-11-02T00:00:00Z") < document_version(4, "2026-11-01T00:00:00Z")
    True
    """
    moment = moment_of(scored_at)
    if moment is None:
        raise BadArtifact(
            f"A prediction's scored_at must be an ISO 8601 time, got '{scored_at}'. Score the night again."
        )
    return generation * GENERATION_STEP + round(moment.timestamp() * 1000)


def when(time: str | None, date: str) -> str:
    """Return when a text was written, in UTC; the night that labelled it where the text has no time that can be read.

    >>> when("2026-11-02T23:30:00-02:00", "2026-11-05"), when("last May", "2026-11-05")
    ('2026-11-03T01:30:00Z', '2026-11-05T00:00:00Z')
    """
    moment = moment_of(time) if time else None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else f"{date}T00:00:00Z"


def _versions(table: pl.DataFrame) -> list[int]:
    pairs = zip(table["generation"], table["scored_at"], strict=True)
    known: dict[tuple[int, str], int] = {}
    return [known[pair] if pair in known else known.setdefault(pair, document_version(*pair)) for pair in pairs]
