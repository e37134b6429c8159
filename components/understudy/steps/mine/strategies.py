"""Choose texts for people by a strategy: where student and teacher disagree, or where the student itself is unsure.

A strategy ranks the draw, and the queue takes texts from the rankings in turns. What is drawn by lot keeps the chance
with which it was: estimates over these texts alone, each counted 1 / inclusion times, speak of the whole pool.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil

import numpy as np
import polars as pl

from understudy.stats.metrics import Bools, Floats
from understudy.steps.mine import rules
from understudy.steps.mine.config import MineConfig

CANDIDATES = 3  # ranked texts for each place in the queue: near-duplicates and crowded groups leave places
RANDOM = "random"
MIXED = ("disagreement", "uncertainty", "diversity", "slices")


def parts_of(strategy: str) -> tuple[str, ...]:
    """Return the rankings that a strategy takes from.

    >>> parts_of("mixed"), parts_of("random")
    (('disagreement', 'uncertainty', 'diversity', 'slices'), ())
    """
    return MIXED if strategy == "mixed" else () if strategy == RANDOM else (strategy,)


def by_cover(vectors: Floats, most: int) -> list[int]:
    """Rank texts so that each beginning covers the student's space: the next is farthest from all before it.

    It begins with the text nearest to the middle of all.

    Args:
        vectors: each of length 1, shape (texts, width).
        most: texts to rank.

    >>> by_cover(np.array([[1.0, 0.0], [0.99, 0.141], [0.0, 1.0], [0.7, 0.714]]), 3)
    [3, 0, 2]

    Source: Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach", 2018, the
    greedy solution.
    """
    if not len(vectors):
        return []
    order: list[int] = []
    farthest = int((vectors @ vectors.mean(axis=0)).argmax())
    distance = np.full(len(vectors), np.inf)
    while len(order) < min(most, len(vectors)):
        order.append(farthest)
        distance = np.minimum(distance, 1 - vectors @ vectors[farthest])
        distance[farthest] = -np.inf
        farthest = int(distance.argmax())
    return order


def in_turns(rankings: Mapping[str, Sequence[str]], most: int) -> dict[str, str]:
    """Take texts from rankings in turns, each text once; who ranked it, by id.

    >>> in_turns({"uncertainty": ["a", "b", "c"], "diversity": ["b", "d"]}, most=3)
    {'a': 'uncertainty', 'b': 'diversity', 'c': 'uncertainty'}
    """
    taken: dict[str, str] = {}
    waiting = {name: iter(ids) for name, ids in rankings.items()}
    while waiting and len(taken) < most:
        for name in list(waiting):
            text = next((text for text in waiting[name] if text not in taken), None)
            if text is None:
                del waiting[name]
            elif len(taken) < most:
                taken[text] = name
    return taken


def choose(
    drawn: pl.DataFrame,
    compared: pl.DataFrame,
    config: MineConfig,
    pool_texts: int,
    is_biased: Bools,
    vectors: Callable[[], Floats],
) -> pl.DataFrame:
    """Choose the queue by the strategy.

    Args:
        drawn: the draw in the order of its lots, with `rules.distances` as column distance.
        compared: what the teacher said of some of it, by `rules.compare`.
        config: strategy, size of the queue, and share of it that is drawn by lot where it is mixed.
        pool_texts: of which the draw was made.
        is_biased: whether a text lies in a slice where the teacher is biased, shape (drawn texts,).
        vectors: returns the student's vectors of the draw, shape (drawn texts, width).

    Returns:
        rows of the draw, in the order of the queue, with what `compared` adds (null where the teacher was not asked),
        `copies`, the strategy as `drawn_by`, and `inclusion`, the chance to be drawn (null for what is no lottery).
    """
    if config.strategy == "disagreement":
        contested = rules.choose(compared, config)
        return contested.with_columns(drawn_by=pl.lit(config.strategy), inclusion=pl.lit(None, pl.Float64))
    added = compared.select("id", *(name for name in compared.columns if name not in drawn.columns))
    whole = drawn.join(added, on="id", how="left", maintain_order="left")
    lots = min(len(whole), _places_by_lot(config))
    by_lot = whole.head(lots).with_columns(
        copies=pl.lit(1, pl.Int64), drawn_by=pl.lit(RANDOM), inclusion=pl.lit(lots / max(1, pool_texts), pl.Float64)
    )
    room = config.queue_size - lots
    rest = set(whole["id"][lots:])
    rankers: dict[str, Callable[[], Iterable[str]]] = {
        "disagreement": lambda: rules.choose(compared, config)["id"],
        "uncertainty": lambda: whole.sort("distance", "id")["id"],
        "diversity": lambda: whole["id"][by_cover(vectors(), CANDIDATES * room)],
        "slices": lambda: whole.filter(pl.Series(is_biased))["id"],
    }
    rankings = {name: [text for text in rankers[name]() if text in rest] for name in parts_of(config.strategy)}
    taken = in_turns(rankings, CANDIDATES * room)
    order = pl.DataFrame({"id": list(taken), "drawn_by": list(taken.values())}, schema_overrides={"id": pl.String})
    ranked = order.cast(pl.String).join(whole, on="id", how="inner", maintain_order="left")
    spread = rules.spread(ranked.with_columns(inclusion=pl.lit(None, pl.Float64)), config)
    return pl.concat([by_lot, spread.head(room)], how="diagonal")


def _places_by_lot(config: MineConfig) -> int:
    """Return how many places of the queue are drawn by lot.

    >>> _places_by_lot(MineConfig(strategy="mixed", queue_size=50, random_share=0.1))
    5
    """
    shares = {RANDOM: 1.0, "mixed": config.random_share}
    return ceil(shares.get(config.strategy, 0.0) * config.queue_size)
