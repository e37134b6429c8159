"""The model card: what a published classifier is for, what it is worth, how it decides, and where it came from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.task.card import Card
from understudy.text import numbers

# Weights that a student starts from, and their licence as their authors state it.
WEIGHTS = {
    "minilm": ("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"),
    "distilbert": ("distilbert-base-uncased", "Apache-2.0"),
    "deberta-v3-small": ("microsoft/deberta-v3-small", "MIT"),
    "flan-t5-small": ("google/flan-t5-small", "Apache-2.0"),
}
FIGURES = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "macro_f1": "macro F1",
    "ece": "calibration error",
    "brier": "Brier score",
}
REHEARSAL = (
    "> **Rehearsal.** A rehearsal teacher had a part in this classifier or in what it is compared with. It shows that "
    "the pipeline works, not what a real teacher's student is worth."
)
LIMITS = """\
- It sees one text at a time: no other texts of the group, no pictures, no date.
- It was measured on texts like those of the run. For another source, language or year measure it again:
  `understudy evaluate` takes any labelled file.
- Where the report's slices show few texts, little is known of them."""


def write(settings: Mapping[str, Any], card: Card, evaluation: Mapping[str, Any], *, is_forced: bool) -> str:
    """Write the model card: what it is for, what it is worth, how it decides, what it learned from, and its limits.

    Args:
        settings: bundle.json.
        card: the task card that it was made by.
        evaluation: evaluation.json.
        is_forced: whether it is published whatever was decided.
    """
    sections = {
        "What it is for": _purpose(card),
        "What it is worth": _worth(evaluation),
        "Threshold and calibration": _operating_point(settings, evaluation),
        "Data": _data(settings, card, evaluation),
        "Limits": _limits(evaluation),
        "Provenance": _provenance(settings, card, evaluation),
    }
    parts = [f"# {settings['version']}", *_stamps(settings, evaluation, is_forced=is_forced)]
    for title, lines in sections.items():
        parts.append(f"## {title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _stamps(settings: Mapping[str, Any], evaluation: Mapping[str, Any], *, is_forced: bool) -> Iterator[str]:
    if settings["is_rehearsal"] or evaluation["is_rehearsal"]:
        yield REHEARSAL
    if is_forced:
        yield (
            f"> **Forced.** It was published with publish.force; the evaluation decided '{evaluation['decision']}': "
            f"{evaluation['reason']}"
        )


def _purpose(card: Card) -> list[str]:
    labels = [f"| {_cell(label.name)} | {_cell(label.definition)} |" for label in card.labels]
    rules = [f"{number}. {_flat(rule)}" for number, rule in enumerate(card.rules, start=1)]
    question = (
        f"It answers one question about a {card.unit}: {_flat(card.question)} It gives a label and the calibrated "
        f"probability of '{card.positive_label}'."
    )
    rules_by = "People and the teacher labelled by these rules:"
    return [question, "", *_table(("label", "definition"), labels), "", rules_by, "", *rules]


def _worth(evaluation: Mapping[str, Any]) -> list[str]:
    test = evaluation["test"]
    texts = numbers.count(test["texts"], "human-labelled text")
    names = [name for name in FIGURES if any(name in system["figures"] for system in evaluation["systems"])]
    heads = ("", "texts", *(FIGURES[name] for name in names), "P95 latency", "1,000 texts cost")
    comparison = [evaluation["comparison"]["sentence"], ""] if evaluation["comparison"] else []
    measured = (
        f"Measured on {texts} of {test['name']} ({test['positives']:,} positive, in "
        f"{numbers.count(test['groups'], 'group')}); in brackets the 95% interval."
    )
    return [
        measured,
        "",
        *_table(heads, [_system_row(system, names) for system in evaluation["systems"]]),
        "",
        *comparison,
        f"Decision: {evaluation['decision']}. {evaluation['reason']}",
        "",
        *(f"- {gate['sentence']}" for gate in evaluation["gates"]),
    ]


def _system_row(system: Mapping[str, Any], names: Sequence[str]) -> str:
    figures = [_figure(system["figures"].get(name)) for name in names]
    latency, price = numbers.milliseconds(system.get("p95_latency_ms")), numbers.usd(system.get("cost_per_1k_usd"))
    return "| " + " | ".join([_cell(system["title"]), f"{system['texts']:,}", *figures, latency, price]) + " |"


def _figure(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return numbers.UNKNOWN
    return f"{numbers.figure(found['value'])} ({numbers.figure_interval(found['low'], found['high'])})"


def _operating_point(settings: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    calibrator, threshold = settings["calibrator"], settings["threshold"]
    chosen = next((row for row in evaluation["thresholds"] if row["is_chosen"]), None)
    flagged = f" On the test texts that flags {numbers.percent(chosen['flagged_share'])}." if chosen else ""
    formula = f"1 / (1 + exp(-({calibrator['slope']:.4g} * log-odds + {calibrator['bias']:.4g})))"
    return [
        f"A text gets '{settings['positive_label']}' from a probability of {threshold:.3f} upwards.{flagged}",
        f"The probability is `{formula}`, fitted by Platt's method on the calibration split alone, after quantisation.",
        "The report has the reliability diagram and a table of other thresholds.",
        numbers.first_stage(settings.get("cascade")),
    ]


def _data(settings: Mapping[str, Any], card: Card, evaluation: Mapping[str, Any]) -> list[str]:
    counts = {
        "learned from": settings.get("trained_texts"),
        "calibrated on": settings.get("reference", {}).get("texts"),
        "measured on": evaluation["test"]["texts"],
        "of these the teacher answered": evaluation["test"]["taught"],
    }
    rows = [f"| {name} | {number:,} |" for name, number in counts.items() if number is not None]
    return [
        f"Answers of the teacher {card.teacher.model} and labels by people; it was measured on labels by people only.",
        "",
        *_table(("", "texts"), rows),
    ]


def _limits(evaluation: Mapping[str, Any]) -> list[str]:
    missed, alarms = (evaluation["errors"]["counts"][kind] for kind in ("missed", "false_alarms"))
    shown = f"- On the test texts it missed {missed:,} and raised {numbers.count(alarms, 'false alarm')}; the report"
    return [LIMITS, f"{shown} shows the surest of them."]


def _provenance(settings: Mapping[str, Any], card: Card, evaluation: Mapping[str, Any]) -> list[str]:
    student = settings.get("student", card.student)
    weights, licence = WEIGHTS.get(student, (student, "not known here: see where the weights come from"))
    rows = {
        "student": f"{student}, from {weights}",
        "licence of its weights": licence,
        "graph": f"{settings.get('graph')} ONNX, windows of {settings['max_length']} tokens",
        "card": f"{card.name}, hash {card.hash[:12]}",
        "evaluated by": f"Understudy {evaluation['version']}",
        **{f"SHA-256 of {name}": digest for name, digest in sorted(settings["files"].items())},
    }
    return [
        *_table(("what", "which"), [f"| {name} | {_cell(value)} |" for name, value in rows.items()]),
        "",
        "Beside this card: report.html, evaluation.json, and provenance.json, which names the inputs of the bundle.",
    ]


def _table(heads: Sequence[str], rows: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *rows]


def _cell(text: str) -> str:
    return _flat(text).replace("|", "\\|")


def _flat(text: str) -> str:
    return " ".join(text.split())
