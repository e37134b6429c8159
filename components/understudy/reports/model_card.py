"""Render the model card: what a classifier is for, what it is worth, how it decides, where it came from."""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.model.architectures import STUDENTS
from understudy.reports import pages
from understudy.reports.evaluation import sentences
from understudy.task.card import Card
from understudy.text import figures, numbers

UNKNOWN_LICENCE = "not known here: see where the weights come from"
WEAKEST = 5  # labels that the limits name


@pages.from_record
def page(bundle: Mapping[str, Any], card: Card, evaluation: Mapping[str, Any], *, is_forced: bool) -> str:
    """Write the model card: what it is for, what it is worth, how it decides, what it learned from, and its limits.

    Args:
        bundle: bundle.json.
        card: the task card that it was made by.
        evaluation: evaluation.json.
        is_forced: whether it is published whatever was decided.

    Raises:
        BadArtifact: bundle or evaluation lack something that the card shows.
    """
    systems = evaluation["systems"]
    return pages.render(
        "model_card.md.j2",
        bundle=bundle,
        card=card,
        evaluation=evaluation,
        words=sentences,
        is_forced=is_forced,
        figures=_figures(systems, card),
        primary=figures.TITLES[sentences.primary(evaluation)],
        decides=sentences.decides(evaluation["bundle"], card.positive_label),
        calibrated=_calibrated(bundle),
        weakest=_weakest(evaluation["labels"]),
        chosen=next((row for row in evaluation["thresholds"] if row["is_chosen"]), None),
        texts={
            "learned from": bundle.get("trained_texts"),
            "calibrated on": bundle.get("reference", {}).get("texts"),
            "measured on": evaluation["test"]["texts"],
            "of these the teacher answered": evaluation["test"]["taught"],
        },
        provenance=_provenance(bundle, card, evaluation),
    )


def _figures(systems: Sequence[Mapping[str, Any]], card: Card) -> dict[str, str]:
    """Name the figures of the table with their titles: those that a system has."""
    shown = figures.shown(card.positive_label, is_many=card.is_many)
    titles = {name: figures.title(name, is_many=card.is_many) for name in shown} | {"ece": "calibration error"}
    return {name: title for name, title in titles.items() if any(name in one["figures"] for one in systems)}


def _calibrated(bundle: Mapping[str, Any]) -> dict[str, str]:
    """Write the numbers by which logits become probabilities.

    Of two labels, of which a text has one, softmax of slopes and biases is a sigmoid of the log-odds: of the mean
    slope, and of the difference of the biases.
    """
    slopes, biases = bundle["calibrator"]["slopes"], bundle["calibrator"]["biases"]
    if len(bundle["labels"]) == 2 and bundle["positive_label"] is not None:
        positive = bundle["labels"].index(bundle["positive_label"])
        return {"slope": f"{sum(slopes) / 2:.4g}", "bias": f"{biases[positive] - biases[1 - positive]:.4g}"}
    return {"slopes": _span(slopes), "biases": _span(biases), "form": bundle["calibrator"]["form"]}


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"of {low:.4g}" if low == high else f"from {low:.4g} to {high:.4g}"


def _weakest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the labels that are found worst; nothing of two, whose figures stand in the table."""
    if len(rows) == 2:
        return ""
    return "; ".join(
        f"'{row['name']}' (F1 {numbers.figure(row['student']['f1']['value'])}, {numbers.count(row['texts'], 'text')})"
        for row in sentences.weakest(rows)[:WEAKEST]
    )


def _provenance(bundle: Mapping[str, Any], card: Card, evaluation: Mapping[str, Any]) -> dict[str, str]:
    student = bundle.get("student", card.student)
    origin = STUDENTS.get(student)
    weights, licence = (origin.weights, origin.license) if origin else (student, UNKNOWN_LICENCE)
    return {
        "student": f"{student}, from {weights}",
        "licence of its weights": licence,
        "graph": f"{bundle.get('graph')} ONNX, windows of {bundle['max_length']} tokens",
        "card": f"{card.name}, hash {card.hash[:12]}",
        "evaluated by": f"Understudy {evaluation['version']}",
        **{f"SHA-256 of {name}": digest for name, digest in sorted(bundle["files"].items())},
    }
