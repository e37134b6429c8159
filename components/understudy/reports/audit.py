"""Render the audit as Markdown: audit.md."""

from collections.abc import Mapping
from typing import Any

from understudy.reports import pages


@pages.from_record
def page(audit: Mapping[str, Any]) -> str:
    """Write audit.md from the content of audit.json.

    Raises:
        BadArtifact: it lacks something that the page shows.
    """
    return pages.render("audit.md.j2", audit=audit)
