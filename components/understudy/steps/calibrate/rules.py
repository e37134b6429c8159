"""Turn a student's raw log-odds into probabilities that hold at the true class balance, and choose the threshold."""

from typing import Literal

import numpy as np

from understudy.errors import TooFewLabels
from understudy.model.engine import Bools, Floats
from understudy.model.scoring import Sigmoid
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


def fit_sigmoid(log_odds: Floats, is_positive: Bools, weights: Floats) -> Sigmoid:
    """Fit P(positive) = 1 / (1 + exp(-(slope * z + bias))) by maximum likelihood.

    The bias follows a changed base rate, which a temperature alone cannot. Targets are smoothed as if one more text
    beside those of the scarcer label had the label by lot: perfectly separated scores still give a finite slope, and
    the mean probability stays the weighted share of positives, which Platt's own smoothing would move when weights
    make one label rare. A soft target is learned as two copies of the text, one of each label, that share its weight.

    Args:
        log_odds: uncalibrated scores z, shape (texts,), natural-log odds.
        is_positive: human labels, shape (texts,).
        weights: of the texts, shape (texts,).

    Source: Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    from sklearn.linear_model import LogisticRegression

    targets = smoothed_targets(is_positive, weights)
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-9, max_iter=1000).fit(
        np.tile(log_odds, 2)[:, None],
        np.repeat([1, 0], len(log_odds)),
        sample_weight=np.concatenate([weights * targets, weights * (1 - targets)]),
    )
    return Sigmoid(slope=float(fitted.coef_[0, 0]), bias=float(fitted.intercept_[0]))


def smoothed_targets(is_positive: Bools, weights: Floats) -> Floats:
    """Targets in (0, 1) whose weighted mean is the weighted share of positives. All of shape (texts,).

    >>> smoothed_targets(np.array([True, True, False, False]), np.array([0.5, 0.5, 1.5, 1.5])).round(3)
    array([0.75 , 0.75 , 0.083, 0.083])
    """
    share = float(np.average(is_positive, weights=weights))
    doubt = 1 / (min(int(is_positive.sum()), int((~is_positive).sum())) + 1)
    return np.where(is_positive, 1 - doubt * (1 - share), doubt * share)


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
