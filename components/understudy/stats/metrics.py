"""Compute metrics and their 95% intervals in plain numpy, so that the nightly image can too.

Conventions. Arrays have shape (texts,). Labels are whole numbers, the columns of the labels in the card's order; for
one label against the rest they are bools, which are the numbers 1 and 0; where a text may have several labels, or none,
they are bools of shape (texts, labels). A figure takes `weights` of shape (...,
texts) and then has shape (...): with one row of weights a resample, a bootstrap is a single product. A share of
nothing is undefined and is nan (the recall when no text is positive, the precision when no text is flagged), never an
invented 0 or 1; `defined` leaves such figures out where numbers must be finite.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Column = np.ndarray[tuple[int, ...], np.dtype[Any]]
Codes = Column  # of labels: whole numbers, or bools of one label or of each
Groups = Sequence[Any] | Column
Figure = Any  # a float; with weights of shape (resamples, texts) an array of shape (resamples,)
Statistic = Callable[..., Figure]  # statistic(*columns, weights=...), as every figure below

CELLS_AT_ONCE = 4_000_000  # of the weight matrix: 32 MB, so that a bootstrap of 100,000 texts fits a small pod
BINS = 10  # of as many texts each, for the calibration error
CONFIDENCE = 0.95
Z = 1.959963984540054  # the normal distribution's 97.5% quantile


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval, of 95% unless it says otherwise; nan where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Texts by label: those that were given it rightly, given it, and have it; each of shape (..., labels)."""

    right: Floats
    given: Floats
    true: Floats


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many texts of each kind; each field a float, or one number a resample."""

    true_positive: Figure
    false_positive: Figure
    false_negative: Figure
    true_negative: Figure


def confusion(is_positive: Bools, predicted: Bools, weights: Floats | None = None) -> Confusion:
    """Count the four kinds of answers.

    >>> confusion(np.array([True, True, False, False]), np.array([True, False, True, False]))
    Confusion(true_positive=1.0, false_positive=1.0, false_negative=1.0, true_negative=1.0)
    """
    truth, found = np.asarray(is_positive, dtype=bool), np.asarray(predicted, dtype=bool)
    return Confusion(
        _total(truth & found, weights),
        _total(~truth & found, weights),
        _total(truth & ~found, weights),
        _total(~truth & ~found, weights),
    )


def precision(is_positive: Bools, predicted: Bools, weights: Floats | None = None) -> Figure:
    """Share of the flagged texts that are positive; nan when none is flagged.

    >>> precision(np.array([True, True, False, False]), np.array([True, False, False, False]))
    1.0
    """
    counts = confusion(is_positive, predicted, weights)
    return share(counts.true_positive, counts.true_positive + counts.false_positive)


def recall(is_positive: Bools, predicted: Bools, weights: Floats | None = None) -> Figure:
    """Share of the positive texts that are flagged; nan when none is positive.

    >>> recall(np.array([True, True, False, False]), np.array([True, False, False, False]))
    0.5
    """
    counts = confusion(is_positive, predicted, weights)
    return share(counts.true_positive, counts.true_positive + counts.false_negative)


def f1(is_positive: Bools, predicted: Bools, weights: Floats | None = None) -> Figure:
    """Harmonic mean of precision and recall, as 2 tp / (2 tp + fp + fn); nan when nothing is positive or flagged.

    2 found, 1 false alarm, 1 missed: 4 / (4 + 1 + 1).

    >>> truth = np.array([True, True, True, False, False])
    >>> round(f1(truth, np.array([True, True, False, True, False])), 4)
    0.6667
    """
    counts = confusion(is_positive, predicted, weights)
    wrong = counts.false_positive + counts.false_negative
    return share(2 * counts.true_positive, 2 * counts.true_positive + wrong)


def label_counts(truth: Codes, predicted: Codes, labels: int, weights: Floats | None = None) -> LabelCounts:
    """Count by label how often it was right, given and true.

    Args:
        truth: human labels.
        predicted: labels given.
        labels: how many there are.
        weights: of the texts, shape (..., texts).

    Returns:
        each of shape (..., labels).

    >>> label_counts(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3).right.tolist()
    [1.0, 1.0, 0.0]
    >>> label_counts(np.array([[True, True]]), np.array([[True, False]]), 2).right.tolist()
    [1.0, 0.0]
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim == 2:
        ways = (truth & predicted, predicted, truth)
        return LabelCounts(*(_total_by_label(marks, weights) for marks in ways))
    truth, predicted = truth.astype(np.int64), predicted.astype(np.int64)
    is_right = truth == predicted
    if weights is None:
        counted = [
            np.bincount(codes, weights=some, minlength=labels)
            for codes, some in ((truth, is_right.astype(float)), (predicted, None), (truth, None))
        ]
        return LabelCounts(*(np.asarray(column, dtype=float) for column in counted))
    columns, given = np.eye(labels), np.asarray(weights, dtype=float)
    return LabelCounts((given * is_right) @ columns[truth], given @ columns[predicted], given @ columns[truth])


def confusion_matrix(truth: Codes, predicted: Codes, labels: int) -> Floats:
    """Count texts by true label (rows) and label given (columns), shape (labels, labels).

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    cells = np.asarray(truth, dtype=np.int64) * labels + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=labels * labels).reshape(labels, labels).astype(float)


def macro_f1(truth: Codes, predicted: Codes, weights: Floats | None = None, *, labels: int = 2) -> Figure:
    """Mean of the F1 of all labels that occur or are given.

    The positive label's F1 is 2/3; the other's: 1 found, 1 false alarm, 1 missed, 2 / (2 + 1 + 1) = 1/2.

    >>> truth = np.array([True, True, True, False, False])
    >>> round(macro_f1(truth, np.array([True, True, False, True, False])), 4)
    0.5833
    >>> round(macro_f1(np.array([0, 0, 2]), np.array([0, 2, 2]), labels=4), 4)  # 2/3 and 2/3; two labels are nowhere
    0.6667
    """
    counts = label_counts(truth, predicted, labels, weights)
    met = counts.given + counts.true
    total = np.divide(2 * counts.right, met, out=np.zeros_like(met), where=met > 0).sum(axis=-1)
    return share(total, (met > 0).sum(axis=-1))


def weighted_f1(truth: Codes, predicted: Codes, weights: Floats | None = None, *, labels: int = 2) -> Figure:
    """Mean of the F1 of all labels, each by its share of the texts.

    >>> round(weighted_f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])), 4)  # 3/4 of 4/5, and 1/4 of 2/3
    0.7667
    """
    counts = label_counts(truth, predicted, labels, weights)
    met = counts.given + counts.true
    f1s = np.divide(2 * counts.right, met, out=np.zeros_like(met), where=met > 0)
    return share((f1s * counts.true).sum(axis=-1), counts.true.sum(axis=-1))


def micro_f1(truth: Codes, predicted: Codes, weights: Floats | None = None, *, labels: int = 2) -> Figure:
    """F1 of all labels of all texts together; where each text has one label it is the accuracy.

    Two right, one false alarm, one missed: 2 * 2 / (3 + 3).

    >>> truth = np.array([[True, True], [False, True]])
    >>> round(micro_f1(truth, np.array([[True, True], [True, False]])), 4)
    0.6667
    """
    counts = label_counts(truth, predicted, labels, weights)
    met = (counts.given + counts.true).sum(axis=-1)
    return share(2 * counts.right.sum(axis=-1), met)


MEANS_OVER_LABELS = (macro_f1, weighted_f1)


def of_label(codes: Codes, label: int) -> Bools:
    """Tell which texts have a label, shape (texts,).

    >>> of_label(np.array([0, 2]), 2).tolist(), of_label(np.array([[True, False], [True, True]]), 1).tolist()
    ([False, True], [False, True])
    """
    return np.asarray(codes[:, label] if codes.ndim == 2 else codes == label)


def accuracy(truth: Codes, predicted: Codes, weights: Floats | None = None) -> Figure:
    """Share of the texts with the right label, or with exactly the right ones.

    >>> accuracy(np.array([True, False, False, False]), np.array([True, False, True, False]))
    0.75
    """
    return _mean(is_right(truth, predicted), weights)


def is_right(truth: Codes, predicted: Codes) -> Bools:
    """Tell which texts have the right label, or exactly the right ones, shape (texts,)."""
    same = np.asarray(truth) == np.asarray(predicted)
    return np.asarray(same.all(axis=1) if same.ndim == 2 else same)


def kappa(truth: Codes, predicted: Codes, weights: Floats | None = None, *, labels: int = 2) -> Figure:
    """Agreement beyond chance (Cohen's kappa); nan when both sides give one and the same label only.

    Where a text may have several labels it is that of each label's yes or no, pooled: agreement and chance are each
    averaged over the labels first, so that a rare label weighs little and one label for every text is worth 0.

    Agreement 3/4; by chance 1/4 * 2/4 + 3/4 * 2/4 = 1/2; (3/4 - 1/2) / (1 - 1/2).

    >>> kappa(np.array([True, False, False, False]), np.array([True, False, True, False]))
    0.5

    The first label as above; the second is never right, 2/4 by chance: ((3/4 + 0) / 2 - 1/2) / (1 - 1/2).

    >>> truth = np.array([[True, True], [False, True], [False, False], [False, False]])
    >>> kappa(truth, np.array([[True, False], [False, False], [True, True], [False, True]]), labels=2)
    -0.25

    Source: Cohen, "A coefficient of agreement for nominal scales", 1960; De Vries et al., "Using pooled kappa to
    summarize interrater agreement across many items", 2008.
    """
    counts = label_counts(truth, predicted, labels, weights)
    if np.ndim(truth) == 2:
        return _pooled_kappa(counts, float(len(truth)) if weights is None else np.sum(weights, axis=-1))
    texts = counts.true.sum(axis=-1)
    by_chance = share((counts.true * counts.given).sum(axis=-1), texts**2)
    return share(accuracy(truth, predicted, weights) - by_chance, 1 - by_chance)


def _pooled_kappa(counts: LabelCounts, texts: Figure) -> Figure:
    """Agreement beyond chance on the yes or no of each label, agreement and chance summed over the labels."""
    of_label = np.asarray(texts, dtype=float)[..., None]
    wrong = (counts.true + counts.given - 2 * counts.right).sum(axis=-1)
    by_chance = counts.true * (of_label - counts.given) + counts.given * (of_label - counts.true)
    return 1 - share(wrong * texts, by_chance.sum(axis=-1))


def brier(probabilities: Floats, truth: Codes, weights: Floats | None = None) -> Figure:
    """Half the mean squared distance of the probabilities from the truth; 0 is best, and 1 worst.

    With two labels it is the familiar squared distance of either one's probability. Where a text may have several
    labels it is that distance for each label, and their mean.

    Args:
        probabilities: of the labels, shape (texts, labels).
        truth: human labels.
        weights: of the texts, shape (..., texts).

    >>> round(brier(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 0])), 4)
    0.025

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950, who does not halve it.
    """
    if np.ndim(truth) == 2:
        return _mean(((probabilities - truth) ** 2).mean(axis=1), weights)
    wrong = np.array(probabilities, dtype=float)
    wrong[np.arange(len(wrong)), np.asarray(truth, dtype=np.int64)] -= 1
    return _mean((wrong**2).sum(axis=1) / 2, weights)


def log_loss(probabilities: Floats, truth: Codes, weights: Floats | None = None) -> Figure:
    """Mean of -ln(probability of the true label), probabilities kept 1e-12 from 0.

    Where a text may have several labels it is that of each label's yes or no, and their mean.

    Args:
        probabilities: of the labels, shape (texts, labels).
        truth: human labels.
        weights: of the texts, shape (..., texts).

    >>> round(log_loss(np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([1, 0])), 4)
    0.6931
    """
    if np.ndim(truth) == 2:
        right = np.where(truth, probabilities, 1 - np.asarray(probabilities))
        return _mean(-np.log(np.clip(right, 1e-12, 1)).mean(axis=1), weights)
    chance = probabilities[np.arange(len(probabilities)), np.asarray(truth, dtype=np.int64)]
    return _mean(-np.log(np.clip(chance, 1e-12, 1)), weights)


def ece(probability: Floats, is_positive: Bools, weights: Floats | None = None, bins: int = BINS) -> Figure:
    """Expected calibration error: mean distance of probability from frequency, over bins of as many texts each.

    The bins are cut by the probabilities of all the texts, whatever their weights; equal ones share a bin. What chance
    alone makes of it is `ece_floor`.

    Two texts at 0.9, one of them positive: |0.9 - 0.5| = 0.4; two at 0.1, none positive: 0.1. Mean: 0.25.

    Args:
        probability: that something is true, shape (texts,), or of each label, shape (texts, labels).
        is_positive: whether it is, same shape.
        weights: of the texts, shape (..., texts).
        bins: of equal mass.

    >>> round(ece(np.array([0.9, 0.9, 0.1, 0.1]), np.array([True, False, False, False])), 4)
    0.25
    >>> round(ece(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[True, False], [False, False]])), 4)
    0.25
    >>> round(ece(np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False]), bins=2), 4)
    0.15

    Source: Nguyen and O'Connor, "Posterior calibration and exploratory analysis for natural language processing
    models", 2015.
    """
    excess = probability - np.asarray(is_positive, dtype=float)
    place = mass_index(probability, bins)
    distance = sum(abs(_total(_by_text(excess * (place == number)), weights)) for number in range(bins))
    return share(distance, _total(_by_text(np.ones(excess.shape)), weights))


def ece_floor(
    probability: Floats, weights: Floats | None = None, bins: int = BINS, samples: int = 300, seed: int = 0
) -> float:
    """Return the calibration error that chance alone gives so many texts: the mean of `ece` where each claim holds.

    What is true is drawn by the probabilities themselves, so they are calibrated, and what is measured is noise. Four
    texts of 0.5 in one bin: 0, 1/4 or 1/2 off with chances 6, 8 and 2 of 16, 3/16 in the mean.

    Args:
        probability: as of `ece`; at least one.
        weights: of the probabilities, same shape.
        bins: of equal mass.
        samples: how often the truth is drawn.
        seed: of the draw.

    >>> round(ece_floor(np.full(4, 0.5), samples=10_000), 2)
    0.19

    Source: Roelofs et al., "Mitigating bias in calibration error estimation", 2022, for the bias that this measures.
    """
    claims, place = np.ravel(probability), mass_index(probability, bins).ravel()
    counted = np.ones(len(claims)) if weights is None else np.ravel(weights)
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(place, counted * (claims - (rng.random(len(claims)) < claims)), bins) for _ in range(samples))
    return float(np.mean([np.abs(gaps).sum() for gaps in drawn]) / counted.sum())


def mass_index(probability: Floats, bins: int) -> Column:
    """Which of `bins` parts of as many texts each probability lies in; equal ones lie in one part. Same shape.

    >>> mass_index(np.array([0.9, 0.1, 0.2, 0.2]), 4).tolist()
    [3, 0, 1, 1]
    """
    _, index, counts = np.unique(probability, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    return np.asarray((below * bins // max(1, np.size(probability)))[index].reshape(np.shape(probability)))


def bin_index(probability: Floats, bins: int) -> Column:
    """Which of `bins` equal parts of [0, 1] each probability lies in; 1 belongs to the last. Shape (texts,).

    >>> bin_index(np.array([0.0, 0.1, 0.95, 1.0]), 10).tolist()
    [0, 1, 9, 9]
    """
    found: Column = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    return found


def average_precision(scores: Floats, is_positive: Bools) -> float:
    """Area under the precision-recall curve: precision at each distinct score, weighted by the recall it adds.

    Needs no threshold and no calibration, so it can stop a training whose class balance differs from validation's.
    Texts of one score stand or fall together; 0 when no text is positive.

    >>> average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True])).__round__(3)
    0.833
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last text of each distinct score
    found = np.cumsum(is_positive[order])[ends]
    added = np.diff(found, prepend=0)
    return float((found / (ends + 1)) @ added / found[-1]) if is_positive.any() else 0.0


def mean_average_precision(scores: Floats, truth: Codes, labels: Sequence[int]) -> float:
    """Mean of the average precision of labels that have texts, each against the rest; 0 when none has any.

    Args:
        scores: of each of the labels, shape (texts, those labels).
        truth: human labels.
        labels: columns of the labels that are looked at.

    >>> mean_average_precision(np.array([[0.9], [0.1]]), np.array([1, 0]), [1])
    1.0
    """
    found = [
        average_precision(scores[:, place], is_own)
        for place, label in enumerate(labels)
        if (is_own := of_label(truth, label)).any()
    ]
    return float(np.mean(found)) if found else 0.0


def wilson(successes: float, trials: float) -> Interval:
    """A share with its 95% score interval; (nan, 0, 1) when nothing was tried.

    12 of 41: share 0.2927, centre (0.2927 + 3.8415/82) / (1 + 3.8415/41) = 0.3104, half width 0.1344.

    >>> found = wilson(12, 41)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.293, 0.176, 0.445)

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if trials <= 0:
        return Interval(math.nan, 0.0, 1.0)
    value, squared = successes / trials, Z * Z / trials
    centre = (value + squared / 2) / (1 + squared)
    half = Z * math.sqrt(value * (1 - value) / trials + squared / (4 * trials)) / (1 + squared)
    return Interval(value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half)))


def bootstrap(
    statistic: Statistic,
    *columns: Column,
    groups: Groups,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """A figure with its interval, by drawing whole groups with replacement.

    Args:
        statistic: a figure of this module, or any function that takes the same columns and `weights`.
        columns: what the figure takes, each of shape (texts,).
        groups: the group of each text, shape (texts,): texts of one review or thread are not independent.
        samples: number of resamples. Those where the figure is undefined are left out.
        seed: of the draw; the same seed draws the same groups, so that figures can be compared.
        confidence: of the interval.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, the percentile interval; for means over
    labels Davison and Hinkley, "Bootstrap methods and their application", 1997, the basic one (`draws_of`).
    """
    value = float(statistic(*columns))
    return interval_of(value, draws_of(statistic, *columns, groups=groups, samples=samples, seed=seed), confidence)


def paired_bootstrap(
    statistic: Statistic,
    truth: Column,
    first: Column,
    second: Column,
    groups: Groups,
    *,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[Interval, float]:
    """Compare two answers to the same texts: statistic(truth, first) - statistic(truth, second).

    Both are drawn in the same groups, so what is hard for both cancels.

    Returns:
        The difference with its interval, and the share of resamples where it is above 0 (ties count half): the
        chance that the first is better.
    """

    def difference(weights: Floats | None = None) -> Figure:
        return statistic(truth, first, weights=weights) - statistic(truth, second, weights=weights)

    value, draws = float(difference()), _resampled(groups, samples, seed, difference)
    if is_over_labels(statistic):
        draws = 2 * value - draws
    return interval_of(value, draws, confidence), chance_above(draws, 0.0)


def resample_weights(groups: Groups, samples: int, seed: int) -> Iterator[Floats]:
    """Draw whole groups with replacement; how often each text is drawn. Blocks of shape (some resamples, texts)."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if not len(names):
        yield np.zeros((samples, 0))
        return
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS_AT_ONCE // max(1, len(index)))
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        drawn = rng.integers(len(names), size=(count, len(names))) + np.arange(count)[:, None] * len(names)
        times = np.bincount(drawn.ravel(), minlength=count * len(names)).reshape(count, len(names))
        yield times[:, index].astype(float)


def chance_above(draws: Floats, limit: float) -> float:
    """Share of the draws above a limit, ties counting half; nan when none is defined.

    >>> chance_above(np.array([0.2, 0.0, -0.1, 0.3]), 0.0)
    0.625
    """
    known = draws[~np.isnan(draws)]
    return float(np.mean((known > limit) + 0.5 * (known == limit))) if len(known) else math.nan


def draws_of(statistic: Statistic, *columns: Column, groups: Groups, samples: int = 1000, seed: int = 0) -> Floats:
    """The resampled figures themselves, shape (samples,), for questions that an interval does not answer.

    Means over labels are reflected about their value: a resample lacks some of the texts of rare labels, so its mean
    lies as far below the value as that does below the truth, and with 77 labels most percentile intervals would.

    >>> truth = np.array([0, 0, 1, 1])
    >>> draws = draws_of(macro_f1, truth, np.array([0, 0, 1, 0]), groups=np.arange(4), samples=200)
    >>> bool(draws.mean() > macro_f1(truth, np.array([0, 0, 1, 0])))
    True
    """
    draws = _resampled(groups, samples, seed, lambda weights: statistic(*columns, weights=weights))
    return reflected(draws, float(statistic(*columns))) if is_over_labels(statistic) else draws


def reflected(draws: Floats, value: float) -> Floats:
    """Turn resamples of a share about its value, for the basic interval in place of the percentile one.

    >>> reflected(np.array([0.4, 0.55, 0.1]), 0.5).round(2).tolist()
    [0.6, 0.45, 0.9]
    """
    return np.clip(2 * value - draws, 0.0, 1.0)


def is_over_labels(statistic: Statistic) -> bool:
    """Tell whether a figure is a mean over labels, by itself or with its number of labels filled in.

    >>> from functools import partial
    >>> is_over_labels(partial(macro_f1, labels=3)), is_over_labels(f1)
    (True, False)
    """
    return getattr(statistic, "func", statistic) in MEANS_OVER_LABELS


def defined(figures: Mapping[str, float]) -> dict[str, float]:
    """Keep the figures that are finite numbers, as plain floats.

    >>> defined({"recall": float("nan"), "f1": np.float64(0.5)})
    {'f1': 0.5}
    """
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def as_record(interval: Interval, decimals: int = 6) -> dict[str, float | None]:
    """Write an interval for JSON: rounded, and none where it is undefined.

    >>> as_record(Interval(0.5, float("nan"), 2 / 3))
    {'value': 0.5, 'low': None, 'high': 0.666667}
    """
    values = asdict(interval)
    return {name: round(float(value), decimals) if math.isfinite(value) else None for name, value in values.items()}


def share(part: Figure, whole: Figure) -> Figure:
    """Divide, and nan where whole is 0.

    >>> share(1.0, 4.0), share(0.0, 0.0)
    (0.25, nan)
    """
    if np.ndim(whole) == 0:
        return float(part) / float(whole) if whole else math.nan
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) != 0)


def _by_text(values: Floats) -> Floats:
    """Add up what a text has of each label, shape (texts,)."""
    return np.asarray(values.sum(axis=1) if values.ndim == 2 else values)


def _total(column: Column, weights: Floats | None) -> Figure:
    values = np.asarray(column, dtype=float)
    return float(values.sum()) if weights is None else np.asarray(weights, dtype=float) @ values


def _total_by_label(marks: Bools, weights: Floats | None) -> Floats:
    """Count bools of shape (texts, labels) by label, shape (..., labels)."""
    values = marks.astype(float)
    return np.asarray(values.sum(axis=0) if weights is None else np.asarray(weights, dtype=float) @ values)


def _mean(column: Column, weights: Floats | None) -> Figure:
    return share(_total(column, weights), _total(np.ones(len(column)), weights))


def _resampled(groups: Groups, samples: int, seed: int, figure: Callable[[Floats], Figure]) -> Floats:
    return np.concatenate([np.atleast_1d(figure(weights)) for weights in resample_weights(groups, samples, seed)])


def interval_of(value: float, draws: Floats, confidence: float = CONFIDENCE) -> Interval:
    """Put a figure beside the middle 95% of its resamples, or another share; those that are undefined are left out.

    >>> round(interval_of(0.5, np.array([0.0, 0.5, 1.0, np.nan])).low, 6)
    0.025
    """
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))
