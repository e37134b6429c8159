"""Number a card's labels: their order is the order of every array of scores and probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from understudy.errors import BadArtifact
from understudy.task.card import Card

Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
SHOWN = 3  # labels that a message names, of many that are unknown


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The labels of a task.

    Scores and probabilities are arrays of shape (texts, labels) in the order of `names`; labels given to texts are
    their columns, "codes", of shape (texts,).

    Attributes:
        names: two or more, in the card's order.
        positive: the label that is looked for; None where all matter alike.
    """

    names: tuple[str, ...]
    positive: str | None = None

    @classmethod
    def of(cls, card: Card) -> "LabelSpace":
        """Return the labels of a card."""
        return cls(card.label_names, card.positive_label)

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

    def codes(self, given: Iterable[str]) -> Integers:
        """Return the column of each text's label, shape (texts,).

        Raises:
            BadArtifact: a label is none of these.

        >>> LabelSpace(("praise", "tip", "blame")).codes(["blame", "tip"]).tolist()
        [2, 1]
        """
        columns = {name: index for index, name in enumerate(self.names)}
        labels = list(given)
        if unknown := sorted({str(label) for label in labels if label not in columns}):
            more = "" if len(unknown) <= SHOWN else f" and {len(unknown) - SHOWN:,} more"
            raise BadArtifact(
                f"A label must be one of the card's {len(self):,}, got {', '.join(unknown[:SHOWN])}{more}. Run the "
                "step that wrote it again, with this card."
            )
        return np.array([columns[label] for label in labels], dtype=np.int64)

    def named(self, codes: Integers) -> list[str]:
        """Return the names of columns, shape (texts,).

        >>> LabelSpace(("praise", "tip", "blame")).named(np.array([2, 1]))
        ['blame', 'tip']
        """
        return [self.names[code] for code in codes.tolist()]

    def one_hot(self, codes: Integers) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Write codes of shape (texts,) as probabilities of 0 and 1, shape (texts, labels)."""
        return np.eye(len(self))[codes]
