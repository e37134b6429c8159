"""Look at a card's weak rules together: what they cover, where they meet, how often they are right; and combine them.

The columns are those of snorkel's LFAnalysis: coverage, overlaps, conflicts, and precision on human labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Groups, Interval
from understudy.task.card import Card
from understudy.task.labels import Integers, LabelSpace
from understudy.task.patterns import matches

SMOOTHING = 1.0  # texts with and without each rule that are added to each label, as Laplace has it
FOLDS = 10  # of the groups: each is answered by what the others teach
FEWEST_COMBINED = 2  # rules: one alone is a baseline by itself


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


def records(card: Card, texts: Sequence[str], truth: Codes) -> list[dict[str, Any]]:
    """Write the figures of each rule for JSON; none where there is no text to measure them on."""
    found = figures(card, texts, truth) if len(texts) else []
    return [{**asdict(rule), "precision": metrics.as_record(rule.precision)} for rule in found]


def combined(found: Bools, truth: Codes, groups: Groups, space: LabelSpace) -> Codes:
    """Answer texts by all rules at once: naive Bayes, each rule weighing what it is worth on human labels.

    A rule that mostly errs counts against its label, and a text that no rule finds gets what such texts mostly are.
    Each text is answered by what the texts of other groups teach, so many rules do not learn these by heart, and a
    paired interval against another's answers holds.

    Args:
        found: which rules find which texts, shape (texts, rules); at least one rule.
        truth: human labels of these texts.
        groups: of these texts, shape (texts,); at least two.
        space: the labels.

    Two rules agree on the first two texts; where the second stands alone it is wrong.

    >>> found = np.tile(np.array([[1, 1], [1, 1], [1, 0], [0, 1], [0, 1], [0, 0]], dtype=bool), (10, 1))
    >>> truth = np.tile([1, 1, 1, 0, 0, 0], 10)
    >>> combined(found, truth, np.arange(60), LabelSpace(("other", "tip"), "tip"))[:6].tolist()
    [1, 1, 1, 0, 0, 0]

    Source: Ratner, De Sa, Wu, Selsam and Re, "Data programming", 2016: independent sources, here with their rates
    counted on human labels in place of estimated without.
    """
    if space.is_many:
        return np.stack([_bayes(found, column, groups) for column in truth.T], axis=1)
    return _bayes(found, truth, groups)


def _bayes(found: Bools, truth: Codes, groups: Groups) -> Codes:
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.naive_bayes import BernoulliNB

    folds = GroupKFold(min(FOLDS, len(np.unique(groups))))
    return np.asarray(cross_val_predict(BernoulliNB(alpha=SMOOTHING), found, truth, groups=groups, cv=folds))
