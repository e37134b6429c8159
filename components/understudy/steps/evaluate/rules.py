"""Compute what a system is worth on human labels: figures, comparison with its teacher, slices.

Labels given to texts are codes, their columns in the card's order. Texts count once each, unweighted; intervals are 95%
bootstrap intervals that draw whole groups with replacement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from understudy.model import decision
from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Column, Floats, Interval
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.task import baselines
from understudy.task.labels import LabelSpace
from understudy.task.measures import primary, statistics
from understudy.text import figures as names
from understudy.text import numbers

Verdict = Literal["better", "worse", "not told apart"]
UNDEFINED = {
    "f1": "no text is positive and none is flagged",
    "precision": "no text is flagged",
    "recall": "no text is positive",
    "macro_f1": "there are no texts",
    "accuracy": "there are no texts",
    "weighted_f1": "there are no texts",
    "ece": "there are no probabilities",
    "brier": "there are no probabilities",
}
UNDEFINED_OF_SEVERAL = dict.fromkeys(("macro_f1", "micro_f1", "weighted_f1"), "no text has a label or is given one")


@dataclass(frozen=True, slots=True)
class Truth:
    """Human labels.

    Attributes:
        space: the labels of the task.
        codes: of the texts' labels.
        groups: of the texts, shape (texts,).
    """

    space: LabelSpace
    codes: Codes
    groups: Column

    def at(self, chosen: Bools) -> "Truth":
        """Keep the chosen texts."""
        return Truth(self.space, self.codes[chosen], self.groups[chosen])


@dataclass(frozen=True, slots=True)
class Answers:
    """One system's answers.

    Attributes:
        codes: of the labels that it gives.
        probabilities: shape (texts, labels); None where it gives none.
    """

    codes: Codes
    probabilities: Floats | None = None

    def at(self, chosen: Bools) -> "Answers":
        """Keep the chosen texts."""
        return Answers(self.codes[chosen], None if self.probabilities is None else self.probabilities[chosen])


@dataclass(frozen=True, slots=True)
class Claim:
    """What a probability is of, and whether it came true: that a text is positive, else that its label is right.

    Where a text may have several labels, it is that it has one: of each label of each text.

    Attributes:
        probability: shape (texts,), or (texts, labels).
        is_true: same shape.
    """

    probability: Floats
    is_true: Bools


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure of the student minus that of its teacher, on the texts that both answered.

    Attributes:
        figure: which one: the primary figure of the card.
        texts: how many they are.
        student: the figure of the student on them.
        teacher: of the teacher.
        difference: with its paired interval.
        chance: share of the resamples where the student is better.
        verdict: by the interval: above 0, below 0, or over 0.
    """

    figure: str
    texts: int
    student: float
    teacher: float
    difference: Interval
    chance: float
    verdict: Verdict


def drawing(truth: Truth, config: EvaluateConfig) -> dict[str, Any]:
    """Return how the bootstrap draws these texts."""
    return {"groups": truth.groups, "samples": config.samples, "seed": config.seed}


def chances(answers: Answers) -> Floats:
    """Return the probability of what each text is labelled, shape (texts,); `model.decision.chances` says which.

    Raises:
        ValueError: the system gives none.
    """
    return decision.chances(_known(answers), answers.codes)


def confidences(answers: Answers) -> Floats:
    """Return how sure a system is of each text, shape (texts,).

    It is the probability of the label given; where a text may have several, the lowest of its yes and no's, which is
    the lower one of `chances` and what the runner-up leaves of 1.

    Raises:
        ValueError: the system gives none.
    """
    if answers.codes.ndim == 1:
        return chances(answers)
    known = _known(answers)
    return np.asarray(np.where(answers.codes, known, 1 - known).min(axis=1))


def _known(answers: Answers) -> Floats:
    if answers.probabilities is None:
        raise ValueError("Answers must have probabilities, got none. Ask for them only where there are.")
    return answers.probabilities


def claim(truth: Truth, answers: Answers) -> Claim:
    """Say what the probabilities claim of each text, and whether it is so."""
    looked_for = truth.space.positive_index
    if truth.space.is_many:
        return Claim(_known(answers), truth.codes)
    if looked_for is None or answers.probabilities is None:
        return Claim(chances(answers), truth.codes == answers.codes)
    return Claim(answers.probabilities[:, looked_for], truth.codes == looked_for)


def figures(truth: Truth, answers: Answers, config: EvaluateConfig) -> dict[str, Interval]:
    """Return the figures of the labels given, and ece and brier where there are probabilities."""
    drawn = drawing(truth, config)
    found = {
        name: metrics.bootstrap(statistic, truth.codes, answers.codes, **drawn)
        for name, statistic in statistics(truth.space).items()
    }
    if answers.probabilities is not None:
        said = claim(truth, answers)
        found["ece"] = metrics.bootstrap(metrics.ece, said.probability, said.is_true, **drawn)
        found["brier"] = metrics.bootstrap(metrics.brier, answers.probabilities, truth.codes, **drawn)
    return found


def system(name: str, title: str, truth: Truth, answers: Answers, config: EvaluateConfig) -> dict[str, Any]:
    """Describe one system: its figures, which are undefined and why, and what chance alone makes of its ece."""
    found = figures(truth, answers, config)
    records: dict[str, dict[str, float | None]] = {
        figure: metrics.as_record(interval) for figure, interval in found.items()
    }
    if "ece" in records and len(truth.codes):
        records["ece"]["floor"] = round(metrics.ece_floor(claim(truth, answers).probability, seed=config.seed), 6)
    reasons = UNDEFINED | (UNDEFINED_OF_SEVERAL if truth.space.is_many else {})
    asked = [figure for figure in reasons if figure in {*statistics(truth.space), "ece", "brier"}]
    undefined = [figure for figure in asked if records.get(figure, {}).get("value") is None]
    return {
        "name": name,
        "title": title,
        "texts": len(truth.codes),
        "figures": {figure: record for figure, record in records.items() if figure not in undefined},
        "undefined": {figure: reasons[figure] for figure in undefined},
    }


def majority(truth: Truth) -> Answers:
    """Answer every text with what is commonest among these very texts (`baselines.commonest`)."""
    return Answers(baselines.commonest(truth.codes, truth.space))


def by_rules(truth: Truth, found: Codes) -> Answers:
    """Complete the labels that weak rules found (`baselines.completed`)."""
    return Answers(baselines.completed(found, truth.codes, truth.space))


def compare(truth: Truth, student: Answers, teacher: Answers, config: EvaluateConfig) -> Comparison:
    """Compare the student with its teacher on the same texts, by a paired bootstrap of the primary figure."""
    figure, statistic = primary(truth.space)
    difference, chance = _ahead(truth, student, teacher, config)
    return Comparison(
        figure=figure,
        texts=len(truth.codes),
        student=float(statistic(truth.codes, student.codes)),
        teacher=float(statistic(truth.codes, teacher.codes)),
        difference=difference,
        chance=chance,
        verdict=verdict_of(difference),
    )


def compare_simple(truth: Truth, student: Answers, simple: Answers, config: EvaluateConfig) -> Interval:
    """Return the primary figure of something that costs nothing minus the student's, with its paired interval."""
    return _ahead(truth, simple, student, config)[0]


def _ahead(truth: Truth, one: Answers, other: Answers, config: EvaluateConfig) -> tuple[Interval, float]:
    """Return the primary figure of one minus the other's, with its paired interval, and the chance that it is more."""
    _, statistic = primary(truth.space)
    return metrics.paired_bootstrap(statistic, truth.codes, one.codes, other.codes, **drawing(truth, config))


def verdict_of(difference: Interval) -> Verdict:
    """Judge a difference by its interval; what is undefined is not told apart.

    >>> verdict_of(Interval(0.07, 0.01, 0.13)), verdict_of(Interval(0.02, -0.03, 0.07))
    ('better', 'not told apart')
    """
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not told apart"


def comparison_sentence(found: Comparison) -> str:
    """Say plainly how the student stands to its teacher, whichever is better."""
    claimed = {
        "better": "The student is better than its teacher",
        "worse": "The student is worse than its teacher",
        "not told apart": "The student and its teacher are not told apart",
    }[found.verdict]
    span = numbers.signed_interval(found.difference.low, found.difference.high)
    return (
        f"{claimed} on {numbers.count(found.texts, 'human-labelled test text')} "
        f"({names.TITLES[found.figure]} {numbers.figure(found.student)} against {numbers.figure(found.teacher)}, "
        f"difference {numbers.signed(found.difference.value)}, 95% interval {span})."
    )


def comparison_record(found: Comparison) -> dict[str, Any]:
    """Write a comparison for JSON, with its sentence; the figure's name stands in the keys of its two values."""
    values = {
        f"student_{found.figure}": found.student,
        f"teacher_{found.figure}": found.teacher,
        "chance": found.chance,
    }
    return {
        "figure": found.figure,
        "texts": found.texts,
        **{name: value if numbers.is_known(value) else None for name, value in values.items()},
        "difference": metrics.as_record(found.difference),
        "verdict": found.verdict,
        "sentence": comparison_sentence(found),
    }


def slice_rows(
    truth: Truth,
    systems: Mapping[str, tuple[Answers, Bools]],
    slices: Mapping[str, Bools],
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """Measure each system in each slice: by the label that is looked for, or by all.

    Args:
        truth: human labels.
        systems: answers by name, and which texts they answer.
        slices: which texts belong to each slice, by name, each of shape (texts,).
        config: the step's settings; a slice with fewer positive texts than `min_positives`, or fewer texts at all where
            no label is looked for, has too few.
    """
    rows = []
    looked_for = truth.space.positive_index
    for name, members in slices.items():
        texts = int(members.sum())
        positives = None if looked_for is None else int((truth.codes[members] == looked_for).sum())
        row: dict[str, Any] = {"name": name, "texts": texts, "positives": positives}
        row["is_too_few"] = (texts if positives is None else positives) < config.min_positives
        for who, (answers, is_answered) in systems.items():
            chosen = members & is_answered
            row[who] = _slice_figures(truth.at(chosen), answers.at(chosen), config)
        rows.append(row)
    return rows


def _slice_figures(truth: Truth, answers: Answers, config: EvaluateConfig) -> dict[str, Any]:
    known = statistics(truth.space)
    return {
        name: metrics.as_record(metrics.bootstrap(known[name], truth.codes, answers.codes, **drawing(truth, config)))
        for name in names.of_parts(truth.space.positive, is_many=truth.space.is_many)
    }
