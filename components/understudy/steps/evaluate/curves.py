"""Compute how far probabilities can be trusted, and what other thresholds, or people for unsure texts, would give."""

from typing import Any

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Column, Floats
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.rules import Answers, Claim, Truth, confidences, drawing
from understudy.task.measures import SIDED
from understudy.text import numbers

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
CONFIDENCES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BINS = 10
CURVE_POINTS = 200


def threshold_table(is_positive: Bools, probability: Floats, chosen: float | None) -> list[dict[str, Any]]:
    """What would be found and flagged at each threshold, the chosen one among them, in rising order.

    Args:
        is_positive: whether a text has the label that is looked for, shape (texts,).
        probability: of that label, shape (texts,).
        chosen: the threshold that serves; None where there is none.
    """
    cuts = sorted({*THRESHOLDS, *(() if chosen is None else (chosen,))})
    return [{"threshold": cut, "is_chosen": cut == chosen, **_at(is_positive, probability >= cut)} for cut in cuts]


def _at(is_positive: Bools, predicted: Bools) -> dict[str, float | None]:
    found = {name: SIDED[name](is_positive, predicted) for name in ("precision", "recall", "f1")}
    found["flagged_share"] = float(predicted.mean())
    return {name: round(value, 6) if numbers.is_known(value) else None for name, value in found.items()}


def curve(is_positive: Bools, probability: Floats) -> list[dict[str, float | None]]:
    """Precision and recall at every score, or at some 200 of them, from the strictest threshold to the laxest."""
    points = [(float(cut), _at(is_positive, probability >= cut)) for cut in _thinned(np.unique(probability)[::-1])]
    return [
        {"threshold": round(cut, 6), "precision": found["precision"], "recall": found["recall"]}
        for cut, found in points
    ]


def _thinned(values: Column) -> Column:
    """Keep some 200 values, the first and the last among them."""
    if len(values) <= CURVE_POINTS:
        return values
    return np.asarray(values[np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).astype(int))])


def reliability(said: Claim) -> list[dict[str, Any]]:
    """Say how often a claim was true, beside how likely it was called, in ten bins; empty ones are left out.

    Where a text may have several labels, `texts` counts the labels of the texts that were called so likely.
    """
    index = metrics.bin_index(said.probability, BINS)
    bins = []
    for number in np.unique(index).tolist():
        inside = index == number
        frequency = metrics.wilson(float(said.is_true[inside].sum()), int(inside.sum()))
        bins.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "texts": int(inside.sum()),
                "probability": round(float(said.probability[inside].mean()), 6),
                "frequency": metrics.as_record(frequency),
            }
        )
    return bins


def coverage_table(truth: Truth, answers: Answers, config: EvaluateConfig) -> list[dict[str, Any]]:
    """Say what the answers are worth on the texts that the student is surest of, and what people would buy on the rest.

    Returns:
        a row for each of the `rules.confidences` that sets texts apart from the last: `texts` of which the student is
        at least so sure, their `kept_share` and `accuracy`; and `accuracy_with_people`, of all texts, were people to
        label the others without a mistake.
    """
    confidence, is_right = confidences(answers), metrics.is_right(truth.codes, answers.codes)
    found: list[dict[str, Any]] = []
    for cut in CONFIDENCES:
        kept = confidence >= cut
        if found and found[-1]["texts"] == kept.sum():
            continue
        own, codes = truth.at(kept), answers.codes[kept]
        accuracy = metrics.bootstrap(metrics.accuracy, own.codes, codes, **drawing(own, config))
        found.append(
            {
                "confidence": cut,
                "texts": int(kept.sum()),
                "kept_share": round(float(kept.mean()), 6),
                "accuracy": metrics.as_record(accuracy),
                "accuracy_with_people": round(float((is_right | ~kept).mean()), 6),
            }
        )
    return found


def coverage_curve(truth: Truth, answers: Answers) -> list[dict[str, float]]:
    """Share kept and its accuracy at every confidence, or at some 200 of them, from the strictest to the laxest."""
    confidence, is_right = confidences(answers), metrics.is_right(truth.codes, answers.codes)
    order = np.argsort(-confidence, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)  # last text of each confidence
    right = np.cumsum(is_right[order])
    return [
        {
            "confidence": round(float(confidence[order][end]), 6),
            "kept_share": round((end + 1) / len(order), 6),
            "accuracy": round(float(right[end]) / (end + 1), 6),
        }
        for end in _thinned(ends).tolist()
    ]
