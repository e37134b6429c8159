"""Calibrate a classifier: from its scores to log-odds of one label, and from these to probabilities.

A calibrator is a class here with `probability` and a function that fits it; its numbers stand in bundle.json
(`store/bundles.py`, Calibrator), and the step calibrate chooses it.
"""

from dataclasses import dataclass

import numpy as np

from understudy.model.engine import Bools, Floats


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """Platt's calibrator: P(positive) = 1 / (1 + exp(-(slope * log_odds + bias)))."""

    slope: float
    bias: float

    def probability(self, log_odds: Floats) -> Floats:
        """Return calibrated probabilities, same shape as `log_odds`.

        >>> Sigmoid(slope=2.0, bias=0.0).probability(np.array([0.0]))
        array([0.5])
        """
        return 1.0 / (1.0 + np.exp(-np.clip(self.slope * log_odds + self.bias, -500, 500)))


def positive_log_odds(logits: Floats, positive_index: int) -> Floats:
    """Natural-log odds of one label against all others.

    Args:
        logits: shape (texts, labels).
        positive_index: column of the positive label.

    Returns:
        shape (texts,).

    >>> positive_log_odds(np.array([[1.0, 3.0]]), positive_index=1)
    array([2.])
    """
    others = np.delete(logits, positive_index, axis=1)
    highest = others.max(axis=1)
    total = np.exp(others - highest[:, None]).sum(axis=1)
    return np.asarray(logits[:, positive_index] - highest - np.log(total), dtype=np.float64)


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
