"""Compare two judges on the same texts: by McNemar's exact test, or flipped signs where texts go together in groups.

And how many texts it would take to tell them apart.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from understudy.stats.metrics import Bools, Floats, Groups, Interval, Z

ALPHA, POWER = 0.05, 0.8  # two-sided; the share of repetitions in which a true difference of this size would be told
MOST_TEXTS = 100_000  # beyond it no number of texts is named
MOST_TRIED, FLIPS = 13, 10_000  # groups whose signs are all tried, and signs by lot for more
NEVER = 1e-9  # numbers of discordant texts that are rarer in one tail are left out of a sum


@dataclass(frozen=True, slots=True)
class Paired:
    """Two judges on the same texts: how many both have right, one alone, and neither.

    Attributes:
        texts: all of them.
        both: that both have right.
        first: that the first judge alone has right.
        second: that the second alone has right.
        gaps: of each group, texts that the first alone has right minus those of the second, where a group has several
            texts and the two differ; empty where each text stands for itself.
    """

    texts: int
    both: int
    first: int
    second: int
    gaps: tuple[int, ...] = ()

    @classmethod
    def of(cls, first_right: Bools, second_right: Bools, groups: Groups | None = None) -> "Paired":
        """Count the texts, each of which stands in both columns, shape (texts,).

        Args:
            first_right: what the first judge has right.
            second_right: what the second has right.
            groups: texts of one group go together; each text is one of its own by default.

        >>> Paired.of(np.array([True, True, False]), np.array([True, False, False]))
        Paired(texts=3, both=1, first=1, second=0, gaps=())
        """
        both = int((first_right & second_right).sum())
        counts = len(first_right), both, int(first_right.sum()) - both, int(second_right.sum()) - both
        if groups is None or len(np.unique(groups)) == len(groups):
            return cls(*counts)
        place = np.unique(groups, return_inverse=True)[1]
        gaps = np.bincount(place, first_right.astype(int) - second_right.astype(int))
        return cls(*counts, tuple(int(gap) for gap in gaps[gaps != 0]))

    @property
    def discordant(self) -> int:
        """Texts that one of them alone has right: only these tell the two apart."""
        return self.first + self.second

    @property
    def p(self) -> float:
        """McNemar's exact p, two-sided: as if a fair coin had decided who has each discordant text right.

        Where texts go together in groups, the coin decides on each group as a whole (`sign_flip_p`).

        Four of four by a fair coin: 2 / 2^4.

        >>> Paired(texts=30, both=26, first=4, second=0).p
        0.125

        Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        1947; exact by the binomial distribution.
        """
        from scipy.stats import binomtest

        if self.gaps:
            return sign_flip_p(self.gaps)
        return float(binomtest(self.first, self.discordant).pvalue) if self.discordant else 1.0

    @property
    def spread(self) -> float:
        """How many texts in groups tell as much as one that stands for itself, at least 1: the design effect.

        It is the variance of the gap by groups over that by texts. Two groups of three texts, all of one judge: 3.

        >>> Paired(texts=60, both=54, first=3, second=3, gaps=(3, -3)).spread
        3.0
        """
        return max(1.0, sum(gap**2 for gap in self.gaps) / max(1, self.discordant))

    def difference(self) -> Interval:
        """Return the share that the first has right minus the second's, with its 95% interval.

        >>> found = Paired(texts=30, both=26, first=4, second=0).difference()
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.133, -0.005, 0.255)

        Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", 2005: half a
        text is added to each of the four kinds.
        """
        total, gap, apart = (n / self.spread for n in (self.texts, self.first - self.second, self.discordant))
        centre = gap / (total + 2)
        half = Z * math.sqrt(apart + 1 - gap**2 / (total + 2)) / (total + 2)
        return Interval(gap / total, max(-1.0, centre - half), min(1.0, centre + half))

    def is_alike(self, margin: float) -> bool:
        """Whether the two certainly differ by less than a margin, a share of the texts."""
        found = self.difference()
        return max(abs(found.low), abs(found.high)) < margin

    def power(self, texts: int, margin: float = 0.0) -> float:
        """Return the chance that so many texts decide, if the two differ as was seen.

        They decide where McNemar's exact test tells the two apart, or both are certainly within a margin (`is_alike`).
        Texts in groups count as so many less as `spread` says.
        Of 30 texts with 4 : 0, six or more must be discordant for p < 0.05, and all of them on one side.

        Args:
            texts: how many.
            margin: below which two judges are alike, a share of the texts; with 0 none are.

        >>> round(Paired(texts=30, both=26, first=4, second=0).power(30), 3)
        0.203
        """
        from scipy.stats import binom

        texts = int(texts / self.spread)
        share, own = self.discordant / self.texts, self.first / max(1, self.discordant)
        apart = np.arange(binom.ppf(NEVER, texts, share), binom.isf(NEVER, texts, share) + 1)
        most = binom.ppf(ALPHA / 2, apart, 0.5)  # where the tail first reaches half of alpha: rejected are those below
        most = np.where(binom.cdf(most, apart, 0.5) <= ALPHA / 2, most, most - 1)
        told = np.where(most >= 0, binom.cdf(most, apart, own) + binom.sf(apart - most - 1, apart, own), 0.0)
        widest = _widest_gap(apart, texts, margin)
        least = np.floor((apart - widest) / 2)
        alike = np.where(widest > 0, binom.cdf(np.ceil((apart + widest) / 2) - 1, apart, own), 0.0)
        alike -= np.where(widest > 0, binom.cdf(least, apart, own), 0.0)
        # told lie outside, alike inside of a gap: where they meet, all are decided
        return float((binom.pmf(apart, texts, share) * np.minimum(1.0, told + alike)).sum())

    def texts_to_tell(self, margin: float) -> int | None:
        """Return how many texts would say which is better, or that they are alike, if they differ as was seen.

        With 4 : 0 of 30 texts, 58 tell the two apart with a chance of 0.8.

        Args:
            margin: below which two judges are alike, a share of the texts.

        Returns:
            the least number that decides with a chance of `POWER`, None where it is beyond `MOST_TEXTS`.

        >>> Paired(texts=30, both=26, first=4, second=0).texts_to_tell(margin=0.02)
        58
        """
        return least_texts(lambda texts: self.power(texts, margin) >= POWER)


def _widest_gap(apart: Floats, texts: int, margin: float) -> Floats:
    """Return the gap |first - second| below which `Paired.is_alike` holds; 0 where it never does.

    It solves gap + Z sqrt(apart + 1 - gap^2 / (texts + 2)) = margin (texts + 2).

    Args:
        apart: discordant texts, shape (numbers,).
        texts: all of them.
        margin: a share of the texts.

    >>> round(float(_widest_gap(np.array([40.0]), 1000, 0.03)[0]), 1)
    17.6
    """
    most, bend = margin * (texts + 2), 1 + Z**2 / (texts + 2)
    root = np.sqrt(np.maximum(0.0, most**2 - bend * (most**2 - Z**2 * (apart + 1))))
    return np.where(most**2 > Z**2 * (apart + 1), (most - root) / bend, 0.0)


def sign_flip_p(gaps: Sequence[int]) -> float:
    """Return the two-sided p of a sum of gaps, as if a fair coin had decided on the sign of each.

    All signs of up to 13 gaps are tried, of more 10,000 by lot, those seen among them. Of three gaps, 2 of 8 signs
    make a sum as large as 3 + 2 + 2.

    >>> sign_flip_p([3, 2, 2])
    0.25
    """
    sizes = np.abs(np.array(gaps))
    if len(sizes) <= MOST_TRIED:
        signs = np.array(list(product([-1, 1], repeat=len(sizes))))
        return float((np.abs(signs @ sizes) >= abs(sum(gaps))).mean())
    signs = np.random.default_rng(0).integers(0, 2, (FLIPS, len(sizes)), dtype=np.int8) * 2 - 1
    return float(((np.abs(signs @ sizes) >= abs(sum(gaps))).sum() + 1) / (FLIPS + 1))


def least_texts(is_enough: Callable[[int], bool], most: int = MOST_TEXTS) -> int | None:
    """Find the least number that is enough, where all above it are, by bisection; None where even the most is not.

    >>> least_texts(lambda texts: texts >= 59), least_texts(lambda texts: False, most=8)
    (59, None)
    """
    enough = 1
    while not is_enough(enough):
        if enough >= most:
            return None
        enough = min(2 * enough, most)
    below = enough // 2
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if is_enough(middle) else (middle, enough)
    return enough
