"""The watch for people: one self-contained HTML page, in the look of the report."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports import watch_charts
from understudy.reports.evaluation import POLICY, STYLE
from understudy.reports.layout import definitions, figure, scroll, section, table
from understudy.reports.markup import Child, element, render
from understudy.reports.watch import sentences
from understudy.reports.watch_charts import Mark
from understudy.stats.drift.series import BY_NAME, SERIES
from understudy.steps.watch.quality import Quality
from understudy.store.watch_records import Night
from understudy.text import numbers

OWN_STYLE = files("understudy.reports").joinpath("templates/watch.css")
NIGHTS_IN_TABLE = 31
BADGES = {"fine": "Fine", "look": "Look", "retrain": "Retrain"}
ASKS = {
    "fine": "The model may go on.",
    "look": "A person should look at this.",
    "retrain": "A training run should be started; a trigger lies in the store.",
}
METHOD = (
    "Each night is compared with all nights of the same bundle before it and with the texts that the bundle was "
    "calibrated on. The test is sequential: a night adds to the evidence, and the evidence is an alarm at 1. While "
    "nothing changes, a false alarm comes at most once in {nights:,} nights on average, all series together. Intervals "
    "are 95%, and take the texts of one group as dependent. Length, scores and words are compared among texts of the "
    "same label, so that more positives are no other content. The surprise of a word says how rare it is among the "
    "reference's words, in bits; new topics raise it."
)


def page(nights: Sequence[Night], answered: Quality) -> str:
    """Build the page: it needs no other file, no network and no script.

    Args:
        nights: records, oldest first, at least one; the last one's verdict is the page's.
        answered: what is known of the model's quality.
    """
    last = nights[-1]
    parts = [
        *filter(
            None, (_series(nights), _words(last), _quality(answered), _trend(answered), _nights(nights), _method(last))
        )
    ]
    links = [element("a", part[0].text, href=f"#{part[0].get('id')}") for part in parts]
    tree = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("link", rel="icon", href="data:,"),
            element("title", f"{BADGES[last.verdict]}: {last.card}, {last.date} (Understudy watch)"),
            element("style", STYLE.read_text(encoding="utf-8") + OWN_STYLE.read_text(encoding="utf-8")),
        ),
        element(
            "body",
            _banner(last),
            element(
                "main", _head(last), _tiles(last, answered), element("nav", links, aria_label="On this page"), parts
            ),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{render(tree)}\n"


def _banner(night: Night) -> Element | None:
    if not night.is_rehearsal:
        return None
    words = " A rehearsal teacher stood in for the LLM, so what is watched is a rehearsal's bundle."
    return element("p", element("strong", "Rehearsal."), words, class_="rehearsal", role="note")


def _head(night: Night) -> Element:
    title = [element("span", BADGES[night.verdict], class_="badge"), element("span", f": {ASKS[night.verdict]}")]
    more = [element("li", sentence) for sentence in night.evidence if sentence not in night.reason]
    seen = "" if night.looked_at == night.texts else f" The watch looked at {night.looked_at:,} of them."
    return element(
        "header",
        element("p", "Understudy watch · ", element("b", night.card), f" · night of {night.date}", class_="kicker"),
        element("h1", title),
        element("p", night.reason, class_="lede"),
        element("ul", more, class_="evidence") if more else None,
        element(
            "p",
            f"{numbers.count(night.texts, 'text')} labelled by bundle ",
            element("code", night.version),
            f".{seen}",
            class_="muted",
        ),
        class_=f"head {night.verdict}",
    )


def _tiles(night: Night, answered: Quality) -> Element:
    share, refused = night.series.get("positives"), sum(night.refused.values())
    reasons = ", ".join(f"{rows:,} {reason.replace('_', ' ')}" for reason, rows in night.refused.items())
    sample = next((one for one in reversed(answered.samples) if one["answered"]), None)
    f1 = sample["f1"] if sample else {"value": None, "low": None, "high": None}
    cards = [
        (
            f"Share of '{night.positive_label}'",
            sentences.amount("positives", share.value if share else None),
            sentences.interval("positives", share.low, share.high) if share else "no texts",
        ),
        ("Texts", f"{night.texts:,}", f"night of {night.date}"),
        ("Refused rows", f"{refused:,}", reasons or "none"),
        ("F1 by people", numbers.figure(f1["value"]), _f1_detail(sample)),
    ]
    return element(
        "dl",
        [
            element(
                "div",
                element("dt", name),
                element("dd", element("b", number), element("small", detail), class_="number"),
            )
            for name, number, detail in cards
        ],
        class_="tiles",
    )


def _f1_detail(sample: Mapping[str, Any] | None) -> str:
    if sample is None:
        return "no answers yet"
    return f"{numbers.figure_interval(sample['f1']['low'], sample['f1']['high'])}, sample of {sample['date']}"


def _series(nights: Sequence[Night]) -> Element:
    found = [(one.name, [night for night in nights if one.name in night.series]) for one in SERIES]
    figures = [_figure(name, having) for name, having in found if having]
    keys = [
        element("li", element("span", class_="key student"), "a night, with its 95% interval"),
        element("li", element("span", class_="key line"), "expected by the nights before"),
        element("li", element("span", class_="key alarm"), "an alarm"),
    ]
    legend = element("ul", keys, class_="legend")
    return section(
        "Series", "series", legend, element("div", figures, class_="figures") if figures else element("p", "No texts.")
    )


def _figure(name: str, nights: Sequence[Night]) -> Element:
    marks = [_mark(name, night) for night in nights]
    known = [value for mark in marks for value in (mark.low, mark.high, mark.expected) if value is not None]
    ticks = watch_charts.nice_ticks(min(known), max(known), lowest=None if name in {"scores", "vocabulary"} else 0.0)
    last = nights[-1].series[name]
    state = sentences.evidence(last)
    return element(
        "figure",
        element(
            "h3",
            BY_NAME[name].title,
            element(
                "small",
                f"{sentences.amount(name, last.value)}; expected {sentences.amount(name, last.expected)}; {state}",
            ),
        ),
        watch_charts.series_chart(
            name, BY_NAME[name].title, marks, [(tick, sentences.amount(name, tick)) for tick in ticks]
        ),
    )


def _mark(name: str, night: Night) -> Mark:
    value = night.series[name]
    words = (
        f"{night.date}: {sentences.amount(name, value.value)} ({sentences.interval(name, value.low, value.high)}), "
        f"expected {sentences.amount(name, value.expected)}."
    )
    return Mark(night.date, value.value, value.low, value.high, value.expected, value.is_alarm, words)


def _words(night: Night) -> Element | None:
    if not night.words:
        return None
    items = [element("li", element("bdi", one.word), " ", element("small", f"{one.texts:,}")) for one in night.words]
    return section(
        "Words that came up",
        "words",
        element("p", "Words of this night that the reference hardly knew, with the number of texts that hold them."),
        element("ul", items, class_="words"),
    )


def _quality(answered: Quality) -> Element | None:
    sample = next((one for one in reversed(answered.samples) if one["answered"]), None)
    if sample is None:
        return None
    rows: list[list[Child]] = [
        [element("span", name), figure(figures["precision"]), figure(figures["recall"])]
        for name, figures in sample["labels"].items()
    ]
    rates = [("Errors that people found", sample["errors"]), ("Disagreement with the teacher", sample["disagreement"])]
    pairs = [(name, _rate(rate)) for name, rate in rates]
    basis = (
        f"Sample of {sample['date']}: people answered {sample['answered']:,} of {sample['drawn']:,} texts, the teacher "
        f"{sample['taught']:,}. Every text counts by the number of texts that it stands for."
    )
    return section(
        "What people say",
        "quality",
        element("p", basis),
        scroll(
            table(
                "Precision and recall of each label by people's answers",
                ["label", "precision", "recall"],
                rows,
                kind="cards",
            )
        ),
        definitions(pairs, class_="provenance"),
    )


def _rate(rate: Mapping[str, float | None]) -> str:
    if rate["value"] is None:
        return "nobody was asked"
    return f"{numbers.percent(rate['value'])} ({numbers.percent_interval(rate['low'], rate['high'])})"


def _trend(answered: Quality) -> Element | None:
    months = [[one["month"], figure(one["f1"]), f"{one['texts']:,}"] for one in answered.months]
    cycles = [
        [element("code", one["version"]), str(one["published"])[:10], _count(one["trained_texts"]), figure(one["f1"])]
        for one in answered.cycles
    ]
    tests = [
        [
            one["date"],
            f"{one['texts']:,}",
            figure(one["f1"]),
            figure(one["published_f1"]),
            _difference(one["difference"]),
        ]
        for one in answered.tests
    ]
    tables = [
        _titled("F1 by month", ["month", "F1", "answers"], months),
        _titled("Test sets by quarter", ["test set", "texts", "F1", "F1 when published", "difference"], tests),
        _titled("Learning curve", ["bundle", "published", "learned from", "F1 on its test set"], cycles),
    ]
    found = [part for pair in tables if pair for part in pair]
    return section("Trend", "trend", found) if found else None


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[Child]]) -> list[Element] | None:
    return [element("h3", title), scroll(table(title, header, rows, kind="cards"))] if rows else None


def _count(texts: int | None) -> str:
    return numbers.UNKNOWN if texts is None else numbers.count(texts, "text")


def _difference(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["value"] is None:
        return numbers.UNKNOWN
    return f"{numbers.signed(found['value'])} ({numbers.signed(found['low'])} to {numbers.signed(found['high'])})"


def _nights(nights: Sequence[Night]) -> Element:
    rows: list[list[Child]] = [_night_row(night) for night in reversed(nights[-NIGHTS_IN_TABLE:])]
    header = ["night", "verdict", "texts", "positives", "most evidence", "reason"]
    return section("Nights", "nights", scroll(table("The newest nights", header, rows, kind="cards nights")))


def _night_row(night: Night) -> list[Child]:
    share = night.series.get("positives")
    most = max(night.series.items(), key=lambda item: item[1].evidence, default=None)
    return [
        night.date,
        element("span", BADGES[night.verdict], class_=f"verdict {night.verdict}"),
        f"{night.texts:,}",
        sentences.amount("positives", share.value if share else None),
        f"{sentences.evidence(most[1])} ({most[0]})" if most else numbers.UNKNOWN,
        element("span", night.reason),
    ]


def _method(night: Night) -> Element:
    words = METHOD.format(nights=night.settings["false_alarm_nights"])
    pairs: list[tuple[str, Child]] = [
        ("Bundle", element("code", night.version)),
        ("Generation", str(night.generation)),
        ("Series", f"{len(SERIES)}, which share the false alarms evenly"),
        ("Quality", element("code", night.quality) if night.quality else "no sample yet"),
    ]
    return section("How this is measured", "method", element("p", words), definitions(pairs, class_="provenance"))
