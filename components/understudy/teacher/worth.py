"""Judge whether a teacher is worth asking: against chance, and against what costs nothing.

The rule. A teacher is hopeless when its kappa is certainly below 0.2, or when the card's weak rules or one label for
every text certainly have the higher primary figure on the same texts, and are right at least as often. F1 of a label
that most texts have is high for whoever gives it always, so one label for every text stops no teacher whose kappa is
certainly 0.2 or more. It is worth asking when its kappa is certainly 0.2 or more and nothing that costs nothing may be
better. Anything between is undecided.

"Certainly" is by intervals of `CONFIDENCE`: of a teacher that deserves to go on, at most 5 in 100 are called hopeless
although there are three questions and two looks, of which the second is taken only where the first was undecided
(Bonferroni: each may be wrong on its side in 5 / 6 of 100).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Codes, Groups, Interval
from understudy.task import measures
from understudy.task.baselines import MAJORITY, NAMED, commonest, is_plural
from understudy.task.labels import LabelSpace
from understudy.text import figures, numbers

LEAST_KAPPA = 0.2  # below it Landis and Koch, "The measurement of observer agreement", 1977, call agreement slight
FALSE_STOPS, QUESTIONS, LOOKS = 0.05, 3, 2
CONFIDENCE = 1 - 2 * FALSE_STOPS / (QUESTIONS * LOOKS)
SAMPLES = 4000  # resamples: 33 of them lie beyond each end of an interval
LEAST_TEXTS, LEAST_GROUPS, LEAST_OF_A_KIND = 50, 30, 10  # with fewer a bootstrap is sure of what it cannot know

Verdict = Literal["hopeless", "worth asking", "undecided", "too few texts"]


@dataclass(frozen=True, slots=True)
class Rival:
    """What costs nothing, on the texts that the teacher answered.

    Attributes:
        name: `baselines.RULES` or `baselines.MAJORITY`.
        value: its primary figure.
        right: share of the texts that it labels rightly.
        ahead: its primary figure minus the teacher's, with the paired interval.
    """

    name: str
    value: float
    right: float
    ahead: Interval


@dataclass(frozen=True, slots=True)
class Worth:
    """What a teacher is worth on human-labelled texts.

    Attributes:
        texts: that it answered.
        kappa: its agreement with people beyond chance.
        figure: name of the primary figure.
        value: the teacher's primary figure.
        right: share of the texts that it labels rightly.
        rivals: what costs nothing, on the same texts.
        needed: texts to judge by, of such shares: enough of them, in enough groups, and of more than one kind.
        confidence: of the intervals.
    """

    texts: int
    kappa: Interval
    figure: str
    value: float
    right: float
    rivals: tuple[Rival, ...]
    needed: int
    confidence: float

    @property
    def has_enough(self) -> bool:
        """Whether there are enough texts to judge by."""
        return self.texts >= self.needed

    @property
    def is_by_chance(self) -> bool:
        """Whether it certainly agrees with people hardly more than chance does."""
        return self.kappa.high < LEAST_KAPPA

    @property
    def better(self) -> list[Rival]:
        """What costs nothing and is certainly better.

        Where the label that is looked for is the common one, to give it always has a high F1 and says nothing. So that
        beats no teacher that certainly agrees with people beyond chance.
        """
        told = [rival for rival in self.rivals if rival.name != MAJORITY or self.kappa.low < LEAST_KAPPA]
        return [rival for rival in told if rival.ahead.low > 0 and rival.right >= self.right]

    @property
    def verdict(self) -> Verdict:
        """Judge it by the rule of this module."""
        if not self.has_enough:
            return "too few texts"
        if self.is_by_chance or self.better:
            return "hopeless"
        is_ahead = all(rival.ahead.high < 0 for rival in self.rivals)
        return "worth asking" if self.kappa.low >= LEAST_KAPPA and is_ahead else "undecided"


def measure(
    truth: Codes,
    given: Codes,
    groups: Groups,
    rivals: Mapping[str, Codes],
    space: LabelSpace,
    *,
    confidence: float = CONFIDENCE,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Worth:
    """Measure a teacher and what costs nothing on the same human-labelled texts, each counting once.

    Args:
        truth: human labels; at least one text.
        given: the teacher's.
        groups: of the texts, drawn whole, shape (texts,).
        rivals: answers of what costs nothing, by name (`baselines.simple_answers`).
        space: the labels.
        confidence: of the intervals.
        samples: resamples of the bootstrap.
        seed: of the bootstrap.
    """
    drawn: dict[str, Any] = {"groups": groups, "samples": samples, "seed": seed, "confidence": confidence}
    figure, statistic = measures.primary(space)

    def rival(name: str, codes: Codes) -> Rival:
        ahead, _ = metrics.paired_bootstrap(statistic, truth, codes, given, **drawn)
        return Rival(name, float(statistic(truth, codes)), metrics.accuracy(truth, codes), ahead)

    return Worth(
        texts=len(truth),
        kappa=metrics.bootstrap(partial(metrics.kappa, labels=len(space)), truth, given, **drawn),
        figure=figure,
        value=float(statistic(truth, given)),
        right=metrics.accuracy(truth, given),
        rivals=tuple(rival(name, codes) for name, codes in rivals.items()),
        needed=texts_needed(truth, groups, space),
        confidence=confidence,
    )


def texts_needed(truth: Codes, groups: Groups, space: LabelSpace) -> int:
    """Return how many texts of such shares show a teacher's worth: enough, in enough groups, and of more than one kind.

    Of 100 texts 5 are looked for, each a group of its own: 200 would have the 10 that are needed.

    >>> texts_needed(np.repeat([1, 0], [5, 95]), np.arange(100), LabelSpace(("other", "tip"), "tip"))
    200
    """
    texts = len(truth)
    others = int((~metrics.is_right(truth, commonest(truth, space))).sum())
    looked_for = others if space.positive_index is None else int((truth == space.positive_index).sum())
    for_groups = LEAST_GROUPS * texts / len(np.unique(np.asarray(groups)))
    return max(LEAST_TEXTS, math.ceil(for_groups), math.ceil(LEAST_OF_A_KIND * texts / max(1, min(others, looked_for))))


def arithmetic(found: Worth, *, is_many: bool) -> str:
    """Say what was measured, in half a sentence.

    Example: "kappa -0.10 (98.3% interval -0.24 to 0.05), right in 64% and F1 0.41; one and the same label for every
    text is right in 75% and has F1 0.00 (-0.41 against the teacher, 98.3% interval -0.52 to -0.30)".
    """
    level = f"{found.confidence * 100:.3g}% interval"
    title = figures.title(found.figure)
    right = "has all labels right in" if is_many else "is right in"
    span = numbers.figure_interval(found.kappa.low, found.kappa.high)
    kappa = f"kappa {numbers.figure(found.kappa.value)} ({level} {span})"
    teacher = f"{kappa}; it {right} {numbers.percent(found.right)} and has {title} {numbers.figure(found.value)}"
    rivals = [
        f"{NAMED[rival.name]} {_verb(rival.name)} right in {numbers.percent(rival.right)} and {_has(rival.name)} "
        f"{title} {numbers.figure(rival.value)} (difference {numbers.signed(rival.ahead.value)}, {level} "
        f"{numbers.signed_interval(rival.ahead.low, rival.ahead.high)})"
        for rival in found.rivals
    ]
    return "; ".join([teacher, *rivals])


def faults(found: Worth) -> list[str]:
    """Say what is certainly wrong with a teacher, a few words each; nothing where there are too few texts to tell."""
    if not found.has_enough:
        return []
    by_chance = [f"agrees with people hardly more than chance (kappa {numbers.figure(found.kappa.value)})"]
    title = figures.title(found.figure)
    beaten = [
        f"is certainly worse than {NAMED[rival.name]} ({title} {numbers.figure(found.value)} against "
        f"{numbers.figure(rival.value)})"
        for rival in found.better
    ]
    return [*(by_chance if found.is_by_chance else []), *beaten]


def record(found: Worth, *, is_many: bool) -> dict[str, Any]:
    """Write it for JSON, with its sentences."""
    return {
        "kappa": metrics.as_record(found.kappa),
        "figure": found.figure,
        "value": _known(found.value),
        "right": _known(found.right),
        "rivals": [
            {**asdict(rival), "value": _known(rival.value), "ahead": metrics.as_record(rival.ahead)}
            for rival in found.rivals
        ],
        "has_enough": found.has_enough,
        "confidence": found.confidence,
        "faults": faults(found),
        "sentence": sentence(found, is_many=is_many),
    }


def sentence(found: Worth, *, is_many: bool) -> str:
    """Say what a teacher is worth, the faults first."""
    said = numbers.listed(faults(found))
    opening = f"The teacher {said}" if said else "Against chance and what costs nothing the teacher has"
    return f"{opening}: {arithmetic(found, is_many=is_many)}."


def _known(value: float) -> float | None:
    return round(float(value), 6) if numbers.is_known(value) else None


def _verb(name: str) -> str:
    return "are" if is_plural(name) else "is"


def _has(name: str) -> str:
    return "have" if is_plural(name) else "has"
