"""Parse names that come out of a store, a bundle or a manifest, before they touch a path or a key.

Who can write the store chooses these names. Each kind has one strict type, for pydantic models and for plain calls, and
a path made of them is resolved and proven to lie in its folder.
"""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from understudy.errors import BadArtifact, BadInput

VERSION = r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*"
CARD_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
RUN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
DIGEST = r"[0-9a-f]{64}"
FILE_PATH = r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*"  # no name begins with a dot
LONGEST = {"version": 128, "path": 512}


def _day(text: str) -> str:
    """Check that a date is one of the calendar, written as 2026-11-29."""
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("a date is written as 2026-11-29")
    return text


Version = Annotated[str, StringConstraints(pattern=rf"^{VERSION}\z", max_length=LONGEST["version"])]
CardName = Annotated[str, StringConstraints(pattern=rf"^{CARD_NAME}\z")]
RunName = Annotated[str, StringConstraints(pattern=rf"^{RUN_NAME}\z")]
Digest = Annotated[str, StringConstraints(pattern=rf"^{DIGEST}\z")]
FilePath = Annotated[str, StringConstraints(pattern=rf"^{FILE_PATH}\z", max_length=LONGEST["path"])]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}\z"), AfterValidator(_day)]


def is_day(text: str) -> bool:
    """Tell whether a text is a date of the calendar, written as 2026-11-29.

    >>> is_day("2026-11-29"), is_day("2026-13-01")
    (True, False)
    """
    try:
        return _day(text) == text
    except ValueError:
        return False


def night_of(given: str) -> str:
    """Return a night as YYYY-MM-DD; today's in UTC when none is given.

    >>> night_of("2026-11-01")
    '2026-11-01'

    Raises:
        BadInput: it is no date.
    """
    if not given:
        return datetime.now(UTC).date().isoformat()
    try:
        return _day(given)
    except ValueError as error:
        raise BadInput(f"A night must be a date YYYY-MM-DD, got '{given}' (--date).") from error


PATTERNS = {
    "version": re.compile(VERSION),
    "card": re.compile(CARD_NAME),
    "run": re.compile(RUN_NAME),
    "digest": re.compile(DIGEST),
    "path": re.compile(FILE_PATH),
}


def require_name(kind: str, name: object, where: str) -> str:
    """Return a name that came from outside, once it is one.

    Args:
        kind: one of `PATTERNS`: "version", "card", "run", "digest" or "path".
        name: what stood there.
        where: the object that it was read from, for the message.

    Raises:
        BadArtifact: it is no such name.

    >>> require_name("path", "papers/report.html", "manifest.json")
    'papers/report.html'
    """
    longest = LONGEST.get(kind, 128)
    if not isinstance(name, str) or len(name) > longest or not PATTERNS[kind].fullmatch(name):
        raise BadArtifact(
            f"A {kind} that is read from a store must be a plain name, got {str(name)[:80]!r} ({where}). "
            "The object was altered: restore it."
        )
    return name


def inside(folder: Path, name: str, where: str) -> Path:
    """Return the path of a named file below a folder, proven to lie there, links followed.

    Raises:
        BadArtifact: it is no relative path, or leads out of the folder.
    """
    target = folder / require_name("path", name, where)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BadArtifact(f"A file must lie in its folder, got '{name}', which leads out of it ({where}). Restore it.")
    return target
