"""The evaluation for people: one self-contained HTML page, and a few lines for a terminal.

Everything shown comes from the content of evaluation.json, so the same evaluation gives the same bytes.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from understudy.reports.evaluation import context, operation, quality
from understudy.reports.evaluation import sentences as verdict
from understudy.reports.markup import element, render
from understudy.text import numbers

PARTS = (
    quality.beside_the_teacher,
    quality.goals,
    quality.curves,
    quality.slices,
    operation.cost,
    quality.thresholds,
    context.errors,
    context.task,
    context.provenance,
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # nothing is fetched, no script runs
STYLE = files("understudy.reports").joinpath("templates/style.css")


def page(evaluation: Mapping[str, Any]) -> str:
    """Build the report: one HTML page that needs no other file, no network and no script.

    Args:
        evaluation: the content of evaluation.json.
    """
    title = f"{verdict.BADGES[evaluation['decision']]}: {evaluation['card']['name']} (Understudy report)"
    parts = [part(evaluation) for part in PARTS]
    links = [element("a", part[0].text, href=f"#{part[0].get('id')}") for part in parts]
    tree = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("link", rel="icon", href="data:,"),
            element("title", title),
            element("style", STYLE.read_text(encoding="utf-8")),
        ),
        element(
            "body",
            verdict.banner(evaluation),
            element(
                "main",
                verdict.head(evaluation),
                verdict.tiles(evaluation),
                element("nav", links, aria_label="On this page"),
                parts,
            ),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{render(tree)}\n"


def headline(evaluation: Mapping[str, Any]) -> str:
    """Say what the student is worth in a line."""
    student, teacher = verdict.student_of(evaluation), verdict.teacher_of(evaluation)
    f1 = student["figures"].get("f1", {"value": None, "low": None, "high": None})
    beside = f", teacher {numbers.figure(verdict.value(teacher, 'f1'))}" if teacher else ""
    return (
        f"F1 {numbers.figure(f1['value'])} ({numbers.figure_interval(f1['low'], f1['high'])}){beside} on "
        f"{numbers.count(evaluation['test']['texts'], 'human-labelled text')}; "
        f"P95 {numbers.milliseconds(student['p95_latency_ms'])}, {numbers.usd(student['cost_per_1k_usd'])} per 1,000"
    )


def summary_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """Write the headline table and the verdict for a terminal, a line each."""
    header = ["", "F1 (95% interval)", "precision", "recall", "ECE", "P95 latency", "$ per 1,000"]
    rows = [header, *(_summary_row(system) for system in evaluation["systems"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    stamp = ["Rehearsal: a rehearsal teacher stood in for the LLM."] if evaluation["is_rehearsal"] else []
    decided = f"{verdict.BADGES[evaluation['decision']]}: {evaluation['reason']}"
    return [*lines, "", verdict.comparison_words(evaluation), decided, *stamp]


def _summary_row(system: Mapping[str, Any]) -> list[str]:
    f1 = system["figures"].get("f1")
    interval = f" ({numbers.figure_interval(f1['low'], f1['high'])})" if f1 else ""
    shares = [numbers.figure(verdict.value(system, name)) for name in ("f1", "precision", "recall")]
    return [
        system["title"],
        shares[0] + interval,
        *shares[1:],
        numbers.figure(verdict.value(system, "ece"), decimals=3),
        numbers.milliseconds(system.get("p95_latency_ms")),
        numbers.usd(system.get("cost_per_1k_usd")),
    ]
