"""The series that the watch follows: one number a night each, on a scale where it is about normal, and its variance.

`positives` is the share of texts that got the positive label. The other three speak of content: the mean log-odds, the
mean logarithm of the length in words, and the mean surprise of the words in bits, each taken among the texts of either
label and put together in the reference's proportion. So flagged texts are compared with flagged ones, and a night with
more of them is no other content.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from understudy.drift.summary import MEASURES, Summary
from understudy.metrics import Floats, Interval, Z

NORMAL_QUANTILE = Z


@dataclass(frozen=True, slots=True)
class Point:
    """A night's value of one series.

    Attributes:
        value: on the series' own scale.
        unit_variance: of the value, times the texts: what one text would have, were texts independent.
        texts: how many it rests on.
    """

    value: float
    unit_variance: float
    texts: float

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

    def interval(self, value: float, variance: float) -> Interval:
        """Return a value as people read it, with its 95% interval."""
        half = NORMAL_QUANTILE * math.sqrt(variance)
        return Interval(self.shown(value), self.shown(value - half), self.shown(value + half))


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
    return {"positives": positives(summary), **{name: content(summary, reference, name) for name in CONTENT}}


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
    Point(value=0.005, unit_variance=0.005, texts=200.0)
    """
    if not checked:
        return None
    stands_for = checked * texts / settled
    return Point(lost / stands_for, lost / stands_for, stands_for)


def positives(summary: Summary) -> Point:
    """Return the share of positives as an angle, its variance by groups; nan variance for a share of 0 or 1."""
    share = summary.sums[len(MEASURES)] / summary.texts
    direction = np.zeros(len(summary.sums))
    direction[0], direction[len(MEASURES)] = -share, 1 - share
    variance = _variance(summary, direction / summary.texts)
    spread = share * (1 - share)
    unit = variance * summary.texts / spread if spread > 0 else math.nan
    return Point(angle(float(share)), unit, summary.texts)


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
    return Point(float(value), _variance(summary, direction) * summary.texts, summary.texts)


def _variance(summary: Summary, direction: Floats) -> float:
    """Variance of a sum over groups, with the usual correction for few groups."""
    correction = summary.groups / (summary.groups - 1) if summary.groups > 1 else 1.0
    return max(0.0, float(direction @ summary.products @ direction)) * correction
