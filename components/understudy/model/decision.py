"""Decide on a label from calibrated probabilities."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from understudy.model.engine import Floats, Integers
from understudy.stats.metrics import Codes


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How a text gets its label.

    A label that is looked for is given from its threshold upwards; else, and where none is looked for, a text gets the
    label that costs least to be wrong with: the likeliest, while all mistakes cost the same. Where a text may have
    several labels, it gets each from the label's own threshold upwards.

    Attributes:
        label: column of the label that has the threshold; None where there is none.
        threshold: probability at or above which a text gets it; None where there is none.
        costs: of giving a text of a row's label a column's, shape (labels, labels); None where all mistakes cost 1.
        thresholds: of each label, shape (labels,), where a text may have several; None where it has one.
    """

    label: int | None = None
    threshold: float | None = None
    costs: Floats | None = None
    thresholds: Floats | None = None

    def choose(self, probabilities: Floats) -> Codes:
        """Return codes of the labels that texts get: columns, shape (texts,), or bools, shape (texts, labels).

        Args:
            probabilities: calibrated, shape (texts, labels).

        >>> DecisionRule().choose(np.array([[0.5, 0.3, 0.2]])).tolist()
        [0]
        >>> DecisionRule(label=2, threshold=0.2).choose(np.array([[0.5, 0.3, 0.2]])).tolist()
        [2]
        >>> dear = np.array([[0.0, 1.0], [9.0, 0.0]])  # to miss the second is nine times as dear
        >>> DecisionRule(costs=dear).choose(np.array([[0.8, 0.2], [0.95, 0.05]])).tolist()
        [1, 0]
        >>> DecisionRule(thresholds=np.array([0.5, 0.2])).choose(np.array([[0.5, 0.3], [0.4, 0.1]])).tolist()
        [[True, True], [False, False]]
        """
        if self.thresholds is not None:
            return np.asarray(probabilities >= self.thresholds)
        merit = probabilities if self.costs is None else -(probabilities @ self.costs)
        if self.label is None or self.threshold is None:
            return np.asarray(merit.argmax(axis=1), dtype=np.int64)
        others = np.array(merit, dtype=np.float64)
        others[:, self.label] = -np.inf
        is_found = probabilities[:, self.label] >= self.threshold
        return np.where(is_found, self.label, others.argmax(axis=1)).astype(np.int64)

    def as_record(self) -> dict[str, Any]:
        """Write it for JSON."""
        costs = None if self.costs is None else self.costs.tolist()
        several = {} if self.thresholds is None else {"thresholds": self.thresholds.tolist()}
        return {"label": self.label, "threshold": self.threshold, "costs": costs, **several}

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "DecisionRule":
        """Read it from JSON that `store.bundles.DecisionSettings` has checked."""
        costs = record["costs"]
        numbers = (
            None if rows is None else np.asarray(rows, dtype=float) for rows in (costs, record.get("thresholds"))
        )
        return cls(record["label"], record["threshold"], *numbers)


def chances(probabilities: Floats, chosen: Codes) -> Floats:
    """Return the probability of what each text is labelled, shape (texts,).

    Where a text may have several labels, it is the lowest of those that it gets, and of a text that gets none what its
    likeliest label leaves of 1.

    Args:
        probabilities: calibrated, shape (texts, labels).
        chosen: codes of the labels that texts get.

    >>> chances(np.array([[0.5, 0.3, 0.2]]), np.array([2])).tolist()
    [0.2]
    >>> chances(np.array([[0.9, 0.6], [0.1, 0.25]]), np.array([[True, True], [False, False]])).tolist()
    [0.6, 0.75]
    """
    if chosen.ndim == 1:
        return np.asarray(probabilities[np.arange(len(chosen)), chosen])
    lowest = np.where(chosen, probabilities, 1.0).min(axis=1)
    return np.asarray(np.where(chosen.any(axis=1), lowest, 1.0 - probabilities.max(axis=1)))


def runner_up(probabilities: Floats, chosen: Codes) -> Integers:
    """Return the column of each text's likeliest label but those that it gets, shape (texts,); -1 where it gets all.

    >>> runner_up(np.array([[0.5, 0.3, 0.2]]), np.array([2])).tolist()
    [0]
    >>> runner_up(np.array([[0.9, 0.6], [0.9, 0.6]]), np.array([[True, False], [True, True]])).tolist()
    [1, -1]
    """
    is_chosen = chosen if chosen.ndim == 2 else np.arange(probabilities.shape[1]) == chosen[:, None]
    others = np.where(is_chosen, -np.inf, probabilities)
    return np.where(is_chosen.all(axis=1), -1, others.argmax(axis=1))


class Told(NamedTuple):
    """What is told beside the labels that texts get; shape (texts,).

    Attributes:
        probability: of what each text is labelled.
        runner_up: column of the likeliest label that it does not get; -1 where it gets all.
        runner_up_probability: of that; nan where there is none.
    """

    probability: Floats
    runner_up: Integers
    runner_up_probability: Floats


def told(probabilities: Floats, chosen: Codes) -> Told:
    """Say how sure the labels are that texts get, and which one comes next.

    Args:
        probabilities: calibrated, shape (texts, labels).
        chosen: codes of the labels that texts get.

    >>> found = told(np.array([[0.9, 0.6], [0.9, 0.6]]), np.array([[True, False], [True, True]]))
    >>> found.runner_up.tolist(), found.runner_up_probability.tolist()
    ([1, -1], [0.6, nan])
    """
    others = runner_up(probabilities, chosen)
    second = np.take_along_axis(probabilities, np.maximum(others, 0)[:, None], axis=1)[:, 0]
    return Told(chances(probabilities, chosen), others, np.where(others < 0, np.nan, second))
