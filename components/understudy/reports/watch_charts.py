"""The watch's figures, as SVG that follows the page's colours: a series over the nights, and F1 over months."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from understudy.reports.markup import Child, element

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 190, 58, 10, 12, 28
MOST_DOTS = 45
MOST_STEPS = 4
SMALLEST = 1e-9


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


def series_chart(name: str, title: str, marks: Sequence[Mark], ticks: Sequence[tuple[float, str]]) -> Element:
    """Draw a series: its values with their intervals, what was expected, and alarms.

    Args:
        name: of the figure, for its ids.
        title: of the figure.
        marks: oldest first, at least one.
        ticks: values on the vertical axis with their words, lowest first.
    """
    low, high = ticks[0][0], ticks[-1][0]

    def across(place: int) -> float:
        return round(LEFT + (place + 0.5) / len(marks) * (WIDTH - LEFT - RIGHT), 1)

    def down(value: float) -> float:
        share = (min(high, max(low, value)) - low) / (high - low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    band = [f"{across(i)},{down(mark.high)}" for i, mark in enumerate(marks)]
    band += [f"{across(i)},{down(mark.low)}" for i, mark in reversed(list(enumerate(marks)))]
    line = [f"{across(i)},{down(mark.value)}" for i, mark in enumerate(marks)]
    ideal = [f"{across(i)},{down(mark.expected)}" for i, mark in enumerate(marks) if mark.expected is not None]
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", " ".join(mark.words for mark in marks[-3:]), id=f"{name}-words"),
        [
            (
                element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down(value), y2=down(value), class_="grid"),
                element("text", words, x=LEFT - 8, y=down(value) + 4, class_="tick down"),
            )
            for value, words in ticks
        ],
        element("polygon", points=" ".join(band), class_="band") if len(marks) > 1 else None,
        element("polyline", points=" ".join(ideal), class_="ideal") if ideal else None,
        element("polyline", points=" ".join(line), class_="curve"),
        [_dot(across(i), mark, down) for i, mark in enumerate(marks) if len(marks) <= MOST_DOTS or mark.is_alarm],
        _dates(marks, across),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{name}-title {name}-words",
    )


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
            y=HEIGHT - 8,
            class_="across",
        )
        for i in places
    ]
