"""Which unlabelled texts the teacher is asked for, and which of them go to people because the student disagrees."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import polars as pl

from understudy.duplicates import fold
from understudy.errors import BadArtifact
from understudy.metrics import Bools, Floats
from understudy.steps.mine.config import MineConfig
from understudy.text import content_hash


def draw(pool: pl.DataFrame, texts: int, seed: int) -> pl.DataFrame:
    """Draw texts at random, in the order of their lots; a larger draw begins with the smaller one.

    A text's lot is a hash of its id and the seed, so it stays the same when the pool grows, and the teacher's stored
    answers are of use again.
    """
    lots = [sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).hexdigest() for name in pool["id"]]
    return pool.with_columns(pl.Series("lot", lots, dtype=pl.String)).sort("lot", "id").drop("lot").head(texts)


def require_no_test_texts(drawn: pl.DataFrame, firewall: pl.DataFrame) -> None:
    """Refuse texts of the test split, by id and by content.

    Raises:
        BadArtifact: naming the first of them.
    """
    fenced, contents = set(firewall["id"]), set(firewall["content"])
    pairs = zip(drawn["id"], drawn["text"], strict=True)
    found = [name for name, text in pairs if name in fenced or content_hash(text) in contents]
    if found:
        raise BadArtifact(
            f"The pool must hold no text of the test split, got {len(found)}, the first '{found[0]}' "
            "(firewall.parquet). Run ingest again."
        )


def plan(scored: pl.DataFrame, stored: Sequence[str], threshold: float, random_share: float) -> pl.DataFrame:
    """Order texts for a teacher whose budget may end anywhere.

    Args:
        scored: the draw in the order of its lots, with student_probability.
        stored: ids of texts whose answer is in the store already; they cost nothing and stand last.
        threshold: of the student.
        random_share: share of the others that comes by lot.

    Returns:
        the texts in asking order, with `rank` (0 nearest to the threshold; null when the answer is stored) and
        `is_by_lot`.
    """
    is_stored = pl.col("id").is_in(list(stored))
    open_, known = scored.filter(~is_stored), scored.filter(is_stored)
    distance = np.abs(open_["student_probability"].to_numpy() - threshold)
    rank = np.argsort(np.argsort(distance, kind="stable"), kind="stable")
    order, is_by_lot = asking_order(distance, random_share)
    marked = open_.with_columns(pl.Series("rank", rank, dtype=pl.Int64), pl.Series("is_by_lot", is_by_lot))
    rest = known.with_columns(pl.lit(None, dtype=pl.Int64).alias("rank"), pl.lit(value=False).alias("is_by_lot"))
    return pl.concat([marked[order], rest])


def asking_order(distance: Floats, random_share: float) -> tuple[list[int], Bools]:
    """Put those nearest to the threshold first, with a share by lot that holds for every beginning of the order.

    Args:
        distance: of the student's probability from the threshold, shape (texts,), in the order of the texts' lots.
        random_share: in [0, 1].

    Returns:
        positions in the order to ask, and which of them came by lot, shape (texts,) in the order of `distance`.

    >>> asking_order(np.array([0.4, 0.1, 0.3, 0.2]), random_share=0.5)
    ([1, 0, 3, 2], array([ True, False,  True, False]))
    """
    nearest, by_lot = iter(np.argsort(distance, kind="stable").tolist()), iter(range(len(distance)))
    is_taken, is_by_lot = np.zeros(len(distance), dtype=bool), np.zeros(len(distance), dtype=bool)
    order: list[int] = []
    for turn in range(len(distance)):
        is_lot = int((turn + 1) * random_share) > int(turn * random_share)
        position = next(index for index in (by_lot if is_lot else nearest) if not is_taken[index])
        is_taken[position], is_by_lot[position] = True, is_lot
        order.append(position)
    return order, is_by_lot


def weigh(planned: pl.DataFrame, answered: Sequence[str], pool_texts: int) -> pl.DataFrame:
    """Keep the texts that have an answer, each with the number of pool texts that it stands for.

    A stored answer and one near the threshold stand for themselves; those by lot from beyond the last text asked for
    being near stand for all that lie there; and all of them for the pool that the draw came from.

    Args:
        planned: what `plan` returned.
        answered: ids of the texts with an answer.
        pool_texts: size of the unlabelled pool.

    Returns:
        the answered rows with `weight`.
    """
    asked = planned.with_columns(pl.col("id").is_in(list(answered)).alias("is_answered"))
    reached = asked.filter(pl.col("is_answered") & ~pl.col("is_by_lot"))["rank"].max()
    is_beyond = pl.col("rank").is_not_null() & (pl.col("rank") > (-1 if reached is None else reached))
    stratum = pl.when(pl.col("rank").is_null()).then(0).when(is_beyond).then(2).otherwise(1)
    share = (pl.len() / pl.col("is_answered").sum()).over("stratum")
    weighed = asked.with_columns(stratum.alias("stratum")).with_columns(
        (share * pool_texts / max(1, len(planned))).alias("weight")
    )
    return weighed.filter("is_answered").drop("is_answered", "stratum", "rank", "is_by_lot")


def compare(answered: pl.DataFrame, min_disagreement: float) -> pl.DataFrame:
    """Measure how far student and teacher are apart.

    Where the teacher gave no probability, its label stands for 0 or 1.

    Args:
        answered: columns student_probability, teacher_probability (may be null) and teacher_is_positive.
        min_disagreement: above it a text is contested.

    Returns:
        the rows with `disagreement`, in [0, 1], and `is_contested`.
    """
    teacher = pl.coalesce("teacher_probability", pl.col("teacher_is_positive").cast(pl.Float64))
    disagreement = (pl.col("student_probability") - teacher).abs().round(9)
    return answered.with_columns(disagreement.alias("disagreement")).with_columns(
        (pl.col("disagreement") > min_disagreement).alias("is_contested")
    )


def contested_share(compared: pl.DataFrame) -> float:
    """Estimate the share of the pool that is contested, by the weights; 0 when nothing was compared."""
    total = compared["weight"].sum()
    return float((compared["weight"] * compared["is_contested"]).sum() / total) if total else 0.0


def choose(compared: pl.DataFrame, config: MineConfig) -> pl.DataFrame:
    """Choose the queue: the most contested first, near-duplicates folded, and few of one group.

    Returns:
        contested rows with `copies`, the number of texts that a row stands for, itself included.
    """
    ranked = compared.filter("is_contested").sort("disagreement", "id", descending=[True, False])
    folded = fold_copies(ranked, config.near_duplicate)
    in_group = pl.int_range(pl.len()).over("group")
    return folded.filter(in_group < config.per_group).head(config.queue_size)


def fold_copies(table: pl.DataFrame, near_duplicate: float) -> pl.DataFrame:
    """Keep the first of every family of near-duplicates, and count the family as `copies`."""
    matches = fold(table["text"].to_list(), near_duplicate)
    copies = np.ones(len(table), dtype=np.int64)
    for match in filter(None, matches):
        copies[match.index] += 1
    is_kept = pl.Series([match is None for match in matches], dtype=pl.Boolean)
    return table.with_columns(pl.Series("copies", copies)).filter(is_kept)
