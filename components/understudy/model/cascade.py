"""Filter obvious texts of one label by a table of weights, the first stage of a bundle; the student reads the rest.

The label is the commonest that nobody looks for: with two, the negative one. A text's score is a sum over its tokens
and pairs of neighbouring tokens, an estimate of the student's log-odds that the text has another label. Texts below
the cut are settled: they get the label without the student. Export fits the table, calibrate chooses
the cut (`steps.calibrate.cut` says by which rule), infer and watch count what is lost. Needs numpy only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from understudy.errors import BadArtifact
from understudy.model.decision import DecisionRule
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
        cut: texts that score below it are settled.
        label: column of the label that they get.
        slope: of a settled text's score, and
        bias: beside it: their sum is the log-odds that it has another label. The mean of these probabilities is the
            student's own mean on settled texts.
        most: probability of another label is capped at this: beyond it a settled text would not get the label.
        rest: how that probability is shared out among the labels, shape (labels,); 0 for the settled one.
    """

    first: FirstStage
    cut: float
    label: int
    slope: float
    bias: float
    most: float
    rest: Floats

    def settles(self, scores: Floats) -> Bools:
        """Which texts need no student, shape (texts,)."""
        return scores < self.cut

    def probabilities(self, scores: Floats) -> Floats:
        """Probabilities of settled texts, shape (texts, labels).

        Args:
            scores: of the first stage, shape (texts,).
        """
        other = np.minimum(sigmoid(self.slope * scores + self.bias), self.most)
        found = np.multiply.outer(other, self.rest)
        found[:, self.label] = 1.0 - other
        return np.asarray(found)

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
        said = {name: settings[name] for name in ("cut", "label", "slope", "bias", "most")}
        return cls(first, **said, rest=np.asarray(settings["rest"], dtype=np.float64))


def sigmoid(log_odds: Floats) -> Floats:
    """Probabilities of natural-log odds, same shape.

    >>> sigmoid(np.array([0.0, -1000.0])).round(3).tolist()
    [0.5, 0.0]
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -500, 500))))


def largest_share(rule: DecisionRule, label: int, rest: Floats) -> float:
    """Find the largest probability of other labels with which a text still gets a label.

    Args:
        rule: of the bundle.
        label: the label's column.
        rest: how the probability is shared out among the others, shape (labels,).

    >>> largest_share(DecisionRule(label=1, threshold=0.5), 0, np.array([0.0, 1.0])) == float(np.nextafter(0.5, 0))
    True
    """
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        probabilities = middle * rest
        probabilities[label] = 1.0 - middle
        is_kept = rule.choose(probabilities[None, :])[0] == label
        low, high = (middle, high) if is_kept else (low, middle)
    return low


def fewest_texts(max_missed: float) -> int:
    """Independent texts without a single miss that are enough to promise `max_missed`.

    >>> fewest_texts(0.005), fewest_texts(0.01)  # 0.995 ** 598 is just under 0.05
    (598, 299)
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-max_missed))
