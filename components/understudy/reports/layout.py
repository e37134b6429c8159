"""The page's building blocks: sections, small print, and tables that read on a phone.

Every cell carries its column's name, and a narrow page shows the rows of a "cards" table as cards.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports.markup import Child, element
from understudy.text import numbers


def section(title: str, name: str, *children: Child) -> Element:
    """Build a part of the page with its heading."""
    return element("section", element("h2", title, id=name), *children, aria_labelledby=name)


def scroll(content: Element) -> Element:
    """Let wide content scroll by itself, by keyboard too."""
    caption = content.find("caption")
    label = "" if caption is None else caption.text
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def notes(sentences: Sequence[str]) -> Element | None:
    """Put small print under a table."""
    return element("ul", [element("li", words) for words in sentences], class_="notes") if sentences else None


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[Child]], *, kind: str = "", marked: Sequence[int] = ()
) -> Element:
    """Build a table whose first column names the rows.

    Args:
        caption: what the table shows, for people who hear it.
        header: names of the columns.
        rows: cells, one list a row.
        kind: CSS class: "cards" shows rows as cards on a narrow page, "dense" never does.
        marked: places of rows that stand out.
    """
    head = element("tr", [element("th", name, scope="col", role="columnheader") for name in header], role="row")
    body = [_row(header, row, is_marked=place in marked) for place, row in enumerate(rows)]
    return element(
        "table",
        element("caption", caption),
        element("thead", head, role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        class_=kind,
        role="table",
    )


def _row(header: Sequence[str], row: Sequence[Child], *, is_marked: bool) -> Element:
    cells = [element("th", row[0], scope="row", role="rowheader")]
    cells += [
        element("td", cell, role="cell", data_column=name) for name, cell in zip(header[1:], row[1:], strict=True)
    ]
    return element("tr", cells, role="row", class_="marked" if is_marked else None)


def figure(interval: Mapping[str, float | None] | None) -> Child:
    """Show a figure with its interval as numbers."""
    if interval is None or interval["value"] is None:
        return numbers.UNKNOWN
    span = numbers.figure_interval(interval["low"], interval["high"])
    number = element("b", numbers.figure(interval["value"]))
    return element("span", number, " ", element("small", span), class_="figure")


def bar(interval: Mapping[str, float | None] | None, who: str) -> list[Child]:
    """Show a figure with its interval, as numbers and as a bar from 0 to 1."""
    if interval is None or interval["value"] is None or interval["low"] is None or interval["high"] is None:
        return [figure(interval)]
    value, low, high = interval["value"], interval["low"], interval["high"]
    span = element("i", style=f"left:{_percent(low)};width:{_percent(high - low)}")
    dot = element("u", style=f"left:{_percent(value)}")
    return [figure(interval), element("span", span, dot, class_=f"bar {who}", aria_hidden="true")]


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%"


def definitions(pairs: Sequence[tuple[str, Child]], **attributes: Any) -> Element:
    """Build a list of terms with what they are."""
    return element(
        "dl", [element("div", element("dt", term), element("dd", what)) for term, what in pairs], **attributes
    )
