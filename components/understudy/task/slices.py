"""Find which texts a card's weak rules call positive, and which belong to its slices."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.task.card import Card, Slice
from understudy.task.patterns import matches
from understudy.text.normalise import word_counts

Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def weak_positive(card: Card, texts: Sequence[str]) -> Bools:
    """Which texts the card's weak rules call positive: the first rule that matches decides. Shape (texts,)."""
    is_positive = np.zeros(len(texts), dtype=bool)
    is_open = np.ones(len(texts), dtype=bool)
    for rule in card.weak_rules:
        found = matches(rule.pattern, texts) & is_open
        is_positive[found] = rule.label == card.positive_label
        is_open &= ~found
    return is_positive


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
