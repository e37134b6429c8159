"""Say in a sentence how a run ended that came to its end, and with which exit code."""

from collections.abc import Mapping
from typing import Any

from understudy.store.runs import PUBLISH

REFUSED = 3  # exit code of a training run whose bundle a gate has refused


def outcome(name: str, decided: Mapping[str, Any], headline: str) -> tuple[str, int]:
    """Say how a run ended, by what evaluate decided.

    Args:
        name: of the run.
        decided: evaluate's decision with its reason; empty for a run without evaluate.
        headline: of the step that says the most; empty for the run's name.

    >>> outcome("tips-1", {"decision": "keep-teacher", "reason": "too few labels"}, "")
    ('Not published (keep-teacher): too few labels', 3)
    """
    decision = decided.get("decision")
    if not decision:
        return f"Done: {headline or name}", 0
    if decision == PUBLISH:
        return f"Published: {headline or name}", 0
    return f"Not published ({decision}): {decided.get('reason') or 'evaluate gave no reason'}", REFUSED
