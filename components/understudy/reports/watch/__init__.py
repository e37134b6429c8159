"""Render the watch page from the records of nights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from understudy.reports import charts, pages
from understudy.reports.charts import Mark
from understudy.reports.watch import sentences
from understudy.stats.drift.series import BY_NAME, SERIES
from understudy.store.watch_records import Night, Quality, Sample
from understudy.text import numbers

NIGHTS_IN_TABLE = 31
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
    sample = next((one for one in reversed(answered.samples) if one["answered"]), None)
    return pages.render(
        "watch.html.j2",
        folder="watch",
        sections=_sections(last, answered, sample),
        night=last,
        more=[sentence for sentence in last.evidence if sentence not in last.reason],
        tiles=_tiles(last, sample),
        series=_series(nights),
        sample=sample,
        answered=answered,
        nights=nights[-NIGHTS_IN_TABLE:][::-1],
        series_count=len(SERIES),
        words=sentences,
    )


def _sections(night: Night, answered: Quality, sample: Sample | None) -> dict[str, str]:
    """Name the parts of the page in their order, each by its template, with its title."""
    has_trend = bool(answered.months or answered.tests or answered.cycles)
    return {
        "series": "Series",
        **({"words": "Words that came up"} if night.words else {}),
        **({"quality": "What people say"} if sample else {}),
        **({"trend": "Trend"} if has_trend else {}),
        "nights": "Nights",
        "method": "How this is measured",
    }


def _tiles(night: Night, sample: Sample | None) -> list[Mapping[str, str]]:
    """Choose the four figures that people ask for first."""
    share, refused = night.series.get("positives"), sum(night.refused.values())
    f1 = sample["f1"] if sample else None
    found = [
        (
            f"Share of '{night.positive_label}'",
            sentences.amount("positives", share.value if share else None),
            sentences.interval("positives", share.low, share.high) if share else "no texts",
        ),
        ("Texts", f"{night.texts:,}", f"night of {night.date}"),
        ("Refused rows", f"{refused:,}", numbers.reasons(night.refused)),
        ("F1 by people", numbers.figure(f1["value"] if f1 else None), sentences.of_sample(sample)),
    ]
    return [dict(zip(("name", "number", "detail"), tile, strict=True)) for tile in found]


def _series(nights: Sequence[Night]) -> list[Drawn]:
    """Draw every series that a night has."""
    having = {one.name: [night for night in nights if one.name in night.series] for one in SERIES}
    return [_drawn(name, those) for name, those in having.items() if those]


def _drawn(name: str, nights: Sequence[Night]) -> Drawn:
    marks = [_mark(name, night) for night in nights]
    known = [value for mark in marks for value in (mark.low, mark.high, mark.expected) if value is not None]
    ticks = charts.nice_ticks(min(known), max(known), lowest=None if name in SIGNED else 0.0)
    title = BY_NAME[name].title
    chart = charts.series(name, title, marks, [(tick, sentences.amount(name, tick)) for tick in ticks])
    return Drawn(title, sentences.state(name, nights[-1].series[name]), chart)


def _mark(name: str, night: Night) -> Mark:
    value = night.series[name]
    words = f"{night.date}: {sentences.with_interval(name, value)}."
    return Mark(night.date, value.value, value.low, value.high, value.expected, value.is_alarm, words)
