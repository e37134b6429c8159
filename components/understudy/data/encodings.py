"""Guess how a file that is not UTF-8 was written, and say what turns it into UTF-8."""

import re
import shlex

from understudy.data import unpacking

LETTERS = frozenset("äöüßéèêëàâáãåçñíìîïóòôõúùûæøœÄÖÜÉÈÀÇÑÅÆØ")  # of western European words
SIGNS = frozenset("\u2018\u2019\u201c\u201d\u201e\u2013\u2014…€£«»°§")  # that such texts have beside them
RUSSIAN = frozenset(map(chr, range(0x410, 0x450)))
USUAL = 0.9  # share of the signs from which an encoding is named
WESTERN = {"cp1252": "WINDOWS-1252", "mac_roman": "MACINTOSH", "cp850": "CP850"}  # the commonest first; as iconv has it
CYRILLIC = "WINDOWS-1251"
BYTES = re.compile("[\udc80-\udcff]+")  # as Python's decoder of UTF-8 keeps those that are none
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
    odd = "".join(runs).encode("utf-8", "surrogateescape")
    if not odd:
        return None
    if max(map(len, runs)) > LONGEST_RUN:
        return CYRILLIC if _fits(odd, "cp1251", RUSSIAN) else None
    return next((name for codec, name in WESTERN.items() if _fits(odd, codec, LETTERS | SIGNS)), None)


def _fits(odd: bytes, codec: str, usual: frozenset[str]) -> bool:
    """Whether bytes read by a codec are hardly anything but usual signs."""
    signs = odd.decode(codec, "replace")
    return sum(sign in usual for sign in signs) >= USUAL * len(signs)


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
        return "save the file as UTF-8"
    if "://" in file or unpacking.inner(file) != file:
        return f"it reads like {name}: save the file as UTF-8"
    suffix = file.rpartition(".")[2]
    command = f"iconv -f {name} -t UTF-8 {shlex.quote(file)} > utf8.{suffix}"
    return f"it reads like {name}: if all does, {command}"
