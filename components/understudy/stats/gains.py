"""Say what a cycle of labels gained, and what the next labels would buy: paired resamples, and a fitted learning curve.

Every cycle's student answers the same validation texts, and all of them are resampled together: what is hard for each
cancels. The curve is figure = top - fall * labels^-bend. Few cycles do not say how it bends, so each resample takes one
of a grid of bends by how well it fits; the interval of what comes next is over resamples and bends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from understudy.stats.metrics import Codes, Floats, Groups, Interval, Statistic, draws_of, interval_of

Verdict = Literal["yes", "no", "cannot tell"]
MARGIN = 0.01  # a gain below it does not pay for a cycle, in points of the figure
DOUBT = 0.05  # chance of being wrong with which a question counts as answered
ONE_SIDED_Z = 1.6448536269514722  # the normal distribution's 95% quantile
NOISE = (
    0.01  # standard deviation of the figure between trainings that differ by their seed alone; assumed, not measured
)
BENDS = np.geomspace(0.1, 2.0, 24)
FEWEST_CYCLES = 3  # two points lie on every curve
MOST_TEXTS = 100_000  # beyond it no number of texts is named
SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Gain:
    """What one cycle gained over the one before.

    Attributes:
        gain: of the figure, with its 95% interval.
        chance: that it is at least `MARGIN`.
        verdict: whether it is.
        texts_to_tell: validation texts that would answer the question, where these cannot; None where no number would.
    """

    gain: Interval
    chance: float
    verdict: Verdict
    texts_to_tell: int | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What more labels would buy, by the fitted curve.

    Attributes:
        labels: how many more.
        gain: of the figure, with its 95% interval.
        chance: that it is at least `MARGIN`.
    """

    labels: int
    gain: Interval
    chance: float

    @property
    def is_too_little(self) -> bool:
        """Whether it is below `MARGIN`, and that with confidence."""
        return self.chance <= DOUBT


def drawn_figures(
    statistic: Statistic, truth: Codes, answers: Sequence[Codes], groups: Groups, samples: int = SAMPLES, seed: int = 0
) -> tuple[Floats, Floats]:
    """Measure every cycle on the same texts and the same resamples of them.

    Args:
        statistic: the figure.
        truth: human labels, shape (texts,).
        answers: of each cycle's student, each of the shape of `truth`.
        groups: texts of one group are drawn together, shape (texts,).
        samples: resamples.
        seed: of the resamples.

    Returns:
        the figures, shape (cycles,), and the resampled ones, shape (samples, cycles).
    """
    values = np.array([float(statistic(truth, given)) for given in answers])
    draws = [draws_of(statistic, truth, given, groups=groups, samples=samples, seed=seed) for given in answers]
    return values, np.stack(draws, axis=1)


def gain(values: Floats, draws: Floats, texts: int) -> Gain:
    """Compare the last two cycles.

    Args:
        values: of at least two cycles, shape (cycles,).
        draws: their resamples, shape (samples, cycles).
        texts: that they were measured on.

    >>> noise = np.random.default_rng(0).normal(0.0, 0.01, 1000)
    >>> gain(np.array([0.70, 0.76]), np.stack([0.70 + noise, 0.76 - noise], axis=1), 400).verdict
    'yes'
    """
    differences = draws[:, -1] - draws[:, -2]
    known = differences[~np.isnan(differences)]
    value = float(values[-1] - values[-2])
    chance = float(np.mean(known >= MARGIN)) if len(known) else math.nan
    found = interval_of(value, differences)
    if chance >= 1 - DOUBT:
        return Gain(found, chance, "yes")
    if chance <= DOUBT:
        return Gain(found, chance, "no")
    return Gain(found, chance, "cannot tell", texts_to_tell(value, float(known.std()) if len(known) else 0.0, texts))


def texts_to_tell(gained: float, error: float, texts: int) -> int | None:
    """Return how many validation texts would say whether a gain of this size is at least `MARGIN`.

    The standard error falls with the root of the texts: 0.03 at 400 texts is 0.01 at 3,600, and 2.5 points above
    the margin are told from nothing at a standard error of 0.015, with 1,559 texts.

    >>> texts_to_tell(0.035, 0.03, 400)
    1559
    """
    apart = abs(gained - MARGIN)
    needed = math.ceil(texts * (ONE_SIDED_Z * error / apart) ** 2) if apart > 0 else math.inf
    return int(needed) if texts < needed <= MOST_TEXTS else None


def outlook(labels: Floats, draws: Floats, more: int, noise: float = NOISE, seed: int = 0) -> Outlook | None:
    """Fit the learning curve, and say what more labels would buy.

    Args:
        labels: that each cycle's student had learned from, above 0, shape (cycles,).
        draws: resamples of their figures, shape (samples, cycles).
        more: labels.
        noise: standard deviation of the figure between trainings that differ by their seed alone.
        seed: of the noise and the bends.

    Returns:
        None where there are fewer than `FEWEST_CYCLES`, or the figures are undefined.

    >>> steady = np.tile(0.9 - 2.0 * np.array([100.0, 200, 400, 800]) ** -0.5, (200, 1))
    >>> coming = outlook(np.array([100.0, 200, 400, 800]), steady, 800)
    >>> 0.0 < coming.gain.low < 2.0 * (800**-0.5 - 1600**-0.5) < coming.gain.high
    True
    """
    known = draws[~np.isnan(draws).any(axis=1)]
    if len(np.unique(labels)) < FEWEST_CYCLES or not len(known):
        return None
    rng = np.random.default_rng(seed)
    figures = known + rng.normal(0.0, noise, known.shape)
    falls, misfits = _fitted(labels, figures)
    odds = np.exp((misfits.min(axis=1, keepdims=True) - misfits) / (2 * noise**2))
    ranks = rng.random((len(known), 1)) * odds.sum(axis=1, keepdims=True)
    bend = np.minimum((odds.cumsum(axis=1) < ranks).sum(axis=1), len(BENDS) - 1)
    fall = falls[np.arange(len(known)), bend]
    last = float(labels[-1])
    gains = fall * (last ** -BENDS[bend] - (last + more) ** -BENDS[bend])
    return Outlook(more, interval_of(float(np.median(gains)), gains), float(np.mean(gains >= MARGIN)))


def _fitted(labels: Floats, figures: Floats) -> tuple[Floats, Floats]:
    """Fit top and fall by least squares for each bend; a curve never falls with more labels.

    Returns:
        falls and sums of squared misfits, each of shape (samples, bends).
    """
    middle = figures - figures.mean(axis=1, keepdims=True)
    shapes = -(labels[:, None] ** -BENDS)  # (cycles, bends)
    shapes = shapes - shapes.mean(axis=0)
    falls = np.maximum(0.0, middle @ shapes / (shapes**2).sum(axis=0))
    fitted = falls[:, None, :] * shapes[None, :, :]
    return falls, ((middle[:, :, None] - fitted) ** 2).sum(axis=1)
