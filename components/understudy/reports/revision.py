"""Render the revisions of the teacher's answers as Markdown: revise.md."""

from collections.abc import Mapping
from typing import Any

from understudy.reports import pages


@pages.from_record
def page(revision: Mapping[str, Any]) -> str:
    """Write revise.md from the content of revise.json.

    Raises:
        BadArtifact: it lacks something that the page shows.
    """
    return pages.render("revision.md.j2", revision=revision)
