"""Find which labels a card's weak rules suggest, and which texts belong to its slices."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.stats.metrics import Codes
from understudy.task.card import Card, Slice
from understudy.task.labels import Integers, LabelSpace
from understudy.task.patterns import matches
from understudy.text.normalise import word_counts

NO_RULE = -1
Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def weak_labels(card: Card, texts: Sequence[str]) -> Codes:
    """Codes of the labels that the card's weak rules suggest: of the first rule that matches, shape (texts,).

    NO_RULE stands where none does. Where a text may have several labels it gets those of all rules that match, and
    none where none does; shape (texts, labels).
    """
    if card.is_many:
        given: Bools = np.zeros((len(texts), len(card.labels)), dtype=np.bool_)
        for rule in card.weak_rules:
            given[:, card.label_names.index(rule.label)] |= matches(rule.pattern, texts)
        return given
    codes = np.full(len(texts), NO_RULE, dtype=np.int64)
    for rule in card.weak_rules:
        found = matches(rule.pattern, texts) & (codes == NO_RULE)
        codes[found] = card.label_names.index(rule.label)
    return codes


def weak_hints(card: Card, texts: Sequence[str]) -> Integers:
    """Like `weak_labels`, but only labels that are looked at: the positive one, else all of them. Shape (texts,).

    The first set for the teacher is richer in these texts than the pool.
    """
    codes = weak_labels(card, texts)
    return np.where(np.isin(codes, LabelSpace.of(card).sides), codes, NO_RULE)


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
