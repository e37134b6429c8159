"""Read and write the watch's records: of a night, and of the model's quality on a day.

watch/date=<night>/series.json   a night, written once; with it the night is judged
watch/date=<night>/page.html     the page of that night, made from its record and those before it
watch/page.html                  the page of the newest night
watch/quality/<day>-<answers>-<hash>.json   what people and the teacher said up to a day
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from typing_extensions import TypedDict

from understudy.errors import BadArtifact
from understudy.stats.drift.series import Point
from understudy.stats.drift.summary import Reference, Summary
from understudy.store import codecs, layout, registry
from understudy.store.names import CardName, Day, Version
from understudy.store.storage import Store
from understudy.text import figures

FORMAT = QUALITY_FORMAT = 2
VERDICTS = ("fine", "look", "retrain")
PAGE = layout.WATCH_NEWEST.key()


class Figure(TypedDict):
    """A figure with its 95% interval; none where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class Rate(Figure):
    """A share of the texts on which the model and another judge differ, and the number of texts that it rests on."""

    texts: float


class LabelFigures(TypedDict):
    """How well the model finds one label; `change` since earlier samples, of what fell more surely."""

    precision: Figure
    recall: Figure
    change: Figure | None


class Sample(TypedDict):
    """A sample of predictions as people and the teacher judged it."""

    date: Day
    version: Version
    drawn: int
    answered: int
    taught: int
    labels: dict[str, LabelFigures]
    primary: Figure
    errors: Rate
    disagreement: Rate


class Month(TypedDict):
    """The primary figure by all answers of a month."""

    month: str
    texts: int
    primary: Figure


class Cycle(TypedDict):
    """A published bundle: what it had learned from, and its primary figure, by name, on its own test set."""

    version: Version
    published: str
    trained_texts: int | None
    figure: str
    primary: Figure | None


class DatedTestSet(TypedDict):
    """A test set of people's answers, and the primary figure on it beside that on the set of the publication.

    `labels` counts its texts by label.
    """

    date: str
    version: Version
    texts: int
    measured_on: int
    labels: dict[str, int]
    figure: str
    primary: Figure
    published: Figure | None
    difference: Figure | None


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
        label: whose share it is, for the series of the shares: of several labels the one that moved most.
        moved: labels that moved with the alarm that stands, most evidence first.
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
    label: str | None = None
    moved: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of one label on one night, with its 95% interval, and what was expected; see `Value`."""

    value: float
    low: float
    high: float
    expected: float | None
    evidence: float


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
        labels: names, in the bundle's order.
        positive_label: the label whose share is watched; None where those of all are.
        texts: labelled.
        looked_at: of these, by the watch.
        refused: rows, by reason.
        verdict: "fine", "look" or "retrain".
        reason: in a sentence or two.
        evidence: sentences, one for each thing that speaks for the verdict.
        series: by name.
        shares: by label, of those that are watched: the largest, and those that moved.
        points: of the nightly series but for the shares, on their own scales.
        summary: sums and squares of the night (`Summary`).
        reference: `Reference` of this night, where the bundle has none and no night before had.
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
    labels: Sequence[str]
    positive_label: str | None
    texts: int
    looked_at: int
    refused: Mapping[str, int]
    verdict: str
    reason: str
    evidence: Sequence[str]
    series: Mapping[str, Value]
    shares: Mapping[str, Share]
    points: Mapping[str, Point]
    summary: Mapping[str, Any]
    reference: Mapping[str, Any] | None
    words: Sequence[NewWord]
    settings: Mapping[str, Any]
    quality: str

    @property
    def is_several(self) -> bool:
        """Whether a text may have several labels: all texts then stand together in the summary's residuals."""
        return len(self.summary.get("residuals", ())) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What is known of the model's quality on a day.

    Attributes:
        date: the day.
        card: name of the task card.
        figure: name of the primary figure.
        samples: one for each sample, oldest first.
        months: the primary figure by month.
        cycles: the learning curve, a bundle each.
        tests: dated test sets, oldest first.
        format: of this record.
    """

    date: Day
    card: CardName
    figure: str
    samples: Sequence[Sample]
    months: Sequence[Month]
    cycles: Sequence[Cycle]
    tests: Sequence[DatedTestSet] = ()
    format: int = QUALITY_FORMAT

    def as_json(self) -> bytes:
        """Write it."""
        return codecs.as_json(asdict(self))


def parse(data: bytes, where: str) -> Night:
    """Read a night's record.

    Raises:
        BadArtifact: it is damaged, of another format, or of another night than its key says.
    """
    night = codecs.read_as(Night, data, where)
    try:
        _require(night.format == FORMAT, f"format {night.format}")
        _require(night.verdict in VERDICTS, f"the verdict '{night.verdict:.40}'")
        for name in ("false_alarm_nights", "page_nights"):
            value = night.settings.get(name)
            _require(isinstance(value, int) and value >= 1, f"{name} {value!s:.40}")
        summaries = [Summary.of_record(night.summary)]
        if night.reference is not None:
            summaries.append(Reference.of_record(night.reference).summary)
        for summary in summaries:
            _require(len(summary.counts) == len(night.labels), f"counts of {len(summary.counts)} labels")
        named = {night.positive_label, *night.shares} - {None}
        _require(named <= set(night.labels), "the share of a label that it does not name")
    except (BadArtifact, LookupError, TypeError, ValueError) as error:
        raise BadArtifact(f"A night's series must be readable, got {error!s:.200} ({where}). Restore it.") from error
    return night


def _require(is_so: bool, got: str) -> None:
    if not is_so:
        raise ValueError(got)


def written(night: Night) -> bytes:
    """Write a night's record."""
    return codecs.as_json(asdict(night))


def series_key(date: str) -> str:
    """Return the key of a night's record."""
    return layout.WATCH_SERIES.key(day=date)


def page_key(date: str) -> str:
    """Return the key of a night's page."""
    return layout.WATCH_PAGES.key(day=date)


def read_nights(store: Store) -> list[Night]:
    """Read the records of all nights, oldest first.

    Raises:
        BadArtifact: one is damaged.
    """
    nights = (parse(store.read(key), store.locate(key)) for key, _ in layout.WATCH_SERIES.listed(store))
    return sorted(nights, key=lambda night: night.date)


def read_quality(store: Store, key: str) -> Quality:
    """Read what was known of the model's quality.

    Raises:
        BadArtifact: it is damaged, or of another format, or its key is that of no such record.
    """
    if layout.QUALITY.fields(key) is None:
        folder = layout.QUALITY.prefix()
        raise BadArtifact(f"A record of the model's quality must lie under {folder}, got '{key:.80}'. Restore it.")
    quality = codecs.read_as(Quality, store.read(key), store.locate(key))
    if quality.format != QUALITY_FORMAT:
        raise BadArtifact(
            f"A record of the model's quality must be of format {QUALITY_FORMAT}, got {quality.format} "
            f"({store.locate(key)}). Restore it."
        )
    return quality


def quality_days(store: Store) -> dict[str, str]:
    """Return the key of the last record of quality by its day, oldest day first."""
    return {fields["day"]: key for key, fields in layout.QUALITY.listed(store)}


def learning_curve(store: Store) -> list[Cycle]:
    """Return what each published version had learned from, and its primary figure on its own test set."""
    published: dict[str, str] = {}
    for state in registry.read_history(store):
        published.setdefault(state.version, state.published)
    return [_cycle(store, version, when) for version, when in published.items()]


def _cycle(store: Store, version: str, published: str) -> Cycle:
    stored = registry.read_version(store, version)
    settings = registry.read_former_settings(store, version)
    figure, paper = figures.primary(settings["positive_label"]), f"{stored.papers}/evaluation.json"
    found = _published(registry.read_paper(store, stored, paper), figure) if paper in stored.files else None
    trained = settings.get("trained_texts")
    return Cycle(version=version, published=published, trained_texts=trained, figure=figure, primary=found)


def _published(evaluation: Mapping[str, Any], figure: str) -> Figure | None:
    """Return one of the student's figures in an evaluation, with its interval."""
    student = next((one for one in evaluation.get("systems", ()) if one["name"] == "student"), None)
    if student is None or figure not in student["figures"]:
        return None
    found = student["figures"][figure]
    return Figure(value=found["value"], low=found["low"], high=found["high"])
