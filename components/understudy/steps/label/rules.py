"""Choose which texts the teacher is asked for, and how much of the pool each stands for."""

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.stats import metrics
from understudy.stats.draw import lot
from understudy.stats.metrics import Bools, Floats, Interval
from understudy.steps.label.config import LabelConfig
from understudy.task.labels import Integers, LabelSpace
from understudy.task.slices import NO_RULE
from understudy.teacher import worth
from understudy.teacher.worth import Worth
from understudy.text.numbers import count
from understudy.text.seen import columns_of, seen_of

MORE = 5  # times the texts of the first look, at most, when it leaves the teacher's worth undecided


def looks(held_out: int, trial_texts: int) -> list[int]:
    """Return after how many test texts the teacher's worth is looked at: none where they are too few to tell.

    Two at most: `worth.CONFIDENCE` holds over two.

    >>> looks(5_000, 200), looks(600, 200), looks(150, 200), looks(30, 200)
    ([200, 1000], [200, 600], [150], [])
    """
    sizes = sorted({min(held_out, trial_texts), min(held_out, MORE * trial_texts)})
    return [size for size in sizes if size >= worth.LEAST_TEXTS]


def tried(held_out: pl.DataFrame, texts: int, seed: int) -> pl.DataFrame:
    """Draw test texts by lot; a larger draw holds the smaller one.

    Args:
        held_out: column id.
        texts: how many.
        seed: of the lots.
    """
    lots = pl.Series([lot(seed, "trial", name) for name in held_out["id"]], dtype=pl.String)
    return held_out.with_columns(lot=lots).sort("lot", "id").head(texts).drop("lot")


def hopeless_sentence(found: Worth, *, is_many: bool) -> str:
    """Say that the teacher is not worth asking, with the figures.

    Args:
        found: what it is worth on the test texts that it was tried on.
        is_many: a text may have several labels.
    """
    return (
        f"The teacher must agree with people by a kappa of at least {worth.LEAST_KAPPA} and be no worse than what "
        f"costs nothing, got {worth.arithmetic(found, is_many=is_many)} (of {count(found.texts, 'test text')} drawn at "
        "random)."
    )


def spread(sizes: Sequence[int], texts: int) -> list[int]:
    """Share a draw out evenly between labels; what a small one lacks goes to the others.

    A larger draw never takes less of any of them, so it holds the smaller one.

    Args:
        sizes: texts of each label.
        texts: to draw in all, at most the sum of the sizes.

    >>> spread([100, 4, 50], 30), spread([100, 4, 50], 31)
    ([13, 4, 13], [14, 4, 13])
    """
    levels = range(max(sizes, default=0) + 1)
    level = bisect_right(levels, texts, key=lambda level: sum(min(size, level) for size in sizes)) - 1
    drawn = [min(size, level) for size in sizes]
    for index in [index for index, size in enumerate(sizes) if size > level][: texts - sum(drawn)]:
        drawn[index] += 1
    return drawn


def shares(hinted: Sequence[int], rest: int, texts: int) -> tuple[list[int], int]:
    """Share a draw out: half to the texts of which weak rules give a hint, evenly by label, and half to the rest.

    What one half lacks goes to the other.

    Args:
        hinted: texts of each label that rules hint at.
        rest: all other texts.
        texts: to draw in all.

    >>> shares(hinted=[300], rest=9_700, texts=2_000)
    ([300], 1700)
    >>> shares(hinted=[3_000], rest=500, texts=2_000)
    ([1500], 500)
    >>> shares(hinted=[3_000, 100, 3_000], rest=9_000, texts=2_000)
    ([450, 100, 450], 1000)
    """
    likely = sum(hinted)
    from_likely = min(likely, max(texts // 2, texts - rest))
    return spread(hinted, from_likely), min(rest, texts - from_likely)


def scarcest(suggested: Bools) -> Integers:
    """Return the column of the scarcest label that rules suggest for each text, `NO_RULE` where they suggest none.

    So a label that mostly stands beside a commoner one has a part of the draw of its own.

    Args:
        suggested: labels that rules suggest, shape (texts, labels).

    >>> scarcest(np.array([[True, True], [True, False], [False, False]])).tolist()
    [1, 0, -1]
    """
    texts = suggested.sum(axis=0)
    scarce = np.where(suggested, texts, len(suggested) + 1).argmin(axis=1)
    return np.asarray(np.where(suggested.any(axis=1), scarce, NO_RULE), dtype=np.int64)


def draw(pool: pl.DataFrame, hints: Integers, config: LabelConfig) -> pl.DataFrame:
    """Draw texts, about half of them from those of which the weak rules give a hint, balanced over the labels.

    Args:
        pool: columns id and text.
        hints: the column of the label that a rule hints at, `NO_RULE` where none does, shape (texts,).
        config: how many, and the seed.

    Returns:
        columns id, text, context where the pool has it, stratum (the hint), population (texts of the stratum) and
        weight (population / drawn), in an order that mixes the strata evenly, so that any first part of it is a
        balanced draw too.
    """
    lots = [lot(config.seed, text) for text in seen_of(pool)]
    sorted_pool = pool.select("id", *columns_of(pool), stratum=pl.Series(hints, dtype=pl.Int64))
    ranked = (
        sorted_pool.with_columns(lot=pl.Series(lots, dtype=pl.String))
        .sort("lot", "id")
        .with_columns(rank=pl.int_range(pl.len()).over("stratum"), population=pl.len().over("stratum").cast(pl.Int64))
    )
    strata = np.unique(hints[hints != NO_RULE]).tolist()
    hinted, rest = shares([int((hints == code).sum()) for code in strata], int((hints == NO_RULE).sum()), config.texts)
    wanted = dict(zip([*strata, NO_RULE], [*hinted, rest], strict=True))
    drawn = ranked.with_columns(drawn=pl.col("stratum").replace_strict(wanted, return_dtype=pl.Int64))
    return (
        drawn.filter(pl.col("rank") < pl.col("drawn"))
        .sort((pl.col("rank") + 0.5) / pl.col("drawn"), "lot", "id")
        .select("id", *columns_of(pool), "stratum", "population", weight=pl.col("population") / pl.col("drawn"))
    )


def for_training(drawn: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Put the human-labelled texts, each standing for itself, before the draw.

    Args:
        drawn: what `draw` returns.
        gold: columns id and text.

    Returns:
        columns id, text and weight, in the order of asking.
    """
    human = gold.sort("id").select("id", *columns_of(gold), weight=pl.lit(1.0))
    return pl.concat([human, drawn.select("id", *columns_of(drawn), "weight")])


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


def label_shares(judgements: pl.DataFrame, drawn: pl.DataFrame, space: LabelSpace) -> Floats:
    """Estimate the share of the pool that the teacher gives each label: the draw's weights undo that it is richer.

    Returns:
        shape (labels,), which add up to 1 unless a text may have several labels; zeros where no text of the draw has an
        answer.

    >>> drawn = pl.DataFrame({"id": ["a", "b"], "population": [10, 90], "stratum": [1, -1]})
    >>> answers = pl.DataFrame({"id": ["a", "b"], "label": ["tip", "other"], "weight": [1.0, 1.0]})
    >>> label_shares(answers, drawn, LabelSpace(("other", "tip"), "tip")).tolist()
    [0.9, 0.1]
    """
    answered = reweighed(judgements, drawn).join(drawn.select("id"), on="id", how="semi")
    weights = answered["weight"].to_numpy()
    if not len(weights):
        return np.zeros(len(space))
    return np.asarray(weights @ space.one_hot(space.codes(answered["label"])) / weights.sum())


def share_interval(judgements: pl.DataFrame, drawn: pl.DataFrame, space: LabelSpace, label: int) -> Interval:
    """Estimate the share of the pool that the teacher gives a label, with its 95% interval.

    Each stratum is a draw of its own: a variance of its share, less where a large part of it was drawn, and none where
    all of it was. A share of 0 or 1 has one too: half a text is added on either side (Agresti and Coull, 1998). Where
    strata have no answer at all, as when the budget ended before them, the answered ones stand for theirs too.

    Returns:
        the same share as `label_shares`; (nan, 0, 1) where no text of the draw has an answer.

    Of 10 texts of one stratum all were drawn, 5 with the label; of 90 others 9, none with it.

    >>> strata = {"id": list("abcdefghijklmnopqrs"), "population": [10] * 10 + [90] * 9, "stratum": [1] * 10 + [-1] * 9}
    >>> drawn = pl.DataFrame(strata)
    >>> answers = drawn.select("id", label=pl.Series(["tip"] * 5 + ["other"] * 14), weight=pl.lit(1.0))
    >>> found = share_interval(answers, drawn, LabelSpace(("other", "tip"), "tip"), 1)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.05, 0.0, 0.172)
    >>> found = share_interval(answers.head(10), drawn, LabelSpace(("other", "tip"), "tip"), 1)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.5, 0.206, 0.794)

    Source: Cochran, "Sampling techniques", 1977, section 5.5.
    """
    answered = drawn.join(judgements.select("id", "label"), on="id", how="inner")
    if answered.is_empty():
        return Interval(math.nan, 0.0, 1.0)
    has = metrics.of_label(space.codes(answered["label"]), label)
    parts = answered.with_columns(has=pl.Series(has)).group_by("stratum").agg(
        pl.col("population").first(), texts=pl.len(), own=pl.col("has").sum()
    )  # fmt: skip
    population, texts, own = (parts[name].to_numpy().astype(float) for name in ("population", "texts", "own"))
    weights = population / population.sum()
    population = weights * drawn.unique("stratum")["population"].sum()
    smooth = (own + 0.5) / (texts + 1)
    variances = weights**2 * (1 - texts / population) * smooth * (1 - smooth) / texts
    value, half = float(weights @ (own / texts)), metrics.Z * math.sqrt(variances.sum())
    return Interval(value, max(0.0, value - half), min(1.0, value + half))
