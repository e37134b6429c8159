"""Build HTML and SVG as a tree, so that every text is escaped by the library that writes it."""

import re
from collections.abc import Iterable
from typing import Union
from xml.etree.ElementTree import Element, tostring

Child = Union[str, Element, None, Iterable["Child"]]  # noqa: UP007 - a string cannot stand in X | Y
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """Build an element.

    Args:
        tag: its name.
        children: texts, elements, or lists of them; None is left out.
        attributes: underscores become hyphens, a last one is dropped (`class_`); None is left out.

    >>> render(element("p", "1 < 2 & ", element("b", "so"), class_="note", aria_hidden=None))
    '<p class="note">1 &lt; 2 &amp; <b>so</b></p>'
    """
    written = {
        name.rstrip("_").replace("_", "-"): clean(str(value)) for name, value in attributes.items() if value is not None
    }
    parent = Element(tag, written)
    for child in children:
        _append(parent, child)
    return parent


def render(tree: Element) -> str:
    """Write a tree as HTML."""
    return tostring(tree, encoding="unicode", method="html")


def clean(text: str) -> str:
    """Replace what no page may hold: control characters and half characters."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


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
