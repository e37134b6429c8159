"""Parse the time of a text: ISO 8601, or a count since 1970 whose unit is beyond doubt."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

EARLIEST_YEAR = 1000  # four digits, so that times sort as text
COUNT = re.compile(r"(\d{1,20})(?:\.(\d*))?", re.ASCII)
# Digits of the whole part and the units in a second. From 2001 to 2286 a count has 10, 13, 16 or 19 digits; one fewer
# back to 1973. Eight digits are a date, 14 a date and a time; 12 may be either.
UNITS = {9: 1, 10: 1, 12: 10**3, 13: 10**3, 15: 10**6, 16: 10**6, 18: 10**9, 19: 10**9}
COMPACT = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
DOUBTFUL = {12: "%Y%m%d%H%M"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(time: str) -> datetime | None:
    """Return when a text was written, in UTC; None for what cannot be read without a guess.

    >>> moment_of("2026-11-02T23:30:00-02:00").isoformat()
    '2026-11-03T01:30:00+00:00'
    >>> moment_of("1710000000000") == moment_of("1710000000") == moment_of("2024-03-09 16:00:00")
    True
    >>> moment_of("last May"), moment_of("202611021230")
    (None, None)
    """
    time = time.strip()
    found = COUNT.fullmatch(time)
    moment = _of_digits(found[1], found[2] or "") if found else _of_iso(time)
    return moment if moment and moment.year >= EARLIEST_YEAR else None


def count_unread(times: Iterable[str]) -> int:
    """Count the times that cannot be read: the night's day stands for them in the index."""
    return sum(moment_of(time) is None for time in times)


def _of_iso(time: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(time)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _of_digits(whole: str, fraction: str) -> datetime | None:
    if not fraction.strip("0") and (pattern := COMPACT.get(len(whole))):
        return _compact(whole, pattern)
    if (unit := UNITS.get(len(whole))) is None or _is_doubtful(whole):
        return None
    microseconds = int(whole) * 10**6 // unit + (int(fraction[:6].ljust(6, "0")) // unit if fraction else 0)
    return EPOCH + timedelta(microseconds=microseconds)


def _is_doubtful(whole: str) -> bool:
    """Tell whether digits may be a count as well as a date and a time of this or the last century."""
    pattern = DOUBTFUL.get(len(whole))
    moment = _compact(whole, pattern) if pattern else None
    return moment is not None and 1900 <= moment.year < 2100


def _compact(digits: str, pattern: str) -> datetime | None:
    try:
        return datetime.strptime(digits, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
