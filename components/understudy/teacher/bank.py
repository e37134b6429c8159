"""Combine the answers of a prompt bank, several wordings or several models, into one soft label a text.

What a wording is worth is measured on human labels where there are any: its weight is the log-odds of its being right,
which is the best weight of a vote between judges whose errors are independent; for k labels that are equally likely and
errors spread evenly over the others it is log(p (k - 1) / (1 - p)).

A wording's accuracy is drawn towards the bank's by as much as chance alone explains how the wordings differ, so that a
few labels give all of them the same weight.

Sources: Nitzan and Paroush, "Optimal decision rules in uncertain dichotomous choice situations", 1982, for the weights;
Kleinman, "Proportions with extraneous variance", 1973, for the moments that the shrinking is taken from.
"""

import numpy as np

from understudy.stats.metrics import Floats
from understudy.task.labels import Integers

NO_ANSWER = -1
MOST_SURE = 1e-3  # an accuracy is kept this far from 0 and 1, so that no weight is without bounds
LEAST_LABELS = 30  # human labels of a wording's answers, from which it is weighed


def one_hot(codes: Integers, labels: int) -> Floats:
    """Write labels as votes: 1 for the label given, nan everywhere for no answer.

    Args:
        codes: columns of labels, `NO_ANSWER` where there is none, of any shape.
        labels: how many there are.

    Returns:
        shape (..., labels).

    >>> one_hot(np.array([1, -1]), 2).tolist()
    [[0.0, 1.0], [nan, nan]]
    """
    votes = np.eye(labels)[codes]
    votes[codes == NO_ANSWER] = np.nan
    return votes


def combine(answers: Floats, weights: Floats) -> Floats:
    """Average the answers of the wordings that gave one.

    Args:
        answers: probabilities, or votes as `one_hot` writes them, nan where there is no answer; shape (wordings, texts,
            labels).
        weights: of the wordings, 0 or more, shape (wordings,).

    Returns:
        probabilities, shape (texts, labels); nan for a text that no wording of any weight answered.

    >>> combine(one_hot(np.array([[0, -1], [1, -1], [1, -1]]), 2), np.ones(3)).round(3).tolist()
    [[0.333, 0.667], [nan, nan]]
    """
    shares = np.where(np.isnan(answers), 0.0, weights[:, None, None])
    total = shares.sum(axis=0)
    summed = (shares * np.nan_to_num(answers)).sum(axis=0)
    shown = np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)
    return np.asarray(shown, dtype=np.float64)


def weights(codes: Integers, truth: Integers, labels: int) -> Floats:
    """Weigh wordings by what each is worth on human labels; all alike where these are too few, or none beats a guess.

    Args:
        codes: columns of the labels that each wording gave, `NO_ANSWER` where none, shape (wordings, texts).
        truth: columns of the labels that people gave, shape (texts,).
        labels: how many there are.

    Returns:
        shape (wordings,), 0 for a wording that is no better than a guess.

    >>> truth = np.arange(100) % 2
    >>> good, poor = np.where(np.arange(100) < 90, truth, 1 - truth), np.where(np.arange(100) < 60, truth, 1 - truth)
    >>> weights(np.array([good, poor]), truth, 2).round(1).tolist()
    [2.1, 0.4]
    >>> weights(np.array([good, poor])[:, :20], truth[:20], 2).tolist()
    [1.0, 1.0]
    """
    answered = (codes != NO_ANSWER).sum(axis=1)
    right = (codes == truth).sum(axis=1)
    alike = np.ones(len(codes))
    if answered.min() < LEAST_LABELS:
        return alike
    accuracy = np.clip(_shrunk(right, answered), MOST_SURE, 1 - MOST_SURE)
    found = np.maximum(np.log(accuracy * (labels - 1) / (1 - accuracy)), 0.0)
    return found if found.any() else alike


def _shrunk(right: Integers, answered: Integers) -> Floats:
    """Draw each wording's accuracy towards that of all of them, shape (wordings,).

    The accuracies are taken for draws from a beta distribution of the bank's mean m, whose variance v is what is left
    of how they differ once the variance of counting is taken off; a wording is then drawn as if it had been right m s
    times in s more texts, s = m (1 - m) / v - 1.
    """
    mean = float(right.sum() / answered.sum())
    rates = right / answered
    of_chance = float((mean * (1 - mean) / answered).mean())
    between = float(rates.var(ddof=1)) - of_chance if len(rates) > 1 else 0.0
    if between <= 0:
        return np.full(len(rates), mean)
    more = max(mean * (1 - mean) / between - 1, 0.0)
    return np.asarray((right + more * mean) / (answered + more), dtype=np.float64)
