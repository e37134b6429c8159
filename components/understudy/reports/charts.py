"""Draw the pages' charts as SVG: reliability, precision and recall, coverage, series.

Drawn here and not by a plotting library: text stays text, colours are the page's CSS classes, the bytes are the same on
every machine, and no font cache is built in a pod whose home cannot be written. A figure is a tree, so that every text
is escaped by the library that writes it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union
from xml.etree.ElementTree import Element, tostring

from markupsafe import Markup

from understudy.reports.pages import clean
from understudy.text import numbers

WIDTH, PLOT, LEFT, TOP = 386, 300, 60, 14
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
EVENTS = {  # what a probability is of: what happened, how often, whose probability it is, and what is counted
    "positive": ("positive texts", "positive", "the student's probability", "text"),
    "right": ("right labels", "right", "the student's probability of its label", "text"),
    "true": ("labels that texts have", "true", "the student's probability of a label", "label"),
}
STRIP = 44  # height of the histogram under the reliability diagram
SERIES_WIDTH, SERIES_HEIGHT, SERIES_LEFT, SERIES_RIGHT, SERIES_TOP, SERIES_BOTTOM = 460, 190, 58, 10, 12, 28
MOST_DOTS = 45
MOST_STEPS = 4
SMALLEST = 1e-9
Child = Union[str, Element, None, Iterable["Child"]]  # noqa: UP007 - a string cannot stand in X | Y


def x(share: float) -> float:
    """Horizontal place of a share.

    >>> x(0.0), x(1.0)
    (60.0, 360.0)
    """
    return round(LEFT + share * PLOT, 1)


def y(share: float) -> float:
    """Vertical place of a share; 1 is at the top.

    >>> y(0.0), y(1.0)
    (314.0, 14.0)
    """
    return round(TOP + (1 - share) * PLOT, 1)


def reliability(bins: Sequence[Mapping[str, Any]], event: str = "positive") -> Markup:
    """Draw how often a thing was so against how likely it was called.

    Args:
        bins: `evaluation["reliability"]`.
        event: "positive", that a text has the label that is looked for, "right", that it has the one given, or "true",
            that it has a label, of each label of each text.
    """
    what, was, whose, noun = EVENTS[event]
    largest = max((part["texts"] for part in bins), default=1)
    base = y(0) + 34 + STRIP
    marks = [mark for part in bins for mark in _bin_marks(part, largest, was, noun)]
    strip = [_strip_bar(part, largest, base, noun) for part in bins]
    return figure(
        "reliability-diagram",
        "Reliability diagram",
        f"Share of {what} against {whose}, in {len(bins)} bins; the diagonal is perfect.",
        WIDTH,
        base + 26,
        _grid(),
        element("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="ideal"),
        marks,
        element("g", strip, class_="strip"),
        element("line", x1=x(0), y1=base, x2=x(1), y2=base, class_="axis"),
        element("text", f"{whose} (bars: {noun}s, up to {largest:,})", x=x(0.5), y=base + 17, class_="name"),
        _axis_name(f"how often it was {was}"),
    )


def _bin_marks(part: Mapping[str, Any], largest: int, was: str, noun: str) -> list[Element]:
    frequency, place = part["frequency"], x(part["probability"])
    if not numbers.tells(frequency):
        return []
    words = (
        f"{numbers.count(part['texts'], noun)} called {numbers.percent(part['probability'])} likely: "
        f"{numbers.percent(frequency['value'])} {was} "
        f"(95% interval {numbers.percent_interval(frequency['low'], frequency['high'])})"
    )
    radius = round(3.5 + 5.5 * math.sqrt(part["texts"] / largest), 1)
    return [
        element("line", x1=place, x2=place, y1=y(frequency["low"]), y2=y(frequency["high"]), class_="interval"),
        element("circle", element("title", words), cx=place, cy=y(frequency["value"]), r=radius, class_="student"),
    ]


def _strip_bar(part: Mapping[str, Any], largest: int, base: float, noun: str) -> Element:
    height = round(max(1.5, STRIP * part["texts"] / largest), 1)
    width = round(x(part["high"]) - x(part["low"]) - 3, 1)
    words = element("title", numbers.count(part["texts"], noun))
    return element("rect", words, x=x(part["low"]) + 1.5, y=round(base - height, 1), width=width, height=height, rx=1)


def precision_recall(curve: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw precision against recall over all thresholds, with the operating points.

    Args:
        curve: `evaluation["curve"]`.
        points: name, title, precision and recall of each system that has both.
    """
    known = [point for point in curve if point["recall"] is not None and point["precision"] is not None]
    places = [f"{x(point['recall'])},{y(point['precision'])}" for point in known]
    return figure(
        "precision-recall-curve",
        "Precision-recall curve",
        "Precision of the student against its recall over all thresholds. " + " ".join(map(_point_words, points)),
        WIDTH,
        y(0) + 42,
        _grid(),
        element("polyline", points=" ".join(places), class_="curve"),
        [_marker(point) for point in points],
        element("text", "recall", x=x(0.5), y=y(0) + 36, class_="name"),
        _axis_name("precision"),
    )


def coverage(curve: Sequence[Mapping[str, Any]], title: str = "accuracy") -> Markup:
    """Draw the accuracy of the texts that the student is surest of against their share.

    Args:
        curve: `evaluation["coverage"]["curve"]`.
        title: what the accuracy is called.
    """
    last = curve[-1]["accuracy"]
    places = [f"{x(point['kept_share'])},{y(point['accuracy'])}" for point in curve]
    words = f"{title.capitalize()} of the texts that the student is surest of, against their share; "
    words += f"of all it is {last:.2f}."
    whole = element("title", f"all texts: {title} {last:.2f}")
    return figure(
        "coverage-curve",
        f"Coverage and {title}",
        words,
        WIDTH,
        y(0) + 42,
        _grid(),
        element("line", x1=x(0), x2=x(1), y1=y(last), y2=y(last), class_="ideal"),
        element("polyline", points=" ".join(places), class_="curve"),
        element("circle", whole, cx=x(1), cy=y(last), r=7, class_="marker student"),
        element("text", "share of the texts kept, the surest first", x=x(0.5), y=y(0) + 36, class_="name"),
        _axis_name(f"{title} of these"),
    )


def _point_words(point: Mapping[str, Any]) -> str:
    return (
        f"{point['title']}: precision {numbers.figure(point['precision'])} at recall {numbers.figure(point['recall'])}."
    )


def _marker(point: Mapping[str, Any]) -> Element:
    """Draw a system's operating point: the student round, its teacher a diamond, everything else square."""
    across, down = x(point["recall"]), y(point["precision"])
    words = element("title", _point_words(point))
    if point["name"] == "student":
        return element("circle", words, cx=across, cy=down, r=7, class_="marker student")
    side = 11
    turned = f"rotate(45 {across} {down})" if point["name"] == "teacher" else None
    shape = {"x": round(across - side / 2, 1), "y": round(down - side / 2, 1), "width": side, "height": side}
    return element("rect", words, **shape, transform=turned, class_=f"marker {point['name']}")


def figure(
    name: str, title: str, description: str, width: float, height: float, *children: Child, **attributes: object
) -> Markup:
    """Draw a figure that is also told to those who hear the page."""
    tree = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-words"),
        *children,
        viewBox=f"0 0 {round(width, 1)} {round(height, 1)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-words",
        **attributes,
    )
    return Markup(tostring(tree, encoding="unicode", method="html"))  # noqa: S704 - the tree's writer escapes


def _grid() -> list[Element]:
    """Draw grid lines with their numbers on both axes."""
    lines = []
    for tick in TICKS:
        lines += [
            element("line", x1=x(tick), x2=x(tick), y1=y(0), y2=y(1), class_="grid"),
            element("line", x1=x(0), x2=x(1), y1=y(tick), y2=y(tick), class_="grid"),
            element("text", f"{tick:.1f}", x=x(tick), y=y(0) + 17, class_="tick across"),
            element("text", f"{tick:.1f}", x=x(0) - 13, y=y(tick) + 4, class_="tick down"),
        ]
    return lines


def _axis_name(words: str) -> Element:
    place = f"translate(13 {y(0.5)}) rotate(-90)"
    return element("text", words, transform=place, class_="name")


@dataclass(frozen=True, slots=True)
class Mark:
    """A value over time.

    Attributes:
        date: below it.
        value: with low and high, its interval.
        low: lower end.
        high: upper end.
        expected: what was expected; none when nothing was.
        is_alarm: an alarm was raised.
        words: what a pointer over it shows.
    """

    date: str
    value: float
    low: float
    high: float
    expected: float | None
    is_alarm: bool
    words: str


def series(name: str, title: str, marks: Sequence[Mark], ticks: Sequence[tuple[float, str]]) -> Markup:
    """Draw a series: its values with their intervals, what was expected, and alarms.

    Args:
        name: of the figure, for its ids.
        title: of the figure.
        marks: oldest first, at least one.
        ticks: values on the vertical axis with their words, lowest first.
    """
    low, high = ticks[0][0], ticks[-1][0]

    def across(place: int) -> float:
        return round(SERIES_LEFT + (place + 0.5) / len(marks) * (SERIES_WIDTH - SERIES_LEFT - SERIES_RIGHT), 1)

    def down(value: float) -> float:
        share = (min(high, max(low, value)) - low) / (high - low)
        return round(SERIES_HEIGHT - SERIES_BOTTOM - share * (SERIES_HEIGHT - SERIES_TOP - SERIES_BOTTOM), 1)

    band = [f"{across(i)},{down(mark.high)}" for i, mark in enumerate(marks)]
    band += [f"{across(i)},{down(mark.low)}" for i, mark in reversed(list(enumerate(marks)))]
    line = [f"{across(i)},{down(mark.value)}" for i, mark in enumerate(marks)]
    ideal = [f"{across(i)},{down(mark.expected)}" for i, mark in enumerate(marks) if mark.expected is not None]
    return figure(
        name,
        title,
        " ".join(mark.words for mark in marks[-3:]),
        SERIES_WIDTH,
        SERIES_HEIGHT,
        [_tick(down(value), words) for value, words in ticks],
        element("polygon", points=" ".join(band), class_="band") if len(marks) > 1 else None,
        element("polyline", points=" ".join(ideal), class_="ideal") if ideal else None,
        element("polyline", points=" ".join(line), class_="curve"),
        [_dot(across(i), mark, down) for i, mark in enumerate(marks) if len(marks) <= MOST_DOTS or mark.is_alarm],
        _dates(marks, across),
    )


def _tick(down: float, words: str) -> list[Element]:
    return [
        element("line", x1=SERIES_LEFT, x2=SERIES_WIDTH - SERIES_RIGHT, y1=down, y2=down, class_="grid"),
        element("text", words, x=SERIES_LEFT - 8, y=down + 4, class_="tick down"),
    ]


def nice_ticks(low: float, high: float, lowest: float | None = None) -> list[float]:
    """Choose three to six round values that hold an interval.

    >>> nice_ticks(0.071, 0.148), nice_ticks(9.5, 9.5)
    ([0.06, 0.08, 0.1, 0.12, 0.14, 0.16], [9.0, 9.5, 10.0])
    """
    if high - low < SMALLEST:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_STEPS))
    step = next(size * power for size in (1, 2, 5, 10, 20) if (high - low) / (size * power) <= MOST_STEPS)
    first, last = math.floor(low / step + SMALLEST), math.ceil(high / step - SMALLEST)
    ticks = [round(place * step, 10) for place in range(first, last + 1)]
    return [tick for tick in ticks if lowest is None or tick >= lowest]


def _dot(across: float, mark: Mark, down: Callable[[float], float]) -> list[Child]:
    place = down(mark.value)
    kind = "alarm" if mark.is_alarm else "student"
    return [
        element("circle", element("title", mark.words), cx=across, cy=place, r=6 if mark.is_alarm else 3, class_=kind)
    ]


def _dates(marks: Sequence[Mark], across: Callable[[int], float]) -> list[Element]:
    places = sorted({0, len(marks) // 2, len(marks) - 1}) if len(marks) > 2 else range(len(marks))
    return [
        element(
            "text",
            marks[i].date[5:] if len(marks[i].date) > 7 else marks[i].date,
            x=across(i),
            y=SERIES_HEIGHT - 8,
            class_="across",
        )
        for i in places
    ]


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """Build an element of a figure.

    Args:
        tag: its name.
        children: texts, elements, or lists of them; None is left out.
        attributes: underscores become hyphens, a last one is dropped (`class_`); None is left out.

    >>> drawn = element("text", "1 < 2", element("title", "so"), class_="name", transform=None)
    >>> tostring(drawn, encoding="unicode", method="html")
    '<text class="name">1 &lt; 2<title>so</title></text>'
    """
    written = {
        name.rstrip("_").replace("_", "-"): clean(str(value)) for name, value in attributes.items() if value is not None
    }
    parent = Element(tag, written)
    for child in children:
        _append(parent, child)
    return parent


def _append(parent: Element, child: Child) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        parent.append(child)
    elif isinstance(child, str):
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + clean(child)
        else:
            parent.text = (parent.text or "") + clean(child)
    else:
        for part in child:
            _append(parent, part)
