"""Normalise texts, to tell which are the same and which stand in the test split."""

import hashlib
import re
import unicodedata

import numpy as np
import polars as pl

from understudy.text.seen import seen_of


def normalise(text: str) -> str:
    """Return what two copies of a text have in common: letters and digits, case folded, one space between words.

    >>> normalise("  Ask for a ROOM at the back!! ")
    'ask for a room at the back'
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def content_hash(text: str) -> str:
    """SHA-256 of the normalised text; of the text itself when nothing but signs is left of it."""
    return hashlib.sha256((normalise(text) or text).encode("utf-8", "surrogatepass")).hexdigest()


def guarded_ids(table: pl.DataFrame, guard: pl.DataFrame) -> list[str]:
    """Ids of the texts that stand in the test split, by id or by content.

    Args:
        table: columns id and text, and context where the card has it.
        guard: `tables.LeakageGuard`.
    """
    ids, contents = set(guard["id"]), set(guard["content"])
    rows = zip(table["id"], seen_of(table), strict=True)
    return [row_id for row_id, text in rows if row_id in ids or content_hash(text) in contents]


def word_counts(texts: pl.Series) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """Words of each text, as far as white space parts them. Shape (texts,)."""
    return texts.str.count_matches(r"\S+").to_numpy()
