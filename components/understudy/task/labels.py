"""Number a card's labels: their order is the order of every array of scores and probabilities."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from understudy.errors import BadArtifact
from understudy.stats.metrics import Codes, Floats
from understudy.task import label_sets
from understudy.task.card import Card
from understudy.text import signs

Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
ANSWERS = {"0", "1", "true", "false", "yes", "no"}  # as files write that one label is given or not
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
        aliases: what people's files call labels beside their names, as pairs of alias and name.
    """

    names: tuple[str, ...]
    positive: str | None = None
    is_many: bool = False
    aliases: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, card: Card) -> "LabelSpace":
        """Return the labels of a card."""
        aliases = tuple((alias, label.name) for label in card.labels for alias in label.aliases)
        return cls(card.label_names, card.positive_label, card.is_many, aliases)

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

    def of_cell(self, cell: str) -> str | None:
        """Return what a cell of a user's file says of a text, as every table has it; None where it is no label.

        Labels in letters of another case, or with other blanks, are the card's (`signs.folded`), and so are aliases.

        >>> LabelSpace(("praise", "tip")).of_cell("tip"), LabelSpace(("praise", "tip"), is_many=True).of_cell("tip")
        ('tip', '["tip"]')
        >>> LabelSpace(("praise", "tip")).of_cell(" TIP"), LabelSpace(("praise", "tip")).of_cell("tip; praise")
        ('tip', None)
        >>> LabelSpace(("praise", "tip"), aliases=(("1", "tip"),)).of_cell("1")
        'tip'
        """
        return label_sets.of_cell(cell, self.names, self._meant) if self.is_many else self._meant(cell, self.names)

    def _meant(self, said: str, names: Sequence[str]) -> str | None:
        return signs.meant(said, names) or self._by_alias(said, names)

    def _exactly(self, said: str, names: Sequence[str]) -> str | None:
        return said if said in names else self._by_alias(said, names)

    def _by_alias(self, said: str, names: Sequence[str]) -> str | None:
        alias = signs.meant(said, [alias for alias, _ in self.aliases]) if self.aliases else None
        return next((name for known, name in self.aliases if known == alias and name in names), None)

    def in_other_letters(self, cells: Iterable[str | None]) -> int:
        """Count the cells that name labels of the card in other letters or with other blanks than it does.

        >>> LabelSpace(("praise", "tip")).in_other_letters(["Tip", "tip", "tipp", None])
        1
        """
        counts = Counter(cell for cell in cells if cell is not None)
        return sum(
            times for cell, times in counts.items() if not self._is_exact(cell) and self.of_cell(cell) is not None
        )

    def _is_exact(self, cell: str) -> bool:
        reads = label_sets.of_cell(cell, self.names, self._exactly) if self.is_many else self._exactly(cell, self.names)
        return reads is not None

    def of_cells(self, cells: Iterable[str]) -> list[str | None]:
        """Return what each cell says, as `of_cell` does; each that repeats is read once."""
        known: dict[str, str | None] = {}
        return [known[cell] if cell in known else known.setdefault(cell, self.of_cell(cell)) for cell in cells]

    def no_label(self, cell: str, shown: int | None = None) -> str:
        """Say that a cell is none of the labels, and how several are written where there may be several.

        Args:
            cell: of a user's file.
            shown: most labels that are named; of more it is said how many they are. None names all.

        >>> LabelSpace(("praise", "tip")).no_label("tipp")
        "'tipp' is none of praise, tip"
        """
        few = shown is None or len(self) <= shown
        listed = ", ".join(self.names) if few else f"the card's {len(self):,}"
        hint = f" ({label_sets.HOW})" if self.is_many else ""
        if cell.casefold() in ANSWERS and not self.aliases:
            hint = " (a label's aliases on the card can say that it is meant)"
        return f"'{cell}' is none of {listed}{hint}"

    def names_in(self, given: str) -> tuple[str, ...]:
        """Return the names of the labels that a text was given: one, or where there may be several, any number.

        >>> LabelSpace(("praise", "tip")).names_in("tip")
        ('tip',)
        >>> LabelSpace(("praise", "tip"), is_many=True).names_in('["praise", "tip"]')
        ('praise', 'tip')
        """
        return label_sets.read(given) if self.is_many else (given,)

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
        sets = [self.names_in(label) for label in labels]
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
