"""What the watch keeps of a night: one immutable record, from which everything that is shown is made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from understudy.errors import BadArtifact
from understudy.runtime.provenance import hash_json
from understudy.stats.drift.series import Point
from understudy.stats.drift.summary import Reference, Summary
from understudy.store import codecs
from understudy.store.names import CardName, Day, Version

FORMAT = 1
VERDICTS = ("fine", "look", "retrain")
LARGEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A series on one night, on the scale that people read.

    Attributes:
        value: of the night, or of the last one that had any; low and high are its 95% interval.
        low: lower end.
        high: upper end.
        expected: by the nights before and the bundle's reference, with its interval; none on the first night.
        expected_low: lower end.
        expected_high: upper end.
        evidence: against "nothing has changed"; 1 and more is an alarm.
        since: night on which a change most likely began; none while nothing speaks for one.
        is_alarm: an alarm stands that did not on the night before.
        is_standing: an alarm of this night or before stands.
    """

    value: float
    low: float
    high: float
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    evidence: float
    since: str | None
    is_alarm: bool
    is_standing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWord:
    """A word that came up: in how many groups and texts of the night; the reference hardly knew its bucket."""

    word: str
    groups: int
    texts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night's record: `watch/date=<night>/series.json`.

    Attributes:
        format: of this record.
        date: the night.
        card: name of the task card.
        version: of the bundle.
        generation: of current.json when the night was begun.
        is_rehearsal: a rehearsal teacher had a part in the bundle.
        positive_label: the label whose share is watched.
        texts: labelled.
        looked_at: of these, by the watch.
        refused: rows, by reason.
        verdict: "fine", "look" or "retrain".
        reason: in a sentence or two.
        evidence: sentences, one for each thing that speaks for the verdict.
        series: by name.
        points: of the nightly series, on their own scales.
        summary: sums and cross products of the night (`drift.Summary`).
        reference: `drift.Reference` of this night, where the bundle has none and no night before had.
        words: that came up, where the words have changed.
        settings: of the watch.
        quality: key of the quality record that was known on this night; empty when there was none.
    """

    format: int
    date: Day
    card: CardName
    version: Version
    generation: int
    is_rehearsal: bool
    positive_label: str
    texts: int
    looked_at: int
    refused: Mapping[str, int]
    verdict: str
    reason: str
    evidence: Sequence[str]
    series: Mapping[str, Value]
    points: Mapping[str, Point]
    summary: Mapping[str, Any]
    reference: Mapping[str, Any] | None
    words: Sequence[NewWord]
    settings: Mapping[str, Any]
    quality: str


def parse(data: bytes, where: str) -> Night:
    """Read a night's record.

    Raises:
        BadArtifact: it is damaged, of another format, or of another night than its key says.
    """
    night = codecs.read_as(Night, data, where)
    try:
        _require(night.format == FORMAT, f"format {night.format}")
        _require(night.verdict in VERDICTS, f"the verdict '{night.verdict:.40}'")
        _require("false_alarm_nights" in night.settings, "no settings")
        Summary.of_record(night.summary)
        if night.reference is not None:
            Reference.of_record(night.reference)
    except (BadArtifact, LookupError, TypeError, ValueError) as error:
        raise BadArtifact(f"A night's series must be readable, got {error!s:.200} ({where}). Restore it.") from error
    return night


def _require(is_so: bool, got: str) -> None:
    if not is_so:
        raise ValueError(got)


def as_record(night: Night) -> dict[str, Any]:
    """Return what is written as JSON."""
    return asdict(night)


def as_json(content: Mapping[str, Any]) -> bytes:
    """Write JSON as the store keeps it."""
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def documents(night: Night) -> list[dict[str, Any]]:
    """Return the night as documents for a search index, one a series; `id` is the document's own.

    The watch's series have an index of their own beside that of the texts.
    """
    shared = {
        "date": night.date,
        "card": night.card,
        "version": night.version,
        "generation": night.generation,
        "verdict": night.verdict,
        "reason": night.reason,
        "texts": night.texts,
        "refused": sum(night.refused.values()),
    }
    return [
        {"id": f"{night.card}:{night.date}:{name}", "series": name, **shared, **asdict(value)}
        for name, value in night.series.items()
    ]


def trigger(night: Night) -> dict[str, Any]:
    """Return what `watch/retrain/<night>.json` says to whoever starts the next training run."""
    said = {name: getattr(night, name) for name in ("date", "card", "version", "generation", "reason", "is_rehearsal")}
    return {"format": FORMAT, **said, "evidence": list(night.evidence), "id": hash_json(said)[:12]}
