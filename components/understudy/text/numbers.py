"""Write numbers in sentences, so that a log line, the audit and the report say the same."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "n/a"
MIDDLE = " ... "  # in the place of what is left out


def is_known(value: float | None) -> bool:
    """Whether a figure is defined: neither none nor nan."""
    return value is not None and math.isfinite(value)


def count(number: float, noun: str = "") -> str:
    """Write a whole number with its noun, plural by an s.

    >>> count(1, "text"), count(12000, "text"), count(3)
    ('1 text', '12,000 texts', '3')
    """
    written = f"{number:,.0f}"
    return f"{written} {noun}{'' if number == 1 else 's'}" if noun else written


def percent(share: float | None) -> str:
    """Write a share in percent; one decimal where a whole percent would hide that it is neither 0 nor 1.

    >>> percent(0.2927), percent(0.996), percent(1.0), percent(None)
    ('29%', '99.6%', '100%', 'n/a')
    """
    if share is None or not is_known(share):
        return UNKNOWN
    hides = round(share * 100) in {0, 100} and share not in {0.0, 1.0}
    return f"{share * 100:.1f}%" if hides else f"{share * 100:.0f}%"


def percent_interval(low: float | None, high: float | None) -> str:
    """Write an interval of a share.

    >>> percent_interval(0.176, 0.445)
    '18% to 44%'
    """
    return f"{percent(low)} to {percent(high)}"


def tells(share: Mapping[str, Any] | None) -> bool:
    """Whether a share or figure from 0 to 1 is known, and its 95% interval rules anything out.

    >>> tells({"value": 0.5, "low": 0.1, "high": 1.0}), tells({"value": 0.5, "low": 0.0, "high": 1.0})
    (True, False)
    >>> tells({"value": None, "low": 0.0, "high": 1.0}), tells(None)
    (False, False)
    """
    if share is None or not is_known(share["value"]):
        return False
    low, high = share["low"], share["high"]
    return low is None or high is None or not is_whole(low, high)


def is_whole(low: float, high: float) -> bool:
    """Whether an interval of a share reads as 0% to 100%, so that nothing is known.

    >>> is_whole(0.0, 1.0), is_whole(0.001, 0.999), is_whole(0.01, 1.0), is_whole(-0.2, 1.0)
    (True, True, False, False)
    """
    return round(low, 2) == 0 and round(high, 2) == 1


def percent_told(share: Mapping[str, Any]) -> str:
    """Write a share with its interval; nothing where that is 0% to 100%.

    >>> percent_told({"value": 0.2927, "low": 0.176, "high": 0.445}), percent_told({"value": 0.5, "low": 0, "high": 1})
    ('29% (18% to 44%)', 'n/a')
    """
    return f"{percent(share['value'])} ({percent_interval(share['low'], share['high'])})" if tells(share) else UNKNOWN


def figure_told(share: Mapping[str, Any] | None) -> str:
    """Write a figure between 0 and 1 with its interval; nothing where that is 0 to 1.

    >>> figure_told({"value": 0.7149, "low": 0.6312, "high": 0.7951}), figure_told({"value": 0.5, "low": 0, "high": 1})
    ('0.71 (0.63 to 0.80)', 'n/a')
    """
    if share is None or not tells(share):
        return UNKNOWN
    return f"{figure(share['value'])} ({figure_interval(share['low'], share['high'])})"


def figure(value: float | None, decimals: int = 2) -> str:
    """Write a figure between 0 and 1.

    >>> figure(0.7149), figure(0.0317, decimals=3), figure(None)
    ('0.71', '0.032', 'n/a')
    """
    return UNKNOWN if value is None or not is_known(value) else f"{value:.{decimals}f}"


def figure_interval(low: float | None, high: float | None) -> str:
    """Write an interval of a figure.

    >>> figure_interval(0.6312, 0.7951)
    '0.63 to 0.80'
    """
    return f"{figure(low)} to {figure(high)}" if is_known(low) and is_known(high) else UNKNOWN


def signed(value: float | None) -> str:
    """Write a difference with its sign; a third decimal where two would say zero.

    >>> signed(0.07), signed(-0.004), signed(0.0)
    ('+0.07', '-0.004', '0.00')
    """
    if value is None or not is_known(value):
        return UNKNOWN
    if value == 0:
        return "0.00"
    return f"{value:+.3f}" if abs(value) < 0.005 else f"{value:+.2f}"


def signed_interval(low: float | None, high: float | None) -> str:
    """Write an interval of a difference.

    >>> signed_interval(-0.02, 0.2)
    '-0.02 to +0.20'
    """
    return f"{signed(low)} to {signed(high)}"


def chance(share: float) -> str:
    """Write a chance that was counted over a thousand resamples or so.

    >>> chance(0.973), chance(0.0), chance(1.0)
    ('97%', 'under 0.1%', 'over 99.9%')
    """
    if share < 0.001:
        return "under 0.1%"
    return "over 99.9%" if share > 0.999 else percent(share)


def p_value(p: float) -> str:
    """Write a p value with two figures that count.

    >>> p_value(0.0314), p_value(0.42), p_value(0.00002)
    ('p = 0.031', 'p = 0.42', 'p < 0.0001')
    """
    return "p < 0.0001" if p < 0.0001 else f"p = {float(f'{p:.2g}'):.4g}"


def p_value_alone(p: float | None) -> str:
    """Write a p value under a heading that names it already.

    >>> p_value_alone(0.0314), p_value_alone(0.00002), p_value_alone(None)
    ('0.031', '< 0.0001', 'n/a')
    """
    return UNKNOWN if p is None else p_value(p).removeprefix("p ").removeprefix("= ")


def usd(amount: float | None) -> str:
    """Write dollars: whole ones from 1,000, cents as people pay them, two figures that count below ten cents.

    >>> usd(1234.6), usd(4.2), usd(0.085), usd(0.0000573), usd(0.0)
    ('$1,235', '$4.20', '$0.085', '$0.000057', '$0.00')
    """
    if amount is None or not is_known(amount):
        return UNKNOWN
    if abs(amount) >= 1000:
        return f"${amount:,.0f}"
    if amount == 0 or abs(amount) >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.{1 - math.floor(math.log10(abs(amount)))}f}"


def usd_each(amount: float) -> str:
    """Write the price of one text with three figures that count, so that the reader can multiply it.

    >>> usd_each(0.0015874), usd_each(0.0004)
    ('$0.00159', '$0.000400')
    """
    return f"${amount:.{2 - math.floor(math.log10(amount))}f}" if amount > 0 else "$0"


def milliseconds(duration_ms: float | None) -> str:
    """Write a duration, with two figures that count below ten milliseconds.

    >>> milliseconds(0.0417), milliseconds(4.13), milliseconds(22.4), milliseconds(1200)
    ('0.042 ms', '4.1 ms', '22 ms', '1,200 ms')
    """
    if duration_ms is None or not is_known(duration_ms):
        return UNKNOWN
    if 0 < duration_ms < 1:
        return f"{duration_ms:.{1 - math.floor(math.log10(duration_ms))}f} ms"
    return f"{duration_ms:.1f} ms" if duration_ms < 10 else f"{duration_ms:,.0f} ms"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["avoid", "long", "irony"])
    'avoid, long and irony'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def few(names: Sequence[str], shown: int = 3) -> str:
    """Name some of many, in quotes, and count the others.

    >>> few(["a", "b"]), few(["a", "b", "c", "d", "e"])
    ("'a', 'b'", "'a', 'b', 'c' and 2 more")
    """
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(f"'{name}'" for name in names[:shown]) + more


def clipped(name: str, length: int = 80) -> str:
    r"""Show what others chose on one line of a message, without control signs.

    >>> clipped("a\nb"), clipped("x" * 9, 6)
    ('a\\nb', 'xxx...')
    """
    plain = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)
    return plain if len(plain) <= length else f"{plain[: length - 3]}..."


def without_middle(sentence: str, length: int) -> str:
    """Leave out the middle of a sentence that quotes something long: how it begins and what to do stay.

    >>> without_middle("A name must be short, got 'aaaaaaaaaaaaaaaaaaaaaaaa'. Shorten it.", 45)
    "A name must be short, got ... a'. Shorten it."
    """
    kept = length - len(MIDDLE)
    begin = kept * 5 // 8
    return sentence if len(sentence) <= length else f"{sentence[:begin]}{MIDDLE}{sentence[begin - kept :]}"


def reasons(rows: Mapping[str, int]) -> str:
    """List for which reasons rows were refused.

    >>> reasons({"empty_text": 1200, "no_label": 2}), reasons({})
    ('1,200 empty text, 2 no label', 'none')
    """
    return ", ".join(f"{count(number)} {reason.replace('_', ' ')}" for reason, number in rows.items()) or "none"


def clip(text: str, length: int) -> str:
    """Cut a text for display, and say so by an ellipsis.

    >>> clip("Ask for a room at the back", 12)
    'Ask for a…'
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rsplit(" ", 1)[0].rstrip() + "…"


def first_stage(cascade: Mapping[str, Any] | None) -> str:
    """Say what a bundle's first stage does and what it may lose, or why there is none.

    >>> first_stage({"reason": "it does not pay"})
    'There is no first stage: it does not pay.'
    """
    if not cascade or cascade.get("cut") is None:
        return f"There is no first stage: {(cascade or {'reason': 'calibrate made none'})['reason']}."
    missed, bound = (f"{cascade[name] * 100:.2f}%" for name in ("missed", "bound"))
    return (
        f"The first stage settles {percent(cascade['settled'])} of the texts as '{cascade['label_name']}' without the "
        f"student. On {count(cascade['texts'], 'text')} that neither had learned from it lost {missed} of all, which "
        f"is {percent(cascade['missed_others'])} of those to which the student gives another label; with 95% "
        f"confidence it loses at most {bound} of all texts like these, which watch checks every night."
    )
