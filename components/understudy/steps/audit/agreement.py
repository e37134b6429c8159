"""Measure how far two judges agree, and give all figures by label their intervals from one bootstrap."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Codes, Figure, Floats, Groups, Interval


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How a judge does on one label.

    Attributes:
        human: texts that people gave it.
        teacher: texts that the teacher gave it.
        precision: share of the teacher's that people gave it too.
        recall: share of people's that the teacher gave it too.
    """

    human: int
    teacher: int
    precision: Interval
    recall: Interval


def krippendorff_alpha(truth: Codes, given: Codes, weights: Floats | None = None, *, labels: int) -> Figure:
    """Agreement of two judges beyond chance, on labels without an order (nominal alpha); nan where all give one label.

    Of n texts the judges give 2n labels. Observed disagreement is the share of the texts that they call differently;
    expected is the share of pairs among the 2n labels, drawn without replacement, that differ. Where a text may have
    several labels, it is the mean of the labels' own (`alpha_by_label`).

    Args:
        truth: one judge's labels.
        given: the other's.
        weights: of the texts, shape (..., texts).
        labels: how many there are.

    The document's example B, two observers and twelve units with labels a to e, has alpha 0.692.

    >>> ben, gerry = (np.array(["abcde".index(sign) for sign in signs]) for signs in ("aabbdcccedda", "babbbccceddd"))
    >>> round(krippendorff_alpha(ben, gerry, labels=5), 3)
    0.692

    Source: Krippendorff, "Computing Krippendorff's alpha-reliability", 2011, examples A and B.
    """
    if np.ndim(truth) == 2:
        alphas = alpha_by_label(truth, given, weights)
        return metrics.share(np.nansum(alphas, axis=-1), (~np.isnan(alphas)).sum(axis=-1))
    counts = metrics.label_counts(truth, given, labels, weights)
    values = counts.given + counts.true
    total = values.sum(axis=-1)
    observed = 1 - metrics.share(2 * counts.right.sum(axis=-1), total)
    alike = (values * (values - 1)).sum(axis=-1)
    expected = 1 - metrics.share(alike, total * (total - 1))
    return 1 - metrics.share(observed, expected)


def alpha_by_label(truth: Codes, given: Codes, weights: Floats | None = None) -> Floats:
    """Krippendorff's alpha on whether a text has a label, of each label, shape (..., labels).

    Args:
        truth: one judge's labels, shape (texts, labels).
        given: the other's, shape (texts, labels).
        weights: of the texts, shape (..., texts).

    The document's example A, two observers and ten units with yes or no, has alpha 0.095.

    >>> one, other = (np.array([[sign == "1"] for sign in signs]) for signs in ("0100000010", "1110010000"))
    >>> alpha_by_label(one, other).round(3).tolist()
    [0.095]
    """
    counts = metrics.label_counts(truth, given, truth.shape[1], weights)
    texts = np.asarray(len(truth) if weights is None else np.sum(weights, axis=-1))[..., None]
    yes = counts.given + counts.true
    observed = metrics.share(yes - 2 * counts.right, np.broadcast_to(texts, yes.shape))
    pairs = np.broadcast_to(2 * texts * (2 * texts - 1), yes.shape)
    expected = metrics.share(2 * yes * (2 * texts - yes), pairs)
    return np.asarray(1 - metrics.share(observed, expected))


def alphas(truth: Codes, given: Codes, groups: Groups, *, samples: int, seed: int) -> list[Interval]:
    """Measure `alpha_by_label` with 95% bootstrap intervals; arguments as `figures_by_label` has them."""
    values = alpha_by_label(truth, given)
    draws = metrics.draws_of(alpha_by_label, truth, given, groups=groups, samples=samples, seed=seed)
    return [_interval(value, draws[:, label]) for label, value in enumerate(values)]


def figures_by_label(
    truth: Codes, given: Codes, groups: Groups, labels: int, *, samples: int, seed: int
) -> list[LabelFigures]:
    """Measure precision and recall of every label with 95% bootstrap intervals, all from the same resamples.

    Args:
        truth: human labels.
        given: the teacher's.
        groups: of the texts, drawn whole, shape (texts,).
        labels: how many there are.
        samples: resamples.
        seed: of the draw.

    Returns:
        one a label, in their order.
    """
    counted = _counted(truth, given, labels=labels)
    draws = metrics.draws_of(partial(_counted, labels=labels), truth, given, groups=groups, samples=samples, seed=seed)
    parts = {side: (_shares(counted, side), _shares(draws, side)) for side in (1, 2)}
    return [
        LabelFigures(
            human=int(counted[2, label]),
            teacher=int(counted[1, label]),
            precision=_interval(parts[1][0][label], parts[1][1][:, label]),
            recall=_interval(parts[2][0][label], parts[2][1][:, label]),
        )
        for label in range(labels)
    ]


def _counted(truth: Codes, given: Codes, weights: Floats | None = None, *, labels: int) -> Floats:
    """Texts given rightly, given, and true, by label, shape (..., 3, labels)."""
    counts = metrics.label_counts(truth, given, labels, weights)
    return np.stack([counts.right, counts.given, counts.true], axis=-2)


def _shares(counted: Floats, side: int) -> Floats:
    return np.asarray(metrics.share(counted[..., 0, :], counted[..., side, :]))


def _interval(value: float, draws: Floats) -> Interval:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Interval(float(value), np.nan, np.nan)
    low, high = np.quantile(known, [(1 - metrics.CONFIDENCE) / 2, (1 + metrics.CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high))
