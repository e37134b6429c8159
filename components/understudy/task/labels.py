"""Number a card's labels: their order is the order of every array of scores and probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.errors import BadArtifact
from understudy.task import label_sets
from understudy.task.card import Card

Codes = np.ndarray[tuple[int, ...], np.dtype[Any]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
SHOWN = 3  # labels that a message names, of many that are unknown


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The labels of a task.

    Scores and probabilities are arrays of shape (texts, labels) in the order of `names`. What texts are labelled is
    written as "codes": columns of their labels, shape (texts,), or where a text may have several labels or none, bools
    of shape (texts, labels). `stats.metrics` counts both.

    Attributes:
        names: two or more, in the card's order.
        positive: the label that is looked for; None where all matter alike.
        is_many: a text may have several labels, or none.
    """

    names: tuple[str, ...]
    positive: str | None = None
    is_many: bool = False

    @classmethod
    def of(cls, card: Card) -> "LabelSpace":
        """Return the labels of a card."""
        return cls(card.label_names, card.positive_label, card.is_many)

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Column of a label."""
        return self.names.index(name)

    @property
    def positive_index(self) -> int | None:
        """Column of the label that is looked for; None where there is none."""
        return None if self.positive is None else self.index(self.positive)

    @property
    def sides(self) -> tuple[int, ...]:
        """Columns of the labels that are looked at one against the rest: the one that is looked for, else all.

        >>> LabelSpace(("other", "tip"), "tip").sides, LabelSpace(("praise", "tip", "blame")).sides
        ((1,), (0, 1, 2))
        """
        return tuple(range(len(self))) if self.positive is None else (self.index(self.positive),)

    def codes(self, given: Iterable[str]) -> Codes:
        """Return the labels of texts as columns, shape (texts,), or as bools, shape (texts, labels).

        Args:
            given: a label's name for each text; a set of them, as `label_sets.written` writes it, where there may be
                several.

        Raises:
            BadArtifact: a label is none of these.

        >>> LabelSpace(("praise", "tip", "blame")).codes(["blame", "tip"]).tolist()
        [2, 1]
        >>> LabelSpace(("praise", "tip", "blame"), is_many=True).codes(['["praise", "tip"]', "[]"]).tolist()
        [[True, True, False], [False, False, False]]
        """
        columns = {name: index for index, name in enumerate(self.names)}
        labels = list(given)
        sets = [label_sets.read(label) for label in labels] if self.is_many else [(label,) for label in labels]
        if unknown := sorted({str(label) for names in sets for label in names if label not in columns}):
            more = "" if len(unknown) <= SHOWN else f" and {len(unknown) - SHOWN:,} more"
            raise BadArtifact(
                f"A label must be one of the card's {len(self):,}, got {', '.join(unknown[:SHOWN])}{more}. Run the "
                "step that wrote it again, with this card."
            )
        if not self.is_many:
            return np.array([columns[label] for label in labels], dtype=np.int64)
        codes = np.zeros((len(sets), len(self)), dtype=np.bool_)
        for row, names in enumerate(sets):
            codes[row, [columns[name] for name in names]] = True
        return codes

    def named(self, codes: Codes) -> list[str]:
        """Write codes as `codes` reads them, one string a text.

        >>> LabelSpace(("praise", "tip", "blame")).named(np.array([2, 1]))
        ['blame', 'tip']
        >>> LabelSpace(("praise", "tip", "blame"), is_many=True).named(np.array([[True, False, True]]))
        ['["praise", "blame"]']
        """
        if not self.is_many:
            return [self.names[code] for code in codes.tolist()]
        return [label_sets.written([self.names[index] for index in np.flatnonzero(row)]) for row in codes]

    def one_hot(self, codes: Codes) -> Floats:
        """Write codes as probabilities of 0 and 1, shape (texts, labels).

        >>> LabelSpace(("other", "tip")).one_hot(np.array([1, 0])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
        """
        return codes.astype(np.float64) if self.is_many else np.eye(len(self))[codes]

    def words(self, given: str) -> str:
        """Write what a text is labelled for a reader.

        >>> LabelSpace(("praise", "tip", "blame"), is_many=True).words('["praise", "blame"]')
        'praise, blame'
        >>> LabelSpace(("praise", "tip", "blame"), is_many=True).words("[]"), LabelSpace(("a", "b")).words("a")
        ('none of the labels', 'a')
        """
        return label_sets.words(given) if self.is_many else given
