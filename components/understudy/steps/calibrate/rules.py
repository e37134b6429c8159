"""Turn a student's raw logits into probabilities that hold at the true shares of the labels, and choose the rule."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from understudy.errors import BadInput, TooFewLabels
from understudy.model import calibration
from understudy.model.calibration import Form
from understudy.model.decision import DecisionRule
from understudy.model.engine import Bools, Floats, Integers
from understudy.stats import metrics
from understudy.stats.draw import lot
from understudy.stats.metrics import Column
from understudy.steps.calibrate.config import CalibrateConfig
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.text.numbers import few

PLATT = Form(has_slopes=False, has_biases=True)  # with two labels it says all that slopes could
FORMS = (
    Form(has_slopes=False, has_biases=False),
    *(
        Form(has_slopes=slopes, has_biases=True, ridge=ridge)
        for slopes in (False, True)
        for ridge in (1.0, 10.0, 100.0)
    ),
)
ALONE = Form(has_slopes=False, has_biases=True, ridge=10.0)
FOLDS = 5


def require_labels(truth: Integers, space: LabelSpace, card: Card, fewest: int) -> None:
    """Refuse a calibration split that is too small to fit a calibrator and a rule.

    What is counted is the label that is looked for against the rest, else the commonest against the rest: rare labels
    may have fewer, and share what is learned of all.

    Args:
        truth: human labels, columns, shape (texts,).
        space: the labels.
        card: whose prior may need a text of each label.
        fewest: texts of either.

    Raises:
        TooFewLabels: naming the label that is short.
    """
    counts = np.bincount(truth, minlength=len(space))
    own = int(counts.argmax()) if space.positive_index is None else space.positive_index
    found = {space.names[own]: int(counts[own]), f"not {space.names[own]}": int(counts.sum() - counts[own])}
    for label, count in found.items():
        if count < fewest:
            raise TooFewLabels(
                f"The calibration split must hold at least {fewest} texts of each label, got {count} of '{label}' "
                "(gold). Label more texts, or lower calibrate.min_per_label."
            )
    absent = [space.names[index] for index in np.flatnonzero(counts == 0)]
    if isinstance(card.prior, dict) and absent:
        raise TooFewLabels(
            f"A prior for each label must have a calibration text of each, got none of {few(absent)} (gold). Label "
            "such texts, or set prior: estimate."
        )


def prior_weights(
    truth: Integers, space: LabelSpace, prior: float | Mapping[str, float] | Literal["estimate"]
) -> Floats:
    """Weights that make the labels' shares in the calibration split equal to the true ones; their mean is 1.

    Args:
        truth: human labels, columns, shape (texts,).
        space: the labels.
        prior: the card's true share of the positive label, while the others keep their proportions, or of each label;
            "estimate" takes the split as it is.

    Returns:
        shape (texts,).

    >>> prior_weights(np.array([1, 1, 0, 0]), LabelSpace(("other", "tip"), "tip"), prior=0.25)
    array([0.5, 0.5, 1.5, 1.5])
    """
    if prior == "estimate":
        return np.ones(len(truth))
    shares = np.bincount(truth, minlength=len(space)) / len(truth)
    if isinstance(prior, Mapping):
        wanted = np.array([prior[name] for name in space.names], dtype=float)
        wanted /= wanted.sum()
    else:
        own = np.arange(len(space)) == space.positive_index
        wanted = np.where(own, prior, shares * (1 - prior) / (1 - shares[own].sum()))
    return np.asarray(wanted[truth] / shares[truth])


def choose_form(logits: Floats, truth: Integers, weights: Floats, groups: Column) -> tuple[Form, dict[str, float]]:
    """Choose what the calibrator may be like, by the log-loss on groups that it was not fitted on.

    With two labels all forms but temperature scaling are one, Platt's, which alone follows a changed share: no choice.

    Args:
        logits: uncalibrated, shape (texts, labels).
        truth: human labels, columns, shape (texts,).
        weights: of the texts, shape (texts,).
        groups: of the texts, shape (texts,): those of one group are held out together.

    Returns:
        the form, and the log-loss of the best of each name; empty where there was no choice.
    """
    if logits.shape[1] == 2:
        return PLATT, {}
    fold = folds(groups)
    if len(np.unique(fold)) == 1:  # one group: nothing can be held out
        return ALONE, {}
    losses = {form: _held_out_loss(form, logits, truth, weights, fold) for form in FORMS}
    best: dict[str, float] = {}
    for form, loss in losses.items():
        best[form.name] = min(loss, best.get(form.name, np.inf))
    return min(losses, key=lambda form: losses[form]), best


def folds(groups: Column) -> Integers:
    """Deal groups out to FOLDS folds by a hash of their names, so that a re-run deals alike; shape (texts,)."""
    names, index = np.unique(groups, return_inverse=True)
    order = np.argsort([lot(0, str(name)) for name in names])
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names)) % FOLDS
    return np.asarray(place[index])


def _held_out_loss(form: Form, logits: Floats, truth: Integers, weights: Floats, fold: Integers) -> float:
    probabilities: Floats = np.empty(logits.shape)
    for number in np.unique(fold):
        rest = fold != number
        fitted = calibration.fit(logits[rest], truth[rest], weights[rest], form)
        probabilities[~rest] = fitted.probabilities(logits[~rest])
    return float(metrics.log_loss(probabilities, truth, weights))


def choose_rule(
    probabilities: Floats, truth: Integers, weights: Floats, card: Card, config: CalibrateConfig
) -> DecisionRule:
    """Choose how a text gets its label: by the card's costs, else by a threshold for the label that is looked for.

    Args:
        probabilities: calibrated, shape (texts, labels).
        truth: human labels, columns, shape (texts,).
        weights: of the texts, shape (texts,).
        card: the task.
        config: what the threshold maximises.

    Raises:
        BadInput: the card states costs, and a threshold is asked for.
    """
    space = LabelSpace.of(card)
    if card.confusion_costs:
        if config.objective == "recall":
            raise BadInput(
                "A threshold for recall must be the rule alone, got confusion_costs too (calibrate.objective). Leave "
                "out one of the two."
            )
        costs = 1.0 - np.eye(len(space))
        for pair in card.confusion_costs:
            costs[space.index(pair.label), space.index(pair.given)] = pair.cost
        return DecisionRule(costs=costs)
    if space.positive_index is None:
        return DecisionRule()
    own = space.positive_index
    threshold = choose_threshold(probabilities[:, own], truth == own, weights, config)
    return DecisionRule(label=own, threshold=threshold)


def choose_threshold(probability: Floats, is_positive: Bools, weights: Floats, config: CalibrateConfig) -> float:
    """Choose the probability at or above which a text gets the positive label.

    Objective "f1" maximises F1. Objective "recall" takes the highest recall among thresholds whose precision reaches
    `min_precision`; when none does, the one with the highest precision. The cut lies midway between two scores.

    Args:
        probability: calibrated, of the positive label, shape (texts,).
        is_positive: human labels, shape (texts,).
        weights: of the texts, shape (texts,).
        config: objective and least precision.

    Returns:
        a probability in (0, 1).

    >>> p, y = np.array([0.9, 0.7, 0.2, 0.1]), np.array([True, True, False, False])
    >>> choose_threshold(p, y, np.ones(4), CalibrateConfig()).__round__(2)
    0.45
    """
    cuts = candidate_cuts(probability)
    flagged = probability[None, :] >= cuts[:, None]
    true_positive = (flagged * (is_positive * weights)).sum(axis=1)
    precision = true_positive / (flagged * weights).sum(axis=1)
    recall = true_positive / (is_positive * weights).sum()
    if config.objective == "f1":
        merit = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    else:
        is_precise = precision >= config.min_precision
        merit = np.where(is_precise, recall, precision - 1) if is_precise.any() else precision
    return float(cuts[int(np.argmax(merit))])


def candidate_cuts(probability: Floats) -> Floats:
    """Return the cuts that flag different sets of texts: midway between neighbours, and one below the lowest.

    >>> candidate_cuts(np.array([0.2, 0.6, 0.6])).tolist()
    [0.1, 0.4]
    """
    scores = np.unique(probability)
    below = np.concatenate([[0.0], scores[:-1]])
    return np.asarray((scores + below) / 2)
