"""Render what `understudy read` found: a page to read before the labels are fixed."""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.reports import pages


@pages.from_record
def page(record: Mapping[str, Any], source: str, seen: Sequence[str], rows: int) -> str:
    """Build the page: it needs no other file, no network and no script.

    Args:
        record: what `review.reading.read` returned.
        source: where the texts lie.
        seen: sentences on what the file holds.
        rows: texts that the file has, copies counted.

    Raises:
        BadArtifact: the record lacks something that the page shows.
    """
    parts = {"clusters": "Kinds of texts", "diverse": "A sample that differs", "pairs": "Near neighbours"}
    rules = {"rules": "What the draft's weak rules catch"} if record["rules"] else {}
    sections = {**parts, **rules, "file": "What the file holds"}
    return pages.render(
        "reading.html.j2", folder="reading", sections=sections, found=record, source=source, seen=seen, rows=rows
    )
