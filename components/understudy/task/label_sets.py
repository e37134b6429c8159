"""Write and read the set of labels of one text, where a card allows several: a JSON list in the card's order."""

import json
from collections.abc import Collection, Sequence

from understudy.errors import BadArtifact

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


def of_cell(cell: str, names: Sequence[str]) -> str | None:
    """Read a cell of a user's file: a JSON list, a label's name, or several with one of `SEPARATORS` between them.

    A text with none of the labels is written `[]`; an empty cell says nothing and never comes here.

    Args:
        cell: as the file has it, stripped.
        names: the card's labels.

    Returns:
        what `written` writes, in the card's order; None where a name is not the card's.

    >>> of_cell("tip; praise", ["praise", "tip"]), of_cell('["tip"]', ["praise", "tip"]), of_cell("[]", ["tip"])
    ('["praise", "tip"]', '["tip"]', '[]')
    >>> of_cell("tips, wishes", ["praise", "tips, wishes"])
    '["tips, wishes"]'
    >>> of_cell("tip, blame", ["praise", "tip"]), of_cell(";", ["praise", "tip"])
    (None, None)
    """
    readings = [(cell,), *([listed] if (listed := _listed(cell)) is not None else [])]
    readings += [parts for separator in SEPARATORS if (parts := _parts(cell, separator))]
    given = next((reading for reading in readings if set(reading) <= set(names)), None)
    return None if given is None else ordered(given, names)


def ordered(given: Collection[str], names: Sequence[str]) -> str:
    """Write labels of one text in the card's order, each once.

    >>> ordered(["tip", "praise", "tip"], ["praise", "tip"])
    '["praise", "tip"]'
    """
    return written([name for name in names if name in given])


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
