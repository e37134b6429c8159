"""Choose which texts of the last nights people are asked for, and how many texts each stands for."""

import numpy as np
import polars as pl

from understudy.review.samples import SAMPLE, of_known_turns
from understudy.stats.draw import lot
from understudy.stats.metrics import Codes, Floats
from understudy.steps.sample.config import SampleConfig
from understudy.text import seen

STRATA = 4
CONFIDENCE = (0.5, 0.75, 0.9)  # limits of the parts where no label with a threshold is looked for


def strata_of(texts: pl.DataFrame, positive: str | None) -> Codes:
    """Which part of the range of probabilities each text lies in, from 0. Shape (texts,).

    Where a label with a threshold is looked for, its probability counts: two parts lie below the threshold, and two
    above. Else that of the label given counts: a text of which the model is unsure tells most.

    Args:
        texts: columns label, probability, runner_up, runner_up_probability and threshold.
        positive: the label that is looked for; None where there is none.
    """
    if positive is None or texts["threshold"].null_count():
        return np.searchsorted(CONFIDENCE, texts["probability"].to_numpy(), side="right")
    return stratum_of(probability_of(texts, positive), texts["threshold"].to_numpy())


def probability_of(texts: pl.DataFrame, positive: str) -> Floats:
    """Return the probability of a label with a threshold, as far as it is known. Shape (texts,).

    That of the label given and of the runner-up stand there, which of two labels are all. Else it is at most the
    runner-up's, and at most what those two leave.
    """
    own, second = pl.col("probability"), pl.col("runner_up_probability")
    below = np.nextafter(texts["threshold"].to_numpy(), 0.0)  # it would have been given otherwise
    most = pl.min_horizontal(second, 1 - own - second).clip(0.0)
    other = pl.when(pl.col("runner_up") == positive).then(second).otherwise(most)
    found = texts.select(own=pl.when(pl.col("label") == positive).then(own), other=other)
    return np.where(
        found["own"].is_null().to_numpy(),
        np.minimum(found["other"].to_numpy(), below),
        found["own"].fill_null(0.0).to_numpy(),
    )


def stratum_of(probability: Floats, threshold: Floats) -> Codes:
    """Which part of the range of probabilities each text lies in: two below its threshold and two above.

    >>> stratum_of(np.array([0.1, 0.3, 0.5, 0.8]), np.full(4, 0.5)).tolist()
    [0, 1, 2, 3]
    """
    cuts = np.stack([threshold / 2, threshold, (1 + threshold) / 2])
    return np.asarray((probability >= cuts).sum(axis=0))


def draw(
    texts: pl.DataFrame, config: SampleConfig, day: str, positive: str | None, stand_for: float = 1.0
) -> pl.DataFrame:
    """Draw texts at random and, beyond these, from each part; each with its weight.

    A text's lot is a hash of its id, the day and the seed. All texts of a part that are drawn are those with its lowest
    lots, whichever way they came in, so within a part each stands for as many as any other.

    Args:
        texts: columns of SAMPLE up to `threshold`; ids stand once.
        config: how many.
        day: of the sample.
        positive: the label that is looked for; None where there is none.
        stand_for: texts of the nights that each of these stands for.

    Returns:
        SAMPLE, in the order of the lots; teacher_label is null.

    Source: Cochran, "Sampling techniques", 1977, chapters 5 and 5A on stratified draws and weights.
    """
    lots = [lot(config.seed, day, name) for name in texts["id"]]
    stratum = strata_of(texts, positive)
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


def for_teacher(sample: pl.DataFrame, most: int, *, has_context: bool) -> pl.DataFrame:
    """Return the texts that the teacher is asked for, of the random ones: columns id, text and weight.

    With `has_context` it reads the turns before a text too, which are then there as well: without them it errs, so
    where they are not known it is not asked.
    """
    drawn = sample.filter(pl.col("drawn") == "random")
    if not has_context:
        return drawn.head(most).select("id", "text", "weight")
    known = of_known_turns(drawn).head(most)
    return known.select("id", *seen.columns_of(known), "weight")
