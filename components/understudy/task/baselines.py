"""Answer texts by what costs nothing: the card's weak rules, or one and the same label."""

from collections.abc import Sequence

import numpy as np

from understudy.stats.metrics import Codes, Floats
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.slices import NO_RULE, weak_labels

RULES, COMBINED, MAJORITY = "rules", "rules_combined", "majority"
NAMED = {  # in a sentence
    RULES: "the card's weak rules",
    COMBINED: "the card's weak rules combined",
    MAJORITY: "one and the same label for every text",
}


def commonest(truth: Codes, space: LabelSpace) -> Codes:
    """Answer every text with the label that is commonest among these very texts, so at its best.

    Where a text may have several labels, with those that most of these texts have: exactly these, or none at all.
    """
    if space.is_many:
        sets, counts = np.unique(truth, axis=0, return_counts=True)
        return np.asarray(np.tile(sets[counts.argmax()], (len(truth), 1)))
    counted = _counted(truth, space)
    if space.positive_index is not None:
        counted[space.positive_index] -= 0.5  # of two that are as common it is the other one
    return np.full(len(truth), counted.argmax())


def completed(found: Codes, truth: Codes, space: LabelSpace) -> Codes:
    """Complete the labels that weak rules found: a text without gets the commonest one that is not looked for.

    Where a text may have several labels there is nothing to complete: it may have none.

    Args:
        found: codes, NO_RULE where none matches.
        truth: human labels; what is commonest is counted on these very texts.
        space: the labels.
    """
    if space.is_many:
        return found
    counted = _counted(truth, space)
    if space.positive_index is not None:
        counted[space.positive_index] = -1
    return np.where(found == NO_RULE, counted.argmax(), found)


def simple_answers(card: Card, texts: Sequence[str], truth: Codes) -> dict[str, Codes]:
    """Return what costs nothing by name: `RULES` where the card has weak rules, and `MAJORITY`.

    Args:
        card: the task.
        texts: what is answered; at least one.
        truth: their human labels.
    """
    space = LabelSpace.of(card)
    rules = {RULES: completed(weak_labels(card, texts), truth, space)} if card.weak_rules else {}
    return {**rules, MAJORITY: commonest(truth, space)}


def is_plural(name: str) -> bool:
    """Whether what costs nothing is named by a plural, so that a sentence says "are" and "have" of it."""
    return name in {RULES, COMBINED}


def _counted(truth: Codes, space: LabelSpace) -> Floats:
    return np.bincount(truth, minlength=len(space)).astype(float)
