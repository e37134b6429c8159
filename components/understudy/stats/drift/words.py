"""Measure how surprising a text's words are, by hashed counts of the reference; no word list is kept."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from understudy.stats.metrics import Floats

BUCKETS = 4096  # two words in a bucket cost a little power, and nothing else; 12 kB in bundle.json
SMOOTHING = 0.5
WORD = r"\w+"


def bucket_of(word: str) -> int:
    """Return the bucket of a word, the same on every machine and in every release.

    >>> bucket_of("ferry") == bucket_of("ferry"), 0 <= bucket_of("ferry") < BUCKETS
    (True, True)
    """
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS


def words_of(texts: pl.Series) -> pl.DataFrame:
    """Return every word of every text, lower case: columns text (its place, from 0), word and bucket."""
    words = texts.str.to_lowercase().str.extract_all(WORD)
    table = pl.DataFrame({"text": np.arange(len(texts)), "word": words}).explode("word").drop_nulls("word")
    known = table["word"].unique().to_list()
    buckets = pl.DataFrame({"word": known, "bucket": [bucket_of(word) for word in known]}, schema_overrides=SCHEMA)
    return table.join(buckets, on="word", maintain_order="left")


SCHEMA = {"word": pl.String, "bucket": pl.Int64}


def counts_of(words: pl.DataFrame) -> Floats:
    """Count words by bucket. Shape (BUCKETS,)."""
    return np.bincount(words["bucket"].to_numpy(), minlength=BUCKETS).astype(float)


def surprise(count: Floats, total: Floats | float) -> Floats:
    """Bits of surprise at words of buckets that were met `count` times among `total` words.

    >>> surprise(np.array([2047.5]), 2048.0).tolist()  # half of all that is expected: (2047.5 + 0.5) / (2048 + 2048)
    [1.0]
    """
    return np.asarray(-np.log2((count + SMOOTHING) / (total + SMOOTHING * BUCKETS)))


def mean_surprise(words: pl.DataFrame, counts: Floats, texts: int, own: Sequence[int] | None = None) -> Floats:
    """Mean surprise of each text's words in bits; nan for a text without words.

    Args:
        words: of the texts, by `words_of`.
        counts: of the reference's words, shape (BUCKETS,).
        texts: how many there are.
        own: group of each text where the texts are the reference itself. The words of a text's own group are then left
            out of the counts: a text is no surprise to itself, and new texts would look strange beside it.

    Returns:
        shape (texts,).
    """
    place, bucket = words["text"].to_numpy(), words["bucket"].to_numpy()
    count, total = counts[bucket], np.full(len(bucket), counts.sum())
    if own is not None and len(bucket):
        group = np.unique(np.asarray(own), return_inverse=True)[1][place]
        pair, times = np.unique(group * BUCKETS + bucket, return_inverse=True, return_counts=True)[1:]
        count, total = count - times[pair], total - np.bincount(group)[group]
    bits = np.bincount(place, weights=surprise(count, total), minlength=texts)
    number = np.bincount(place, minlength=texts)
    return np.asarray(np.divide(bits, number, out=np.full(texts, math.nan), where=number > 0))
