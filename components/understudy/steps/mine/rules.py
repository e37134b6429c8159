"""Choose which unlabelled texts the teacher is asked for, and which of them go to people."""

from collections.abc import Collection
from dataclasses import replace
from math import ceil

import numpy as np
import polars as pl

from understudy.errors import BadArtifact
from understudy.model.decision import DecisionRule
from understudy.stats.draw import lot
from understudy.stats.metrics import Floats
from understudy.steps.mine.config import MineConfig
from understudy.store.runs import PUBLISH
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.settings import Settings
from understudy.teacher.answers import own_probability
from understudy.text.duplicates import fold
from understudy.text.normalise import guarded_ids
from understudy.text.seen import seen_of

PARTS = 10
ASKING = ("disagreement", "mixed")  # strategies that compare the student with the teacher


def settings_of(settings: Settings, card: Card) -> MineConfig:
    """Return the settings of mine; where nobody is asked, the student's uncertainty stands for what needs answers.

    Nobody is asked where the student learns from people alone, unless the card names an oracle.
    """
    config = settings.of(MineConfig)
    has_oracle = any(role.role == "oracle" for role in card.roles())
    if config.strategy not in ASKING or has_oracle or settings.value("train.stages") != "people":
        return config
    return replace(config, strategy="uncertainty")


def draw(pool: pl.DataFrame, texts: int, seed: int) -> pl.DataFrame:
    """Draw texts at random, in the order of their lots; a larger draw begins with the smaller one.

    A text's lot is a hash of its id and the seed, so it stays the same when the pool grows, and the teacher's stored
    answers are of use again.
    """
    lots = [lot(seed, name) for name in pool["id"]]
    return pool.with_columns(pl.Series("lot", lots, dtype=pl.String)).sort("lot", "id").drop("lot").head(texts)


def require_no_test_texts(drawn: pl.DataFrame, guard: pl.DataFrame) -> None:
    """Refuse texts of the test split, by id and by content.

    Raises:
        BadArtifact: naming the first of them.
    """
    if found := guarded_ids(drawn, guard):
        raise BadArtifact(
            f"The pool must hold no text of the test split, got {len(found)}, the first '{found[0]}' "
            "(leakage_guard.parquet). Run ingest again."
        )


def asking_order(distance: Floats, random_share: float) -> list[int]:
    """Order texts for a budget that may end anywhere: the most uncertain first, and a share by lot.

    The share holds for every beginning of the order, so that confident mistakes are found too and `weigh` has texts
    from everywhere.

    Args:
        distance: of the student from another label, shape (texts,), in the order of the texts' lots.
        random_share: in [0, 1].

    Returns:
        positions in the order to ask.

    >>> asking_order(np.array([0.4, 0.1, 0.3, 0.2]), random_share=0.5)  # nearest, lot, nearest, lot
    [1, 0, 3, 2]
    """
    nearest, by_lot = iter(np.argsort(distance, kind="stable").tolist()), iter(range(len(distance)))
    is_taken = np.zeros(len(distance), dtype=bool)
    order: list[int] = []
    for turn in range(len(distance)):
        is_lot = int((turn + 1) * random_share) > int(turn * random_share)
        position = next(index for index in (by_lot if is_lot else nearest) if not is_taken[index])
        is_taken[position] = True
        order.append(position)
    return order


def to_ask(distance: Floats, config: MineConfig, decision: str, worth: int | None = None) -> list[int]:
    """Choose the texts to ask the teacher about, in the order to ask.

    A student that was refused is trained again, and what it disagrees on is worth no more than its queue: the teacher
    is asked about as many texts as that can hold. Strategies that look at the student alone ask about none.

    Args:
        distance: as of `asking_order`.
        config: strategy, size of the queue and share by lot.
        decision: of evaluate; empty where nobody has decided.
        worth: texts that are worth asking about, as `worth_asking` counts them; None for all.

    >>> to_ask(np.array([0.4, 0.1, 0.3]), MineConfig(queue_size=2, random_share=0), "refuse")
    [1, 2]
    >>> to_ask(np.array([0.4, 0.1, 0.3]), MineConfig(random_share=0), "publish", worth=1)
    [1]
    """
    if config.strategy not in ASKING:
        return []
    most = [len(distance)]
    most += [] if decision in ("", PUBLISH) else [config.queue_size]
    if worth is not None and config.random_share < 1:
        most.append(ceil(worth / (1 - config.random_share)))
    return asking_order(distance, config.random_share)[: min(most)]


def worth_asking(doubts: Floats, answer_usd: float, label_usd: float) -> int:
    """Count the texts on which a disagreement is found for less than a person's label costs.

    Where the student is right with a chance of 99.9%, a thousand answers are bought for one disagreement. A student
    that is calibrated knows these texts.

    Args:
        doubts: chance that the student's label is wrong, shape (texts,).
        answer_usd: price of an answer of the teacher.
        label_usd: price of a label of people.

    >>> worth_asking(np.array([0.4, 0.05, 0.001]), answer_usd=0.004, label_usd=0.1)
    2
    """
    return int((np.asarray(doubts) * label_usd >= answer_usd).sum())


def left_usd(config: MineConfig, stored: pl.DataFrame) -> float:
    """Return how many dollars are left for a draw of which the store has these answers (`tables.Judgements`)."""
    return max(0.0, config.teacher_usd - float(stored["cost_usd"].sum()))


def distances(probabilities: Floats, rule: DecisionRule) -> Floats:
    """How far the student is from another label: from the threshold, or, without one, of its two likeliest labels.

    Where a text may have several labels: from the nearest of their thresholds.

    Args:
        probabilities: shape (texts, labels).
        rule: of the bundle.

    Returns:
        shape (texts,).

    >>> distances(np.array([[0.5, 0.3, 0.2]]), DecisionRule()).round(6).tolist()
    [0.2]
    >>> distances(np.array([[0.9, 0.4]]), DecisionRule(thresholds=np.array([0.5, 0.3]))).round(6).tolist()
    [0.1]
    """
    if rule.thresholds is not None:
        return np.asarray(np.abs(probabilities - rule.thresholds).min(axis=1))
    if rule.label is not None and rule.threshold is not None:
        return np.abs(probabilities[:, rule.label] - rule.threshold)
    highest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(highest[:, 1] - highest[:, 0])


def weigh(scored: pl.DataFrame, answered: Collection[str], pool_texts: int) -> pl.DataFrame:
    """Keep the texts that have an answer, each with the number of pool texts that it stands for.

    The draw is cut into ten parts by the student's distance from another label, where the chance to be asked is about
    the same; the answered texts of a part stand for all of it, and the draw for the pool.

    Args:
        scored: the draw, with its `distances` as column distance.
        answered: ids of the texts with an answer.
        pool_texts: size of the unlabelled pool.

    Returns:
        the answered rows with `weight`.

    Source: Holt and Smith, "Post stratification", 1979.
    """
    part = (pl.col("distance").rank("ordinal") - 1) * PARTS // max(1, len(scored))
    marked = scored.with_columns(part.alias("part"), pl.col("id").is_in(list(answered)).alias("is_answered"))
    stands_for = (pl.len() / pl.col("is_answered").sum()).over("part") * (pool_texts / max(1, len(scored)))
    weighed = marked.with_columns(stands_for.alias("weight")).filter("is_answered")
    return weighed.drop("part", "is_answered", "distance")


def compare(answered: pl.DataFrame, space: LabelSpace, min_disagreement: float) -> pl.DataFrame:
    """Measure how far student and teacher are apart, as total variation distance.

    It is half the sum of the absolute differences of the labels' probabilities: the most by which the two can differ
    on any set of labels; with two labels the difference of either one's probability. Where a text may have several
    labels, each is a yes or no of its own, and it is the distance of the one that they are furthest apart on. Where the
    teacher gave no probabilities, its labels stand for 1, and the others for 0.

    Args:
        answered: columns student_probabilities (lists), teacher_label and teacher_probabilities (lists, or null).
        space: the labels.
        min_disagreement: above it a text is contested.

    Returns:
        the rows with `disagreement`, in [0, 1], `is_contested`, and `about`, a number for the labels that it is most
        about: two, or the one.
    """
    student, teacher = (
        np.array(rows, dtype=np.float64).reshape(-1, len(space))
        for rows in (answered["student_probabilities"].to_list(), _taught(answered, space))
    )
    gap = teacher - student
    if space.is_many:
        apart, about = np.abs(gap).max(axis=1, initial=0.0).round(9), np.abs(gap).argmax(axis=1)
    else:
        apart = (np.abs(gap).sum(axis=1) / 2).round(9)
        ends = np.sort(np.stack([gap.argmax(axis=1), gap.argmin(axis=1)], axis=1), axis=1)
        about = ends @ np.array([len(space), 1])
    return answered.with_columns(
        pl.Series("disagreement", apart, dtype=pl.Float64),
        pl.Series("is_contested", apart > min_disagreement, dtype=pl.Boolean),
        pl.Series("about", about, dtype=pl.Int64),
    )


def _taught(answered: pl.DataFrame, space: LabelSpace) -> list[list[float]]:
    certain = space.one_hot(space.codes(answered["teacher_label"])).tolist()
    given = answered["teacher_probabilities"].to_list()
    return [one if known is None else known for known, one in zip(given, certain, strict=True)]


def contested_share(compared: pl.DataFrame) -> float:
    """Estimate the share of the pool that is contested, by the weights; 0 when nothing was compared."""
    weights = compared["weight"].to_numpy()
    return float(weights @ compared["is_contested"].to_numpy() / weights.sum()) if len(weights) else 0.0


def choose(compared: pl.DataFrame, config: MineConfig) -> pl.DataFrame:
    """Choose the queue: the most contested first, near-duplicates folded, and few of one group.

    Pairs of labels take turns, each with its most contested text: one pair that is contested everywhere does not fill
    the queue. With two labels there is but one pair. Where a text may have several labels, single labels take turns.

    Returns:
        contested rows with `copies`, the number of texts that a row stands for, itself included.
    """
    ranked = compared.filter("is_contested").sort("disagreement", "id", descending=[True, False])
    turn = pl.int_range(pl.len()).over("about")
    spread_out = spread(ranked, config).with_columns(turn=turn)
    by_turn = spread_out.sort("turn", "disagreement", "id", descending=[False, True, False])
    return by_turn.drop("turn").head(config.queue_size)


def spread(ranked: pl.DataFrame, config: MineConfig) -> pl.DataFrame:
    """Fold near-duplicates into the first of them, and leave only a few texts of one group."""
    in_group = pl.int_range(pl.len()).over("group")
    return fold_copies(ranked, config.near_duplicate).filter(in_group < config.per_group)


def with_own_probabilities(queue: pl.DataFrame, space: LabelSpace) -> pl.DataFrame:
    """Add the probability that student and teacher gave to their own labels; null where the teacher gave none."""
    return queue.with_columns(own_probability(who, space) for who in ("student", "teacher"))


def fold_copies(table: pl.DataFrame, near_duplicate: float) -> pl.DataFrame:
    """Keep the first of every family of near-duplicates, and count the family as `copies`."""
    matches = fold(seen_of(table).to_list(), near_duplicate)
    copies = np.ones(len(table), dtype=np.int64)
    for match in filter(None, matches):
        copies[match.index] += 1
    is_kept = pl.Series([match is None for match in matches], dtype=pl.Boolean)
    return table.with_columns(pl.Series("copies", copies)).filter(is_kept)
