"""Build what the student learns from: soft targets, weights and batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from understudy.errors import BadArtifact, TooFewLabels
from understudy.model.engine import Bools, Floats, Integers, length_batches
from understudy.task.card import Card, Slice
from understudy.task.slices import in_slice
from understudy.text.normalise import guarded_ids

FEWEST_TEXTS = 10
CELLS = ("true_positive", "false_negative", "false_positive", "true_negative")


@dataclass(frozen=True, slots=True)
class Trust:
    """What a judge's answers are worth: the chance that a text is positive when it says so, and when it says not."""

    if_yes: float
    if_no: float

    @classmethod
    def counted(cls, counts: Mapping[str, Any]) -> "Trust":
        """Estimate from confusion counts on human labels, half a text added to each cell (Jeffreys' prior).

        >>> Trust.counted({"true_positive": 7, "false_positive": 1, "false_negative": 3, "true_negative": 10})
        Trust(if_yes=0.8333333333333334, if_no=0.25)
        """
        cells = {cell: counts[cell] + 0.5 for cell in CELLS}
        return cls(
            if_yes=cells["true_positive"] / (cells["true_positive"] + cells["false_positive"]),
            if_no=cells["false_negative"] / (cells["false_negative"] + cells["true_negative"]),
        )

    def chance(self, says_positive: Bools) -> Floats:
        """Chance that each text is positive, given the judge's answers; both of shape (texts,)."""
        return np.where(says_positive, self.if_yes, self.if_no)


def teacher_targets(judged: pl.DataFrame, card: Card, audit: Mapping[str, Any]) -> Floats:
    """Chance that each judged text is positive: the teacher's word, corrected where the audit proved it biased.

    An answer with probabilities is taken at them. An answer without is taken at what the audit measured: how often
    people call a text positive when the teacher does, and when it does not. So is every answer in a slice with a proven
    bias, at that slice's own measure; it takes the slice to be as rich in positives as in the audited texts.

    Args:
        judged: columns text, label, probabilities, and the card's slice columns.
        card: names the labels and the slices.
        audit: audit.json: confusion `counts`, and `slices` with their own counts and verdict.

    Returns:
        probabilities of the positive label, shape (texts,).
    """
    says_positive = (judged["label"] == card.positive_label).to_numpy()
    targets = np.array(judged["probabilities"].list.get(card.positive_index, null_on_oob=True).to_numpy(), np.float64)
    is_open = np.ones(len(judged), dtype=bool)
    for counts in biased_slices(audit):
        inside = in_slice(slice_named(card, counts["name"]), judged) & is_open
        if inside.any():
            targets[inside] = Trust.counted(counts).chance(says_positive[inside])
        is_open &= ~inside
    rest = is_open & np.isnan(targets)
    if rest.any():
        targets[rest] = Trust.counted(counts_elsewhere(audit)).chance(says_positive[rest])
    return targets


def biased_slices(audit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the slices in which the audit proved a bias, in the card's order."""
    return [counts for counts in audit["slices"] if counts["is_biased"]]


def slice_named(card: Card, name: str) -> Slice:
    """Find a slice of the card by its name."""
    return next(part for part in card.slices if part.name == name)


def counts_elsewhere(audit: Mapping[str, Any]) -> dict[str, int]:
    """Confusion counts outside the slices with a proven bias; a text in two of them is taken off twice, down to 0.

    >>> counts = {"true_positive": 9, "false_negative": 4, "false_positive": 5, "true_negative": 80}
    >>> avoid = {"true_positive": 1, "false_negative": 3, "false_positive": 0, "true_negative": 2, "is_biased": True}
    >>> list(counts_elsewhere({"counts": counts, "slices": [avoid]}).values())
    [8, 1, 5, 78]
    """
    taken = biased_slices(audit)
    return {cell: max(0, audit["counts"][cell] - sum(part[cell] for part in taken)) for cell in CELLS}


def training_table(
    pool: pl.DataFrame,
    gold: pl.DataFrame,
    judgements: pl.DataFrame,
    audit: Mapping[str, Any],
    card: Card,
    human_weight: float,
) -> pl.DataFrame:
    """Join texts with what the student shall learn of them; a human label stands above the teacher's.

    Args:
        pool: texts that may be used for training.
        gold: human labels; only those of the train split are used.
        judgements: the teacher's answers; only those on texts of the pool are used.
        audit: audit.json.
        card: the task.
        human_weight: weight of a human label.

    Returns:
        columns id, text, target (probability of the positive label), weight; sorted by id.

    Raises:
        TooFewLabels: fewer than ten texts, or targets of one kind only.
    """
    human = gold.filter(pl.col("split").cast(pl.String) == "train")
    judged = pool.join(judgements.select("id", "label", "probabilities"), on="id").join(human, on="id", how="anti")
    taught = judged.select("id", "text").with_columns(
        pl.Series("target", teacher_targets(judged, card, audit), dtype=pl.Float64),
        pl.lit(1.0).alias("weight"),
    )
    shown = human.select(
        "id",
        "text",
        (pl.col("label") == card.positive_label).cast(pl.Float64).alias("target"),
        pl.lit(human_weight).alias("weight"),
    )
    table = pl.concat([taught, shown]).sort("id")
    _require_both_kinds(table, card)
    return table


def both_columns(positive: Floats, card: Card) -> Floats:
    """Write probabilities of the positive label, shape (texts,), for both labels in the card's order: (texts, 2)."""
    return np.stack([positive if name == card.positive_label else 1 - positive for name in card.label_names], axis=1)


def require_no_leakage(table: pl.DataFrame, guard: pl.DataFrame) -> None:
    """Refuse training texts that stand in the test split.

    Raises:
        BadArtifact: with the ids of the first of them.
    """
    if inside := guarded_ids(table, guard):
        raise BadArtifact(
            f"Training texts must not stand in the test split, got {len(inside)}, first {', '.join(inside[:3])} "
            "(judgements or gold). Run ingest again on all files together."
        )


def epoch_batches(lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int) -> list[Integers]:
    """Return the batches of one epoch: texts of like length together, ties and the order of batches by lot.

    Args:
        lengths: tokens of each text.
        batch_tokens: most tokens a batch holds, padding included.
        seed: with `epoch`, decides the lot.
        epoch: counted from 0.

    Returns:
        positions of the texts of each batch; every text stands in exactly one.
    """
    lot = np.random.default_rng([seed, epoch])
    shuffled = lot.permutation(len(lengths))
    shuffled_lengths = np.asarray(lengths)[shuffled]
    batches = [shuffled[batch] for batch in length_batches(shuffled_lengths.tolist(), batch_tokens)]
    return [batches[index] for index in lot.permutation(len(batches))]


def rate_factor(update: int, updates: int, warmup_share: float) -> float:
    """Return the share of the peak learning rate at an update: a linear rise, then a linear fall to zero.

    >>> [rate_factor(update, updates=10, warmup_share=0.2) for update in (0, 1, 2, 6)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warmup = int(updates * warmup_share)
    if update < warmup:
        return (update + 1) / warmup
    return (updates - update) / (updates - warmup)


def _require_both_kinds(table: pl.DataFrame, card: Card) -> None:
    likely = int((table["target"] >= 0.5).sum())
    if len(table) < FEWEST_TEXTS or likely in {0, len(table)}:
        raise TooFewLabels(
            f"The training texts must be at least {FEWEST_TEXTS} and of both labels, got {len(table)} with {likely} "
            f"likely '{card.positive_label}' (judgements and gold). Raise label.texts, or add human train labels."
        )
