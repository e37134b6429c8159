"""Check what a card's `must` says: texts whose label a student must give before it serves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.task import label_sets
from understudy.text import signs

Fault = tuple[tuple[str | int, ...], str]


def faults(musts: Sequence[Mapping[str, Any]], names: Sequence[str], *, is_many: bool) -> Iterator[Fault]:
    """Find texts without a claim, with a label that is none of the card's, or that stand twice.

    Args:
        musts: as the card has them.
        names: of its labels.
        is_many: a text may have several, written as a file's cell has them.

    >>> [sentence for _, sentence in faults([{"text": "Ask."}], ["tip"], is_many=False)]
    ['A text of must must have a label, or others that are alike, got neither (must.0). Give it one of the two.']
    """
    met: set[str] = set()
    for index, must in enumerate(musts):
        label, alike = must.get("label"), must.get("alike")
        others = [text for text in alike if isinstance(text, str)] if isinstance(alike, list) else []
        if label is None and not others:
            told = f"got neither (must.{index}). Give it one of the two."
            yield ("must", index), f"A text of must must have a label, or others that are alike, {told}"
        if isinstance(label, str) and names and meant(label, names, is_many=is_many) is None:
            listed = f"got {label!r:.80} (must.{index}.label)"
            yield ("must", index, "label"), f"A label of must must be of {', '.join(names)}, {listed}."
        for text in (must.get("text"), *others):
            if isinstance(text, str) and text.strip() in met:
                yield ("must", index), f"A text must stand once in must, got {text.strip()!r:.80} twice (must.{index})."
            met |= {text.strip()} if isinstance(text, str) else set()


def meant(label: str, names: Sequence[str], *, is_many: bool) -> str | None:
    """Return the label that is meant, as every table has it; None where it is none of the card's.

    >>> meant("tip", ["praise", "tip"], is_many=False), meant("tip; praise", ["praise", "tip"], is_many=True)
    ('tip', '["praise", "tip"]')
    """
    return label_sets.of_cell(label, names) if is_many else signs.meant(label, names)
