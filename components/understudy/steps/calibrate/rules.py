"""Turn a student's raw logits into probabilities that hold at the true shares of the labels, and choose the rule."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from understudy.errors import BadInput, TooFewLabels
from understudy.model import calibration
from understudy.model.calibration import Form
from understudy.model.decision import DecisionRule
from understudy.model.engine import Bools, Floats, Integers
from understudy.stats import metrics
from understudy.stats.draw import lot
from understudy.stats.metrics import Codes, Column
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
CUTS_AT_ONCE = 5_000  # against as many texts: 200 MB


def require_labels(truth: Codes, space: LabelSpace, card: Card, fewest: int) -> None:
    """Refuse a calibration split that is too small to fit a calibrator and a rule.

    What is counted is the label that is looked for against the rest, else the one that sets most texts apart against
    the rest, which is the commonest where each text has one: rare labels may have fewer, and share what is learned of
    all.

    Args:
        truth: human labels.
        space: the labels.
        card: whose prior may need a text of each label.
        fewest: texts of either.

    Raises:
        TooFewLabels: naming the label that is short.
    """
    counts = space.one_hot(truth).sum(axis=0).astype(int)
    others = len(truth) - counts
    apart = np.minimum(counts, others) if space.is_many else counts
    own = int(apart.argmax()) if space.positive_index is None else space.positive_index
    found = {space.names[own]: int(counts[own]), f"not {space.names[own]}": int(others[own])}
    for label, count in found.items():
        if count < fewest:
            raise TooFewLabels(
                f"The calibration split must hold at least {fewest} texts of each label, got {count} of '{label}' "
                "(gold). Label more texts, or lower calibrate.min_per_label."
            )
    absent = [space.names[index] for index in np.flatnonzero(counts == 0)]
    if space.is_many:
        absent += [f"not {space.names[index]}" for index in np.flatnonzero(others == 0)]
    if isinstance(card.prior, dict) and absent:
        raise TooFewLabels(
            f"A prior for each label must have a calibration text of each, got none of {few(absent)} (gold). Label "
            "such texts, or set prior: estimate."
        )


def prior_weights(truth: Codes, space: LabelSpace, prior: float | Mapping[str, float] | Literal["estimate"]) -> Floats:
    """Weights that make the labels' shares in the calibration split equal to the true ones; their mean is 1.

    Where a text may have several labels, it has a weight for each: what its yes or no to that label stands for.

    Args:
        truth: human labels.
        space: the labels.
        prior: the card's true share of the positive label, while the others keep their proportions, or of each label;
            "estimate" takes the split as it is.

    Returns:
        shape (texts,), or (texts, labels) where a text may have several.

    >>> prior_weights(np.array([1, 1, 0, 0]), LabelSpace(("other", "tip"), "tip"), prior=0.25)
    array([0.5, 0.5, 1.5, 1.5])
    >>> both, space = np.array([[True, True], [True, False]]), LabelSpace(("praise", "tip"), is_many=True)
    >>> prior_weights(both, space, {"praise": 1.0, "tip": 0.2}).tolist()
    [[1.0, 0.4], [1.0, 1.6]]
    """
    if prior == "estimate":
        return np.ones(truth.shape)
    if space.is_many and isinstance(prior, Mapping):
        wanted, shares = np.array([prior[name] for name in space.names], dtype=float), truth.mean(axis=0)
        return np.asarray(np.where(truth, metrics.share(wanted, shares), metrics.share(1 - wanted, 1 - shares)))
    shares = np.bincount(truth, minlength=len(space)) / len(truth)
    if isinstance(prior, Mapping):
        wanted = np.array([prior[name] for name in space.names], dtype=float)
        wanted /= wanted.sum()
    else:
        own = np.arange(len(space)) == space.positive_index
        wanted = np.where(own, prior, shares * (1 - prior) / (1 - shares[own].sum()))
    return np.asarray(wanted[truth] / shares[truth])


def choose_form(logits: Floats, truth: Codes, weights: Floats, groups: Column) -> tuple[Form, dict[str, float]]:
    """Choose what the calibrator may be like, by the log-loss on groups that it was not fitted on.

    With two labels, of which a text has one, all forms but temperature scaling are one, Platt's, which alone follows a
    changed share: no choice.

    Args:
        logits: uncalibrated, shape (texts, labels).
        truth: human labels.
        weights: of `prior_weights`.
        groups: of the texts, shape (texts,): those of one group are held out together.

    Returns:
        the form, and the log-loss of the best of each name; empty where there was no choice.
    """
    if truth.ndim == 1 and logits.shape[1] == 2:
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


def _held_out_loss(form: Form, logits: Floats, truth: Codes, weights: Floats, fold: Integers) -> float:
    probabilities: Floats = np.empty(logits.shape)
    for number in np.unique(fold):
        rest = fold != number
        fitted = calibration.fit(logits[rest], truth[rest], weights[rest], form)
        probabilities[~rest] = fitted.probabilities(logits[~rest])
    return weighted(metrics.log_loss, probabilities, truth, weights)


def weighted(figure: Callable[..., float], given: Floats, truth: Codes, weights: Floats) -> float:
    """Return a figure of probabilities; where each label has weights of its own, the mean over the labels.

    Args:
        figure: such as `metrics.brier`.
        given: what the figure is of, shape (texts, labels).
        truth: human labels.
        weights: of `prior_weights`.
    """
    if weights.ndim == 1:
        return float(figure(given, truth, weights))
    labels = range(truth.shape[1])
    return float(np.mean([figure(given[:, [label]], truth[:, [label]], weights[:, label]) for label in labels]))


def choose_rule(
    probabilities: Floats, truth: Codes, weights: Floats, card: Card, config: CalibrateConfig
) -> DecisionRule:
    """Choose how a text gets its label: by the card's costs, else by a threshold for the label that is looked for.

    Where a text may have several labels, each has a threshold.

    Args:
        probabilities: calibrated, shape (texts, labels).
        truth: human labels.
        weights: of `prior_weights`.
        card: the task.
        config: what the threshold maximises.

    Raises:
        BadInput: the card states costs, and a threshold is asked for.
    """
    space = LabelSpace.of(card)
    if space.is_many:
        return DecisionRule(thresholds=choose_thresholds(probabilities, truth, weights, config))
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


def choose_thresholds(probabilities: Floats, truth: Bools, weights: Floats, config: CalibrateConfig) -> Floats:
    """Choose the threshold of each label where a text may have several.

    A label with `min_per_label` texts has the threshold that is best for it. The others share the one that is best for
    all of them together, as a threshold for few texts would follow chance; where even together they have fewer, the one
    that is best for all labels together.

    Args:
        probabilities: calibrated, shape (texts, labels).
        truth: human labels, shape (texts, labels).
        weights: of each label's texts, shape (texts, labels).
        config: what a threshold maximises, and the fewest texts.

    Returns:
        shape (labels,).

    >>> p = np.array([[0.9, 0.4], [0.7, 0.1], [0.2, 0.3], [0.1, 0.1]])
    >>> truth = np.array([[True, True], [True, False], [False, True], [False, False]])
    >>> choose_thresholds(p, truth, np.ones((4, 2)), CalibrateConfig(min_per_label=2)).round(2).tolist()
    [0.45, 0.2]
    """
    is_frequent = truth.sum(axis=0) >= config.min_per_label
    shared = ~is_frequent if truth[:, ~is_frequent].sum() >= config.min_per_label else np.ones_like(is_frequent)

    def best(chosen: Bools) -> float:
        return choose_threshold(
            probabilities[:, chosen].ravel(), truth[:, chosen].ravel(), weights[:, chosen].ravel(), config
        )

    thresholds = np.full(len(is_frequent), np.nan if is_frequent.all() else best(shared))  # once for all that share it
    for own in np.eye(len(is_frequent), dtype=np.bool_)[is_frequent]:
        thresholds[own] = best(own)
    return thresholds


def choose_threshold(probability: Floats, is_positive: Bools, weights: Floats, config: CalibrateConfig) -> float:
    """Choose the probability at or above which a text gets the positive label.

    Objective "f1" maximises F1, where a text counts half by its label and half by its probability: labels alone let few
    texts decide, probabilities alone hide a calibrator that does not fit. Objective "recall" takes the highest recall
    among thresholds whose precision reaches `min_precision`; when none does, the one with the highest precision. The
    cut lies midway between two scores.

    Args:
        probability: calibrated, of the positive label, shape (texts,).
        is_positive: human labels, shape (texts,).
        weights: of the texts, shape (texts,).
        config: objective and least precision.

    Returns:
        a probability in (0, 1).

    Source: Ye, Chai, Lee and Chieu, "Optimizing F-measure: a tale of two approaches", 2012, for the two; that half of
    each is better than labels alone was measured (docs/log.md).

    >>> p, y = np.array([0.9, 0.7, 0.2, 0.1]), np.array([True, True, False, False])
    >>> choose_threshold(p, y, np.ones(4), CalibrateConfig()).__round__(2)
    0.45
    """
    cuts = candidate_cuts(probability)
    counts = (is_positive + probability) / 2 if config.objective == "f1" else is_positive
    true_positive = sums_from(cuts, probability, counts * weights)
    precision = true_positive / sums_from(cuts, probability, weights)
    recall = true_positive / (counts * weights).sum()
    if config.objective == "f1":
        merit = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    else:
        is_precise = precision >= config.min_precision
        merit = np.where(is_precise, recall, precision - 1) if is_precise.any() else precision
    return float(cuts[int(np.argmax(merit))])


def sums_from(cuts: Floats, probability: Floats, values: Floats) -> Floats:
    """Sum the values of the texts at or above each cut, shape (cuts,); cuts ascend, the first lies below all texts.

    >>> sums_from(np.array([0.1, 0.4]), np.array([0.2, 0.6, 0.6]), np.array([1.0, 1.0, 2.0])).tolist()
    [4.0, 3.0]
    """
    if len(cuts) <= CUTS_AT_ONCE:  # a running sum rounds otherwise, and might turn a tie of two cuts
        return np.asarray(((probability[None, :] >= cuts[:, None]) * values).sum(axis=1))
    place = np.searchsorted(cuts, probability, side="right") - 1
    return np.asarray(np.bincount(place, values, len(cuts))[::-1].cumsum()[::-1])


def candidate_cuts(probability: Floats) -> Floats:
    """Return the cuts that flag different sets of texts: midway between neighbours, and one below the lowest.

    >>> candidate_cuts(np.array([0.2, 0.6, 0.6])).tolist()
    [0.1, 0.4]
    """
    scores = np.unique(probability)
    below = np.concatenate([[0.0], scores[:-1]])
    return np.asarray((scores + below) / 2)
