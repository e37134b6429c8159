"""Render the model card: what a classifier is for, what it is worth, how it decides, where it came from."""

from collections.abc import Mapping
from typing import Any

from understudy.reports import pages
from understudy.task.card import Card

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
        is_forced=is_forced,
        figures={name: title for name, title in FIGURES.items() if any(name in one["figures"] for one in systems)},
        chosen=next((row for row in evaluation["thresholds"] if row["is_chosen"]), None),
        texts={
            "learned from": bundle.get("trained_texts"),
            "calibrated on": bundle.get("reference", {}).get("texts"),
            "measured on": evaluation["test"]["texts"],
            "of these the teacher answered": evaluation["test"]["taught"],
        },
        provenance=_provenance(bundle, card, evaluation),
    )


def _provenance(bundle: Mapping[str, Any], card: Card, evaluation: Mapping[str, Any]) -> dict[str, str]:
    student = bundle.get("student", card.student)
    weights, licence = WEIGHTS.get(student, (student, "not known here: see where the weights come from"))
    return {
        "student": f"{student}, from {weights}",
        "licence of its weights": licence,
        "graph": f"{bundle.get('graph')} ONNX, windows of {bundle['max_length']} tokens",
        "card": f"{card.name}, hash {card.hash[:12]}",
        "evaluated by": f"Understudy {evaluation['version']}",
        **{f"SHA-256 of {name}": digest for name, digest in sorted(bundle["files"].items())},
    }
