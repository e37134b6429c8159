"""Estimate what a judge's answers are worth, by how often people agreed with them."""

import numpy as np

from understudy.stats.metrics import Codes, Floats


def trust(matrix: Floats) -> Floats:
    """Estimate what a judge's answers are worth: the chance of each true label, given the label that the judge says.

    First, how often the judge is right when it says label j: of n texts r are, to which half a text right and half a
    text wrong are added (Jeffreys' prior), and s texts that are right as often as the judge's answers are on the whole,
    so that a label that is seldom said is taken at the mean. Then, which label it is when j is wrong: the e wrong texts
    as they were counted, and one more that is spread as people's labels are.

        P(j | j) = (r + 1/2 + s * mean) / (n + 1 + s)
        P(i | j) = (1 - P(j | j)) * (count of i + share of i among the labels but j) / (e + 1)

    With two labels s is 0, and both are Jeffreys' half counts.

    Args:
        matrix: texts by true label (rows) and label said (columns), shape (labels, labels).

    Returns:
        P(true label | label said), shape (labels said, labels); rows add up to 1.

    >>> trust(np.array([[10.0, 1.0], [3.0, 7.0]])).round(4).tolist()  # 10.5 of 14, and 7.5 of 9
    [[0.75, 0.25], [0.1667, 0.8333]]

    Source: Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", 2001, for Jeffreys' prior;
    Efron and Morris, "Data analysis using Stein's estimator and its generalizations", 1975, for the shrinkage.
    """
    labels = len(matrix)
    said, right = matrix.sum(axis=0), np.diag(matrix)
    wrong = said - right
    mean = right.sum() / max(said.sum(), 1.0)
    pseudo = shrinkage(right, said)
    is_right = (right + 0.5 + pseudo * mean) / (said + 1 + pseudo)
    is_wrong = (wrong + 0.5 + pseudo * (1 - mean)) / (said + 1 + pseudo)
    others = (matrix.sum(axis=1) + 0.5) * (1 - np.eye(labels))  # row j: how common each label but j is
    elsewhere = (matrix.T * (1 - np.eye(labels)) + others / others.sum(axis=1, keepdims=True)) / (wrong[:, None] + 1)
    return np.asarray(np.where(np.eye(labels, dtype=bool), is_right[:, None], is_wrong[:, None] * elsewhere))


def trust_each(counts: Floats) -> Floats:
    """Estimate what a judge's answers are worth where a text may have several labels: each label by itself.

    The chance that a text has a label, given that the judge says so, and given that it does not: of n such texts r have
    it, with the half counts and the pull towards the mean of all labels that `trust` has.

    Args:
        counts: texts of each label by whether they have it (rows) and whether the judge says so (columns), shape
            (labels, 2, 2).

    Returns:
        P(has the label | not said, said), shape (labels, 2).

    >>> trust_each(np.array([[[10.0, 1.0], [3.0, 7.0]]])).round(4).tolist()  # 3.5 of 14, and 7.5 of 9
    [[0.25, 0.8333]]
    """
    has, asked = counts[:, 1, :], counts.sum(axis=1)
    pseudo = np.array([shrinkage(has[:, said], asked[:, said]) for said in (0, 1)])
    mean = has.sum(axis=0) / np.maximum(asked.sum(axis=0), 1.0)
    return np.asarray((has + 0.5 + pseudo * mean) / (asked + 1 + pseudo))


def trusted(counts: Floats, said: Codes) -> Floats:
    """Chance of each label by what the judge says of each text, shape (texts, labels).

    Args:
        counts: as `trust` takes them, or `trust_each` where a text may have several labels.
        said: the judge's labels, as `LabelSpace` has them.
    """
    if said.ndim == 1:
        return np.asarray(trust(counts)[said])
    each = trust_each(counts)
    return np.where(said, each[:, 1], each[:, 0])


def shrinkage(right: Floats, said: Floats) -> float:
    """Estimate how many texts the mean of all labels is worth against a label's own: the less they differ, the more.

    Labels' true shares of right answers are taken to vary around their mean with the variance mean * (1 - mean) * c.
    Moments give c from how far the counted shares lie from their mean, beyond what chance alone does; the mean is then
    worth 1/c - 1 texts, at most all that were audited. As with Stein's estimator, of `labels` parts `labels - 2` count:
    two labels tell nothing of how labels vary.

    Args:
        right: answers that were right, by label said, shape (labels,).
        said: all answers, shape (labels,).

    >>> shrinkage(np.array([9.0, 5.0]), np.array([10.0, 10.0]))
    0.0
    >>> round(shrinkage(np.array([9.0, 9.0, 2.0, 2.0]), np.full(4, 10.0)), 2)  # they differ: less than half a text
    0.39
    >>> shrinkage(np.full(4, 8.0), np.full(4, 10.0))  # they do not: half of all 40
    20.0

    Source: Kleinman, "Proportions with extraneous variance: single and independent samples", 1973, the moments.
    """
    labels, texts = int((said > 0).sum()), said.sum()
    mean = right.sum() / max(texts, 1.0)
    if labels <= 2 or not 0 < mean < 1:
        return 0.0 if labels <= 2 else float(texts * (labels - 2) / labels)
    met = said > 0
    distance = (said[met] * (right[met] / said[met] - mean) ** 2).sum() / (mean * (1 - mean))
    between = (distance - (labels - 1)) / (texts - (said**2).sum() / texts)
    worth = texts if between <= 1 / (texts + 1) else 1 / min(between, 1.0) - 1
    return float(worth * (labels - 2) / labels)
