"""Turn a student's raw log-odds into probabilities that hold at the true class balance, and choose the threshold."""

from typing import Literal

import numpy as np

from understudy.errors import TooFewLabels
from understudy.model.engine import Bools, Floats
from understudy.steps.calibrate.config import CalibrateConfig


def require_labels(is_positive: Bools, positive_label: str, fewest: int) -> None:
    """Refuse a calibration split that is too small to fit two numbers and a threshold.

    Raises:
        TooFewLabels: naming the label that is short.
    """
    counts = {positive_label: int(is_positive.sum()), f"not {positive_label}": int((~is_positive).sum())}
    for label, count in counts.items():
        if count < fewest:
            raise TooFewLabels(
                f"The calibration split must hold at least {fewest} texts of each label, got {count} of '{label}' "
                "(gold). Label more texts, or lower calibrate.min_per_label."
            )


def prior_weights(is_positive: Bools, prior: float | Literal["estimate"]) -> Floats:
    """Weights that make the positive share of the calibration split equal to the true one; their mean is 1.

    Args:
        is_positive: human labels, shape (texts,).
        prior: the card's true share of positives; "estimate" takes the split as it is.

    Returns:
        shape (texts,).

    >>> prior_weights(np.array([True, True, False, False]), prior=0.25)
    array([0.5, 0.5, 1.5, 1.5])
    """
    if prior == "estimate":
        return np.ones(len(is_positive))
    share = is_positive.mean()
    weights: Floats = np.where(is_positive, prior / share, (1 - prior) / (1 - share))
    return weights


def choose_threshold(probability: Floats, is_positive: Bools, weights: Floats, config: CalibrateConfig) -> float:
    """Choose the probability at or above which a text gets the positive label.

    Objective "f1" maximises F1. Objective "recall" takes the highest recall among thresholds whose precision reaches
    `min_precision`; when none does, the one with the highest precision. The cut lies midway between two scores.

    Args:
        probability: calibrated, of the positive label, shape (texts,).
        is_positive: human labels, shape (texts,).
        weights: of the texts, shape (texts,).
        config: objective and least precision.

    Returns:
        a probability in (0, 1).

    >>> p, y = np.array([0.9, 0.7, 0.2, 0.1]), np.array([True, True, False, False])
    >>> choose_threshold(p, y, np.ones(4), CalibrateConfig()).__round__(2)
    0.45
    """
    cuts = candidate_cuts(probability)
    flagged = probability[None, :] >= cuts[:, None]
    true_positive = (flagged * (is_positive * weights)).sum(axis=1)
    precision = true_positive / (flagged * weights).sum(axis=1)
    recall = true_positive / (is_positive * weights).sum()
    if config.objective == "f1":
        merit = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    else:
        is_precise = precision >= config.min_precision
        merit = np.where(is_precise, recall, precision - 1) if is_precise.any() else precision
    return float(cuts[int(np.argmax(merit))])


def candidate_cuts(probability: Floats) -> Floats:
    """Return the cuts that flag different sets of texts: midway between neighbours, and one below the lowest.

    >>> candidate_cuts(np.array([0.2, 0.6, 0.6])).tolist()
    [0.1, 0.4]
    """
    scores = np.unique(probability)
    below = np.concatenate([[0.0], scores[:-1]])
    return np.asarray((scores + below) / 2)
