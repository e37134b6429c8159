"""Write what is read before a text: the turns that came before it in its group, cut from the far end.

Student and teacher read the same string wherever they meet a text; all of it is made here, of strings alone:

    >>> context = preceding(["Is the pool open?", "Until nine."], words=60)
    >>> seen(context, "And the bar?")
    'Is the pool open? | Until nine. || And the bar?'
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence

COLUMN = "context"  # beside a text in a table, of a card with context alone
TURN_HASHES = (
    "turn_hashes"  # beside it: hashes of the ids of its turns, by which `forget` finds it; no person sees them
)
BETWEEN_TURNS, BEFORE_TEXT = " | ", " || "
SIGNS_A_WORD = 8  # on average at most: a language without blanks, or an address, must not fill the student's window
ASKED = "\udfff"  # half of a pair: no text has one, for rows with it are refused


def preceding(turns: Iterable[str], words: int) -> str:
    """Join turns, oldest first, and keep the last words; empty where no word is left.

    Args:
        turns: in the order in which they were said.
        words: most words that are kept, as white space parts them, and eight times as many characters.

    >>> preceding(["Is the pool open today?", "Until nine."], words=4)
    'open today? | Until nine.'
    """
    kept: list[str] = []
    signs = words * SIGNS_A_WORD
    for turn in reversed([*turns]):
        said = " ".join(turn.rsplit(maxsplit=words)[-words:])[-signs:].lstrip() if words > 0 and signs > 0 else ""
        words, signs = words - len(said.split()), signs - len(said)
        kept += [said] if said else []
    return BETWEEN_TURNS.join(reversed(kept))


def seen(context: str | None, text: str) -> str:
    """Put the turns before a text; the text itself where there are none."""
    return f"{context}{BEFORE_TEXT}{text}" if context else text


def asked(context: str | None, text: str) -> str:
    """Put context and text into one string that `parted` parts again: what a teacher is asked about."""
    return f"{context}{ASKED}{text}" if context else text


def parted(string: str) -> tuple[str, str]:
    """Return the context, empty where there is none, and the text.

    >>> parted(asked("Until nine.", "And the bar?"))
    ('Until nine.', 'And the bar?')
    """
    context, _, text = string.rpartition(ASKED)
    return context, text


class Turns:
    """The last turns of each group while texts go by in order.

    Args:
        turns: how many are kept of a group.
        words: most words of a context.
    """

    def __init__(self, turns: int, words: int) -> None:
        self._turns, self._words = turns, words
        self._last: dict[str, deque[tuple[str, str]]] = {}

    def before(self, group: str | None, text: str, name: str) -> tuple[str | None, list[str]]:
        """Return the context of the group's next text, and the names of its turns; take the text in by its own name.

        The context is None where nothing came before it. Turns without words are named too, as `turns_before` does.

        >>> turns = Turns(turns=2, words=60)
        >>> said = {"a": "Hello.", "b": "Hi.", "c": "A room?", "d": "Which one?"}
        >>> [turns.before("call", text, name) for name, text in said.items()][1:]
        [('Hello.', ['a']), ('Hello. | Hi.', ['a', 'b']), ('Hi. | A room?', ['b', 'c'])]
        """
        if group is None:
            return None, []
        last = self._last.setdefault(group, deque(maxlen=self._turns))
        context, names = preceding([said for _, said in last], self._words), [turn for turn, _ in last]
        last.append((name, preceding([text], self._words)))
        return context or None, names


def contexts(
    groups: Sequence[str | None], texts: Sequence[str], values: Sequence[str | None] | None, turns: int, words: int
) -> list[str | None]:
    """Return the context of each text, shape (texts,).

    Args:
        groups: within which texts are turns of one another; None for a text that stands alone.
        texts: in the order of their file.
        values: by which a group's texts stand in order; None for the order of the file.
        turns: most turns of a context.
        words: most words of it.
    """
    said = [preceding([text], words) for text in texts]  # no more of it is ever shown
    before = turns_before(groups, values, turns)
    return [preceding([said[position] for position in positions], words) or None for positions in before]


def turns_before(groups: Sequence[str | None], values: Sequence[str | None] | None, turns: int) -> list[list[int]]:
    """Return the positions of the turns before each text, oldest first, shape (texts,); also of those without words.

    Args:
        groups: as `contexts` takes them.
        values: as `contexts` takes them.
        turns: most turns of a text.

    >>> turns_before(["a", "b", "a", None, "a"], ["3", "1", "2", "1", "1"], turns=1)
    [[2], [], [4], [], []]
    """
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(position)
    found: list[list[int]] = [[] for _ in groups]
    for positions in members.values():
        order = range(len(positions)) if values is None else in_order([values[position] for position in positions])
        ordered = [positions[place] for place in order]
        for place, position in enumerate(ordered):
            found[position] = ordered[max(0, place - turns) : place]
    return found


def in_order(values: Sequence[str | None]) -> list[int]:
    """Return the places of a group's texts in order: as numbers where all are, else as strings.

    Equal values keep the order of the file; so does a group in which any value is missing.

    >>> in_order(["10", "9", "1"]), in_order(["b", "10", "9"]), in_order(["2", None, "1"])
    ([2, 1, 0], [1, 2, 0], [0, 1, 2])
    """
    places = range(len(values))
    filled = [value for value in values if value is not None]
    if len(filled) < len(values):
        return list(places)
    numbers = [number for value in filled if (number := _number(value)) is not None]
    if len(numbers) == len(filled):
        return sorted(places, key=lambda place: numbers[place])
    return sorted(places, key=lambda place: filled[place])


def _number(value: str) -> int | float | None:
    """Read a number; whole ones keep all their digits, which nanoseconds need."""
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None
