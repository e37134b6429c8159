"""Compute the series that the watch follows: one number a night each, about normal, with its variance.

`shares` are the shares of the texts that got each label which is looked at, followed together. Three others speak of
content: the mean log-odds, the mean logarithm of the length in words, and the mean surprise of the words in bits, each
taken among the texts of each label and put together in the reference's proportion. So texts of a label are compared
with texts of the same label, and a night with more of one is no other content. `unknown` is the share of the tokens
that the student does not know (`tokens.py`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.stats.drift.summary import MEASURES, Reference, Summary
from understudy.stats.drift.tokens import Tokens
from understudy.stats.metrics import Codes, Floats, Interval, Z

NORMAL_QUANTILE = Z
ADDED = 3 / 8


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
class Shares:
    """A night's shares of the labels that are looked at, as angles.

    Attributes:
        values: shape (sides,).
        unit_variances: see `Point`; shape (sides,).
        texts: how many they rest on.
        degrees: see `Point`; shape (sides,).
        added: texts that were added to those of each label, and to all others, before the angle was taken; (sides,).
    """

    values: Floats
    unit_variances: Floats
    texts: float
    degrees: Codes
    added: Floats

    def interval(self, side: int, value: float, variance: float, degrees: int = 0) -> Interval:
        """Return an angle of one label as a share, with its 95% interval; see `Point` for the degrees."""
        half = quantile(degrees) * math.sqrt(variance)
        return Interval(*(self._shown(side, angle) for angle in (value, value - half, value + half)))

    def point(self, side: int) -> Point:
        """Return the angle of one label."""
        return Point(float(self.values[side]), float(self.unit_variances[side]), self.texts, int(self.degrees[side]))

    def own(self, side: int) -> Interval:
        """Return the share of one label with its 95% interval."""
        point = self.point(side)
        return self.interval(side, point.value, point.variance, point.degrees)

    def _shown(self, side: int, value: float) -> float:
        more = float(self.added[side])
        return (
            share_of(value) if not more else max(0.0, share_of(value) * (1 + 2 * more / self.texts) - more / self.texts)
        )


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
    Series("shares", "Share of a label", "share", share_of, angle),
    Series("scores", "Log-odds of a text", "", _same, _same),
    Series("lengths", "Length of a text", "words", _words, math.log1p),
    Series("vocabulary", "Surprise of a word", "bits", _same, _same),
    Series("unknown", "Tokens unknown to the student", "share", share_of, angle),
    Series("disagreement", "Disagreement with the teacher", "share", share_of, angle),
    Series("errors", "Errors that people found", "share", share_of, angle),
    Series("missed", "Texts that the first stage lost", "share", _same, _same),
)
BY_NAME: Mapping[str, Series] = {series.name: series for series in SERIES}
SHARES = "shares"
CONTENT = MEASURES
QUALITY = ("disagreement", "errors")
MISSED = "missed"
UNKNOWN = "unknown"


def points(summary: Summary, reference: Reference) -> dict[str, Point]:
    """Return a night's values of the series of content; none for a night without texts.

    Args:
        summary: of the night.
        reference: that its residuals were taken from.
    """
    return {name: content(summary, reference, name) for name in CONTENT} if summary.texts > 0 else {}


def missed(lost: int, checked: int, settled: int, texts: int) -> Point | None:
    """Return the share of a night's texts that the first stage lost; None where no settled text was checked.

    Args:
        lost: of the checked texts, those to which the student gives another label.
        checked: of the settled texts, those that the student scored too: a random sample.
        settled: texts that the first stage settled.
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


def unknown(tokens: Tokens) -> Point | None:
    """Return the share of unknown tokens as an angle; None for texts without a token.

    Its variance is the most that it can be, by groups: as if of each group all tokens were unknown, or none. What the
    nights before show of it would be too little, for one text in another language has more unknown tokens than a
    thousand others. Three eighths of such a group are added to the unknown tokens and to the known ones, for the share
    is small and often 0.

    Sources: see `shares`.
    """
    if tokens.tokens <= 0:
        return None
    effect = tokens.squares / tokens.tokens  # tokens of the group that a token is in, on average
    added = ADDED * effect
    share = (tokens.unknown + added) / (tokens.tokens + 2 * added)
    return Point(angle(share), effect * tokens.texts / tokens.tokens, tokens.texts)


def shares(summary: Summary, reference: Summary, sides: Sequence[int]) -> Shares | None:
    """Return the shares of some labels as angles; None for a night without texts.

    Their variance is 1/texts times the design effect: how much less texts of the same groups tell than independent
    ones. A share of 0 or 1, or a single group, shows no such effect, so the reference's stands in; where that has none
    either, groups of which all texts are alike.

    Args:
        summary: of the night.
        reference: of the bundle.
        sides: columns of the labels.

    Of several labels some are rare. An angle of a handful of texts is far from normal, so three eighths of a text are
    added to each, times the design effect; one label that is looked for is taken as it is.

    Sources: Kish, "Survey sampling", 1965, for the design effect; Anscombe, "The transformation of Poisson, binomial
    and negative-binomial data", 1948, for the three eighths.
    """
    if summary.texts <= 0:
        return None
    own, known = (design_effects(one)[list(sides)] for one in (summary, reference))
    largest = summary.group_squares / summary.texts  # texts of the group that a text is in, on average
    effects = np.where(own > 0, own, np.where(known > 0, known, largest))
    degrees = np.where(own > 0, summary.groups - 1, np.where(known > 0, reference.groups - 1, 0))
    added = ADDED * effects if len(sides) > 1 else np.zeros(len(sides))
    found = (summary.counts[list(sides)] + added) / (summary.texts + 2 * added)
    return Shares(np.array([angle(share) for share in found.tolist()]), effects, summary.texts, degrees, added)


def design_effects(summary: Summary) -> Floats:
    """Variance of each label's share by groups, over that of as many independent texts. Shape (labels,).

    0 where it cannot be told: for a share of 0 or 1, and for a single group.
    """
    share = summary.counts / max(summary.texts, 1.0)
    squares = summary.count_squares - 2 * share * summary.count_crosses + share**2 * summary.group_squares
    alone = share * (1 - share) * summary.texts
    is_told = (share > 0) & (share < 1) & (summary.groups > 1)
    effect = np.maximum(squares, 0.0) * _correction(summary)
    return np.divide(effect, alone, out=np.zeros(len(share)), where=is_told)


def content(summary: Summary, reference: Reference, name: str) -> Point:
    """Return the mean of a measure among the texts of each label, put together in the reference's proportion.

    A label without texts has the reference's mean. The variance is by groups: of each label's texts, times how much
    more all texts of a group vary together than those of its labels alone. Where a text may have several labels, it is
    the mean of all texts, beside what their labels let expect.

    Source: direct standardisation; its variance is the delta method's.
    """
    column = MEASURES.index(name)
    counts, count_squares = summary.strata
    mean = float(summary.residuals[:, column].sum() / summary.texts)
    within = (
        summary.residual_squares[:, column] - 2 * mean * summary.residual_crosses[:, column] + mean**2 * count_squares
    )
    together = float(
        summary.group_residual_squares[column]
        - 2 * mean * summary.group_residual_crosses[column]
        + mean**2 * summary.group_squares
    )
    share = reference.summary.strata[0] / max(reference.summary.texts, 1.0)
    weights = np.divide(share, counts, out=np.zeros(len(share)), where=counts > 0)
    alone = float(within.sum())
    factor = together / alone if alone > 0 else 1.0
    variance = max(0.0, float(weights**2 @ within) * factor) * _correction(summary)
    value = float(reference.overall[column] + weights @ summary.residuals[:, column])
    return Point(value, variance * summary.texts, summary.texts, max(0, summary.groups - 1))


def _correction(summary: Summary) -> float:
    """Return the usual correction of a variance for few groups."""
    return summary.groups / (summary.groups - 1) if summary.groups > 1 else 1.0
