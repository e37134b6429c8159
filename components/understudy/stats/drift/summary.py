"""Summarise a night: sums by label, and squares by group, which add up over segments and shards.

Of each label the texts are counted, and what their scores, lengths and words lie above the reference's mean for that
label is summed, so that other shares of the labels are no other content. Squares of the groups' sums give the variance
of each: the sentences of one review are not independent, and are not taken to be. The size grows with the number of
labels, not with its square. Where a text may have several labels, it counts for each of them, and what is expected of
it is by all of them (`several.py`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from understudy.errors import BadArtifact
from understudy.stats.drift import cells, several, words
from understudy.stats.drift.cells import Cells
from understudy.stats.drift.checked import of_shape
from understudy.stats.drift.several import CellsOfEach
from understudy.stats.drift.tokens import Tokens
from understudy.stats.metrics import Bools, Codes, Floats

if TYPE_CHECKING:
    from understudy.task.labels import LabelSpace

MEASURES = ("scores", "lengths", "vocabulary")
SMALLEST = 1e-6  # a probability nearer to 0 or 1 counts as this, or one text would outweigh a night
DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Texts in a few numbers.

    Attributes:
        texts: how many.
        groups: of how many groups.
        group_squares: sum of the squares of the groups' texts.
        counts: texts by label given, shape (labels,); one of several labels counts for each.
        count_squares: sum over groups of the squares of these, shape (labels,).
        count_crosses: sum over groups of these times the group's texts, shape (labels,).
        residuals: sum of what the measures lie above the reference's mean of the label, shape (strata, measures). The
            strata are the labels; where a text may have several, all texts are one.
        residual_squares: sum over groups of the squares of the groups' sums of these, shape (strata, measures).
        residual_crosses: sum over groups of the groups' sums times the group's texts there, shape (strata, measures).
        group_residual_squares: as residual_squares, but of the groups' sums over all labels, shape (measures,).
        group_residual_crosses: these sums times the group's texts, shape (measures,).
        cells: texts by cell of the reference, shape (cells,); where a text may have several labels, by those of each.
        levels: texts by level of confidence, shape (levels,).
    """

    texts: float
    groups: int
    group_squares: float
    counts: Floats
    count_squares: Floats
    count_crosses: Floats
    residuals: Floats
    residual_squares: Floats
    residual_crosses: Floats
    group_residual_squares: Floats
    group_residual_crosses: Floats
    cells: Floats
    levels: Floats

    def __add__(self, other: "Summary") -> "Summary":
        """Add up texts of different groups.

        Raises:
            BadArtifact: the two are of different labels or cells.
        """
        mine, its = ((len(one.counts), len(one.cells), len(one.levels)) for one in (self, other))
        if mine != its or self.is_several != other.is_several:
            raise BadArtifact(
                f"Summaries of one bundle must be of the same labels, cells and levels, got {mine} and {its}. Restore "
                "the records of its nights."
            )
        return Summary(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Summary)})

    @property
    def is_several(self) -> bool:
        """Whether a text may have several labels."""
        return len(self.residuals) == 1

    @property
    def strata(self) -> tuple[Floats, Floats]:
        """Texts by what residuals are summed by, and the sum over groups of the squares of these; shape (strata,)."""
        if self.is_several:
            return np.array([self.texts]), np.array([self.group_squares])
        return self.counts, self.count_squares

    def as_record(self) -> dict[str, Any]:
        """Write it for JSON."""
        return {
            name: _plain(value) if isinstance(value, np.ndarray) else round(value, DECIMALS)
            for name, value in asdict(self).items()
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            BadArtifact: it is damaged.
        """
        numbers = {name: float(of_shape(record, name, ())) for name in ("texts", "groups", "group_squares")}
        labels = len(of_shape(record, "counts", (None,)))
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("counts", "count_squares", "count_crosses"), (labels,))
        strata = 1 if len(of_shape(record, "residuals", (None, len(MEASURES)))) == 1 else labels
        shapes |= {name: (strata, len(MEASURES)) for name in ("residuals", "residual_squares", "residual_crosses")}
        shapes |= {name: (len(MEASURES),) for name in ("group_residual_squares", "group_residual_crosses")}
        return cls(
            texts=numbers["texts"],
            groups=int(numbers["groups"]),
            group_squares=numbers["group_squares"],
            cells=of_shape(record, "cells", (None,)),
            levels=of_shape(record, "levels", (None,)),
            **{name: of_shape(record, name, shape) for name, shape in shapes.items()},
        )


def _plain(values: Floats) -> list[Any]:
    """Round for JSON; whole numbers are written as such, for most are."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [int(value) if value == int(value) else value for value in np.round(values, DECIMALS).tolist()]


def empty(labels: int, parts: int, levels: int, *, is_several: bool = False) -> Summary:
    """Return the summary of no text.

    Args:
        labels: how many there are.
        parts: cells of the reference.
        levels: of confidence there.
        is_several: a text may have several labels.
    """
    none, of_label = np.zeros(len(MEASURES)), np.zeros(labels)
    of_both = np.zeros((1 if is_several else labels, len(MEASURES)))
    return Summary(
        texts=0.0,
        groups=0,
        group_squares=0.0,
        counts=of_label,
        count_squares=of_label,
        count_crosses=of_label,
        residuals=of_both,
        residual_squares=of_both,
        residual_crosses=of_both,
        group_residual_squares=none,
        group_residual_crosses=none,
        cells=np.zeros(parts),
        levels=np.zeros(levels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the bundle was calibrated on, for later nights to be compared with.

    Attributes:
        summary: of its texts; the residuals of each label add up to 0.
        counts: of its words by bucket, shape (BUCKETS,).
        overall: mean of each measure over all its texts, shape (measures,).
        means: of each measure by label given, shape (labels, measures); a label without texts has the overall ones.
            Where a text may have several labels, what each label adds and, last, what every text has: (labels + 1,
            measures).
        cells: parts of label given and confidence, with the mean probabilities of each; or of each label.
        tokens: of its texts; none where they were not counted.
    """

    summary: Summary
    counts: Floats
    overall: Floats
    means: Floats
    cells: Cells | CellsOfEach
    tokens: Tokens | None = None

    @property
    def nothing(self) -> Summary:
        """The summary of no text, to which those of texts beside this reference may be added."""
        return empty(len(self.summary.counts), *self.cells.sizes, is_several=self.summary.is_several)

    def as_record(self) -> dict[str, Any]:
        """Write it for JSON."""
        return {
            "summary": self.summary.as_record(),
            "word_counts": self.counts.astype(int).tolist(),
            "overall": np.round(self.overall, DECIMALS).tolist(),
            "means": np.round(self.means, DECIMALS).tolist(),
            "cells": self.cells.as_record(),
            **({"tokens": self.tokens.as_record()} if self.tokens else {}),
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        summary = Summary.of_record(record.get("summary") or {})
        labels = len(summary.counts)
        kind = CellsOfEach if summary.is_several else Cells
        found = kind.of_record(record.get("cells") or {}, labels)
        sizes, own = (len(summary.cells), len(summary.levels)), found.sizes
        if sizes != own:
            raise BadArtifact(
                f"A reference must count its texts in its own cells and levels, {own}, got {sizes}. Restore the record."
            )
        return cls(
            summary=summary,
            counts=of_shape(record, "word_counts", (words.BUCKETS,)),
            overall=of_shape(record, "overall", (len(MEASURES),)),
            means=of_shape(record, "means", (labels + summary.is_several, len(MEASURES))),
            cells=found,
            tokens=Tokens.of_record(record["tokens"]) if "tokens" in record else None,
        )


def describe(
    table: pl.DataFrame, space: "LabelSpace", probabilities: Floats, weights: Floats | None = None
) -> Reference:
    """Describe texts as the reference of later ones.

    Args:
        table: columns group, text, label (that the model gives) and probability (of that label, calibrated).
        space: the labels.
        probabilities: of all labels, calibrated, shape (texts, labels).
        weights: how many texts of the world each stands for, shape (texts,); where a text may have several labels,
            how many each label's yes or no stands for, shape (texts, labels).
    """
    weight = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=float)
    codes, groups = space.codes(table["label"]), table["group"].to_numpy()
    said = words.words_of(table["text"])
    counts = words.counts_of(said)
    bits = words.mean_surprise(said, counts, len(table), groups.tolist())
    mean = float(np.nanmean(bits)) if np.isfinite(bits).any() else 0.0
    measures = measured(table, space, codes, np.nan_to_num(bits, nan=mean), probabilities)
    if space.is_many:
        return _of_several(measures, codes, groups, probabilities, weight, counts)
    overall = np.asarray(weight @ measures / max(float(weight.sum()), SMALLEST))
    means = _means(measures, codes, weight, len(space), overall)
    parts = cells.fit(space, codes, table["probability"].to_numpy(), probabilities, weight)
    found = of_columns(
        groups,
        codes,
        labels=len(space),
        residuals=_beside_other_groups(measures, codes, groups, weight, overall),
        cells=parts.of_texts(codes, table["probability"].to_numpy()),
        levels=parts.levels_of_texts(codes, table["probability"].to_numpy()),
        sizes=parts.sizes,
        weights=weight,
    )
    summary = replace(found, residuals=np.zeros_like(means))
    return Reference(summary=summary, counts=counts, overall=overall, means=means, cells=parts)


def _of_several(
    measures: Floats, codes: Bools, groups: Codes, probabilities: Floats, weight: Floats, counts: Floats
) -> Reference:
    """Describe texts that may have several labels; their weights count for the labels' shares and cells alone."""
    weights = np.broadcast_to(weight if weight.ndim == 2 else weight[:, None], codes.shape)
    weights = weights * len(codes) / np.maximum(weights.sum(axis=0), SMALLEST)
    found, parts = several.effects(measures, codes), several.fit(probabilities, weights)
    residuals = several.beside_other_groups(measures, codes, groups)
    summary = of_sets(groups, codes, residuals=residuals, probabilities=probabilities, weights=weights)
    shares = summary.counts / max(summary.texts, 1.0)
    return Reference(
        summary=replace(summary, residuals=np.zeros_like(summary.residuals)),
        counts=counts,
        overall=np.asarray(found[-1] + shares @ found[:-1]),
        means=found,
        cells=parts,
    )


def summarise(table: pl.DataFrame, space: "LabelSpace", reference: Reference) -> Summary:
    """Put texts into a few numbers, their residuals, cells and the surprise of their words by the reference.

    Args:
        table: columns group, text, label (that the model gave) and probability (of that label), and probabilities (of
            each label) where a text may have several.
        space: the labels, those of the reference.
        reference: of the bundle.
    """
    if not len(table):
        return reference.nothing
    codes = space.codes(table["label"])
    bits = words.mean_surprise(words.words_of(table["text"]), reference.counts, len(table))
    if isinstance(reference.cells, CellsOfEach):
        probabilities = of_each(table, len(space))
        found = measured(table, space, codes, bits, probabilities) - several.expected(reference.means, codes)
        groups, known = table["group"].to_numpy(), np.nan_to_num(found, nan=0.0)
        return of_sets(groups, codes, residuals=known, probabilities=probabilities)
    residuals = measured(table, space, codes, bits) - reference.means[codes]
    return of_columns(
        table["group"].to_numpy(),
        codes,
        labels=len(space),
        residuals=np.nan_to_num(residuals, nan=0.0),  # a text without words surprises nobody
        cells=reference.cells.of_texts(codes, table["probability"].to_numpy()),
        levels=reference.cells.levels_of_texts(codes, table["probability"].to_numpy()),
        sizes=reference.cells.sizes,
    )


def of_each(table: pl.DataFrame, labels: int) -> Floats:
    """Return the probabilities of each label of texts that may have several, shape (texts, labels).

    >>> of_each(pl.DataFrame({"probabilities": [[0.5, 0.25]]}), 2).tolist()
    [[0.5, 0.25]]
    """
    return table["probabilities"].list.to_array(labels).to_numpy().astype(float)


def measured(
    table: pl.DataFrame, space: "LabelSpace", codes: Codes, bits: Floats, probabilities: Floats | None = None
) -> Floats:
    """Return scores, lengths and surprise of each text, shape (texts, measures).

    A score is the log-odds of the label given; with two labels that of the one which is looked for, as it says the
    same and reads better. Where a text may have several labels, it is the mean of each label's yes or no, by their
    `probabilities`.
    """
    if space.is_many and probabilities is not None:
        scores = several.scores(probabilities, codes, SMALLEST)
    else:
        clipped = np.clip(table["probability"].to_numpy(), SMALLEST, 1 - SMALLEST)
        scores = np.log(clipped / (1 - clipped))
        if len(space) == 2:
            scores = np.where(codes == space.sides[-1], scores, -scores)
    lengths = np.log1p(table["text"].str.count_matches(words.WORD).to_numpy())
    return np.stack([scores, lengths, bits], axis=1)


def _means(measures: Floats, codes: Codes, weight: Floats, labels: int, overall: Floats) -> Floats:
    """Mean of each measure by label, shape (labels, measures)."""
    texts = np.bincount(codes, weights=weight, minlength=labels)
    sums = _sums(measures, codes, weight, labels)
    return np.where(texts[:, None] > 0, sums / np.maximum(texts, SMALLEST)[:, None], overall)


def _beside_other_groups(measures: Floats, codes: Codes, groups: Codes, weight: Floats, overall: Floats) -> Floats:
    """How far each text lies from the mean of its label in the other groups, shape (texts, measures).

    Beside a mean that a text is itself a part of it would look less strange than new texts do; of a label that only
    few have, by much.
    """
    labels = int(codes.max(initial=0)) + 1
    index = np.unique(np.asarray(groups), return_inverse=True)[1]
    own, pair = np.unique(index * labels + codes, return_inverse=True)
    texts = np.bincount(codes, weights=weight, minlength=labels)
    left = texts[codes] - np.bincount(pair, weights=weight, minlength=len(own))[pair]
    sums = _sums(measures, codes, weight, labels)[codes] - _sums(measures, pair, weight, len(own))[pair]
    is_met = left > SMALLEST * np.maximum(texts[codes], 1)
    return measures - np.where(is_met[:, None], sums / np.where(is_met, left, 1.0)[:, None], overall)


def _sums(measures: Floats, place: Codes, weight: Floats, size: int) -> Floats:
    """Sum of each measure by place, shape (size, measures)."""
    columns = [np.bincount(place, weights=weight * column, minlength=size) for column in measures.T]
    return np.stack(columns, axis=1)


def of_columns(
    groups: Any,
    codes: Codes,
    *,
    labels: int,
    residuals: Floats,
    cells: Codes,
    levels: Codes,
    sizes: tuple[int, int],
    weights: Floats | None = None,
) -> Summary:
    """Put texts into a few numbers from their columns.

    Args:
        groups: of each text, shape (texts,).
        codes: columns of the labels given, shape (texts,).
        labels: how many there are.
        residuals: measures less the reference's mean for the label, shape (texts, measures).
        cells: of each text, shape (texts,).
        levels: of each text, shape (texts,).
        sizes: how many cells and levels there are.
        weights: of the texts, shape (texts,).

    >>> one, two = np.array([0, 0, 1]), np.array([1, 0, 0])  # group 0 has a text of either label, group 1 one more
    >>> cells = np.zeros(3, int)
    >>> found = of_columns(one, two, labels=2, residuals=np.ones((3, 3)), cells=cells, levels=cells, sizes=(1, 1))
    >>> found.counts.tolist(), found.count_squares.tolist(), found.count_crosses.tolist(), found.group_squares
    ([2.0, 1.0], [2.0, 1.0], [3.0, 2.0], 5.0)
    """
    codes = np.asarray(codes, dtype=np.int64)
    weight = np.ones(len(codes)) if weights is None else weights
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    texts = np.bincount(index, weights=weight, minlength=len(names))
    pairs, pair = np.unique(index * labels + codes, return_inverse=True)
    met, own = _binned(pair, weight, len(pairs)), pairs % labels
    sums, of_pairs = _sums(residuals, index, weight, len(names)), _sums(residuals, pair, weight, len(pairs))
    ones = np.ones(len(pairs))
    return Summary(
        texts=float(weight.sum()),
        groups=len(names),
        group_squares=float(texts @ texts),
        counts=_binned(own, met, labels),
        count_squares=_binned(own, met**2, labels),
        count_crosses=_binned(own, met * texts[pairs // labels], labels),
        residuals=_sums(of_pairs, own, ones, labels),
        residual_squares=_sums(of_pairs**2, own, ones, labels),
        residual_crosses=_sums(of_pairs, own, met, labels),
        group_residual_squares=(sums**2).sum(axis=0),
        group_residual_crosses=texts @ sums,
        cells=_binned(cells, weight, sizes[0]),
        levels=_binned(levels, weight, sizes[1]),
    )


def of_sets(
    groups: Any, codes: Bools, *, residuals: Floats, probabilities: Floats, weights: Floats | None = None
) -> Summary:
    """Put texts that may have several labels into a few numbers.

    Args:
        groups: of each text, shape (texts,).
        codes: labels given, shape (texts, labels).
        residuals: measures less what the reference lets expect, shape (texts, measures).
        probabilities: of each label, shape (texts, labels).
        weights: of each label's yes or no, shape (texts, labels); of each label they add up to the texts.

    >>> both, none = np.array([[True, True], [True, False], [False, False]]), np.zeros((3, 3))
    >>> found = of_sets(np.array([0, 0, 1]), both, residuals=none, probabilities=np.full((3, 2), 0.5))
    >>> found.counts.tolist(), found.count_squares.tolist(), found.count_crosses.tolist(), found.group_squares
    ([2.0, 1.0], [4.0, 1.0], [4.0, 2.0], 5.0)
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    weight, size = np.ones(codes.shape) if weights is None else weights, len(names)
    texts, sums = np.bincount(index, minlength=size).astype(float), _sums(residuals, index, np.ones(len(index)), size)
    held, stood = (_sums(columns, index, np.ones(len(index)), size) for columns in (weight * codes, weight))
    group_squares, counts, crosses = float(texts @ texts), held.sum(axis=0), texts @ held
    share = counts / max(float(len(codes)), 1.0)
    # such that `design_effects` finds the squares of what each group's weights lie above the share
    squares = ((held - share * stood) ** 2).sum(axis=0) + 2 * share * crosses - share**2 * group_squares
    of_all, of_squares, of_crosses = sums.sum(axis=0), (sums**2).sum(axis=0), texts @ sums
    return Summary(
        texts=float(len(codes)),
        groups=size,
        group_squares=group_squares,
        counts=counts,
        count_squares=(held**2).sum(axis=0) if weights is None else squares,
        count_crosses=crosses,
        residuals=of_all[None],
        residual_squares=of_squares[None],
        residual_crosses=of_crosses[None],
        group_residual_squares=of_squares,
        group_residual_crosses=of_crosses,
        cells=several.counted(probabilities, weight),
        levels=np.zeros(0),
    )


def _binned(place: Codes, weights: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(place, weights=weights, minlength=size), dtype=float)
