"""Render the watch page from the records of nights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from understudy.reports import charts, pages
from understudy.reports.charts import Mark
from understudy.reports.watch import sentences
from understudy.stats.drift import series as drift
from understudy.stats.drift.series import BY_NAME, SERIES, SHARES, Shares
from understudy.stats.drift.summary import Summary
from understudy.store.watch_records import LabelFigures, Night, Quality, Sample, Value
from understudy.text import figures, numbers

NIGHTS_IN_TABLE = 31
MOST_CHARTS = 4  # of shares, where those of several labels are watched
MOST_ROWS = 12  # of a table of labels; the others are folded
SIGNED = {"scores", "vocabulary"}  # series whose figure need not begin at zero


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series on the page."""

    title: str
    state: str
    chart: Markup


@pages.from_record
def page(nights: Sequence[Night], answered: Quality) -> str:
    """Build the page: it needs no other file, no network and no script.

    Args:
        nights: records, oldest first, at least one; the last one's verdict is the page's.
        answered: what is known of the model's quality.

    Raises:
        BadArtifact: a record lacks something that the page shows.
    """
    last = nights[-1]
    sample = sentences.answered(answered)
    return pages.render(
        "watch.html.j2",
        folder="watch",
        sections=_sections(last, answered, sample),
        night=last,
        more=[sentence for sentence in last.evidence if sentence not in last.reason],
        tiles=_tiles(last, answered, sample),
        series=_series(nights),
        labels_told=_told(last),
        labels_folded=_folded(last),
        sample=sample,
        most_rows=MOST_ROWS,
        judged=_worst_first(sample["labels"]) if sample else [],
        answered=answered,
        nights=nights[-NIGHTS_IN_TABLE:][::-1],
        series_count=len(SERIES),
        words=sentences,
        headed=figures.headed,
    )


def _sections(night: Night, answered: Quality, sample: Sample | None) -> dict[str, str]:
    """Name the parts of the page in their order, each by its template, with its title."""
    has_trend = bool(answered.months or answered.tests or answered.cycles)
    return {
        "series": "Series",
        **({"shares": "Shares of the labels"} if night.positive_label is None and night.shares else {}),
        **({"words": "Words that came up"} if night.words else {}),
        **({"quality": "What people say"} if sample else {}),
        **({"trend": "Trend"} if has_trend else {}),
        "nights": "Nights",
        "method": "How this is measured",
    }


def _tiles(night: Night, answered: Quality, sample: Sample | None) -> list[Mapping[str, str]]:
    """Choose the four figures that people ask for first."""
    share, refused = night.series.get(SHARES), sum(night.refused.values())
    primary = sample["primary"] if sample else None
    label = (share.label if share else None) or night.positive_label
    is_told = share is not None and sentences.tells(SHARES, share.low, share.high)
    found = [
        (
            f"Share of '{label}'" if label is not None else "Shares of the labels",
            sentences.amount(SHARES, share.value if share and is_told else None),
            _span(share.low, share.high) if share else "no texts",
        ),
        ("Texts", f"{night.texts:,}", f"night of {night.date}"),
        ("Refused rows", f"{refused:,}", numbers.reasons(night.refused)),
        (
            f"{figures.headed(answered.figure)} by people",
            numbers.figure(primary["value"] if primary and numbers.tells(primary) else None),
            sentences.of_sample(sample),
        ),
    ]
    return [dict(zip(("name", "number", "detail"), tile, strict=True)) for tile in found]


def _span(low: float, high: float) -> str:
    """Write the interval of a share."""
    return sentences.interval(SHARES, low, high) if sentences.tells(SHARES, low, high) else sentences.TOO_FEW


def _told(night: Night) -> list[Mapping[str, str]]:
    """List the shares that the night's record tells one by one, those that moved first."""
    found = night.series.get(SHARES)
    moved = list(found.moved) if found else []
    names = [*moved, *(name for name in night.shares if name not in moved)]
    return [
        {
            "name": name,
            "share": sentences.amount(SHARES, share.value if sentences.tells(SHARES, share.low, share.high) else None),
            "interval": _span(share.low, share.high),
            "expected": sentences.amount(SHARES, share.expected),
            "evidence": f"{share.evidence:.2f}",
        }
        for name, share in ((name, night.shares[name]) for name in names if name in night.shares)
    ]


def _folded(night: Night) -> list[tuple[str, str]]:
    """List the other labels with their shares, largest first."""
    if night.positive_label is not None or not night.texts or not night.shares:
        return []
    summary = Summary.of_record(night.summary)
    each = zip(night.labels, summary.counts, strict=True)
    rest = [(float(count), name) for name, count in each if name not in night.shares]
    total = max(1.0, summary.texts)
    return [(name, sentences.amount(SHARES, count / total)) for count, name in sorted(rest, key=lambda one: -one[0])]


def _worst_first(labels: Mapping[str, LabelFigures]) -> list[tuple[str, LabelFigures]]:
    """Order labels by what got worse most surely; those that nothing is known of stay in their order, at the end."""

    def key(one: tuple[str, LabelFigures]) -> float:
        change = one[1]["change"]
        return 2.0 if change is None or change["high"] is None else change["high"]

    return sorted(labels.items(), key=key)


def _series(nights: Sequence[Night]) -> list[Drawn]:
    """Draw every series that a night has."""
    having = {one.name: [night for night in nights if one.name in night.series] for one in SERIES}
    return [
        drawn
        for name, those in having.items()
        if those
        for drawn in (_shares(those) if name == SHARES else [_drawn(name, those)])
    ]


def _shares(nights: Sequence[Night]) -> list[Drawn]:
    """Draw the share of the label that is watched; of several, of those that moved, or of the one that moved most."""
    last = nights[-1].series[SHARES]
    if nights[-1].positive_label is not None:
        return [_drawn(SHARES, nights)]
    alike = [night for night in nights if night.version == nights[-1].version]
    shares = [(night, _of_night(night)) for night in alike]
    labels = (last.moved or ([last.label] if last.label else []))[:MOST_CHARTS]
    return [
        _drawn_label(label, place, [(night, one) for night, one in shares if one]) for place, label in enumerate(labels)
    ]


def _of_night(night: Night) -> Shares | None:
    summary = Summary.of_record(night.summary)
    return drift.shares(summary, summary, range(len(night.labels)))


def _drawn_label(label: str, place: int, nights: Sequence[tuple[Night, Shares]]) -> Drawn:
    """Draw the share of one of several labels; what was expected is known where the night's record tells it."""
    marks = [_mark_of_label(label, night, shares) for night, shares in nights]
    last = nights[-1][0].shares[label]
    state = (
        f"{sentences.amount(SHARES, last.value)}; expected {sentences.amount(SHARES, last.expected)}; "
        f"evidence {last.evidence:.2f}"
    )
    return _charted(f"{SHARES}-{place}", SHARES, f"Share of '{label}'", state, marks)


def _mark_of_label(label: str, night: Night, shares: Shares) -> Mark:
    own, told = shares.own(night.labels.index(label)), night.shares.get(label)
    found, expected = night.series[SHARES], told.expected if told else None
    words = (
        f"{night.date}: {sentences.told(SHARES, own.value, own.low, own.high)}, "
        f"expected {sentences.amount(SHARES, expected)}."
    )
    is_alarm = found.is_alarm and label in found.moved
    return Mark(night.date, own.value, own.low, own.high, expected, is_alarm, words)


def _drawn(name: str, nights: Sequence[Night]) -> Drawn:
    value = nights[-1].series[name]
    marks = [_mark(name, night) for night in nights]
    return _charted(name, name, _title(name, nights[-1], value), sentences.state(name, value), marks)


def _title(name: str, night: Night, value: Value) -> str:
    return f"Share of '{value.label or night.positive_label}'" if name == SHARES else BY_NAME[name].title


def _charted(figure: str, name: str, title: str, state: str, marks: Sequence[Mark]) -> Drawn:
    telling = [mark for mark in marks if sentences.tells(name, mark.low, mark.high) or mark.is_alarm]
    if left_out := len(marks) - len(telling):
        state = f"{state}; {numbers.count(left_out, 'night')} with too few texts left out"
    marks = telling or marks[-1:]
    known = [value for mark in marks for value in (mark.low, mark.high, mark.expected) if value is not None]
    ticks = charts.nice_ticks(min(known), max(known), lowest=None if name in SIGNED else 0.0)
    chart = charts.series(figure, title, marks, [(tick, sentences.amount(name, tick)) for tick in ticks])
    return Drawn(title, state, chart)


def _mark(name: str, night: Night) -> Mark:
    value = night.series[name]
    words = f"{night.date}: {sentences.with_interval(name, value)}."
    return Mark(night.date, value.value, value.low, value.high, value.expected, value.is_alarm, words)
