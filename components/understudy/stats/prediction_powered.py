"""Estimate precision, recall and F1 from few human labels and a teacher's answers to many texts.

Human labels say what is true, the teacher's answers to all texts say how the labelled ones differ from the others.
What people and teacher disagree on is measured on the labelled texts, so a bad teacher biases nothing: its weight goes
to 0.

Texts are parted by stratum and by what the classifier says. In each part the share of positive texts is people's, less
the weight times what the teacher finds too many among the labelled texts. One weight for all that is flagged and one
for the rest make the variance least, shrunk by what estimating them costs; the figures follow by the delta method, and
their intervals on the scale of log-odds.

Source: Angelopoulos, Duchi and Zrnic, "PPI++: efficient prediction-powered inference", 2023; Fisch et al., "Stratified
prediction-powered inference for hybrid language model evaluation", 2024; Cochran, "Sampling techniques", 1977.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from understudy.stats.metrics import Bools, Codes, Floats, Interval, Z, share

FEWEST = 5  # labelled texts of a part; smaller ones go together with the next stratum's


@dataclass(frozen=True, slots=True)
class Part:
    """Positive texts of all that the classifier flags, or of all that it does not, as shares of all texts.

    Attributes:
        texts: share of all texts that lie in the part.
        positive: share of all texts that lie in it and are positive.
        variance: of that.
    """

    texts: float
    positive: float
    variance: float


def estimate(
    is_flagged: Bools, teacher: Floats, strata: Codes, labelled: Codes, is_positive: Bools, *, most_weight: float = 1.0
) -> dict[str, Interval]:
    """Estimate the figures of a classifier on all texts, with 95% intervals.

    Args:
        is_flagged: by the classifier, shape (texts,).
        teacher: the chance that a text is positive by the teacher, 0 or 1 where it only says so, shape (texts,).
        strata: within which the labelled texts were drawn by lot, whole numbers, shape (texts,).
        labelled: places of the texts that people labelled, shape (labelled texts,).
        is_positive: what people say of these, same shape.
        most_weight: of the teacher; with 0 people's labels alone count.

    Returns:
        precision, recall and f1; nan where nothing flagged, or nothing else, was labelled.

    Half of 8 texts are flagged; all but the last are labelled, and the teacher is right:

    >>> flagged, truth = np.arange(8) < 4, np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    >>> found = estimate(flagged, truth.astype(float), np.zeros(8, dtype=int), np.arange(7), truth[:7])
    >>> round(found["precision"].value, 2), round(found["recall"].value, 2), round(found["f1"].value, 2)
    (0.75, 1.0, 0.86)
    """
    own, rest = (_part(side, teacher, strata, labelled, is_positive, most_weight) for side in (is_flagged, ~is_flagged))
    positive, both = own.positive + rest.positive, own.texts + own.positive + rest.positive
    return {
        "precision": _interval(share(own.positive, own.texts), own, rest, share(1.0, own.texts), 0.0),
        "recall": _interval(
            share(own.positive, positive),
            own,
            rest,
            share(rest.positive, positive**2),
            -share(own.positive, positive**2),
        ),
        "f1": _interval(
            share(2 * own.positive, both),
            own,
            rest,
            share(2 * (own.texts + rest.positive), both**2),
            -share(2 * own.positive, both**2),
        ),
    }


def _interval(value: float, own: Part, rest: Part, own_slope: float, rest_slope: float) -> Interval:
    """Put a figure between its ends, by its slopes to what is positive in the two parts."""
    variance = own_slope**2 * own.variance + (rest_slope**2 * rest.variance if rest_slope else 0.0)
    if not math.isfinite(variance):
        return Interval(math.nan, 0.0, 1.0)
    half = Z * math.sqrt(variance)
    if not 0 < value < 1:
        return Interval(value, max(0.0, value - half), min(1.0, value + half))
    odds, spread = value / (1 - value), math.exp(half / (value * (1 - value)))
    return Interval(value, odds / spread / (1 + odds / spread), 1 - 1 / (1 + odds * spread))


def _part(side: Bools, teacher: Floats, strata: Codes, labelled: Codes, is_positive: Bools, most: float) -> Part:
    """Estimate the positive texts among those of one side."""
    is_labelled = side[labelled]
    texts = float(side.mean())
    if not side.any() or not is_labelled.any():
        return Part(texts, math.nan if side.any() else 0.0, math.nan if side.any() else 0.0)
    places, truth = labelled[is_labelled], is_positive[is_labelled].astype(float)
    cells = list(_cells(strata, side, places))
    drawn = [np.isin(strata[places], cell) for cell in cells]
    weight = np.array([float((side & np.isin(strata, cell)).mean()) for cell in cells])
    said = [teacher[places[inside]] for inside in drawn]
    found = [truth[inside] for inside in drawn]
    whole = [teacher[side & np.isin(strata, cell)] for cell in cells]
    costs = weight**2 / np.array([len(one) for one in found])
    pull = _pull(found, said, costs, len(truth), most)
    gaps = np.array([one.mean() - every.mean() for one, every in zip(said, whole, strict=True)])
    shares = np.array([one.mean() for one in found]) - pull * gaps
    left = [one - pull * other for one, other in zip(found, said, strict=True)]
    spread = _spread(found, left, costs) + pull**2 * costs * [
        float(every.var()) * len(one) / len(every) for one, every in zip(found, whole, strict=True)
    ]
    return Part(texts, float(np.clip(weight @ shares, 0.0, texts)), float(spread.sum()))


def _cells(strata: Codes, side: Bools, places: Codes) -> Iterator[list[int]]:
    """Put strata together, in their order, until each has some labelled texts."""
    waiting: list[int] = []
    cells: list[list[int]] = []
    for stratum in np.unique(strata[side]).tolist():
        waiting.append(stratum)
        if np.isin(strata[places], waiting).sum() >= FEWEST:
            cells.append(waiting)
            waiting = []
    if waiting and cells:
        cells[-1] += waiting
    elif waiting:
        cells = [waiting]
    yield from cells


def _pull(found: list[Floats], said: list[Floats], costs: Floats, labelled: int, most: float) -> float:
    """Return the weight of the teacher that makes the variance least, shrunk by what estimating it costs."""
    pairs = list(zip(found, said, costs.tolist(), strict=True))
    own, others = (sum(cost * one[place].var() for *one, cost in pairs) for place in (0, 1))
    together = sum(cost * float(np.mean((a - a.mean()) * (b - b.mean()))) for a, b, cost in pairs)
    if not own > 0 or not others > 0:
        return 0.0
    explained = together**2 / (own * others)
    kept = max(0.0, 1 - (1 - explained) / (max(1, labelled - 2) * explained)) if explained > 0 else 0.0
    return float(np.clip(kept * together / others, 0.0, most))


def _spread(found: list[Floats], left: list[Floats], costs: Floats) -> Floats:
    """Return the variance that each cell brings in, at least what half a text more and half a text less would.

    Of a cell without any positive text nothing would be left else, and the interval would be too short.
    """
    own = np.array([one.var() for one in found])
    rest = np.array([one.var(ddof=1) if len(one) > 1 else 1.0 for one in left])
    unexplained = min(1.0, share(float(costs @ [one.var() for one in left]), float(costs @ own))) if own.any() else 1.0
    smooth = np.array([(one.sum() + 0.5) / (len(one) + 1) for one in found])
    return np.asarray(costs * np.maximum(rest, unexplained * smooth * (1 - smooth)))
