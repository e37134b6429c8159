"""Find near-duplicates: MinHash proposes pairs, the exact Jaccard similarity of their character shingles decides.

Exact duplicates are `normalise.content_hash`'s matter; here a text also finds its exact copies, with similarity 1.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rensa import RMinHash, RMinHashLSH

from understudy.text.normalise import normalise

# Four characters: one changed word leaves a sentence of 100 characters above 0.8. Unrelated hotel reviews were measured
# at most at 0.21, joined up to 10,000 characters at 0.44, to 60,000 at 0.55 (with three characters: 0.32, 0.60, 0.69).
SHINGLE = 4
PERMUTATIONS = 120
RECALL = 0.9999
TEXTS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Match:
    """The text that another one nearly repeats: its index, and the Jaccard similarity in [0, 1]."""

    index: int
    similarity: float


def shingles(text: str) -> frozenset[str]:
    """Return the runs of four characters of the normalised text; the whole of a shorter one.

    >>> sorted(shingles("A room!"))
    [' roo', 'a ro', 'room']
    """
    clean = normalise(text) or text
    return frozenset(clean[start : start + SHINGLE] for start in range(max(1, len(clean) - SHINGLE + 1)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the share of shingles that two texts have in common, in [0, 1].

    >>> jaccard(frozenset("abc"), frozenset("bcd"))
    0.5
    """
    return len(first & second) / len(first | second)


def rows_per_band(threshold: float) -> int:
    """Return the most rows of a band with which a pair at the threshold is still proposed with chance 0.9999.

    A pair of similarity s shares one of b bands of r rows with chance 1 - (1 - s^r)^b.

    >>> rows_per_band(0.8)  # 24 bands of 5 rows: 0.99993
    5

    Source: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 2014, section 3.4.
    """
    fitting = [rows for rows in (1, 2, 3, 4, 5, 6, 8, 10) if _recall(threshold, rows) >= RECALL]
    return max(fitting, default=1)


def nearest(texts: Sequence[str], references: Sequence[str], threshold: float) -> list[Match | None]:
    """For each text, find the first reference that it nearly repeats.

    Args:
        texts: any number of texts.
        references: what they are compared with, in the order in which a match is preferred.
        threshold: least Jaccard similarity, in (0, 1].

    Returns:
        A match or None for each text, shape (texts,).
    """
    index = _index(threshold)
    index.insert_many(list(_sketches(references)))
    remembered = lru_cache(maxsize=10_000)(lambda position: shingles(references[position]))
    found: list[Match | None] = []
    for text, sketch in zip(texts, _sketches(texts), strict=True):
        found.append(_first_match(text, index.query(sketch), remembered, threshold))
    return found


def fold(texts: Sequence[str], threshold: float) -> list[Match | None]:
    """For each text, find the first kept text before it that it nearly repeats; None keeps it.

    >>> fold(["Ask for a room at the back.", "Nice.", "Ask for a room at the back!!"], threshold=0.8)
    [None, None, Match(index=0, similarity=1.0)]
    """
    index = _index(threshold)
    remembered = lru_cache(maxsize=10_000)(lambda position: shingles(texts[position]))
    found: list[Match | None] = []
    for position, sketch in enumerate(_sketches(texts)):
        found.append(_first_match(texts[position], index.query(sketch), remembered, threshold))
        if found[-1] is None:
            index.insert(position, sketch)
    return found


def _index(threshold: float) -> RMinHashLSH:
    return RMinHashLSH(threshold, PERMUTATIONS, PERMUTATIONS // rows_per_band(threshold))


def _sketches(texts: Sequence[str]) -> Iterator[RMinHash]:
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        runs = [list(shingles(text)) for text in texts[start : start + TEXTS_AT_ONCE]]
        yield from RMinHash.from_token_sets(runs, PERMUTATIONS, 0)


def _recall(threshold: float, rows: int) -> float:
    return 1 - float(1 - threshold**rows) ** (PERMUTATIONS // rows)


def _first_match(
    text: str, candidates: Sequence[int], shingles_of: Callable[[int], frozenset[str]], threshold: float
) -> Match | None:
    own = shingles(text) if candidates else frozenset()
    pairs = ((position, jaccard(own, shingles_of(position))) for position in sorted(candidates))
    return next((Match(position, similarity) for position, similarity in pairs if similarity >= threshold), None)
