"""Choose which texts of the last nights people are asked for, and how many texts each stands for."""

import numpy as np
import polars as pl

from understudy.review.samples import SAMPLE
from understudy.stats.draw import lot
from understudy.stats.metrics import Floats
from understudy.steps.sample.config import SampleConfig

STRATA = 4


def stratum_of(probability: Floats, threshold: Floats) -> Floats:
    """Which part of the range of probabilities each text lies in: two below its threshold and two above.

    >>> stratum_of(np.array([0.1, 0.3, 0.5, 0.8]), np.full(4, 0.5)).tolist()
    [0, 1, 2, 3]
    """
    cuts = np.stack([threshold / 2, threshold, (1 + threshold) / 2])
    return np.asarray((probability >= cuts).sum(axis=0))


def draw(texts: pl.DataFrame, config: SampleConfig, day: str, stand_for: float = 1.0) -> pl.DataFrame:
    """Draw texts at random and, beyond these, from each part; each with its weight.

    A text's lot is a hash of its id, the day and the seed. All texts of a part that are drawn are those with its lowest
    lots, whichever way they came in, so within a part each stands for as many as any other.

    Args:
        texts: columns of SAMPLE up to `threshold`; ids stand once.
        config: how many.
        day: of the sample.
        stand_for: texts of the nights that each of these stands for.

    Returns:
        SAMPLE, in the order of the lots; teacher_label is null.

    Source: Cochran, "Sampling techniques", 1977, chapters 5 and 5A on stratified draws and weights.
    """
    lots = [lot(config.seed, day, name) for name in texts["id"]]
    stratum = stratum_of(texts["probability"].to_numpy(), texts["threshold"].to_numpy())
    known = texts.with_columns(
        pl.Series("lot", lots, dtype=pl.String), pl.Series("stratum", stratum, dtype=pl.Int64)
    ).sort("lot")
    is_random = pl.int_range(pl.len()) < config.random_texts
    marked = known.with_columns(
        stratum_texts=(pl.len().over("stratum") * stand_for).cast(pl.Float64),
        drawn=pl.when(is_random).then(pl.lit("random")).otherwise(pl.lit("stratified")),
    )
    place = pl.int_range(pl.len()).over("stratum", "drawn")
    chosen = marked.filter((pl.col("drawn") == "random") | (place < config.stratified_texts // STRATA))
    return chosen.with_columns(
        weight=pl.col("stratum_texts") / pl.len().over("stratum"), teacher_label=pl.lit(None, pl.String)
    ).select(SAMPLE.names())


def for_teacher(sample: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return the texts that the teacher is asked for, of the random ones: columns id, text and weight."""
    return sample.filter(pl.col("drawn") == "random").head(most).select("id", "text", "weight")
