"""Find the labels that a card's weak rules give to texts, and which texts belong to its slices."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.task.card import Card, Slice
from understudy.task.labels import Integers, LabelSpace
from understudy.task.patterns import matches
from understudy.text.normalise import word_counts

Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
NO_RULE = -1  # stands for the column of a text that no weak rule matches


def weak_labels(card: Card, texts: Sequence[str]) -> Integers:
    """Return the column of the label that the card's weak rules give each text; -1 where none matches. Shape (texts,).

    The first rule that matches decides.
    """
    space = LabelSpace.of(card)
    codes = np.full(len(texts), NO_RULE, dtype=np.int64)
    is_open = np.ones(len(texts), dtype=bool)
    for rule in card.weak_rules:
        found = matches(rule.pattern, texts) & is_open
        codes[found] = space.index(rule.label)
        is_open &= ~found
    return codes


def weak_hints(card: Card, texts: Sequence[str]) -> Bools:
    """Which texts the weak rules give a label that is looked at: the positive one, else any. Shape (texts,)."""
    return np.isin(weak_labels(card, texts), LabelSpace.of(card).sides)


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
