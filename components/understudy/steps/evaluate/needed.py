"""Say how many human test labels would show what a card asks for: before people label, and after a measurement."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from understudy.stats import power
from understudy.stats.metrics import Interval
from understudy.steps.evaluate.gates import Gate
from understudy.steps.evaluate.rules import Comparison
from understudy.task.card import Card
from understudy.text import figures, numbers

GAINS = (0.1, 0.05)  # of a student at the card's goal over its teacher
MOST_TOLD = 1_000_000  # beyond it no number of labels is named
MOST_GOALS = 5  # goals that the report says this of


def beforehand(card: Card, shares: Mapping[str, float], texts: int) -> str:
    """Say what so many test labels can show of a student at the card's goal, and how many would show more.

    Args:
        card: with a goal for the figure that decides; of a card without one nothing is said.
        shares: of the labels among the test texts.
        texts: how many they are.

    Returns:
        a sentence; empty where the card has no such goal, a text may have several labels, or a label that counts has
        no text.
    """
    figure = figures.primary(card.positive_label)
    goal: float | None = getattr(card.goals, figure)
    counted = card.label_names if card.positive_label is None else (card.positive_label,)
    known = np.array([shares.get(name, 0.0) for name in counted])
    if goal is None or card.is_many or not (known > 0).all() or known[0] == 1:
        return ""
    if card.positive_label is None:
        variance, of_label = partial(power.macro_f1_variance, known / known.sum()), ""
    else:
        variance = partial(power.f1_variance, float(known[0]))
        of_label = f", {numbers.percent(float(known[0]))} of them '{card.positive_label}',"
    takes = [
        f"{gain:.2f} takes about {_about(found.likely)}"
        for gain in GAINS
        if gain < goal and (found := power.labels_to_show(variance(goal, goal - gain), gain))
    ]
    least = power.least_gap(texts, goal, lambda gap: variance(goal, goal - gap))
    at_goal = f"a student at the goal, {figures.title(figure)} {numbers.figure(goal)}, is ahead of its teacher"
    shown = f"show with a chance of 80% that {at_goal} where it leads by {least:.2f}" if least is not None else ""
    shown = shown or f"cannot show that {at_goal}"
    return (
        f"{numbers.count(texts, 'human label')}{of_label} {shown}; a lead of {numbers.listed(takes)} (half as many "
        "show it as likely as not)."
    )


def missing(comparison: Comparison | None, gates: Sequence[Gate], texts: int) -> list[str]:
    """Say how many test labels would show what these do not, if it is as was measured.

    Args:
        comparison: of student and teacher; none where the teacher did not answer.
        gates: the card's goals of figures with an interval.
        texts: test labels of the measurement.
    """
    told: list[str] = []
    if comparison is not None and comparison.verdict == "not told apart":
        gap = abs(comparison.difference.value)
        told += _sentence("Which of student and teacher is better", comparison.difference, gap, comparison.texts)
    open_goals = (gate for gate in gates if gate.is_floor and gate.figure.low <= gate.goal <= gate.figure.high)
    for gate in list(open_goals)[:MOST_GOALS]:
        gap = abs(gate.figure.value - gate.goal)
        told += _sentence(f"Whether {gate.title} reaches {numbers.figure(gate.goal)}", gate.figure, gap, texts)
    return told


def _about(labels: int) -> str:
    """Write a number of labels to two digits, upwards: it is an estimate.

    >>> _about(1817), _about(40)
    ('1,900', '40')
    """
    step = 10 ** max(0, len(str(labels)) - 2)
    return f"{-(-labels // step) * step:,}"


def _sentence(what: str, interval: Interval, gap: float, texts: int) -> Iterable[str]:
    found = power.labels_to_show(power.measured_variance(texts, interval), gap)
    short = f"{what} is not shown by {numbers.count(texts, 'test label')}"
    if found is None or not found.likely <= MOST_TOLD:
        return [f"{short}; they are too close to say how many would."]
    even, likely = _about(found.even), _about(found.likely)
    return [
        f"{short}: if it is as measured, about {even} would show it as likely as not, {likely} with a chance of 80%."
    ]
