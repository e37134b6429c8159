"""When a graph is still the same classifier: parity, label order and quality; pure functions over arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.engine import Bools, Floats
from understudy.errors import UnderstudyError
from understudy.metrics import average_precision
from understudy.steps.export.config import ExportConfig


class NotTheSame(UnderstudyError):
    """The exported graph is not the classifier that was trained."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The graph that will serve ("fp32" or "int8"), and why."""

    graph: str
    reason: str


def largest_gap(first: Floats, second: Floats) -> float:
    """Largest difference between two sets of log-odds of the same texts.

    >>> largest_gap(np.array([0.5, 1.0]), np.array([0.5, 0.75]))
    0.25
    """
    return float(np.abs(first - second).max(initial=0.0))


def require_parity(trained: Floats, exported: Floats, config: ExportConfig) -> None:
    """Refuse an fp32 graph whose log-odds moved.

    Raises:
        NotTheSame: the largest gap passes `max_log_odds_gap`, or a value is not finite.
    """
    gap = largest_gap(trained, exported)
    if not gap <= config.max_log_odds_gap:
        raise NotTheSame(
            f"The fp32 graph's log-odds must stay within {config.max_log_odds_gap} of the student's, "
            f"got a gap of {gap:.2g} (validation texts). Export with another opset, or report the architecture."
        )


def require_label_order(card_labels: Sequence[str], model_labels: Mapping[int, str]) -> None:
    """Refuse a student whose logits stand in another order than the card's labels.

    Raises:
        NotTheSame: the orders differ.
    """
    found = [model_labels[index] for index in sorted(model_labels)]
    if found != list(card_labels):
        raise NotTheSame(
            f"The student's labels must stand in the card's order {list(card_labels)}, got {found} (config.json). "
            "Train it again with this card."
        )


def choose(scores: Mapping[str, Floats], is_positive: Bools, config: ExportConfig) -> Choice:
    """Choose the graph that will serve: int8 unless it ranks the validation texts worse by more than the card allows.

    Args:
        scores: log-odds by graph ("fp32", and "int8" when it was made), each of shape (texts,).
        is_positive: human labels, shape (texts,).
        config: the settings.
    """
    exact = average_precision(scores["fp32"], is_positive)
    if "int8" not in scores:
        return Choice("fp32", "int8 was not asked for")
    quantized = average_precision(scores["int8"], is_positive)
    told = f"average precision {quantized:.3f} in int8, {exact:.3f} in fp32, {config.max_quality_loss} may be lost"
    return Choice("int8" if exact - quantized <= config.max_quality_loss else "fp32", told)
