"""Compute the figures of labels given, of the label that is looked for and of all of a task."""

from collections.abc import Mapping
from functools import partial

from understudy.stats import metrics
from understudy.stats.metrics import Codes, Figure, Floats, Statistic
from understudy.task.labels import LabelSpace
from understudy.text import figures

SIDED: Mapping[str, Statistic] = {"f1": metrics.f1, "precision": metrics.precision, "recall": metrics.recall}


def against_rest(statistic: Statistic, label: int) -> Statistic:
    """Make a figure of one label against the rest one of codes.

    >>> import numpy as np
    >>> float(against_rest(metrics.recall, 2)(np.array([2, 2, 0]), np.array([2, 1, 0])))
    0.5
    """

    def figure(truth: Codes, predicted: Codes, weights: Floats | None = None) -> Figure:
        return statistic(truth == label, predicted == label, weights)

    return figure


def statistics(space: LabelSpace) -> dict[str, Statistic]:
    """Return the figures of labels given, each of codes: of the label that is looked for, if any, and of all."""
    labels, looked_for = len(space), space.positive_index
    whole: dict[str, Statistic] = {
        "macro_f1": partial(metrics.macro_f1, labels=labels),
        "accuracy": metrics.accuracy,
        "weighted_f1": partial(metrics.weighted_f1, labels=labels),
    }
    if space.is_many:
        whole["micro_f1"] = partial(metrics.micro_f1, labels=labels)
    if looked_for is None:
        return whole
    return {name: against_rest(statistic, looked_for) for name, statistic in SIDED.items()} | whole


def primary(space: LabelSpace) -> tuple[str, Statistic]:
    """Return the figure that decides on a task: its name, and how it is computed from codes."""
    name = figures.primary(space.positive)
    return name, statistics(space)[name]
