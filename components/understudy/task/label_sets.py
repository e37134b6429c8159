"""Write and read the set of labels of one text, where a card allows several: a JSON list in the card's order."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from understudy.errors import BadArtifact
from understudy.text import signs

Meant = Callable[[str, Sequence[str]], str | None]

SEPARATORS = (";", "|", ",", "\n")
NO_LABEL = "none of the labels"
NOTHING = "[]"  # as `written` writes that a text has none
HOW = "several stand with ; between them or as a JSON list, and [] says none"


def written(names: Sequence[str]) -> str:
    """Write the names of one text's labels as the string that every table holds.

    >>> written(["praise", "tip"]), written([])
    ('["praise", "tip"]', '[]')
    """
    return json.dumps(list(names), ensure_ascii=False)


def read(text: str) -> tuple[str, ...]:
    """Read what `written` wrote.

    Raises:
        BadArtifact: it is no list of strings.

    >>> read('["praise", "tip"]')
    ('praise', 'tip')
    """
    names = _listed(text)
    if names is None:
        raise BadArtifact(
            f"The labels of a text must be a JSON list of names, got {text!r:.80}. Run the step that wrote it again, "
            "with this card."
        )
    return names


def words(text: str) -> str:
    """Write what `written` wrote for a reader.

    >>> words('["praise", "tip"]'), words("[]")
    ('praise, tip', 'none of the labels')
    """
    return ", ".join(read(text)) or NO_LABEL


def of_cell(cell: str, names: Sequence[str], meant: Meant = signs.meant) -> str | None:
    """Read a cell of a user's file: a JSON list, a label's name, or several with one of `SEPARATORS` between them.

    A text with none of the labels is written `[]`; an empty cell says nothing and never comes here.

    Args:
        cell: as the file has it, stripped.
        names: the card's labels.
        meant: which of these a name stands for, or None; by default letters of other case and blanks are the same.

    Returns:
        what `written` writes, in the card's order; None where a name is not the card's.

    >>> of_cell("tip; praise", ["praise", "tip"]), of_cell('["tip"]', ["praise", "tip"]), of_cell("[]", ["tip"])
    ('["praise", "tip"]', '["tip"]', '[]')
    >>> of_cell("tips, wishes", ["praise", "tips, wishes"])
    '["tips, wishes"]'
    >>> of_cell("Tip;PRAISE", ["praise", "tip"])
    '["praise", "tip"]'
    >>> of_cell("tip, blame", ["praise", "tip"]), of_cell(";", ["praise", "tip"])
    (None, None)
    """
    readings = [(cell,), *([listed] if (listed := _listed(cell)) is not None else [])]
    readings += [parts for separator in SEPARATORS if (parts := _parts(cell, separator))]
    for reading in readings:
        given = [name for each in reading if (name := meant(each, names)) is not None]
        if len(given) == len(reading):
            return ordered(given, names)
    return None


def ordered(given: Collection[str], names: Sequence[str]) -> str:
    """Write labels of one text in the card's order, each once.

    >>> ordered(["tip", "praise", "tip"], ["praise", "tip"])
    '["praise", "tip"]'
    """
    return written([name for name in names if name in given])


def as_cell(value: Any) -> Any:
    """Write a plain value of YAML as a cell of a file would be read: true for True, 1 for 1.

    >>> as_cell(True), as_cell(1), as_cell("yes")
    ('true', '1', 'yes')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def is_list(text: str) -> bool:
    """Whether a text reads as a set of labels, whosever they are.

    >>> is_list('["tip"]'), is_list("[tip]"), is_list("tip")
    (True, False, False)
    """
    return _listed(text) is not None


def _parts(cell: str, separator: str) -> tuple[str, ...]:
    return tuple(part for each in cell.split(separator) if (part := each.strip()))


def _listed(text: str) -> tuple[str, ...] | None:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):  # a cell that a damaged table leaves empty is no string
        return None
    is_list = isinstance(found, list) and all(isinstance(name, str) for name in found)
    return tuple(found) if is_list else None
