"""Guess how a file that is not UTF-8 was written, and say what turns it into UTF-8."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from understudy.data import unpacking

ALPHABETS = tuple(  # signs beyond ASCII in German, French, Spanish, Portuguese, Italian, the Nordic languages, Dutch
    map(frozenset, ("äöüßé", "éèêëàâçîïôûùœæ", "áéíóúñü", "áâãàçéêíóôõú", "àèéìíòóùú", "åäöæøé", "éëïóöüèáí"))
)
SIGNS = frozenset("\u2018\u2019\u201c\u201d\u201e\u2013\u2014…€£«»°§")  # that such texts have beside them
STRANGE = re.compile(  # where no such language has the sign, but one of central Europe has the sign of the same byte
    r"[jkwz]ê|iê(?!n)|ê[kgdbwz]|(?<![cbu])ê\b|œ(?![iu])|ñ(?![aeiouáéíóú])|æ\b|\bè\w|[aeu]è|[ìùò]\w|øi"
    r"|(?<![aeou])ï|ã(?![oes])|õ(?!e)|û\b"
)
RUSSIAN = frozenset(map(chr, range(0x410, 0x450)))
VOWELS = frozenset("аеиоуыэюя")
FEWEST_VOWELS = 0.3  # of the letters: Russian has 0.4, and Greek and Hebrew that are read as Russian 0.2
USUAL = 0.9  # share of the signs from which an encoding is named
WESTERN = {"cp1252": "WINDOWS-1252", "mac_roman": "MACINTOSH", "cp850": "CP850"}  # the commonest first; as iconv has it
CYRILLIC = "WINDOWS-1251"
BYTES = re.compile("[\udc80-\udcff]+")  # as Python's decoder of UTF-8 keeps those that are none
AROUND = 10  # signs that are shown before a byte
LONGEST_RUN = 3  # of letters beyond ASCII in western words


def guessed(text: str) -> str | None:
    """Name the encoding in which a text may have been written, as iconv calls it; None where none of a few fits.

    Args:
        text: read as UTF-8 with lone surrogates for the bytes that are none.

    >>> [guessed("Grüße".encode(name).decode("utf-8", "surrogateescape")) for name in ("cp1252", "mac_roman", "cp850")]
    ['WINDOWS-1252', 'MACINTOSH', 'CP850']
    >>> guessed("привет".encode("cp1251").decode("utf-8", "surrogateescape"))
    'WINDOWS-1251'
    """
    runs = BYTES.findall(text)
    if not runs:
        return None
    if max(map(len, runs)) > LONGEST_RUN:
        return CYRILLIC if _is_russian(_read(text, "cp1251")) else None
    return next((name for codec, name in WESTERN.items() if _is_western(_read(text, codec), runs, codec)), None)


def is_western(detail: str) -> bool:
    """Tell whether a remedy names an encoding of western Europe: what is lost then is written with its letters."""
    return any(f"reads like {name}:" in detail for name in WESTERN.values())


def _read(text: str, codec: str) -> str:
    """Read the bytes that are no UTF-8 by a codec; what is UTF-8 stays."""
    return BYTES.sub(lambda run: run[0].encode("utf-8", "surrogateescape").decode(codec, "replace"), text)


def _is_western(read: str, runs: Sequence[str], codec: str) -> bool:
    """Whether all that was read is of one language's letters, and stands where that language has it."""
    odd = set(_read("".join(runs), codec).lower()) - SIGNS
    is_strange = bool(STRANGE.search(read.lower())) or _has_capital_inside(read)
    return not is_strange and any(odd <= alphabet for alphabet in ALPHABETS)


def _is_russian(read: str) -> bool:
    """Whether a text is hardly anything but Russian letters: small ones and enough vowels, unlike KOI8-R or Greek."""
    letters = [sign for sign in read if not sign.isascii()]
    small = [sign for sign in letters if sign.islower()]
    return (
        sum(sign in RUSSIAN for sign in letters) >= USUAL * len(letters)
        and len(small) > len(letters) / 2
        and sum(sign in VOWELS for sign in small) >= FEWEST_VOWELS * len(small)
        and not _has_capital_inside(read)
    )


def _has_capital_inside(read: str) -> bool:
    """Whether a capital beyond ASCII follows a small letter, as where bytes of another encoding are letters too."""
    return any(before.islower() and sign.isupper() and not sign.isascii() for before, sign in pairwise(read))


def _escaped(text: str) -> str:
    r"""Write the first bytes that are no UTF-8 as such, between what stands around them.

    >>> _escaped("a " + chr(0xDCB3) + "b")
    'a \\xb3b'
    """
    first = BYTES.search(text)
    begins = max(0, first.start() - AROUND) if first else 0
    shown = text[begins : begins + 3 * AROUND]
    return BYTES.sub(lambda run: "".join(f"\\x{ord(sign) - 0xDC00:02x}" for sign in run[0]), shown)


def remedy(text: str, file: str) -> str:
    """Say what a text that is not UTF-8 reads like, and the command that turns its file into UTF-8.

    Args:
        text: read as UTF-8 with lone surrogates for the bytes that are none.
        file: its name.

    >>> remedy("Gr" + chr(0xDCFC) + "n", "my texts.csv")
    "it reads like WINDOWS-1252: if all does, iconv -f WINDOWS-1252 -t UTF-8 'my texts.csv' > utf8.csv"
    """
    name = guessed(text)
    if name is None:
        return f"save the file as UTF-8 (the bytes: {_escaped(text)})"
    if "://" in file or unpacking.inner(file) != file:
        return f"it reads like {name}: save the file as UTF-8"
    suffix = file.rpartition(".")[2]
    command = f"iconv -f {name} -t UTF-8 {shlex.quote(file)} > utf8.{suffix}"
    return f"it reads like {name}: if all does, {command}"
