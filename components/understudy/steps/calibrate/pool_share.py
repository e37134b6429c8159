"""Estimate the pool's share of a label from the student's own scores of its texts, where no teacher's draw tells it.

The scores of texts with the label, and of those without, are taken to be in the pool as they are in the calibration
split: only how many there are of each differs (label shift). Then the share under which the pool's scores are likeliest
is the pool's. Whether they can be so is tested: the pool's scores must be a mixture of the split's two kinds, up to
what chance does. Where they are not, the texts themselves differ, and no share follows. With 200 calibration texts the
test sees scores that lie three quarters of their spread higher, hardly those that lie a quarter higher (docs/log.md).

Source: Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities: a
simple procedure", 2002; Alexandari, Kundaje and Shrikumar, "Maximum likelihood with bias-corrected calibration is
hard-to-beat at label shift adaptation", 2020, for calibrating first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from understudy.model import calibration
from understudy.model.calibration import Form
from understudy.stats import metrics
from understudy.stats.drift.attribution import shifted_shares
from understudy.stats.metrics import Bools, Column, Floats, Interval
from understudy.text.numbers import percent, percent_interval

FEWEST = 40  # calibration texts with the label and without it
FEWEST_POOL = 200  # texts of the pool
LEAST_APART = 0.2  # of recall less false alarms, lower bound, as for a teacher
LEVELS = 10  # of scores, of equal mass in the pool, at which its mixture is tested
CELLS = 200  # of scores, by which the likeliest share is found: as good as text by text
SAMPLES = 200
CERTAIN = 0.95  # of pools that are a mixture, at least the share that is believed
PLATT = Form(has_slopes=False, has_biases=True)


@dataclass(frozen=True, slots=True)
class Scored:
    """The student's scores of the calibration split, and of texts of the pool that it has not learned from.

    Attributes:
        split: log-odds of the label, shape (calibration texts,).
        truth: whether people gave it, same shape.
        split_groups: of these texts, same shape.
        pool: log-odds of the label, shape (texts of the pool,).
        pool_groups: of these texts, same shape.
        weights: how many texts of the pool each of these stands for, same shape.
    """

    split: Floats
    truth: Bools
    split_groups: Column
    pool: Floats
    pool_groups: Column
    weights: Floats


def doubt_of(scored: Scored) -> str:
    """Say why the pool's share cannot be told from these scores; empty where it can."""
    counts = {
        "calibration texts with the label": (int(scored.truth.sum()), FEWEST),
        "calibration texts without the label": (int((~scored.truth).sum()), FEWEST),
        "texts of the pool that the student has not learned from": (len(scored.pool), FEWEST_POOL),
    }
    for what, (texts, fewest) in counts.items():
        if texts < fewest:
            return f"it takes at least {fewest} {what}, got {texts}"
    given = scored.split >= _middle(scored)
    recall, alarms = (
        metrics.draws_of(metrics.recall, side, given, groups=scored.split_groups)
        for side in (scored.truth, ~scored.truth)
    )
    apart = metrics.interval_of(0.0, recall - alarms)
    if apart.low < LEAST_APART:
        return (
            f"the student must score at least {percent(LEAST_APART)} more of the texts with the label high than of "
            f"others, got {percent_interval(apart.low, apart.high)}"
        )
    unlike, by_chance = misfit(scored)
    if unlike > by_chance:
        return (
            "the pool's texts must be scored as a mixture of calibration texts with the label and without, got "
            f"{percent(unlike)} of them that no share explains, by chance at most {percent(by_chance)}"
        )
    return ""


def pool_share(scored: Scored) -> Interval:
    """Estimate the pool's share of the label, with the 95% interval of what the drawn texts leave open.

    Whole groups are drawn anew, of the split, on which the scores are calibrated again each time, and of the pool.
    """
    value = likeliest_share(scored, np.ones(len(scored.split)), scored.weights)
    draws = [
        likeliest_share(scored, of_split, scored.weights * of_pool)
        for of_split, of_pool in zip(_drawn(scored.split_groups, 0), _drawn(scored.pool_groups, 1), strict=True)
        if 0 < of_split @ scored.truth < of_split.sum()
    ]
    return metrics.interval_of(value, np.array(draws))


def likeliest_share(scored: Scored, of_split: Floats, of_pool: Floats) -> float:
    """Find the share under which the pool's scores are likeliest, by expectation maximisation.

    Args:
        scored: the scores.
        of_split: weights of the calibration texts, shape (calibration texts,).
        of_pool: weights of the pool's, shape (texts of the pool,).
    """
    share = of_split @ scored.truth / of_split.sum()
    halves = of_split * np.where(scored.truth, 0.5 / share, 0.5 / (1 - share))  # a rare kind has its say in the fit
    fitted = calibration.fit(_sides(scored.split), scored.truth.astype(np.int64), halves, PLATT)
    cell = np.searchsorted(_edges(scored.pool, CELLS), scored.pool, side="right")
    mass = np.bincount(cell, of_pool, CELLS)
    raised = np.bincount(cell, of_pool * fitted.probabilities(_sides(scored.pool))[:, 1], CELLS)
    is_met = mass > 0
    probability = raised[is_met] / mass[is_met]
    cells = np.column_stack([1 - probability, probability])
    return float(shifted_shares(mass[is_met] / mass.sum(), cells, np.full(2, 0.5))[1])


def misfit(scored: Scored) -> tuple[float, float]:
    """Measure how far the pool's scores are from any mixture of the split's two kinds, and how far by chance.

    Returns:
        share of the pool's texts, in [0, 1], that no share explains (total variation over LEVELS), and what that is at
        most in CERTAIN of the draws from such a mixture, a group counted as one text.
    """
    lot = np.random.default_rng(0)
    edges = _edges(scored.pool, LEVELS)
    sides = [scored.truth, ~scored.truth]
    kinds = np.array([_levels(scored.split[side], edges, np.ones(int(side.sum()))) for side in sides])
    pool = _levels(scored.pool, edges, scored.weights)
    mixtures = np.linspace(0, 1, 501)[:, None] * kinds[0] + np.linspace(1, 0, 501)[:, None] * kinds[1]
    distances = np.abs(mixtures - pool).sum(axis=1) / 2
    nearest = int(distances.argmin())
    share = nearest / 500
    sizes = [len(np.unique(scored.split_groups[side])) for side in sides]
    first, second = (lot.multinomial(size, kind, 1000) / size for size, kind in zip(sizes, kinds, strict=True))
    groups = len(np.unique(scored.pool_groups))
    drawn = lot.multinomial(groups, mixtures[nearest], 1000) / groups
    chance = np.abs(share * first + (1 - share) * second - drawn).sum(axis=1) / 2
    return float(distances[nearest]), float(np.quantile(chance, CERTAIN))


def _middle(scored: Scored) -> float:
    """Return the score midway between the means of texts with the label and without."""
    return float(scored.split[scored.truth].mean() + scored.split[~scored.truth].mean()) / 2


def _sides(log_odds: Floats) -> Floats:
    """Return logits of "without" and "with", shape (texts, 2)."""
    return np.column_stack([np.zeros_like(log_odds), log_odds])


def _edges(scores: Floats, parts: int) -> Floats:
    return np.unique(np.quantile(scores, np.linspace(0, 1, parts + 1)[1:-1]))


def _levels(scores: Floats, edges: Floats, weights: Floats) -> Floats:
    """Share of the texts between each two edges, shape (edges + 1,)."""
    found = np.bincount(np.searchsorted(edges, scores, side="right"), weights, len(edges) + 1)
    return np.asarray(found / found.sum())


def _drawn(groups: Column, seed: int) -> Iterator[Floats]:
    for block in metrics.resample_weights(groups, SAMPLES, seed):
        yield from block
