"""What a reader needs beside the figures: errors to read, the task, and how all of it was measured."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports.evaluation.sentences import Evaluation
from understudy.reports.layout import definitions, section
from understudy.reports.markup import Child, element
from understudy.text import numbers

METHOD = (
    "Labels are human only. Every text counts once. Intervals are 95% percentile bootstrap intervals that draw whole "
    "groups with replacement, paired where two systems are compared; shares in the reliability diagram have Wilson "
    "intervals. F1, precision and recall are of the positive label. ECE uses ten bins of equal width. The commonest "
    "label is that of these very texts, which is the best that a constant answer can do."
)


def errors(evaluation: Evaluation) -> Element:
    """List the errors that a person should read."""
    found = evaluation["errors"]
    positive = evaluation["card"]["positive_label"]
    return section(
        "Errors to read",
        "errors",
        element(
            "div",
            _error_list(f"Missed '{positive}' texts", found["missed"], found["counts"]["missed"]),
            _error_list(f"Wrongly called '{positive}'", found["false_alarms"], found["counts"]["false_alarms"]),
            class_="errors",
        ),
    )


def _error_list(title: str, rows: Sequence[Mapping[str, Any]], total: int) -> Element:
    count = numbers.count(total) if total == len(rows) else f"{len(rows)} of {total:,}, the surest first"
    items = [
        element(
            "li",
            element("p", element("bdi", row["text"])),
            element("p", _error_details(row), class_="muted"),
        )
        for row in rows
    ]
    content = element("ol", items) if items else element("p", "None.", class_="muted")
    return element("div", element("h3", title, " ", element("small", f"({count})")), content)


def _error_details(row: Mapping[str, Any]) -> list[Child]:
    words = f"student {numbers.percent(row['probability'])}"
    if row["teacher_label"] is not None:
        words += f" · teacher says '{row['teacher_label']}'"
    tags: list[Child] = [element("span", name, class_="tag") for name in row["slices"]]
    return [words, *(part for tag in tags for part in (" ", tag)), " ", element("code", row["id"])]


def task(evaluation: Evaluation) -> Element:
    """Show what was asked: question, labels, decision rules."""
    card = evaluation["card"]
    labels = [(label["name"], label["definition"]) for label in card["labels"]]
    return section(
        "The task",
        "task",
        element("p", card["question"], class_="lede"),
        definitions(labels, class_="labels"),
        element("h3", "Decision rules"),
        element("ol", [element("li", rule) for rule in card["rules"]]),
    )


def provenance(evaluation: Evaluation) -> Element:
    """Say what was measured, how, and from what."""
    test, bundle, card = evaluation["test"], evaluation["bundle"], evaluation["card"]
    refused = ", ".join(f"{rows:,} {reason.replace('_', ' ')}" for reason, rows in test["refused"].items())
    pairs: list[tuple[str, Child]] = [
        ("Bundle", element("code", str(bundle["version"]))),
        (
            "Graph",
            f"{bundle['graph']}, windows of {bundle['max_length']} tokens, threshold {bundle['threshold']:.6g}",
        ),
        ("Why this graph", bundle.get("graph_reason") or "not said"),
        ("Card", [card["name"], " ", element("code", card["hash"][:12])]),
        ("Teacher", card["teacher"] + (" (rehearsal)" if evaluation["is_rehearsal"] else "")),
        ("Test texts", f"{test['name']}: {test['texts']:,}, of which the teacher answered {test['taught']:,}"),
        ("Refused rows", refused or "none"),
        ("Understudy", evaluation["version"]),
    ]
    return section("How this was measured", "method", element("p", METHOD), definitions(pairs, class_="provenance"))
