"""Draw which labels are taken for which as a heat map in SVG, from two labels to hundreds."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markupsafe import Markup

from understudy.reports.charts import element, figure
from understudy.text import numbers

WIDEST = 960  # of the whole figure, in pixels
LARGEST_CELL = 52.0
MOST_NAMED = 100  # labels whose names still stand along the axes
LONGEST_NAME = 30  # letters along an axis; a pointer over a cell shows the whole name
ROOM_PER_LETTER = 0.56  # of the size of the letters: their mean width
LARGEST_LETTERS = 12.0
STEEPEST_CELL = 22.0  # below it names along the columns stand upright
COUNTED_CELL = 24.0  # from it upwards a cell shows its number
BETWEEN = 0.6  # names below one another, in pixels
EDGE, AXIS = 8.0, 22.0
FAINTEST, FAINTEST_DOT = 0.14, 0.45  # of a cell, and of one among hundreds that is a dot
DARK = 0.55  # from this share upwards a number stands light on dark

Cell = Sequence[int]  # column of the true label, column of the label given, texts


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand, in pixels.

    Attributes:
        size: of a cell.
        letters: size of the names; 0 where there is no room for them.
        left: where the cells begin; as much room is below them, for names.
        end: where they end to the right.
        bottom: where they end below; they begin at `EDGE` from above.
    """

    size: float
    letters: float
    left: float
    end: float
    bottom: float

    @classmethod
    def of(cls, names: Sequence[str]) -> "Layout":
        """Give cells and names as much room as there is."""
        is_named = len(names) <= MOST_NAMED
        longest = max(len(numbers.clip(name, LONGEST_NAME)) for name in names) if is_named else 0
        wide = ROOM_PER_LETTER * longest  # of a name, in sizes of its letters
        room = WIDEST - AXIS - 2 * EDGE
        size = (room + wide * BETWEEN) / (len(names) + wide)  # letters fill a cell but for what is between them
        letters = min(LARGEST_LETTERS, size - BETWEEN)
        size = round(min(LARGEST_CELL, max(size, (room - wide * letters) / len(names))), 2)
        left, side = round(AXIS + EDGE + wide * letters, 1), size * len(names)
        end, bottom = round(left + side, 1), round(EDGE + side, 1)
        return cls(size, round(letters, 1) if is_named else 0.0, left, end, bottom)

    def across(self, place: float) -> float:
        """Horizontal place of a column's left edge."""
        return round(self.left + place * self.size, 2)

    def down(self, place: float) -> float:
        """Vertical place of a row's upper edge."""
        return round(EDGE + place * self.size, 2)


def draw(names: Sequence[str], cells: Sequence[Cell]) -> Markup:
    """Draw a row for each true label and a column for each label given, darker where more of a row's texts are.

    Args:
        names: of the labels, in the card's order.
        cells: those that hold texts.
    """
    place = Layout.of(names)
    totals = [0] * len(names)
    for true, _, texts in cells:
        totals[true] += texts
    width, height = place.end + EDGE, round(place.bottom + place.left, 1)
    return figure(
        "confusion-matrix",
        "Confusion matrix",
        f"A row for each of {len(names)} true labels, a column for each label that the student gave; the darker a "
        "cell, the larger its share of the row's texts. Right labels lie on the diagonal. The commonest mistakes stand "
        "in the table before it.",
        width,
        height,
        element("rect", x=place.left, y=EDGE, width=place.end - place.left, height=place.bottom - EDGE),
        _lines(place, len(names)),
        [_cell(place, names, cell, totals[cell[0]]) for cell in cells],
        _names(place, names) if place.letters else None,
        element("text", "label that the student gave", x=round((place.left + place.end) / 2, 1), y=height - 6,
                class_="name"),
        element("text", "true label", class_="name",
                transform=f"translate(13 {round((EDGE + place.bottom) / 2, 1)}) rotate(-90)"),
        class_="heat",
        style=f"width:{width:.0f}px",
    )  # fmt: skip


def _lines(place: Layout, labels: int) -> list[Element]:
    if labels > MOST_NAMED:
        return []
    edges = range(labels + 1)
    across = [element("line", x1=place.across(i), x2=place.across(i), y1=EDGE, y2=place.bottom) for i in edges]
    down = [element("line", x1=place.left, x2=place.end, y1=place.down(i), y2=place.down(i)) for i in edges]
    return across + down


def _cell(place: Layout, names: Sequence[str], cell: Cell, total: int) -> list[Element]:
    true, given, texts = cell
    share = texts / total
    words = f"{texts:,} of {numbers.count(total, 'text')} of '{names[true]}' ({numbers.percent(share)}) "
    words += "rightly given it" if true == given else f"given '{names[given]}'"
    kind = "right" if true == given else "wrong"
    faintest = FAINTEST if place.letters else FAINTEST_DOT
    drawn = element(
        "rect",
        element("title", words),
        x=place.across(given),
        y=place.down(true),
        width=place.size,
        height=place.size,
        class_=kind,
        fill_opacity=round(faintest + (1 - faintest) * share, 3),
    )
    if place.size < COUNTED_CELL:
        return [drawn]
    middle, below = place.across(given + 0.5), round(place.down(true + 0.5) + 4, 2)
    return [drawn, element("text", f"{texts:,}", x=middle, y=below, class_="dark" if share >= DARK else "pale")]


def _names(place: Layout, names: Sequence[str]) -> list[Element]:
    """Write the names beside the rows and below the columns, slanted where there is room."""
    turn = 45 if place.size >= STEEPEST_CELL else 90
    found = []
    for index, name in enumerate(names):
        written = numbers.clip(name, LONGEST_NAME)
        style = f"font-size:{place.letters}px"
        middle = round(place.down(index + 0.5) + place.letters * 0.35, 2)
        across = round(place.across(index + 0.5) + (place.letters * 0.35 if turn == 90 else 4), 2)
        turned = f"translate({across} {place.bottom + 6 + (4 if turn == 45 else 0)}) rotate(-{turn})"
        found += [
            element("text", written, x=place.left - 6, y=middle, class_="down", style=style),
            element("text", written, transform=turned, class_="down", style=style),
        ]
    return found
