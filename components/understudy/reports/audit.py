"""The audit as a page for people: audit.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.text import numbers


def page(audit: Mapping[str, Any]) -> str:
    """Write audit.md from the content of audit.json."""
    return "\n".join(
        [
            f"# Audit of the teacher: {audit['card']}",
            *_rehearsal(audit),
            *_paragraphs(audit["verdict"]),
            "",
            "## By label",
            "",
            *_classes(audit),
            "",
            f"## By slice (positive label: '{audit['positive_label']}')",
            "",
            *_slices(audit["slices"]),
            "",
            "## Errors by kind",
            *_categories(audit["categories"]),
            "",
            "## How this was tested",
            "",
            audit["method"],
            "",
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    r"""Write a table; bars and line breaks in cells are made harmless.

    >>> table(["a"], [["x|y"]])
    ['| a |', '|---|', '| x\\|y |']
    """
    escaped = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in [list(header), *escaped]]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def _rehearsal(audit: Mapping[str, Any]) -> list[str]:
    if not audit["is_rehearsal"]:
        return []
    return ["", "**Rehearsal: a rehearsal teacher gave these answers. They say nothing about a real LLM.**"]


def _paragraphs(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield ""
        yield sentence


def _share(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return numbers.UNKNOWN
    return f"{numbers.percent(interval['value'])} ({numbers.percent_interval(interval['low'], interval['high'])})"


def _classes(audit: Mapping[str, Any]) -> list[str]:
    rows = [
        [label, str(found["human"]), str(found["teacher"]), _share(found["precision"]), _share(found["recall"])]
        for label, found in audit["classes"].items()
    ]
    return table(["label", "by people", "by the teacher", "precision", "recall"], rows)


def _slices(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    if not slices:
        return ["The card names no slices."]
    rows = [
        [
            found["name"],
            str(found["texts"]),
            f"{found['true_positive']} of {found['true_positive'] + found['false_negative']}",
            _share(found["recall"]),
            numbers.percent(found["recall_elsewhere"]["value"]),
            _share(found["false_alarm_share"]),
            numbers.percent(found["false_alarm_share_elsewhere"]["value"]),
            numbers.UNKNOWN
            if found["p_adjusted"] is None
            else numbers.p_value(found["p_adjusted"]).removeprefix("p ").removeprefix("= "),
            found["direction"] or ("too few labels" if found["is_too_few"] else "no bias shown"),
        ]
        for found in slices
    ]
    header = ["slice", "texts", "found", "recall", "elsewhere", "false alarms", "elsewhere", "p, corrected", "verdict"]
    return table(header, rows)


def _categories(categories: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not categories:
        yield from ("", "None.")
    for category in categories:
        yield from ("", f"### {category['name'].capitalize()}: {numbers.count(category['texts'], 'text')}", "")
        rows = [
            [
                found["id"],
                found["split"],
                found["text"],
                found["label"],
                found["teacher_label"],
                found["rationale"] or "",
            ]
            for found in category["examples"]
        ]
        yield from table(["id", "split", "text", "people", "teacher", "its reason"], rows)
