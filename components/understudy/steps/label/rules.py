"""Choose which texts the teacher is asked for, and how much of the pool each stands for."""

import polars as pl

from understudy.stats.draw import lot
from understudy.steps.label.config import LabelConfig
from understudy.task.slices import Bools

LIKELY, REST = "likely", "rest"


def shares(likely: int, rest: int, texts: int) -> tuple[int, int]:
    """Share a draw out between two strata: half each, and what one lacks goes to the other.

    >>> shares(likely=300, rest=9_700, texts=2_000)
    (300, 1700)
    >>> shares(likely=3_000, rest=500, texts=2_000)
    (1500, 500)
    """
    from_likely = min(likely, max(texts // 2, texts - rest))
    return from_likely, min(rest, texts - from_likely)


def draw(pool: pl.DataFrame, is_likely: Bools, config: LabelConfig) -> pl.DataFrame:
    """Draw texts, about half of them from those that the weak rules call positive.

    Args:
        pool: columns id and text.
        is_likely: what the weak rules say, shape (texts,).
        config: how many, and the seed.

    Returns:
        columns id, text, stratum, population (texts of the stratum) and weight (population / drawn), in an order that
        mixes the strata evenly, so that any first part of it is a balanced draw too.
    """
    lots = [lot(config.seed, text) for text in pool["text"]]
    sorted_pool = pool.select(
        "id", "text", stratum=pl.Series(is_likely).replace_strict({True: LIKELY, False: REST}, return_dtype=pl.String)
    )
    ranked = (
        sorted_pool.with_columns(lot=pl.Series(lots, dtype=pl.String))
        .sort("lot", "id")
        .with_columns(rank=pl.int_range(pl.len()).over("stratum"), population=pl.len().over("stratum").cast(pl.Int64))
    )
    wanted = dict(zip((LIKELY, REST), shares(int(is_likely.sum()), int((~is_likely).sum()), config.texts), strict=True))
    drawn = ranked.with_columns(drawn=pl.col("stratum").replace_strict(wanted, return_dtype=pl.Int64))
    return (
        drawn.filter(pl.col("rank") < pl.col("drawn"))
        .sort((pl.col("rank") + 0.5) / pl.col("drawn"), "lot", "id")
        .select("id", "text", "stratum", "population", weight=pl.col("population") / pl.col("drawn"))
    )


def for_training(drawn: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Put the human-labelled texts, each standing for itself, before the draw.

    Args:
        drawn: what `draw` returns.
        gold: columns id and text.

    Returns:
        columns id, text and weight, in the order of asking.
    """
    human = gold.sort("id").select("id", "text", weight=pl.lit(1.0))
    return pl.concat([human, drawn.select("id", "text", "weight")])


def reweighed(judgements: pl.DataFrame, drawn: pl.DataFrame) -> pl.DataFrame:
    """Let the answered texts of a stratum stand for all of it, when some of the draw have no answer.

    Args:
        judgements: `tables.Judgements` of the draw and of other texts, whose weight stays.
        drawn: what `draw` returns.
    """
    answered = drawn.join(judgements.select("id"), on="id", how="semi")
    stands_for = answered.select("id", stands_for=pl.col("population") / pl.len().over("stratum"))
    joined = judgements.join(stands_for, on="id", how="left", maintain_order="left")
    return joined.with_columns(weight=pl.coalesce("stands_for", "weight")).drop("stands_for")


def positive_share(judgements: pl.DataFrame, drawn: pl.DataFrame, positive_label: str) -> float:
    """Estimate the share of the pool that the teacher calls positive: the draw is richer, and its weights undo that.

    >>> drawn = pl.DataFrame({"id": ["a", "b"], "population": [10, 90], "stratum": ["likely", "rest"]})
    >>> positive_share(pl.DataFrame({"id": ["a", "b"], "label": ["tip", "other"], "weight": [1.0, 1.0]}), drawn, "tip")
    0.1
    """
    answered = reweighed(judgements, drawn).join(drawn.select("id"), on="id", how="semi")
    weights = answered["weight"].to_numpy()
    return float(weights @ (answered["label"] == positive_label).to_numpy() / weights.sum()) if len(weights) else 0.0
