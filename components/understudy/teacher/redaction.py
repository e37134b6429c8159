"""Take e-mail addresses, phone and card numbers and a card's own patterns out of a text before it leaves the house.

A placeholder such as [EMAIL] stands in their place. What stood there is in the text itself, which stays here: nothing
of it is written down anywhere else.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from understudy.task.card import Redact
from understudy.task.patterns import IGNORING_CASE
from understudy.text.context import asked, parted
from understudy.text.numbers import listed

EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
SEPARATOR = r"[^\S\r\n]|[().\-/\u2010-\u2015]"  # a blank of any kind, or what groups digits
RUN = re.compile(rf"(?<!\w)[+(]{{0,2}}\d+(?:(?:{SEPARATOR}){{1,2}}[+(]?\d+)*(?!\w)")
GROUP = re.compile(r"[+(]{0,2}\d+")
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?!\d)")
WITHOUT_PREFIX = re.compile(r"(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}")  # as in North America
PREFIXES = ("+", "00", "(", "0")
CARD_DIGITS = range(13, 20)
PHONE_DIGITS = range(7, 16)  # the longest number that E.164 knows has 15
PLACEHOLDER = re.compile(r"\[[A-Z0-9_-]+\]")
LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is taken out of texts.

    Attributes:
        kinds: "email", "phone" and "card".
        patterns: a card's own ones, each by the name that stands in its place.
    """

    kinds: tuple[str, ...] = ()
    patterns: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, told: Redact) -> "Redaction":
        """Read a card's."""
        return cls(told.kinds, tuple(told.patterns.items()))

    def __bool__(self) -> bool:
        """Whether anything is taken out."""
        return bool(self.kinds or self.patterns)

    @property
    def words(self) -> str:
        """Name what is taken out; empty where nothing is."""
        return listed([*self.kinds, *(name for name, _ in self.patterns)]) if self else ""

    def redacted(self, text: str) -> str:
        """Take it out of a text, and of the turns before it.

        Own patterns come first, then addresses, cards and phones, whatever their order on the card.

        Args:
            text: as `seen.asked_of` gives it.

        >>> Redaction(("phone", "email")).redacted("Call +44 20 7946 0958 or write to a.b@hotel.example, room 12.")
        'Call [PHONE] or write to [EMAIL], room 12.'
        """
        if not self:
            return text
        context, own = parted(text)
        return asked(self._plain(context), self._plain(own))

    def _plain(self, text: str) -> str:
        for name, pattern in self.patterns:
            text = pl.Series([text]).str.replace_all(IGNORING_CASE + pattern, placeholder(name).replace("$", "$$"))[0]
        for kind, take_out in KINDS.items():
            if kind in self.kinds:
                text = take_out(text)
        return text


NOTHING = Redaction()  # is taken out


def placeholder(name: str) -> str:
    """Write what stands in the place of what was taken out.

    >>> placeholder("booking number")
    '[BOOKING_NUMBER]'
    """
    return f"[{re.sub(r'[^A-Z0-9]+', '_', name.upper())}]"


def is_hollow(redacted: str) -> bool:
    """Tell whether nothing is left of a text but placeholders.

    >>> is_hollow("[PHONE], [EMAIL]!"), is_hollow("Call [PHONE]")
    (True, False)
    """
    return not any(sign.isalnum() for sign in PLACEHOLDER.sub("", parted(redacted)[1]))


def is_card_number(digits: str) -> bool:
    """Tell whether digits are a payment card's by their number and by the last one.

    Source: Luhn, "Computer for verifying numbers", US patent 2,950,048, 1960.

    >>> is_card_number("4111 1111 1111 1111"), is_card_number("4111 1111 1111 1112")
    (True, False)
    """
    numbers = [int(sign) for sign in reversed(digits) if sign.isdecimal()]
    if len(numbers) not in CARD_DIGITS:
        return False
    return sum(numbers[::2]) % 10 == -sum(LUHN_DOUBLED[number] for number in numbers[1::2]) % 10


def is_phone_number(written: str) -> bool:
    """Tell whether digits and signs are a phone number: by its prefix, or grouped as in North America; no date.

    >>> [is_phone_number(text) for text in ("(020) 7946 0958", "555-010-9999", "01.02.2024", "1 200 500")]
    [True, True, False, False]
    """
    digits = sum(sign.isdecimal() for sign in written)
    is_prefixed = written.startswith(PREFIXES) and not DATE.match(written)
    return digits in PHONE_DIGITS and (is_prefixed or WITHOUT_PREFIX.fullmatch(written) is not None)


def _in_runs(kind: str, is_one: Callable[[str], bool], most_digits: int) -> Callable[[str], str]:
    """Take numbers out of runs of digits, where other numbers may stand before and after them, such as a date.

    Of several ends that a number may have, the last one counts, but for one after which another number of the kind may
    begin.
    """

    def ends(run: str, groups: Sequence[re.Match[str]], first: int) -> list[int]:
        digits, found = 0, []
        for last in range(first, len(groups)):
            digits += sum(map(str.isdecimal, groups[last][0]))
            if digits > most_digits:
                break
            if is_one(run[groups[first].start() : groups[last].end()]):
                found.append(last)
        return found

    def without(found: re.Match[str]) -> str:
        run, groups = found[0], list(GROUP.finditer(found[0]))
        parts, first, kept_from = [], 0, 0
        while first < len(groups):
            is_decimal = run[: groups[first].start()].endswith(".")
            possible = [] if is_decimal else ends(run, groups, first)
            if not possible:
                first += 1
                continue
            before_another = [last for last in possible[:-1] if ends(run, groups, last + 1)]
            last = max(before_another, default=possible[-1])
            parts += [run[kept_from : groups[first].start()], placeholder(kind)]
            first, kept_from = last + 1, groups[last].end()
        return "".join([*parts, run[kept_from:]])

    return lambda text: RUN.sub(without, text)


KINDS: dict[str, Callable[[str], str]] = {
    "email": lambda text: EMAIL.sub(placeholder("email"), text),
    "card": _in_runs("card", is_card_number, CARD_DIGITS[-1]),
    "phone": _in_runs("phone", is_phone_number, PHONE_DIGITS[-1]),
}


def examples(redaction: Redaction, texts: Sequence[str], most: int) -> tuple[list[str], int, int]:
    """Redact texts.

    Returns:
        the first texts in which something was taken out, as they would be sent; how many there are; and in how many of
        them nothing else is left.
    """
    pairs = ((text, redaction.redacted(text)) for text in texts)
    changed = [sent for text, sent in pairs if sent != text]
    return changed[:most], len(changed), sum(map(is_hollow, changed))
