"""Split texts into sentences: where each begins and ends in its text, and the id that it gets.

The library knows where sentences end. It is given paragraphs, in windows, with plain blanks in the place of all others:
of the blanks that Unicode has beside the space it takes some for the middle of a sign, and fails; and unclosed quotes
cost it the square of a text's length. All is a sign for a sign, so offsets are those of the text as it stands.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

WINDOW_CHARS = 4_000  # looked at at once: at most 12 ms, whatever they are; a sentence may be longer
SENTENCE_ID = r"(?s)^(.*)#[0-9]+$"  # as polars takes it, where $ is the end alone
TAKEN = "an id that ends in '#' and a number could be that of another text's sentence: name the text otherwise"
_NAMED = re.compile(r"(.*)#[0-9]+", re.DOTALL)
_BETWEEN_PARAGRAPHS = re.compile(r"\n\s*\n")
_BLANKS = {code: " " for code in range(0x3001) if chr(code).isspace() and chr(code) != "\n"}


class Sentence(NamedTuple):
    """A sentence without the blanks around it: its number in the text, from 1, and where it lies, end exclusive."""

    number: int
    start: int
    end: int


def sentences(text: str, language: str) -> list[Sentence]:
    """Find the sentences of a text, in order; a text of blanks has none.

    >>> text = "Nice. Ask for a room at the back!"
    >>> [text[start:end] for _, start, end in sentences(text, "en")]
    ['Nice.', 'Ask for a room at the back!']

    Args:
        text: without half characters.
        language: its code, such as "en"; English rules serve one that the library does not know.
    """
    found = []
    begin = 0
    for number, end in enumerate(_ends(_plain(text), language), start=1):
        piece = text[begin:end]
        start, stop = end - len(piece.lstrip()), begin + len(piece.rstrip())
        if start < stop:
            found.append(Sentence(number, start, stop))
        begin = end
    return found


def sentence_id(text_id: str, number: int) -> str:
    """Return the id of a sentence.

    >>> sentence_id("r1", 2)
    'r1#2'
    """
    return f"{text_id}#{number}"


def text_id_of(name: str) -> str | None:
    """Return the id of the text that a sentence's id names; None for an id that is no sentence's.

    >>> text_id_of("r1#2"), text_id_of("r1"), text_id_of("r1#b")
    ('r1', None, None)
    """
    named = _NAMED.fullmatch(name)
    return named[1] if named else None


def _plain(text: str) -> str:
    """Put a line feed for each end of a line, and a space for each other blank; the length stays."""
    return text.replace("\r\n", " \n").replace("\r", "\n").translate(_BLANKS)


def _ends(plain: str, language: str) -> Iterator[int]:
    """Yield where sentences end, the last one at the end of the text; no paragraph's sentence goes into the next."""
    first = 0
    for between in _BETWEEN_PARAGRAPHS.finditer(plain):
        yield from _ends_within(plain, first, between.start(), language)
        first = between.end()
    yield from _ends_within(plain, first, len(plain), language)


def _ends_within(plain: str, first: int, last: int, language: str) -> Iterator[int]:
    """Yield where the sentences of one paragraph end.

    What a window cuts off is looked at again from its beginning, or, where it fills the window, from its last blank.
    """
    while last - first > WINDOW_CHARS:
        window = plain[first : first + WINDOW_CHARS]
        *whole, _ = _boundaries(window, language)
        yield from (first + end for end in whole)
        half = WINDOW_CHARS // 2
        first += whole[-1] if whole else (window.rfind(" ", half) + 1 or WINDOW_CHARS)
    if first < last:
        yield from (first + end for end in _boundaries(plain[first:last], language))


def _boundaries(window: str, language: str) -> list[int]:
    """Ask the library where sentences end; a window with which it fails is one sentence.

    Its failure is a panic of Rust, which Python has only as a BaseException without a name to catch it by.
    """
    import sentencex

    try:
        return [found["end_index"] for found in sentencex.get_sentence_boundaries(language, window)]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return [len(window)]
