"""Count the tokens of texts, and those that stand for what the student's vocabulary does not know."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from understudy.stats.drift.checked import of_shape
from understudy.stats.metrics import Codes, Floats

DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of texts in a few numbers, which add up over texts of different groups.

    Attributes:
        texts: how many there are.
        tokens: of all of them.
        unknown: of these, those that stand for what the vocabulary does not know.
        squares: sum over groups of the squares of their tokens.
    """

    texts: float = 0.0
    tokens: float = 0.0
    unknown: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Tokens") -> "Tokens":
        """Add up texts of different groups."""
        return Tokens(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Tokens)})

    def as_record(self) -> dict[str, float]:
        """Write it for JSON."""
        return {name: round(value, DECIMALS) for name, value in asdict(self).items()}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            BadArtifact: it is damaged.
        """
        return cls(**{one.name: float(of_shape(record, one.name, ())) for one in fields(Tokens)})


def count(groups: Any, tokens: Codes, unknown: Codes, weights: Floats | None = None) -> Tokens:
    """Sum the tokens of texts.

    Args:
        groups: of each text, shape (texts,).
        tokens: of each text, shape (texts,).
        unknown: of these the unknown ones, shape (texts,).
        weights: how many texts of the world each stands for, shape (texts,).

    >>> count(np.array([0, 0, 1]), np.array([5, 5, 10]), np.array([1, 0, 3]))  # of 10 tokens in each group
    Tokens(texts=3.0, tokens=20.0, unknown=4.0, squares=200.0)
    """
    weight = np.ones(len(tokens)) if weights is None else weights
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    of_groups = np.bincount(index, weights=weight * tokens, minlength=len(names))
    return Tokens(
        texts=float(weight.sum()),
        tokens=float(of_groups.sum()),
        unknown=float((weight * unknown).sum()),
        squares=float(of_groups @ of_groups),
    )
