"""Calibrate a classifier: from its logits to probabilities that hold at the true shares of the labels.

A calibrator scales logits label by label and gives each label a bias; softmax makes probabilities of that. One slope
for all labels and no bias is temperature scaling; one slope and biases is, with two labels, Platt's sigmoid. The step
calibrate chooses between these forms.

Sources: Platt, "Probabilistic outputs for support vector machines", 1999; Guo et al., "On calibration of modern neural
networks", 2017, for temperature and vector scaling; Alexandari, Kundaje and Shrikumar, "Maximum likelihood with
bias-corrected calibration is hard-to-beat at label shift adaptation", 2020, for one slope with biases.
"""

from dataclasses import dataclass

import numpy as np

from understudy.model.engine import Floats
from understudy.stats.metrics import Codes
from understudy.task.labels import LabelSpace

LARGEST_LOG_ODDS = 500.0


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Softmax of slopes * logits + biases, or of each label's the sigmoid where a text may have several labels.

    Attributes:
        slopes: of each label's logit, shape (labels,); for softmax less the text's mean logit.
        biases: of each label, shape (labels,).
        is_many: each label is a yes or no of its own.
    """

    slopes: Floats
    biases: Floats
    is_many: bool = False

    def probabilities(self, logits: Floats) -> Floats:
        """Return calibrated probabilities, same shape (texts, labels) as `logits`.

        >>> Calibrator(np.ones(2), np.zeros(2)).probabilities(np.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
        >>> Calibrator(np.ones(2), np.zeros(2), is_many=True).probabilities(np.array([[0.0, np.log(3.0)]])).round(2)
        array([[0.5 , 0.75]])
        """
        scaled = self.scaled(logits)
        return sigmoid(scaled) if self.is_many else softmax(scaled)

    def scaled(self, logits: Floats) -> Floats:
        """Return calibrated logits, same shape (texts, labels)."""
        return np.asarray(self.slopes * (logits if self.is_many else centred(logits)) + self.biases)


@dataclass(frozen=True, slots=True)
class Form:
    """What a calibrator may be like.

    Attributes:
        has_slopes: each label has a slope of its own, rather than one for all.
        has_biases: labels have biases.
        ridge: how much slopes that differ and biases cost, in texts: enough keeps rare labels from following a few.
    """

    has_slopes: bool
    has_biases: bool
    ridge: float = 0.0

    @property
    def name(self) -> str:
        """What the literature calls it."""
        if self.has_slopes:
            return "vector scaling"
        return "bias-corrected temperature scaling" if self.has_biases else "temperature scaling"


def centred(logits: Floats) -> Floats:
    """Take each text's mean logit off its logits: softmax does not see it, and slopes must not."""
    return np.asarray(logits - logits.mean(axis=1, keepdims=True), dtype=np.float64)


def softmax(scores: Floats) -> Floats:
    """Probabilities of shape (texts, labels), which add up to 1.

    >>> softmax(np.array([[0.0, np.log(3.0)]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    raised = np.exp(np.maximum(scores - scores.max(axis=1, keepdims=True), -LARGEST_LOG_ODDS))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def sigmoid(scores: Floats) -> Floats:
    """Probabilities of natural-log odds, same shape.

    >>> sigmoid(np.array([0.0, np.log(3.0)])).round(2).tolist()
    [0.5, 0.75]
    """
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS))))


def log_odds(logits: Floats, index: int) -> Floats:
    """Natural-log odds of one label against all others.

    Args:
        logits: shape (texts, labels).
        index: column of the label.

    Returns:
        shape (texts,).

    >>> log_odds(np.array([[1.0, 3.0]]), index=1)
    array([2.])
    """
    others = np.delete(logits, index, axis=1)
    highest = others.max(axis=1)
    total = np.exp(others - highest[:, None]).sum(axis=1)
    return np.asarray(logits[:, index] - highest - np.log(total), dtype=np.float64)


def odds_of(logits: Floats, space: LabelSpace) -> Floats:
    """Natural-log odds of each label that is looked at against the rest, shape (texts, `LabelSpace.sides`).

    Where a text may have several labels, each logit is that already.
    """
    if space.is_many:
        return np.asarray(logits, dtype=np.float64)
    return np.stack([log_odds(logits, label) for label in space.sides], axis=1)


def fit(logits: Floats, truth: Codes, weights: Floats, form: Form) -> Calibrator:
    """Fit a calibrator by maximum likelihood.

    Biases follow changed shares of the labels, which a temperature alone cannot. Targets are smoothed as if one more
    text beside those of all but the commonest label had its label by lot: perfectly separated scores still give finite
    slopes, and the mean probability of each label stays its weighted share where there are biases. Where a text may
    have several labels this is so of each one's yes and no, and all are fitted together: rare labels lean on the slope
    that they share.

    Args:
        logits: uncalibrated, shape (texts, labels).
        truth: human labels, as `LabelSpace.codes` has them.
        weights: of the texts, shape (texts,); of each label's, shape (texts, labels), where a text may have several.
        form: what the calibrator may be like.
    """
    from scipy.optimize import minimize

    is_many = truth.ndim == 2
    scores, labels = np.array(logits if is_many else centred(logits), dtype=np.float64), logits.shape[1]
    scale = float(scores.std()) or 1.0  # so that slopes are about 1, whatever the student's logits are like
    scores /= scale
    targets = smoothed_targets(truth, weights, labels)
    shares = weights / weights.sum(axis=0)
    likelihood = _of_each if is_many else _of_one
    cost = form.ridge / len(truth)

    def unpacked(numbers: Floats) -> tuple[Floats, Floats, Floats]:
        own = numbers[1 : 1 + labels] if form.has_slopes else np.zeros(labels)
        return numbers[0] + own, numbers[-labels:] if form.has_biases else np.zeros(labels), own

    def loss(numbers: Floats) -> tuple[float, Floats]:
        slopes, biases, own = unpacked(numbers)
        value, wrong = likelihood(slopes * scores + biases, targets, shares)
        of_slopes, of_biases = (wrong * scores).sum(axis=0), wrong.sum(axis=0)
        parts = [np.array([of_slopes.sum()])]
        if form.has_slopes:
            value += cost * float(own @ own) / 2
            parts.append(of_slopes + cost * own)
        if form.has_biases:
            value += cost * float(biases @ biases) / 2
            parts.append(of_biases + cost * biases)
        return value, np.concatenate(parts)

    start = np.zeros(1 + labels * (form.has_slopes + form.has_biases))
    start[0] = 1.0
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9})
    slopes, biases, _ = unpacked(found.x)
    return Calibrator(slopes / scale, biases if is_many else biases - biases.mean(), is_many)


def _of_one(z: Floats, targets: Floats, shares: Floats) -> tuple[float, Floats]:
    """Return the mean of -ln softmax of the targets, and its slope by each of the scaled logits."""
    top = z.max(axis=1, keepdims=True)
    total = np.log(np.exp(z - top).sum(axis=1, keepdims=True)) + top
    value = float(shares @ (targets * (total - z)).sum(axis=1))
    return value, shares[:, None] * (np.exp(z - total) - targets)


def _of_each(z: Floats, targets: Floats, shares: Floats) -> tuple[float, Floats]:
    """Return the sum over labels of the mean of -ln sigmoid of the targets, and its slope by each scaled logit."""
    value = float((shares * (np.logaddexp(0.0, z) - targets * z)).sum())
    return value, shares * (sigmoid(z) - targets)


def smoothed_targets(truth: Codes, weights: Floats, labels: int) -> Floats:
    """Targets in (0, 1) whose weighted mean is the weighted share of each label, shape (texts, labels).

    Args:
        truth: human labels, as `LabelSpace.codes` has them.
        weights: of the texts, shape (texts,), or of each label's, shape (texts, labels).
        labels: how many there are.

    >>> smoothed_targets(np.array([1, 1, 0, 0]), np.array([0.5, 0.5, 1.5, 1.5]), 2)[:, 1].round(3)
    array([0.75 , 0.75 , 0.083, 0.083])
    >>> smoothed_targets(np.array([[True], [True], [False], [False]]), np.ones((4, 1)), 1)[:, 0].round(3)
    array([0.833, 0.833, 0.167, 0.167])
    """
    if truth.ndim == 2:
        own = truth.astype(np.float64)
        shares = (weights * own).sum(axis=0) / weights.sum(axis=0)
        commonest = np.maximum(own.sum(axis=0), (1 - own).sum(axis=0))
        doubts = 1 / (len(truth) - commonest + 1)
        return np.asarray((1 - doubts) * own + doubts * shares)
    shares = np.bincount(truth, weights=weights, minlength=labels) / weights.sum()
    doubt = 1 / (len(truth) - int(np.bincount(truth).max()) + 1)
    return np.asarray((1 - doubt) * np.eye(labels)[truth] + doubt * shares)
