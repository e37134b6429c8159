"""Look at a card's weak rules together: what they cover, where they meet, how often they are right.

The columns are those of snorkel's LFAnalysis: coverage, overlaps, conflicts, and precision on human labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Interval
from understudy.task.card import Card
from understudy.task.labels import Integers
from understudy.task.patterns import matches


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """What a weak rule does on human-labelled texts.

    Attributes:
        name: of the rule.
        label: that it suggests.
        matched: texts that it finds.
        coverage: their share of all texts.
        overlaps: share of all texts that another rule finds too.
        conflicts: share of all texts to which another rule gives another label.
        right: matched texts that people gave its label.
        precision: right among matched, with the 95% score interval.
    """

    name: str
    label: str
    matched: int
    coverage: float
    overlaps: float
    conflicts: float
    right: int
    precision: Interval


def hits(card: Card, texts: Sequence[str]) -> Bools:
    """Say which rules find which texts, shape (texts, rules)."""
    found = [matches(rule.pattern, texts) for rule in card.weak_rules]
    return np.stack(found, axis=1) if found else np.zeros((len(texts), 0), dtype=np.bool_)


def suggested(card: Card) -> Integers:
    """Column of the label that each rule suggests, shape (rules,)."""
    return np.array([card.label_names.index(rule.label) for rule in card.weak_rules], dtype=np.int64)


def figures(card: Card, texts: Sequence[str], truth: Codes) -> list[RuleFigures]:
    """Measure each rule on human-labelled texts, in the card's order.

    Args:
        card: the task.
        texts: at least one.
        truth: their human labels.
    """
    found, labels = hits(card, texts), suggested(card)
    return [
        RuleFigures(rule.name, rule.label, *_counted(found, labels, column, metrics.of_label(truth, label)))
        for column, (rule, label) in enumerate(zip(card.weak_rules, labels.tolist(), strict=True))
    ]


def _counted(
    found: Bools, labels: Integers, column: int, has_label: Bools
) -> tuple[int, float, float, float, int, Interval]:
    """Count one rule: matched, coverage, overlaps, conflicts, right and precision.

    Two rules for label 0 and one for label 1; the first finds three texts, of which people gave two its label.

    >>> found = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=bool)
    >>> counted = _counted(found, np.array([0, 0, 1]), 0, np.array([True, False, True, True]))
    >>> counted[:5], round(counted[5].value, 3)
    ((3, 0.75, 0.5, 0.25, 2), 0.667)
    """
    own = found[:, column]
    others = np.delete(found, column, axis=1)
    of_others = others[:, np.delete(labels, column) != labels[column]]
    matched, right = int(own.sum()), int((own & has_label).sum())
    texts = max(1, len(found))
    overlaps, conflicts = (int((own & part.any(axis=1)).sum()) / texts for part in (others, of_others))
    return matched, matched / texts, overlaps, conflicts, right, metrics.wilson(right, matched)
