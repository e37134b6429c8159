"""Measure every label against the rest, and find which are taken for which, or missed and given wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Codes, Floats, Interval
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.rules import Answers, Truth, drawing
from understudy.text import numbers

FIGURES = ("precision", "recall", "f1")
PAIRS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Precision, recall and F1 of every label against the rest, and the same in each resample.

    Attributes:
        values: shape (figures, labels), figures in the order of `FIGURES`; nan where undefined.
        draws: shape (samples, figures, labels).
        right: texts of each label that got it, shape (labels,).
        tried: texts that a figure is a share of, shape (figures, labels); for F1 those with the label or given it.
    """

    values: Floats
    draws: Floats
    right: Floats
    tried: Floats

    def interval(self, figure: str, label: int) -> Interval:
        """Return a figure of a label with its 95% interval: the wider of the resamples' and Wilson's.

        Groups make the first one wide, few texts the second: all texts of a label right, or wrong, in every resample.
        """
        place = FIGURES.index(figure)
        drawn = metrics.interval_of(float(self.values[place, label]), self.draws[:, place, label])
        right, tried = float(self.right[label]), float(self.tried[place, label])
        counted = metrics.wilson(right, tried)
        if figure == "f1":  # it rises with the share of right ones among all that have the label or were given it
            low, high = (2 * end / (1 + end) for end in (counted.low, counted.high))
            counted = Interval(drawn.value, low, high)
        return Interval(drawn.value, min(drawn.low, counted.low), max(drawn.high, counted.high)) if tried else drawn

    def texts(self, label: int) -> int:
        """Count the texts of a label."""
        return int(self.tried[FIGURES.index("recall"), label])

    def draws_of(self, figure: str, label: int) -> Floats:
        """Return a figure of a label in each resample, shape (samples,)."""
        return self.draws[:, FIGURES.index(figure), label]


def shares(truth: Codes, predicted: Codes, weights: Floats | None = None, *, labels: int) -> Floats:
    """Precision, recall and F1 of every label against the rest, shape (..., 3, labels); nan where undefined.

    >>> shares(np.array([0, 0, 1]), np.array([0, 1, 1]), labels=3).round(2).tolist()
    [[1.0, 0.5, nan], [0.5, 1.0, nan], [0.67, 0.67, nan]]
    """
    counts = metrics.label_counts(truth, predicted, labels, weights)
    both = counts.given + counts.true
    found = [metrics.share(counts.right, counts.given), metrics.share(counts.right, counts.true)]
    return np.stack([*found, metrics.share(2 * counts.right, both)], axis=-2)


def measure(truth: Truth, answers: Answers, config: EvaluateConfig) -> LabelFigures:
    """Measure every label of a system's answers, from the same resamples."""
    labels = len(truth.space)

    def statistic(codes: Codes, given: Codes, weights: Floats | None = None) -> Floats:
        return shares(codes, given, weights, labels=labels)

    draws = metrics.draws_of(statistic, truth.codes, answers.codes, **drawing(truth, config))
    counts = metrics.label_counts(truth.codes, answers.codes, labels)
    tried = {"precision": counts.given, "recall": counts.true, "f1": counts.given + counts.true - counts.right}
    of_figures = np.stack([tried[name] for name in FIGURES])
    return LabelFigures(statistic(truth.codes, answers.codes), draws, counts.right, of_figures)


def rows(
    truth: Truth,
    student: Answers,
    measured: Mapping[str, LabelFigures],
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """Describe every label, the commonest first.

    Args:
        truth: human labels.
        student: its answers to the same texts.
        measured: figures by the name of the system, the student among them.
        config: the step's settings; a label with fewer texts than `min_positives` has too few to rely on.
    """
    counts = metrics.label_counts(truth.codes, student.codes, len(truth.space))
    found = []
    for label in np.argsort(-counts.true, kind="stable").tolist():
        row: dict[str, Any] = {
            "name": truth.space.names[label],
            "texts": int(counts.true[label]),
            "given": int(counts.given[label]),
            "is_too_few": bool(counts.true[label] < config.min_positives),
        }
        for who, figures in measured.items():
            row[who] = {name: metrics.as_record(figures.interval(name, label)) for name in FIGURES}
        found.append(row)
    return found


def confusion(truth: Truth, student: Answers) -> dict[str, Any]:
    """Count which labels are taken for which.

    Returns:
        `cells`, a list of [column of the true label, column of the label given, texts], for all that occur; `pairs`,
        the commonest mistakes with their share of the true label's texts; `wrong`, how many texts got a wrong label;
        and `kinds`, how many mistakes there are of different labels.
    """
    names = truth.space.names
    matrix = metrics.confusion_matrix(truth.codes, student.codes, len(names))
    cells = [(int(true), int(given), int(matrix[true, given])) for true, given in np.argwhere(matrix)]
    of_label = matrix.sum(axis=1)
    wrong = [cell for cell in cells if cell[0] != cell[1]]
    wrong.sort(key=lambda cell: (-cell[2], -cell[2] / of_label[cell[0]], cell))
    return {
        "cells": [list(cell) for cell in cells],
        "pairs": [
            {
                "label": names[true],
                "given": names[given],
                "texts": texts,
                "share": round(texts / float(of_label[true]), 6),
            }
            for true, given, texts in wrong[:PAIRS_SHOWN]
        ],
        "wrong": sum(texts for _, _, texts in wrong),
        "kinds": len(wrong),
    }


def mistakes(truth: Truth, student: Answers) -> dict[str, Any]:
    """Count what is missed and given wrongly of each label, where a text may have several: none is in place of another.

    Returns:
        `labels`, those with a mistake, the most mistakes first: `missed` texts with their share of the label's texts,
        and `false_alarms` with their share of the texts that were given it; and over all labels `missed`,
        `false_alarms`, and `wrong`, how many texts did not get exactly the right labels.
    """
    counts = metrics.label_counts(truth.codes, student.codes, len(truth.space))
    missed, alarms = counts.true - counts.right, counts.given - counts.right
    of_true, of_given = metrics.share(missed, counts.true), metrics.share(alarms, counts.given)
    worst_first = sorted(np.flatnonzero(missed + alarms).tolist(), key=lambda label: -missed[label] - alarms[label])
    return {
        "labels": [
            {
                "label": truth.space.names[label],
                "missed": int(missed[label]),
                "missed_share": _rounded(of_true[label]),
                "false_alarms": int(alarms[label]),
                "false_alarm_share": _rounded(of_given[label]),
            }
            for label in worst_first
        ],
        "missed": int(missed.sum()),
        "false_alarms": int(alarms.sum()),
        "wrong": int((~metrics.is_right(truth.codes, student.codes)).sum()),
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if numbers.is_known(value) else None
