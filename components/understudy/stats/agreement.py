"""Measure how far people agree who labelled the same texts, any number of them, each some of the texts."""

import numpy as np

from understudy.stats.metrics import Figure, Floats, share


def nominal_alpha(votes: Floats, weights: Floats | None = None) -> Figure:
    """Agreement beyond chance of any number of annotators, on labels without an order; nan where all give one label.

    A text that fewer than two labelled pairs with nothing, and does not count. Observed disagreement is the share of
    the pairs of labels within a text that differ, each text counting by its labels; expected is the same among all
    labels, whoever gave them and to whatever text.

    Args:
        votes: how many gave each label to each text, shape (texts, labels).
        weights: of the texts, shape (..., texts).

    The document's example C: four observers, twelve units, answers missing, labels 1 to 5; alpha is 0.743.

    >>> units = [[1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
    ...          [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3]]
    >>> votes = np.array([[unit.count(label) for label in range(1, 6)] for unit in units])
    >>> round(float(nominal_alpha(votes)), 3)
    0.743

    Source: Krippendorff, "Computing Krippendorff's alpha-reliability", 2011, example C.
    """
    given = votes.sum(axis=1)
    is_paired = given >= 2
    counts, given = votes[is_paired].astype(float), given[is_paired].astype(float)
    each = np.ones(len(counts)) if weights is None else np.asarray(weights)[..., is_paired]
    differing = (counts * (given[:, None] - counts)).sum(axis=1) / (given - 1)
    values = each @ counts
    total = values.sum(axis=-1)
    observed = share(each @ differing, total)
    expected = share((values * (total[..., None] - values)).sum(axis=-1), total * (total - 1))
    return np.asarray(1 - share(observed, expected))[()]
