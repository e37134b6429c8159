"""Filter obvious negatives by a table of weights, the first stage of a bundle, so that the student reads the rest.

A text's score is a sum over its tokens and pairs of neighbouring tokens, an estimate of the student's log-odds. Texts
below the cut are settled: they are taken for negatives without the student. Export fits the table, calibrate chooses
the cut (`steps.calibrate.cut` says by which rule), infer and watch count what is lost. Needs numpy only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from understudy.errors import BadArtifact
from understudy.model.engine import Bools, Floats, Integers, Tokens
from understudy.store.bundles import FIRST_STAGE_FILE

HELD_OUT_FILE = "held_out.parquet"
FIRST, STUDENT = "first", "student"  # what decided a text, in the column `stage`
PAIR_BITS = 18
PAIRS = 1 << PAIR_BITS  # buckets of token pairs: with the tokens' own weights 1.2 MB for MiniLM, which a cache holds
CONFIDENCE = 0.95
Weights = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Weights of tokens and of pairs of neighbours.

    Attributes:
        weights: of each token by its id, then of each bucket of pairs, shape (vocabulary + PAIRS,).
        intercept: score of a text without tokens.
    """

    weights: Weights
    intercept: float

    def scores(self, tokens: Tokens) -> Floats:
        """Estimate the student's log-odds, shape (texts,): the intercept, and the weights' sum over sqrt(tokens)."""
        starts = tokens.text_starts
        lengths = np.diff(starts)
        vocabulary = len(self.weights) - PAIRS
        of_places = self.weights[tokens.ids] + self.weights[vocabulary + pairs(tokens)]
        scores = np.full(len(lengths), self.intercept)
        if len(of_places):
            has_tokens = lengths > 0
            sums = np.add.reduceat(of_places, starts[:-1][has_tokens])
            scores[has_tokens] += sums / np.sqrt(lengths[has_tokens])
        return scores

    def save(self, folder: Path) -> None:
        """Write the weights; the intercept goes where the caller keeps its settings."""
        np.save(folder / FIRST_STAGE_FILE, self.weights, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, intercept: float) -> "FirstStage":
        """Read the weights that `save` wrote.

        Raises:
            BadArtifact: they are missing or damaged.
        """
        path = folder / FIRST_STAGE_FILE
        try:
            with path.open("rb") as file:
                weights = _read(file, path)
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise BadArtifact(f"A first stage must have readable weights, got {error!s:.200} ({path}).") from error
        return cls(weights, intercept)


def _read(file: BinaryIO, path: Path) -> Weights:
    """Read weights whose header says no more than the file holds: a header alone could ask for terabytes."""
    size = path.stat().st_size
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"a file of NumPy's format {version}")
    header = np.lib.format.read_array_header_1_0(file)
    shape, _, kind = header
    if kind != np.float32 or len(shape) != 1 or shape[0] <= PAIRS or file.tell() + 4 * shape[0] != size:
        raise BadArtifact(
            f"A first stage must have more than {PAIRS} weights of float32 in a row, got {kind} of shape "
            f"{str(shape)[:80]} in {size:,} bytes ({path}). Export again."
        )
    weights: Weights = np.frombuffer(file.read(), np.float32)
    if not np.isfinite(weights).all():
        raise BadArtifact(f"A first stage must have finite weights, got others ({path}). Export again.")
    return weights


def pairs(tokens: Tokens) -> Integers:
    """Bucket of each token with the one before it in its text; a text's first token makes a pair with nothing.

    Returns:
        shape (tokens,), from 0 to PAIRS - 1.

    Source: multiplicative hashing, Knuth, "The art of computer programming", volume 3, 6.4; of features, Weinberger et
    al., "Feature hashing for large scale multitask learning", 2009.
    """
    own = tokens.ids.astype(np.uint32) + np.uint32(1)
    before = np.zeros_like(own)
    before[1:] = own[:-1]
    starts = tokens.text_starts[:-1]
    before[starts[starts < len(own)]] = 0
    mixed = before * np.uint32(0x9E3779B1)
    mixed = ((mixed ^ (mixed >> np.uint32(15))) + own) * np.uint32(0x85EBCA6B)
    return np.asarray((mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35) >> np.uint32(32 - PAIR_BITS), np.int64)


@dataclass(frozen=True, slots=True)
class Cascade:
    """A first stage with its cut, as a bundle serves it.

    Attributes:
        first: the table.
        cut: texts that score below it are settled as negatives.
        shift: added to a settled text's score before the student's calibrator makes a probability of it, so that the
            mean probability of settled texts is the student's own mean on them.
    """

    first: FirstStage
    cut: float
    shift: float

    def settles(self, scores: Floats) -> Bools:
        """Which texts need no student, shape (texts,)."""
        return scores < self.cut

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any] | None, vocabulary: int = 0) -> "Cascade | None":
        """Open the cascade of a bundle; None when it has none.

        Raises:
            BadArtifact: its weights are damaged, or fewer than the tokenizer's `vocabulary` needs.
        """
        if not settings or settings.get("cut") is None:
            return None
        first = FirstStage.open(folder, settings["intercept"])
        if len(first.weights) < vocabulary + PAIRS:
            raise BadArtifact(
                f"A first stage must have a weight for each of {vocabulary:,} tokens, got "
                f"{len(first.weights) - PAIRS:,} ({folder}). Export again."
            )
        return cls(first, settings["cut"], settings["shift"])


def below(probability: Floats, threshold: float) -> Floats:
    """Cap the probabilities of settled texts under the threshold: what is settled is no positive.

    >>> below(np.array([0.1, 0.7]), 0.5).tolist() == [0.1, np.nextafter(0.5, 0)]
    True
    """
    return np.minimum(probability, np.nextafter(threshold, 0))


def fewest_texts(max_missed: float) -> int:
    """Independent texts without a single miss that are enough to promise `max_missed`.

    >>> fewest_texts(0.005), fewest_texts(0.01)  # 0.995 ** 598 is just under 0.05
    (598, 299)
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-max_missed))
