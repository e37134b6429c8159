"""Judge whether a graph is still the same classifier: parity, label order and quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.errors import UnderstudyError
from understudy.model.engine import Floats
from understudy.steps.export.config import ExportConfig
from understudy.task.card import Card

PREFERRED = ("int8", "mixed", "fp32")
FASTER = 1.5  # on a busy machine two measurements of one speed differ by a quarter


class NotTheSame(UnderstudyError):
    """The exported graph is not the classifier that was trained."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The graph that will serve ("fp32", "mixed" or "int8"), and why."""

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


def require_labels(card: Card, model_labels: Mapping[int, str], labels_per_text: str) -> None:
    """Refuse a student whose logits stand in another order than the card's labels, or say something else.

    Args:
        card: the task.
        model_labels: label of each logit, by its column.
        labels_per_text: that the student learned: "one", or "many".

    Raises:
        NotTheSame: the orders differ, or how many labels a text may have.
    """
    card_labels = card.label_names
    found = [model_labels[index] for index in sorted(model_labels)]
    if found != list(card_labels):
        raise NotTheSame(
            f"The student's labels must stand in the card's order {list(card_labels)}, got {found} (config.json). "
            "Train it again with this card."
        )
    if labels_per_text != card.labels_per_text:
        raise NotTheSame(
            f"The student must have learned labels_per_text: {card.labels_per_text}, got {labels_per_text} "
            "(student.json). Train it again with this card."
        )


def is_as_good(exact: float, other: float, config: ExportConfig) -> bool:
    """Whether a graph of this average precision may serve instead of fp32's."""
    return exact - other <= config.max_quality_loss


def choose(quality: Mapping[str, float], speed: Mapping[str, float], config: ExportConfig) -> Choice:
    """Choose the graph that will serve: the fastest of those that rank the validation texts as well as fp32.

    A graph with more integers is preferred while none with fewer is `FASTER` times as fast, so that two measurements
    of one speed do not choose differently.

    Args:
        quality: average precision on the validation split of "fp32", and of "int8" and "mixed" where they were made.
        speed: texts per second here, of the same graphs.
        config: the settings.

    >>> choose({"fp32": 0.90, "int8": 0.89}, {"fp32": 60.0, "int8": 220.0}, ExportConfig()).graph
    'int8'
    """
    made = [name for name in PREFERRED if name in quality]
    if made == ["fp32"]:
        return Choice("fp32", "int8 was not asked for")
    good = [name for name in made if is_as_good(quality["fp32"], quality[name], config)]
    chosen = good[0]
    for name in good[1:]:
        chosen = name if speed[name] > FASTER * speed[chosen] else chosen
    told = ", ".join(f"{quality[name]:.4f} in {name}" for name in made)
    why = " and ".join(_why_not(name, made, good, chosen) for name in made if name != chosen)
    return Choice(chosen, f"average precision {told}, {config.max_quality_loss} may be lost; {why}")


def _why_not(name: str, made: Sequence[str], good: Sequence[str], chosen: str) -> str:
    if name not in good:
        return f"{name} loses too much"
    has_more_integers = made.index(name) < made.index(chosen)
    return f"{name} is slower here" if has_more_integers else f"{name} is not {FASTER} times as fast as {chosen} here"
