"""The report's two figures, as SVG that follows the page's colours, light or dark.

Drawn here and not by a plotting library: text stays text, colours are the page's CSS classes, the bytes are the same on
every machine, and no font cache is built in a pod whose home cannot be written.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports.markup import element
from understudy.text import numbers

WIDTH, PLOT, LEFT, TOP = 386, 300, 60, 14
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STRIP = 44  # height of the histogram under the reliability diagram


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


def reliability(bins: Sequence[Mapping[str, Any]]) -> Element:
    """Draw how often texts were positive against how likely they were called.

    Args:
        bins: `evaluation["reliability"]`.
    """
    largest = max((found["texts"] for found in bins), default=1)
    base = y(0) + 34 + STRIP
    marks = [mark for found in bins for mark in _bin_marks(found, largest)]
    strip = [_strip_bar(found, largest, base) for found in bins]
    return _figure(
        base + 26,
        "Reliability diagram",
        f"Share of positive texts against the student's probability, in {len(bins)} bins; the diagonal is perfect.",
        _grid(),
        element("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="ideal"),
        marks,
        element("g", strip, class_="strip"),
        element("line", x1=x(0), y1=base, x2=x(1), y2=base, class_="axis"),
        element(
            "text", f"the student's probability (bars: texts, up to {largest:,})", x=x(0.5), y=base + 17, class_="name"
        ),
        _axis_name("how often it was positive"),
    )


def _bin_marks(found: Mapping[str, Any], largest: int) -> list[Element]:
    frequency, place = found["frequency"], x(found["probability"])
    words = (
        f"{numbers.count(found['texts'], 'text')} called {numbers.percent(found['probability'])} likely: "
        f"{numbers.percent(frequency['value'])} positive "
        f"(95% interval {numbers.percent_interval(frequency['low'], frequency['high'])})"
    )
    radius = round(3.5 + 5.5 * math.sqrt(found["texts"] / largest), 1)
    return [
        element("line", x1=place, x2=place, y1=y(frequency["low"]), y2=y(frequency["high"]), class_="interval"),
        element("circle", element("title", words), cx=place, cy=y(frequency["value"]), r=radius, class_="student"),
    ]


def _strip_bar(found: Mapping[str, Any], largest: int, base: float) -> Element:
    height = round(max(1.5, STRIP * found["texts"] / largest), 1)
    width = round(x(found["high"]) - x(found["low"]) - 3, 1)
    words = element("title", numbers.count(found["texts"], "text"))
    return element("rect", words, x=x(found["low"]) + 1.5, y=round(base - height, 1), width=width, height=height, rx=1)


def precision_recall(curve: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]) -> Element:
    """Draw precision against recall over all thresholds, with the operating points.

    Args:
        curve: `evaluation["curve"]`.
        points: name, title, precision and recall of each system that has both.
    """
    known = [found for found in curve if found["recall"] is not None and found["precision"] is not None]
    places = [f"{x(found['recall'])},{y(found['precision'])}" for found in known]
    return _figure(
        y(0) + 42,
        "Precision-recall curve",
        "Precision of the student against its recall over all thresholds. " + " ".join(map(_point_words, points)),
        _grid(),
        element("polyline", points=" ".join(places), class_="curve"),
        [_marker(point) for point in points],
        element("text", "recall", x=x(0.5), y=y(0) + 36, class_="name"),
        _axis_name("precision"),
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


def _figure(height: float, title: str, description: str, *children: Any) -> Element:
    name = title.lower().replace(" ", "-")
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-words"),
        *children,
        viewBox=f"0 0 {WIDTH} {round(height, 1)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-words",
    )


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
