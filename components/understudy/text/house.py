"""Say how many texts left the house for the teacher, and where they went."""

from collections.abc import Mapping
from typing import Any

from understudy.text.numbers import count, listed


def went(sent: Mapping[str, Any] | None) -> str:
    """Say where texts were sent, of the record that the step label leaves.

    >>> went({"texts": 1200, "left": {}, "unknown": 0, "is_redacted": False})
    'no text left the house'
    >>> went({"texts": 1200, "left": {"api.acme.ai": 1200}, "unknown": 0, "is_redacted": False})
    '1,200 texts left the house, as they are, for api.acme.ai'
    >>> went({"texts": 9, "left": {"a.ai": 4, "b.ai": 1}, "unknown": 2, "is_redacted": False})
    '4 texts left the house, as they are, for a.ai and 1 text for b.ai; of 2 texts it is not known'
    >>> went(None)
    'whether texts left the house is not known'
    """
    if sent is None:
        return "whether texts left the house is not known"
    hosts = [f"{count(number, 'text')} for {host}" for host, number in sent["left"].items()]
    unknown = f"; of {count(sent['unknown'], 'text')} it is not known" if sent["unknown"] else ""
    if not hosts:
        return f"no text left the house{unknown}"
    first, _, place = hosts[0].partition(" for ")
    as_they_are = "redacted" if sent["is_redacted"] else "as they are"
    return f"{listed([f'{first} left the house, {as_they_are}, for {place}', *hosts[1:]])}{unknown}"
