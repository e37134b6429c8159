"""Summarise a night: sums and cross products by group, which add up over segments and shards.

A text is described by eight numbers: for texts of either label, whether it is one, its log-odds, the logarithm of its
length and the surprise of its words. From the sums come means and shares, from the cross products of the groups' sums
their variance: the sentences of one review are not independent, and are not taken to be.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from understudy.errors import BadArtifact
from understudy.stats.drift import words
from understudy.stats.metrics import Bools, Column, Floats

MEASURES = ("texts", "scores", "lengths", "vocabulary")
WIDTH = 2 * len(MEASURES)
SMALLEST = 1e-6  # a probability nearer to 0 or 1 counts as this, or one text would outweigh a night
EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
DECIMALS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Texts in a few numbers.

    Attributes:
        texts: how many.
        groups: of how many groups.
        sums: of the eight numbers: those of the other labels' texts, then those of the positive label's; shape (8,).
        products: cross products of the groups' sums, shape (8, 8).
        bins: texts by probability, cut at EDGES; shape (12,).
        bin_sums: sum of the probabilities in each bin, shape (12,).
    """

    texts: float
    groups: int
    sums: Floats
    products: Floats
    bins: Floats
    bin_sums: Floats

    def __add__(self, other: "Summary") -> "Summary":
        """Add up texts of different groups."""
        return Summary(
            texts=self.texts + other.texts,
            groups=self.groups + other.groups,
            sums=self.sums + other.sums,
            products=self.products + other.products,
            bins=self.bins + other.bins,
            bin_sums=self.bin_sums + other.bin_sums,
        )

    def as_record(self) -> dict[str, Any]:
        """Write it for JSON."""
        return {
            name: np.round(value, DECIMALS).tolist() if isinstance(value, np.ndarray) else round(value, DECIMALS)
            for name, value in asdict(self).items()
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        bins = (len(EDGES) + 1,)
        shapes = {"sums": (WIDTH,), "products": (WIDTH, WIDTH), "bins": bins, "bin_sums": bins}
        arrays = {name: _of_shape(record, name, shape) for name, shape in shapes.items()}
        return cls(texts=float(_of_shape(record, "texts", ())), groups=int(_of_shape(record, "groups", ())), **arrays)


def _of_shape(record: Any, name: str, shape: tuple[int, ...]) -> Floats:
    """Read numbers of a record that others may have written."""
    try:
        found = np.asarray(record[name], dtype=float)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadArtifact(f"A summary must hold numbers as '{name}', got {error!r:.80}. Restore the record.") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise BadArtifact(f"A summary's '{name}' must be of shape {shape}, got {found.shape}. Restore the record.")
    return found


def empty() -> Summary:
    """Return the summary of no text."""
    zeros = np.zeros(len(EDGES) + 1)
    return Summary(
        texts=0.0, groups=0, sums=np.zeros(WIDTH), products=np.zeros((WIDTH, WIDTH)), bins=zeros, bin_sums=zeros
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the bundle was calibrated on, for later nights to be compared with.

    Attributes:
        summary: of its texts.
        counts: of its words by bucket, shape (BUCKETS,).
        surprise: mean over its texts, in bits; stands in for a text without words.
    """

    summary: Summary
    counts: Floats
    surprise: float

    def as_record(self) -> dict[str, Any]:
        """Write it for JSON."""
        counts = self.counts.astype(int).tolist()
        return {"summary": self.summary.as_record(), "word_counts": counts, "surprise": round(self.surprise, DECIMALS)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        counts = _of_shape(record, "word_counts", (words.BUCKETS,))
        surprise = float(_of_shape(record, "surprise", ()))
        return cls(summary=Summary.of_record(record.get("summary") or {}), counts=counts, surprise=surprise)


def describe(table: pl.DataFrame, space: Any, probabilities: Floats, weights: Floats | None = None) -> Reference:
    """Describe texts as the reference of later ones.

    Args:
        table: columns group, text and probability (of the positive label, calibrated).
        is_positive: which texts got the positive label, shape (texts,).
        weights: how many texts of the world each stands for, shape (texts,).
    """
    is_positive = (table["label"] == (space.positive or space.names[-1])).to_numpy()
    table = table.with_columns(pl.Series("probability", probabilities[:, space.sides[-1]]))
    said = words.words_of(table["text"])
    counts = words.counts_of(said)
    bits = words.mean_surprise(said, counts, len(table), table["group"].to_list())
    mean = float(np.nanmean(bits)) if np.isfinite(bits).any() else 0.0
    return Reference(
        summary=_summed(table, is_positive, np.nan_to_num(bits, nan=mean), weights), counts=counts, surprise=mean
    )


def summarise(table: pl.DataFrame, is_positive: Bools, reference: Reference) -> Summary:
    """Put texts into a few numbers, the surprise of their words by the reference.

    Args:
        table: columns group, text and probability.
        is_positive: which texts got the positive label, shape (texts,).
        reference: of the bundle.
    """
    if not len(table):
        return empty()
    bits = words.mean_surprise(words.words_of(table["text"]), reference.counts, len(table))
    return _summed(table, is_positive, np.nan_to_num(bits, nan=reference.surprise), None)


def _summed(table: pl.DataFrame, is_positive: Bools, bits: Floats, weights: Floats | None) -> Summary:
    probability = table["probability"].to_numpy()
    length = table["text"].str.count_matches(words.WORD).to_numpy()
    return of_columns(table["group"].to_numpy(), is_positive, probability, np.log1p(length), bits, weights)


def of_columns(
    groups: Any, is_positive: Bools, probability: Floats, lengths: Floats, bits: Floats, weights: Floats | None = None
) -> Summary:
    """Put texts into a few numbers from their columns, each of shape (texts,).

    >>> one, two = np.array([0, 0, 1]), np.array([True, False, False])
    >>> found = of_columns(one, two, np.array([0.5, 0.5, 0.5]), np.zeros(3), np.ones(3))
    >>> found.sums.tolist(), found.products[0].tolist()  # group 0 has one text of either label, group 1 another one
    ([2.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 1.0])
    """
    weight = np.ones(len(probability)) if weights is None else weights
    clipped = np.clip(probability, SMALLEST, 1 - SMALLEST)
    measures = np.stack([weight, weight * np.log(clipped / (1 - clipped)), weight * lengths, weight * bits], axis=1)
    rows = np.concatenate([measures * ~is_positive[:, None], measures * is_positive[:, None]], axis=1)
    index = np.unique(np.asarray(groups), return_inverse=True)[1]
    by_group = np.stack([np.bincount(index, weights=rows[:, column]) for column in range(WIDTH)], axis=1)
    place = np.searchsorted(EDGES, probability, side="right")
    return Summary(
        texts=float(weight.sum()),
        groups=len(by_group),
        sums=by_group.sum(axis=0),
        products=np.asarray(by_group.T @ by_group, dtype=float),
        bins=_binned(place, weight),
        bin_sums=_binned(place, weight * probability),
    )


def _binned(place: Column, weights: Floats) -> Floats:
    return np.asarray(np.bincount(place, weights=weights, minlength=len(EDGES) + 1), dtype=float)
