"""Judge the signs of a name: which break a line or another's format, which can be seen, and which names look alike."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of controls, halves of signs, and ends of lines
TURNING = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}  # the direction of what follows
BLANK = {chr(code) for code in (0x2800, 0x115F, 0x1160, 0x3164, 0xFFA0)}  # letters and symbols that show nothing
VARIANTS = {chr(code) for code in range(0xFE00, 0xFE10)}  # which form of the sign before is meant


def breaks_a_line(sign: str) -> bool:
    """Tell whether a sign ends a line, turns its direction, or is none that a file of text may hold."""
    code = ord(sign)
    is_none = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return is_none or sign in TURNING or unicodedata.category(sign) in BREAKING


def is_visible(sign: str) -> bool:
    """Tell whether a sign shows by itself; one that this Python does not know yet is taken to.

    >>> [is_visible(sign) for sign in ("a", "-", "\u200b", " ", "\u3164", "\U0001fa77")]
    [True, True, False, False, False, True]
    """
    category = unicodedata.category(sign)
    return not (category == "Cf" or category[0] in "MZ" or sign in BLANK)


def folded(name: str) -> str:
    """Return what names have in common that differ by case, blanks and signs that do not show.

    >>> folded(" A\u00a0tip\u200b") == folded("a  TIP")
    True
    """
    plain = "".join(" " if sign in BLANK else sign for sign in _shown(name)).casefold()
    return " ".join(unicodedata.normalize("NFC", plain).split())


def meant(said: str, names: Sequence[str]) -> str | None:
    """Return the name that somebody means: the same one, or the one that differs by no more than `folded` says.

    Args:
        said: in a user's file, or in an answer.
        names: no two of them alike to `folded`, as a card's labels.

    >>> meant("Tip ", ["praise", "tip"]), meant("tips", ["praise", "tip"])
    ('tip', None)
    """
    return said if said in names else _by_fold(tuple(names)).get(folded(said))


@lru_cache(maxsize=16)
def _by_fold(names: tuple[str, ...]) -> Mapping[str, str]:
    return {folded(name): name for name in names}


def look_the_same(first: str, second: str) -> bool:
    """Tell whether two names differ by nothing that shows."""
    return _shown(first) == _shown(second)


def _shown(name: str) -> str:
    return unicodedata.normalize("NFC", "".join(sign for sign in name if not _is_silent(sign)))


def _is_silent(sign: str) -> bool:
    return sign in VARIANTS or unicodedata.category(sign) == "Cf"
