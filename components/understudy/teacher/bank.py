"""Combine the answers of a prompt bank, several wordings or several models, into one soft label a text.

What a wording is worth is measured on human labels where there are any: its weight is the log-odds of its being right,
which is the best weight of a vote between judges whose errors are independent; for k labels that are equally likely and
errors spread evenly over the others it is log(p (k - 1) / (1 - p)).

A wording's accuracy is drawn towards the bank's by as much as chance alone explains how the wordings differ, so that a
few labels give all of them the same weight.

Sources: Nitzan and Paroush, "Optimal decision rules in uncertain dichotomous choice situations", 1982, for the weights;
Kleinman, "Proportions with extraneous variance", 1973, for the moments that the shrinking is taken from.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from understudy.stats.metrics import Floats
from understudy.task.labels import Integers, LabelSpace
from understudy.teacher.response_log import Response

NO_ANSWER = -1
MOST_SURE = 1e-3  # an accuracy is kept this far from 0 and 1, so that no weight is without bounds
LEAST_LABELS = 30  # human labels of a wording's answers, from which it is weighed


def one_hot(codes: Integers, labels: int) -> Floats:
    """Write labels as votes: 1 for the label given, nan everywhere for no answer.

    Args:
        codes: columns of labels, `NO_ANSWER` where there is none, of any shape.
        labels: how many there are.

    Returns:
        shape (..., labels).

    >>> one_hot(np.array([1, -1]), 2).tolist()
    [[0.0, 1.0], [nan, nan]]
    """
    votes = np.eye(labels)[codes]
    votes[codes == NO_ANSWER] = np.nan
    return votes


def combine(answers: Floats, weights: Floats) -> Floats:
    """Average the answers of the wordings that gave one.

    Args:
        answers: probabilities, or votes as `one_hot` writes them, nan where there is no answer; shape (wordings, texts,
            labels).
        weights: of the wordings, 0 or more, shape (wordings,).

    Returns:
        probabilities, shape (texts, labels); nan for a text that no wording of any weight answered.

    >>> combine(one_hot(np.array([[0, -1], [1, -1], [1, -1]]), 2), np.ones(3)).round(3).tolist()
    [[0.333, 0.667], [nan, nan]]
    """
    shares = np.where(np.isnan(answers), 0.0, weights[:, None, None])
    total = shares.sum(axis=0)
    summed = (shares * np.nan_to_num(answers)).sum(axis=0)
    shown = np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)
    return np.asarray(shown, dtype=np.float64)


def weights(codes: Integers, truth: Integers, labels: int) -> Floats:
    """Weigh wordings by what each is worth on human labels; all alike where these are too few, or none beats a guess.

    Args:
        codes: columns of the labels that each wording gave, `NO_ANSWER` where none, shape (wordings, texts).
        truth: columns of the labels that people gave, shape (texts,).
        labels: how many there are.

    Returns:
        shape (wordings,), 0 for a wording that is no better than a guess.

    >>> truth = np.arange(100) % 2
    >>> good, poor = np.where(np.arange(100) < 90, truth, 1 - truth), np.where(np.arange(100) < 60, truth, 1 - truth)
    >>> weights(np.array([good, poor]), truth, 2).round(1).tolist()
    [2.1, 0.4]
    >>> weights(np.array([good, poor])[:, :20], truth[:20], 2).tolist()
    [1.0, 1.0]
    """
    answered = (codes != NO_ANSWER).sum(axis=1)
    right = (codes == truth).sum(axis=1)
    alike = np.ones(len(codes))
    if answered.min() < LEAST_LABELS:
        return alike
    accuracy = np.clip(_shrunk(right, answered), MOST_SURE, 1 - MOST_SURE)
    found = np.maximum(np.log(accuracy * (labels - 1) / (1 - accuracy)), 0.0)
    return found if found.any() else alike


def _shrunk(right: Integers, answered: Integers) -> Floats:
    """Draw each wording's accuracy towards that of all of them, shape (wordings,).

    The accuracies are taken for draws from a beta distribution of the bank's mean m, whose variance v is what is left
    of how they differ once the variance of counting is taken off; a wording is then drawn as if it had been right m s
    times in s more texts, s = m (1 - m) / v - 1.
    """
    mean = float(right.sum() / answered.sum())
    rates = right / answered
    of_chance = float((mean * (1 - mean) / answered).mean())
    between = float(rates.var(ddof=1)) - of_chance if len(rates) > 1 else 0.0
    if between <= 0:
        return np.full(len(rates), mean)
    more = max(mean * (1 - mean) / between - 1, 0.0)
    return np.asarray((right + more * mean) / (answered + more), dtype=np.float64)


def combined(
    known: Sequence[Mapping[str, Response]], shares: Floats, space: LabelSpace, judge: str
) -> dict[str, Response]:
    """Combine the answers to each text, by content key, into one that costs what all of them did.

    Args:
        known: each wording's usable answers by content key.
        shares: weights of the wordings, shape (wordings,); where none of those that answered has any, all count alike.
        space: the labels; where texts may have several, a label is given to which more than half of the weight goes.
        judge: name of the bank.
    """
    return {key: _one_answer(answers, shares, space, judge) for key, answers in _by_text(known)}


def codes_of(known: Sequence[Mapping[str, Response]], keys: Sequence[str], space: LabelSpace) -> Integers:
    """Return the labels that each wording gave to some texts, of a task with one label a text.

    Returns:
        columns of labels, `NO_ANSWER` where there is none, shape (wordings, texts).
    """
    names: dict[str | None, int] = {name: column for column, name in enumerate(space.names)}
    labels = [[answers[key].label if key in answers else None for key in keys] for answers in known]
    return np.array([[names.get(label, NO_ANSWER) for label in row] for row in labels], dtype=np.int64)


def _by_text(known: Sequence[Mapping[str, Response]]) -> Iterator[tuple[str, list[Response | None]]]:
    for key in dict.fromkeys(key for answers in known for key in answers):
        yield key, [answers.get(key) for answers in known]


def _one_answer(answers: Sequence[Response | None], shares: Floats, space: LabelSpace, judge: str) -> Response:
    """Combine the answers to one text, of which there is one at least."""
    given = [answer for answer in answers if answer is not None]
    soft = np.array([np.full(len(space), np.nan) if answer is None else _soft(answer, space) for answer in answers])
    counted = shares if any(share and answer for share, answer in zip(shares, answers, strict=True)) else shares * 0 + 1
    mean = combine(soft[:, None, :], counted)
    label = space.named(mean > 0.5 if space.is_many else mean.argmax(axis=1))[0]
    is_lone_vote = len(given) == 1 and given[0].probabilities is None
    once = {answer.id: answer for answer in given}.values()  # an answer that was imported stands for every wording's
    return replace(
        given[0],
        judge=judge,
        label=label,
        probabilities=None if is_lone_vote else [min(max(each, 0.0), 1.0) for each in mean[0].tolist()],
        rationale=next((each.rationale for each in given if each.label == label and each.rationale), None),
        prompt_tokens=sum(each.prompt_tokens for each in once),
        completion_tokens=sum(each.completion_tokens for each in once),
        cost_usd=math.fsum(each.cost_usd for each in once),
        is_rehearsal=any(each.is_rehearsal for each in given),
    )


def _soft(answer: Response, space: LabelSpace) -> Floats:
    """Write an answer as probabilities, or as a vote where it has none, shape (labels,)."""
    if answer.probabilities is not None:
        return np.array(answer.probabilities, dtype=np.float64)
    return space.one_hot(space.codes([answer.label or ""])).reshape(-1)
