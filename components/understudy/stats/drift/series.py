"""Compute the series that the watch follows: one number a night each, about normal, with its variance.

`positives` is the share of texts that got the positive label. The other three speak of content: the mean log-odds, the
mean logarithm of the length in words, and the mean surprise of the words in bits, each taken among the texts of either
label and put together in the reference's proportion. So flagged texts are compared with flagged ones, and a night with
more of them is no other content.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from understudy.stats.drift.summary import MEASURES, Summary
from understudy.stats.metrics import Floats, Interval, Z

NORMAL_QUANTILE = Z


@dataclass(frozen=True, slots=True)
class Point:
    """A night's value of one series.

    Attributes:
        value: on the series' own scale.
        unit_variance: of the value, times the texts: what one text would have, were texts independent.
        texts: how many it rests on.
        degrees: groups that the variance was taken from, less one; 0 where it is as good as known.
    """

    value: float
    unit_variance: float
    texts: float
    degrees: int = 0

    @property
    def variance(self) -> float:
        """Of the value."""
        return self.unit_variance / self.texts


@dataclass(frozen=True, slots=True)
class Series:
    """A series: what it is called, and how its scale is read.

    Attributes:
        name: of the series.
        title: in words.
        unit: written behind the value; "share" is written in percent.
        shown: from the scale to what people read.
        scaled: and back.
    """

    name: str
    title: str
    unit: str
    shown: Callable[[float], float]
    scaled: Callable[[float], float]

    def interval(self, value: float, variance: float, degrees: int = 0) -> Interval:
        """Return a value as people read it, with its 95% interval; see `Point` for the degrees."""
        half = quantile(degrees) * math.sqrt(variance)
        return Interval(self.shown(value), self.shown(value - half), self.shown(value + half))


def quantile(degrees: int) -> float:
    """Return how many standard errors a 95% interval reaches to either side, by degrees of freedom; 0 for the normal's.

    >>> round(quantile(15), 3), round(quantile(0), 3)  # 16 groups; a variance that is known
    (2.131, 1.96)

    Source: Student, "The probable error of a mean", 1908.
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975)) if degrees else NORMAL_QUANTILE


def angle(share: float) -> float:
    """Put a share on a scale where its variance is about 1/texts, whatever the share is.

    >>> round(angle(0.5), 4), angle(0.0)
    (1.5708, 0.0)

    Source: Anscombe, "The transformation of Poisson, binomial and negative-binomial data", 1948.
    """
    return 2 * math.asin(math.sqrt(min(1.0, max(0.0, share))))


def share_of(value: float) -> float:
    """Return the share at an angle.

    >>> round(share_of(angle(0.08)), 6), share_of(-0.1), share_of(4.0)
    (0.08, 0.0, 1.0)
    """
    return math.sin(min(math.pi, max(0.0, value)) / 2) ** 2


def _same(value: float) -> float:
    return value


def _words(value: float) -> float:
    return math.exp(value) - 1


SERIES = (
    Series("positives", "Share of positives", "share", share_of, angle),
    Series("scores", "Log-odds of a text", "", _same, _same),
    Series("lengths", "Length of a text", "words", _words, math.log1p),
    Series("vocabulary", "Surprise of a word", "bits", _same, _same),
    Series("disagreement", "Disagreement with the teacher", "share", share_of, angle),
    Series("errors", "Errors that people found", "share", share_of, angle),
    Series("missed", "Texts that the first stage lost", "share", _same, _same),
)
BY_NAME: Mapping[str, Series] = {series.name: series for series in SERIES}
NIGHTLY = ("positives", "scores", "lengths", "vocabulary")
CONTENT = ("scores", "lengths", "vocabulary")
QUALITY = ("disagreement", "errors")
MISSED = "missed"


def points(summary: Summary, reference: Summary) -> dict[str, Point]:
    """Return a night's values of the nightly series; none for a night without texts.

    Args:
        summary: of the night.
        reference: of the bundle: its shares of the labels, and what stands in for a label without texts.
    """
    if summary.texts <= 0:
        return {}
    return {"positives": positives(summary, reference), **{name: content(summary, reference, name) for name in CONTENT}}


def missed(lost: int, checked: int, settled: int, texts: int) -> Point | None:
    """Return the share of a night's texts that the first stage lost; None where no settled text was checked.

    Args:
        lost: of the checked texts, those that the student calls positive.
        checked: of the settled texts, those that the student scored too: a random sample.
        settled: texts that the first stage took for negatives.
        texts: of the night.

    Returns:
        the share; it rests on as many texts as the checked ones stand for, of which `lost` is the Poisson count.

    >>> missed(lost=1, checked=100, settled=500, texts=1000)  # half of the texts are settled: 1 in 200
    Point(value=0.005, unit_variance=0.005, texts=200.0, degrees=0)
    """
    if not checked:
        return None
    stands_for = checked * texts / settled
    return Point(lost / stands_for, lost / stands_for, stands_for)


def positives(summary: Summary, reference: Summary) -> Point:
    """Return the share of positives as an angle.

    Its variance is 1/texts times the design effect: how much less texts of the same groups tell than independent ones.
    A share of 0 or 1, or a single group, shows no such effect, so the reference's stands in; where that has none
    either, groups of which all texts are alike.

    Source: Kish, "Survey sampling", 1965, for the design effect.
    """
    value = angle(_share(summary))
    for known in (summary, reference):
        if effect := design_effect(known):
            return Point(value, effect, summary.texts, known.groups - 1)
    return Point(value, _largest_effect(summary), summary.texts)


def design_effect(summary: Summary) -> float:
    """Variance of the share of positives by groups, over that of as many independent texts.

    0 where it cannot be told: for a share of 0 or 1, and for a single group.
    """
    share = _share(summary)
    if not 0 < share < 1 or summary.groups < 2:
        return 0.0
    direction = np.zeros(len(summary.sums))
    direction[0], direction[len(MEASURES)] = -share, 1 - share
    return _variance(summary, direction / summary.texts) * summary.texts / (share * (1 - share))


def _share(summary: Summary) -> float:
    return float(summary.sums[len(MEASURES)] / summary.texts)


def _largest_effect(summary: Summary) -> float:
    """Texts of the group that a text is in, on average."""
    either = np.zeros(len(summary.sums))
    either[0] = either[len(MEASURES)] = 1.0
    return float(either @ summary.products @ either) / summary.texts


def content(summary: Summary, reference: Summary, name: str) -> Point:
    """Return the mean of a measure among the texts of either label, put together in the reference's proportion.

    Source: direct standardisation; its variance is the delta method's, by groups.
    """
    column, value = MEASURES.index(name), 0.0
    direction = np.zeros(len(summary.sums))
    for start in (0, len(MEASURES)):
        share = reference.sums[start] / reference.texts
        texts = summary.sums[start]
        mean = (summary.sums if texts > 0 else reference.sums)[start + column] / (
            texts or max(reference.sums[start], 1.0)
        )
        value += share * mean
        if texts > 0:
            direction[start + column] += share / texts
            direction[start] -= share * mean / texts
    unit_variance = _variance(summary, direction) * summary.texts
    return Point(float(value), unit_variance, summary.texts, max(0, summary.groups - 1))


def _variance(summary: Summary, direction: Floats) -> float:
    """Variance of a sum over groups, with the usual correction for few groups."""
    correction = summary.groups / (summary.groups - 1) if summary.groups > 1 else 1.0
    return max(0.0, float(direction @ summary.products @ direction)) * correction
