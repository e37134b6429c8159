"""Render what `understudy design` found: the verdict with its arithmetic, and what labels say of the design."""

from collections.abc import Iterator, Mapping
from typing import Any

from understudy.reports import pages
from understudy.text.numbers import count

TITLES = {
    "costs": "What a month costs",
    "goals": "What the card asks",
    "mistaken": "What the teacher takes for what",
    "agreement": "Do people agree?",
    "guideline": "Rules and examples",
    "torn": "Near copies with different labels",
    "weak_rules": "What the weak rules are worth",
}


@pages.from_record
def page(record: Mapping[str, Any]) -> str:
    """Build the page: it needs no other file, no network and no script.

    Args:
        record: what `runners.design.check` returned.

    Raises:
        BadArtifact: the record lacks something that the page shows.
    """
    found = record.get("design")
    is_shown = {
        "costs": True,
        "goals": bool(record.get("goals")),
        "mistaken": bool(record.get("mistaken")),
        "agreement": found is not None,
        "guideline": found is not None,
        "torn": found is not None,
        "weak_rules": found is not None and bool(found["weak_rules"]),
    }
    sections = {name: title for name, title in TITLES.items() if is_shown[name]}
    return pages.render("design.html.j2", folder="design", sections=sections, record=record, found=found)


@pages.from_record
def summary(record: Mapping[str, Any]) -> str:
    """Say in a few lines what a terminal shows: the verdict first."""
    return "\n".join(_lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    if "verdict" in record:
        rehearsed = " [rehearsal]" if record["is_rehearsal"] else ""
        yield f"verdict: {record['verdict']['sentence']}{rehearsed}"
        yield from (f"asked: {note}" for note in record["asked"])
    found = record.get("design")
    if found is None:
        return
    given = f"{count(found['votes'], 'label')} of {count(found['texts'], 'text')}"
    yield f"labels: {given}, {found['contested']:,} contested."
    yield from (f"labels: left out: {note}." for note in record["left_out"])
    if found["without_text"]:
        unknown = count(found["without_text"], "text")
        yield f"labels: {unknown} unknown, so rules and copies are not checked there (--texts)."
    yield f"agreement: {found['agreement']['sentence']}"
    for pair in found["confused"][:3]:
        yield f"confused: '{pair['first']}' and '{pair['second']}' on {count(pair['texts'], 'text')}."
    counts = {
        "decision rules that no example shows": found["unshown_rules"],
        "weak rules that nothing meets": found["unmet_weak_rules"],
        "examples that contradict the card": found["contradictions"],
        "near copies with different labels": found["torn"],
    }
    yield f"card: {'; '.join(f'{len(rows):,} {what}' for what, rows in counts.items())}."
