r"""Match a card's patterns: regular expressions whose time grows with the text and not beyond.

Texts and patterns come from different people, and an engine that goes back, such as Python's `re`, can take hours for
one text (`^(a+)+$`). Rust's `regex` does not. It is in two libraries that are there already: polars finds with it, and
pydantic, which the smallest image has too, checks with it. How it reads a pattern otherwise than Python does stands in
docs/decisions/0009-patterns-without-backtracking.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic_core import SchemaError, SchemaValidator, core_schema

from understudy.text.numbers import clipped

if TYPE_CHECKING:
    import numpy as np

LONGEST = 10_000  # characters
SHOWN = 63  # signs
MOST_WORK = 1_000  # measured: 100,000 letters take a second at this bound, as many emoji of four bytes 2.3 s
CHOICE = 10  # work of a class, a dot or an optional part: all copies of it can be open at once; a plain sign costs 1
VERBOSE = re.compile(r"(?:^|[^\\])(?:\\\\)*\(\?[A-Za-z-]*x[A-Za-z-]*[:)]")
TOKEN = re.compile(
    r"(?P<edge>\\b\{[\sA-Za-z-]+\}|\\[bBAz<>]|[$^])"
    r"|(?P<class>\\[pP](?:\{[^}]*\}|.)|\\[wWdDsS]|\.)"
    r"|(?P<sign>\\(?:[xuU]\{[^}]*\}|x..|u.{4}|U.{8}|.))"
    r"|\((?P<flags>\?(?:P?<[^>]*>|[A-Za-z-]*:))?(?!\?)|(?P<set>\(\?[A-Za-z-]*\))"
    r"|\{\s*(?P<least>\d+)\s*(?P<comma>,\s*(?P<most>\d*)\s*)?\}",
    re.DOTALL,
)
IGNORING_CASE = "(?i)"
REMEDIES = {  # what the engine says: what to do
    "look-around": r"Match what stands there too; \b is the edge of a word.",
    "backreferences": "Write the repeated part out.",
    "size limit": "Shorten it, or its counted repetitions.",
    "nested": "Nest fewer brackets.",
    "unrecognized escape": r"The end of a text is \z; other signs are written as they are.",
    "unclosed character class": r"A bracket inside of brackets is written \[.",
    "unrecognized flag": "Leave out comments, conditions and names of groups.",
    "repetition": r"A brace that is meant as a sign is written \{.",
}
OTHERWISE = "Mend it; page 0009 of docs/decisions says what a pattern may hold."


@lru_cache(maxsize=1024)
def fault_of(pattern: str) -> str:
    """Say what is wrong with a pattern; nothing for a sound one.

    >>> fault_of("^(a+)+$")
    ''
    >>> fault_of("(a)(") .partition(": ")[2]
    'unclosed group. Mend it; page 0009 of docs/decisions says what a pattern may hold.'
    """
    if len(pattern) > LONGEST:
        return f"A pattern must be at most {LONGEST:,} signs long, got {len(pattern):,}. Shorten it."
    shown = clipped(pattern, SHOWN)
    try:
        SchemaValidator(core_schema.str_schema(pattern=IGNORING_CASE + pattern))
    except SchemaError as error:
        lines = str(error).strip().splitlines()
        why = lines[-1].strip().removeprefix("error: ").removeprefix("SchemaError: ").rstrip(".")
        remedy = next((remedy for words, remedy in REMEDIES.items() if words in why), OTHERWISE)
        return f"A pattern must be a regular expression, got '{shown}': {why}. {remedy}"
    if VERBOSE.search(pattern):
        return f"A pattern must be written without the flag x, got '{shown}'. Leave out blanks and comments."
    if (work := work_of(pattern)) > MOST_WORK:
        return (
            f"A pattern must take at most {MOST_WORK:,} of work, where a sign is 1, a class or an optional part "
            f"{CHOICE}, each times its counts, got {work:,} ('{shown}'). Lower its counts, or write .* for "
            "a long .{0,n}."
        )
    return ""


@dataclass(slots=True)
class _Group:
    """What one pair of brackets costs so far: of all its alternatives, of the signs of one, and of its last part."""

    choices: int = 0
    signs: int = 0
    longest: int = 0
    last: tuple[int, int] = (0, 0)

    def add(self, choices: int, signs: int) -> None:
        self.choices, self.signs = self.choices + self.last[0], self.signs + self.last[1]
        self.last = choices, signs

    def part(self) -> None:
        """Begin another alternative: signs of two are seldom open at once, so that lists of words stay cheap."""
        self.add(1, 0)
        self.longest, self.signs = max(self.longest, self.signs), 0

    def repeat(self, times: int, *, is_loose: bool) -> None:
        choices, signs = self.last
        if is_loose:
            choices, signs = max(CHOICE, choices + signs), 0
        self.last = choices * times, signs * times

    def total(self) -> tuple[int, int]:
        self.add(0, 0)
        return self.choices, max(self.longest, self.signs)


def work_of(pattern: str) -> int:
    """Count the states that a sound pattern may keep open at once, all counted repetitions written out.

    Where too many are open, the engine falls back to looking at each of them for each byte of the text. A word counts
    once for its list: only the longest one.

    >>> work_of("a[bc]{3}"), work_of("(.{0,30}.{0,30}){1,8}b$"), work_of("avoid|never|watch out")
    (31, 4801, 11)
    """
    groups = [_Group()]
    at = 0
    while at < len(pattern):
        found = TOKEN.match(pattern, at)
        group, sign = groups[-1], pattern[at]
        at = found.end() if found else _after_class(pattern, at) if sign == "[" else at + 1
        if found and found["least"]:
            most = int(found["most"] or found["least"])
            group.repeat(max(1, most), is_loose=bool(found["comma"]) and found["most"] != found["least"])
        elif found and sign == "(" and not found["set"]:
            groups.append(_Group())
        elif found:
            group.add(CHOICE if found["class"] else 0, 1 if found["sign"] else 0)
        elif sign == ")":
            groups[-2].add(*groups.pop().total())
        elif sign == "|":
            group.part()
        elif sign in "?*+":
            group.repeat(1, is_loose=True)
        else:
            group.add(*((CHOICE, 0) if sign == "[" else (0, 1)))
    return sum(groups[0].total())


def _after_class(pattern: str, start: int) -> int:
    """Return where a class in brackets ends: classes nest, and a bracket that comes first is a sign."""
    at, depth = start, 0
    while True:
        if pattern[at] == "[":
            depth += 1
            at += 1 + (pattern[at + 1] == "^")
            at += pattern[at] == "]"
            continue
        depth -= pattern[at] == "]"
        at += 2 if pattern[at] == "\\" else 1
        if not depth:
            return at


def matches(pattern: str, texts: Sequence[str]) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Which texts a card's pattern finds, ignoring case. Shape (texts,)."""
    import polars as pl

    found = pl.Series(texts, dtype=pl.String).str.contains(IGNORING_CASE + pattern)
    return found.to_numpy()
