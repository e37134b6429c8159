"""Find which labels a card's weak rules give texts, and which belong to its slices."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.task.card import Card, Slice
from understudy.task.labels import Integers, LabelSpace
from understudy.task.patterns import matches
from understudy.text.normalise import word_counts

Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def weak_labels(card: Card, texts: Sequence[str]) -> Integers:
    """Column of the label that the first matching weak rule gives a text, -1 where none matches. Shape (texts,)."""
    space = LabelSpace.of(card)
    codes = np.full(len(texts), -1, dtype=np.int64)
    for rule in card.weak_rules:
        codes[matches(rule.pattern, texts) & (codes < 0)] = space.index(rule.label)
    return codes


def in_slice(part: Slice, table: pl.DataFrame) -> Bools:
    """Which rows of a table with a `text` column belong to a slice. Shape (rows,)."""
    if part.pattern is not None:
        return matches(part.pattern, table["text"].to_list())
    if part.column is not None:
        if part.column not in table.columns:
            return np.zeros(len(table), dtype=bool)
        return (table[part.column].cast(pl.String) == part.equals).fill_null(False).to_numpy()
    words = word_counts(table["text"])
    return (words >= (part.min_words or 0)) & (words <= (part.max_words or np.inf))
