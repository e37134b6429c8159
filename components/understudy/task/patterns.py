r"""The patterns of a card: regular expressions whose time grows with the text and not beyond.

Texts and patterns come from different people, and an engine that goes back, such as Python's `re`, can take hours for
one text (`^(a+)+$`). Rust's `regex` does not. It is in two libraries that are there already: polars finds with it, and
pydantic, which the smallest image has too, checks with it. How it reads a pattern otherwise than Python does stands in
docs/decisions/0009-patterns-without-backtracking.md.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic_core import SchemaError, SchemaValidator, core_schema

if TYPE_CHECKING:
    import numpy as np

LONGEST = 10_000  # characters
SHOWN = 60
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
    try:
        SchemaValidator(core_schema.str_schema(pattern=IGNORING_CASE + pattern))
    except SchemaError as error:
        lines = str(error).strip().splitlines()
        why = lines[-1].strip().removeprefix("error: ").removeprefix("SchemaError: ").rstrip(".")
        remedy = next((remedy for words, remedy in REMEDIES.items() if words in why), OTHERWISE)
        shown = pattern if len(pattern) <= SHOWN else f"{pattern[:SHOWN]}..."
        return f"A pattern must be a regular expression, got '{shown}': {why}. {remedy}"
    return ""


def matches(pattern: str, texts: Sequence[str]) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Which texts a card's pattern finds, ignoring case. Shape (texts,)."""
    import polars as pl

    found = pl.Series(texts, dtype=pl.String).str.contains(IGNORING_CASE + pattern)
    return found.to_numpy()
