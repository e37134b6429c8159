"""What counts as the same text, and how a card's patterns read texts."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.task.card import Card, Slice
from understudy.task.patterns import matches

Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def normalise(text: str) -> str:
    """Return what two copies of a text have in common: letters and digits, case folded, one space between words.

    >>> normalise("  Ask for a ROOM at the back!! ")
    'ask for a room at the back'
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def content_hash(text: str) -> str:
    """SHA-256 of the normalised text; of the text itself when nothing but signs is left of it."""
    return hashlib.sha256((normalise(text) or text).encode("utf-8", "surrogatepass")).hexdigest()


def weak_positive(card: Card, texts: Sequence[str]) -> Bools:
    """Which texts the card's weak rules call positive: the first rule that matches decides. Shape (texts,)."""
    is_positive = np.zeros(len(texts), dtype=bool)
    is_open = np.ones(len(texts), dtype=bool)
    for rule in card.weak_rules:
        found = matches(rule.pattern, texts) & is_open
        is_positive[found] = rule.label == card.positive_label
        is_open &= ~found
    return is_positive


def fenced_ids(table: pl.DataFrame, firewall: pl.DataFrame) -> list[str]:
    """Ids of the texts that stand in the test split, by id or by content.

    Args:
        table: columns id and text.
        firewall: `records.Firewall`.
    """
    ids, contents = set(firewall["id"]), set(firewall["content"])
    rows = zip(table["id"], table["text"], strict=True)
    return [row_id for row_id, text in rows if row_id in ids or content_hash(text) in contents]


def word_counts(texts: pl.Series) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """Words of each text, as far as white space parts them. Shape (texts,)."""
    return texts.str.count_matches(r"\S+").to_numpy()


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
