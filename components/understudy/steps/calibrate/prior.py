"""Find the true share of the label that is looked for, where the card states none (`prior: estimate`).

The human labels may be richer in the label than the world: people choose what they label. How often the teacher gives
the label in the pool, its answers to a draw of known weights say; how often it does so to texts that have the label and
to texts that have not, those to the human labels of train and validation. The two together give the pool's share, if
the teacher errs on texts of a label in the pool as it does on those that people labelled.

Where no such answers tell it, the student's scores of the pool's texts do, if they may be believed (`pool_share`).

The calibration split's own share stays where the pool's is not told apart from it, and where the pool's cannot be told.
Either is said.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Column, Figure, Floats, Interval
from understudy.steps.calibrate import pool_share
from understudy.steps.calibrate.pool_share import Scored
from understudy.store import tables
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.teacher.answers import teacher_answers
from understudy.text.numbers import clipped, percent, percent_interval

FEWEST = 20  # human-labelled texts with the label and without it, and answers to texts of the pool
LEAST_APART = 0.2  # of recall less false alarms, lower bound; an error of either counts five times in the share there
SAMPLES = 1000
CANNOT_ERR = "the teacher cannot err there as on the human-labelled texts, by whose mistakes it would be none or all"


@dataclass(frozen=True, slots=True)
class Judged:
    """The teacher's answers, as far as they tell the share of one label.

    Attributes:
        truth: whether people gave the label, shape (human-labelled texts,).
        given: whether the teacher did, same shape.
        groups: of these texts, same shape.
        drawn: whether the teacher gave the label, shape (texts drawn from the pool,).
        weights: how many texts of the pool each of these stands for, same shape.
    """

    truth: Bools
    given: Bools
    groups: Column
    drawn: Bools
    weights: Floats


@dataclass(frozen=True, slots=True)
class Prior:
    """The shares that the probabilities are made to hold at.

    Attributes:
        value: for `rules.prior_weights`.
        words: where it comes from, for the step's line; empty where the card states it.
        figures: the split's share, and the pool's with its interval, as far as they are known.
    """

    value: float | Mapping[str, float] | Literal["estimate"]
    words: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def find(card: Card, truth: Codes, gold: Path, judgements: Path | None, scored: Scored | None) -> Prior:
    """Take the card's prior; where it is to be estimated, the pool's share where that is known and another.

    Args:
        card: the task.
        truth: human labels of the calibration split.
        gold: human labels; those of train and validation are compared with the teacher's.
        judgements: the teacher's answers, as label leaves them; None where a caller has none.
        scored: the student's scores of the label that is looked for; None where it scored no text of the pool.
    """
    if card.prior != "estimate":
        return Prior(card.prior)
    space = LabelSpace.of(card)
    own = space.positive_index
    if own is None:
        each = "each label" if space.is_many else "the labels"
        return Prior("estimate", f"shares of {each} as in the calibration split, whatever the pool's are")
    split = float((truth == own).mean())
    judged = None if judgements is None else judged_of(card, own, gold, judgements)
    return choose(split, judged, scored, clipped(space.names[own]))


def judged_of(card: Card, own: int, gold: Path, judgements: Path) -> Judged:
    """Tabulate the teacher's answers to the human-labelled texts, and to the texts that were drawn from the pool.

    Answers of people to review queues are left out: the teacher looks worse on these than it is.
    """
    space, table = LabelSpace.of(card), tables.read(judgements, tables.Judgements)
    answers = teacher_answers(table, card).select("id", "teacher_label")
    labels = tables.read_gold(gold, "train", "validation")
    human = labels.filter(pl.col("origin").cast(pl.String) == "labels").join(answers, on="id", how="inner").sort("id")
    pool = table.filter(pl.col("kind").cast(pl.String) == "teacher").join(labels, on="id", how="anti").sort("id")
    return Judged(
        truth=space.codes(human["label"]) == own,
        given=space.codes(human["teacher_label"]) == own,
        groups=human["group"].to_numpy(),
        drawn=space.codes(pool["label"]) == own,
        weights=pool["weight"].to_numpy(),
    )


def choose(split: float, judged: Judged | None, scored: Scored | None, label: str) -> Prior:
    """Choose between the calibration split's share of a label and the pool's.

    Args:
        split: share of the calibration texts that have it, in (0, 1).
        judged: the teacher's answers; None where there are none.
        scored: the student's scores, which are asked where the answers do not tell; None where there are none.
        label: its name, for the words.
    """
    stays = f"share of {label} {percent(split)} as in the calibration split"
    pool, doubts = _told_by_teacher(judged)
    by = "as in the pool"
    if pool is None and scored is not None:
        doubt = pool_share.doubt_of(scored)
        pool, by = (None if doubt else pool_share.pool_share(scored)), "as in the pool by the student's scores"
        doubts += [doubt] if doubt else []
    if pool is None:
        return Prior("estimate", f"{stays}: the pool's cannot be told, {'; '.join(doubts)}", {"split_share": split})
    figures = {"split_share": split, "pool_share": pool.value}
    figures |= {"pool_share_low": pool.low, "pool_share_high": pool.high}
    told = f"{percent(pool.value)} ({percent_interval(pool.low, pool.high)})"
    if pool.low <= split <= pool.high:
        return Prior("estimate", f"{stays}, from which the pool's, {told}, is not told apart", figures)
    return Prior(pool.value, f"share of {label} {told} {by}, not {percent(split)} as in the split", figures)


def _told_by_teacher(judged: Judged | None) -> tuple[Interval | None, list[str]]:
    """Estimate the pool's share by the teacher's answers; None, with the reason, where they do not tell."""
    if judged is None:
        return None, ["no judgements of the pool were given"]
    if doubt := doubt_of(judged):
        return None, [doubt]
    pool = share_of_answers(judged)
    if pool.high == 0 or pool.low == 1:
        return None, [CANNOT_ERR]
    return pool, []


def doubt_of(judged: Judged) -> str:
    """Say why the pool's share cannot be told from these answers; empty where it can."""
    counts = {
        "human-labelled texts with the label that the teacher judged": int(judged.truth.sum()),
        "human-labelled texts without the label that the teacher judged": int((~judged.truth).sum()),
        "texts of the pool that the teacher judged": len(judged.drawn),
    }
    for what, count in counts.items():
        if count < FEWEST:
            return f"it takes at least {FEWEST} {what}, got {count}"
    recalls, false_alarms = _rate_draws(judged)
    apart = metrics.interval_of(math.nan, recalls - false_alarms)
    if apart.low < LEAST_APART:
        return (
            f"the teacher must give the label at least {percent(LEAST_APART)} more often to texts that have it than to "
            f"others, got {percent_interval(apart.low, apart.high)}"
        )
    return ""


def share_of_answers(judged: Judged) -> Interval:
    """Estimate the pool's share of a label, with the 95% interval of what the answers and their errors leave open.

    The human labels are drawn anew by whole groups, with one right and one wrong answer of each kind more, so that a
    rate of 0 or 1 has an interval too; the teacher's share of each part of the pool (texts of one weight) by Jeffreys'
    posterior. Where the answers would best be explained by a share of 0 or 1, at which no probability could hold, the
    value is the mean of these draws.
    """
    rates = metrics.recall(judged.truth, judged.given), metrics.recall(~judged.truth, judged.given)
    value = float(adjusted_count(float(np.average(judged.drawn, weights=judged.weights)), *rates))
    weights, part = np.unique(judged.weights, return_inverse=True)
    texts, own = np.bincount(part), np.bincount(part, judged.drawn.astype(float))
    stands_for = weights * texts / judged.weights.sum()
    lot = np.random.default_rng(0)
    teacher = lot.beta(own + 0.5, texts - own + 0.5, (SAMPLES, len(texts))) @ stands_for
    draws = np.asarray(adjusted_count(teacher, *_rate_draws(judged)))
    return metrics.interval_of(value if 0 < value < 1 else float(draws.mean()), draws)


def adjusted_count(teacher: Figure, recall: Figure, false_alarms: Figure) -> Figure:
    """Correct the share of the texts that a teacher gives a label for its mistakes; in [0, 1].

    Of 10% with the label it finds 80%, and it gives it to 5% of the others: to 12.5% in all.

    >>> round(float(adjusted_count(0.125, 0.8, 0.05)), 6)
    0.1

    Args:
        teacher: share of all texts that it gives the label.
        recall: of those that have it.
        false_alarms: of those that have not.

    Source: Forman, "Quantifying counts and costs via classification", 2008; with two cells, where the expectation
    maximisation of Saerens, Latinne and Decaestecker (`stats.drift.attribution`) ends.
    """
    return np.clip(metrics.share(teacher - false_alarms, recall - false_alarms), 0.0, 1.0)


def _rate_draws(judged: Judged) -> tuple[Floats, Floats]:
    """Draw the teacher's recall and its share of false alarms anew, each of shape (SAMPLES,)."""
    truth = np.concatenate([judged.truth, [True, True, False, False]])
    given = np.concatenate([judged.given, [True, False, True, False]])
    _, codes = np.unique(judged.groups, return_inverse=True)
    groups = np.concatenate([codes, codes.max(initial=-1) + np.arange(1, 5)])
    draw = (metrics.draws_of(metrics.recall, side, given, groups=groups, samples=SAMPLES) for side in (truth, ~truth))
    recalls, false_alarms = draw
    return recalls, false_alarms
