"""Build what the student learns from: soft targets, weights and batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from understudy.errors import BadArtifact, TooFewLabels
from understudy.model.engine import Floats, Integers, length_batches
from understudy.progress import say
from understudy.stats.trust import trusted
from understudy.steps.train.config import TrainConfig
from understudy.task.card import Card, Slice
from understudy.task.labels import LabelSpace
from understudy.task.slices import in_slice
from understudy.text.normalise import guarded_ids
from understudy.text.numbers import clipped, count
from understudy.text.seen import seen_of

FEWEST_TEXTS = 10
MOST_TOLD = 5  # labels that a message names
LIKELY = 0.5  # chance from which a text rather has a label than not


def teacher_targets(judged: pl.DataFrame, card: Card, audit: Mapping[str, Any]) -> Floats:
    """Chance of each label for every judged text: the teacher's word, corrected where the audit proved it biased.

    An answer with probabilities is taken at them. An answer without is taken at what the audit measured: how often
    people give each label when the teacher says this one. So is every answer in a slice with a proven bias, at that
    slice's own measure; it takes the slice to hold the labels as the audited texts in it do.

    Args:
        judged: columns text, label, probabilities, and the card's slice columns.
        card: names the labels and the slices.
        audit: audit.json: the confusion `matrix`, or the `counts` of each label where a text may have several, and
            `slices` with their own and the verdict.

    Returns:
        probabilities of the labels, shape (texts, labels).

    Raises:
        BadArtifact: the audit is of other labels.
    """
    space = LabelSpace.of(card)
    require_labels(audit, space)
    said = space.codes(judged["label"])
    targets = _given_probabilities(judged, len(space))
    is_open = np.ones(len(judged), dtype=bool)
    for found in biased_slices(audit):
        inside = in_slice(slice_named(card, found["name"]), judged) & is_open
        if inside.any():
            targets[inside] = trusted(matrix_of(found), said[inside])
        is_open &= ~inside
    rest = is_open & np.isnan(targets).any(axis=1)
    if rest.any():
        targets[rest] = trusted(matrix_elsewhere(audit), said[rest])
    return targets


def _given_probabilities(judged: pl.DataFrame, labels: int) -> Floats:
    """Return the teacher's probabilities, nan where it gave none, or not one a label. Shape (texts, labels)."""
    rows = [given if given is not None and len(given) == labels else [np.nan] * labels
            for given in judged["probabilities"].to_list()]  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(len(judged), labels)


def require_labels(audit: Mapping[str, Any], space: LabelSpace) -> None:
    """Refuse an audit whose matrix has other labels, or the same in another order.

    Raises:
        BadArtifact: it is.
    """
    if list(audit["labels"]) != list(space.names):
        raise BadArtifact(
            f"The audit must be of the card's {len(space):,} labels in their order, got {len(audit['labels']):,} that "
            "differ (audit.json). Run audit again with this card."
        )


def biased_slices(audit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the slices in which the audit proved a bias, in the card's order."""
    return [counts for counts in audit["slices"] if counts["is_biased"]]


def slice_named(card: Card, name: str) -> Slice:
    """Find a slice of the card by its name."""
    return next(part for part in card.slices if part.name == name)


def matrix_of(found: Mapping[str, Any]) -> Floats:
    """Return the confusion matrix in a record of the audit, people in rows, shape (labels, labels).

    Where a text may have several labels it is one of each label against its absence, shape (labels, 2, 2).
    """
    return np.array(found["matrix"] if "matrix" in found else found["counts"], dtype=np.float64)


def matrix_elsewhere(audit: Mapping[str, Any]) -> Floats:
    """Confusion matrix outside the slices with a proven bias; a text in two of them is taken off twice, down to 0.

    >>> avoid = {"matrix": [[2, 0], [3, 1]], "is_biased": True}
    >>> matrix_elsewhere({"matrix": [[80, 5], [4, 9]], "slices": [avoid]}).tolist()
    [[78.0, 5.0], [1.0, 8.0]]
    """
    taken = [matrix_of(part) for part in biased_slices(audit)]
    return np.asarray(np.maximum(matrix_of(audit) - np.sum(taken, axis=0), 0.0))


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
        judgements: the teacher's answers, some of them revised; only those on texts of the pool are used.
        audit: audit.json.
        card: the task.
        human_weight: weight of a human label.

    Returns:
        columns id, group, text (after its context, where there is one), target (probabilities of the labels, a list in
        the card's order), weight, is_human (whether the label is people's); sorted by id.

    Raises:
        TooFewLabels: fewer than ten texts, or only one label that is any text's likeliest; where a text may have
            several, no label that some likely have and others lack.
    """
    space = LabelSpace.of(card)
    human = gold.filter(pl.col("split").cast(pl.String) == "train")
    judged = pool.join(judgements.select("id", "kind", "label", "probabilities"), on="id").join(
        human, on="id", how="anti"
    )
    taught = judged.select("id", "group", text=seen_of(judged)).with_columns(
        _target(_judged_targets(judged, card, audit)),
        pl.lit(1.0).alias("weight"),
        pl.lit(False).alias("is_human"),
    )
    shown = human.select("id", "group", text=seen_of(human)).with_columns(
        target_column(space, human["label"]),
        pl.lit(human_weight).alias("weight"),
        pl.lit(True).alias("is_human"),
    )
    table = pl.concat([taught, shown]).sort("id")
    _require_kinds(table, space)
    return table


def target_column(space: LabelSpace, labels: pl.Series) -> pl.Series:
    """Make the column `target` of human labels."""
    return _target(space.one_hot(space.codes(labels)))


def _judged_targets(judged: pl.DataFrame, card: Card, audit: Mapping[str, Any]) -> Floats:
    """Chance of each label: the teacher's as above, an editor's at its probabilities.

    These are how often the editor was right on human-labelled texts (step revise); the audit is of the teacher alone.
    """
    targets = teacher_targets(judged, card, audit)
    is_revised = (judged["kind"].cast(pl.String) == "editor").to_numpy()
    targets[is_revised] = _given_probabilities(judged.filter(is_revised), len(card.labels))
    return targets


def _target(probabilities: Floats) -> pl.Series:
    return pl.Series("target", probabilities.tolist(), dtype=pl.List(pl.Float64))


def targets_of(table: pl.DataFrame) -> Floats:
    """Return the column `target` of a training table, shape (texts, labels)."""
    return np.array(table["target"].to_list(), dtype=np.float64)


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


def longest(tokenizer: Any, config: TrainConfig) -> int:
    """Tokens a text is cut to: what is asked for, as far as the student can take it."""
    return min(config.max_length, int(tokenizer.model_max_length))


def rate_factor(update: int, updates: int, warmup_share: float) -> float:
    """Return the share of the peak learning rate at an update: a linear rise, then a linear fall to zero.

    >>> [rate_factor(update, updates=10, warmup_share=0.2) for update in (0, 1, 2, 6)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warmup = int(updates * warmup_share)
    if update < warmup:
        return (update + 1) / warmup
    return (updates - update) / (updates - warmup)


def _require_kinds(table: pl.DataFrame, space: LabelSpace) -> None:
    """Refuse too little to learn from; say which labels no text is likely to have."""
    likely = _likely(table, space)
    if space.is_many:
        _require_differences(likely, len(table))
    elif len(table) < FEWEST_TEXTS or (likely > 0).sum() < 2:
        commonest = int(likely.argmax())
        raise TooFewLabels(
            f"The training texts must be at least {FEWEST_TEXTS} and likely of two labels or more, got {len(table)} "
            f"with {int(likely[commonest])} likely '{clipped(space.names[commonest])}' (judgements and gold). Raise "
            "label.texts, or add human train labels."
        )
    if missing := [name for name, texts in zip(space.names, likely, strict=True) if not texts]:
        named = ", ".join(f"'{clipped(name)}'" for name in missing[:MOST_TOLD])
        more = f" and {len(missing) - MOST_TOLD:,} more" if len(missing) > MOST_TOLD else ""
        say(
            f"train: {count(len(missing), 'label')} of {len(space):,} without a text that likely has it: {named}{more}"
            ". The student cannot learn them: raise label.texts, or add human train labels."
        )


def suffices(table: pl.DataFrame, space: LabelSpace) -> bool:
    """Tell whether texts can be learned from by themselves: enough of them, with labels that tell them apart.

    Args:
        table: texts with a column target.
        space: the labels.
    """
    likely = _likely(table, space)
    return len(table) >= FEWEST_TEXTS and bool(((likely > 0) & (likely < len(table))).any())


def _likely(table: pl.DataFrame, space: LabelSpace) -> Floats:
    """Count the texts that likely have each label: their likeliest one, or each that they rather have than not."""
    if not len(table):
        return np.zeros(len(space))
    targets = targets_of(table)
    if space.is_many:
        return np.asarray((targets >= LIKELY).sum(axis=0), dtype=np.float64)
    return np.asarray(np.bincount(targets.argmax(axis=1), minlength=len(space)), dtype=np.float64)


def _require_differences(likely: Floats, texts: int) -> None:
    """Refuse texts that do not differ in any label, where a text may have several."""
    told_apart = int(((likely > 0) & (likely < texts)).sum())
    if texts < FEWEST_TEXTS or not told_apart:
        raise TooFewLabels(
            f"The training texts must be at least {FEWEST_TEXTS}, and some must likely have a label that others lack, "
            f"got {texts} with {count(told_apart, 'label')} that tell them apart (judgements and gold). Raise "
            "label.texts, or add human train labels."
        )
