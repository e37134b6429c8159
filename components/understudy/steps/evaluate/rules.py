"""Compute what a system is worth on human labels: figures, comparison, thresholds, slices, curves, errors.

Texts count once each, unweighted; intervals are 95% bootstrap intervals that draw whole groups with replacement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Column, Floats, Interval
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.text import numbers

Verdict = Literal["better", "worse", "not told apart"]
HARD_FIGURES: Mapping[str, metrics.Statistic] = {
    "f1": metrics.f1,
    "precision": metrics.precision,
    "recall": metrics.recall,
    "macro_f1": metrics.macro_f1,
}
SOFT_FIGURES: Mapping[str, metrics.Statistic] = {"ece": metrics.ece, "brier": metrics.brier}
UNDEFINED = {
    "f1": "no text is positive and none is flagged",
    "precision": "no text is flagged",
    "recall": "no text is positive",
    "macro_f1": "a label neither occurs nor is given",
    "ece": "there are no probabilities",
    "brier": "there are no probabilities",
}
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
BINS = 10
CURVE_POINTS = 200
TEXT_SHOWN = 600


@dataclass(frozen=True, slots=True)
class Truth:
    """Human labels, and the group of each text. Shapes (texts,)."""

    is_positive: Bools
    groups: Column

    def at(self, chosen: Bools) -> "Truth":
        """Keep the chosen texts."""
        return Truth(self.is_positive[chosen], self.groups[chosen])


@dataclass(frozen=True, slots=True)
class Answers:
    """One system's answers: flagged or not, and its probability of the positive label if it gives one."""

    predicted: Bools
    probability: Floats | None = None

    def at(self, chosen: Bools) -> "Answers":
        """Keep the chosen texts."""
        return Answers(self.predicted[chosen], None if self.probability is None else self.probability[chosen])


@dataclass(frozen=True, slots=True)
class Comparison:
    """F1 of the student minus F1 of its teacher, on the texts that both answered.

    Attributes:
        texts: how many they are.
        student_f1: of the student on them.
        teacher_f1: of the teacher.
        difference: with its paired interval.
        chance: share of the resamples where the student is better.
        verdict: by the interval: above 0, below 0, or over 0.
    """

    texts: int
    student_f1: float
    teacher_f1: float
    difference: Interval
    chance: float
    verdict: Verdict


def figures(truth: Truth, answers: Answers, config: EvaluateConfig) -> dict[str, Interval]:
    """Return f1, precision, recall and macro_f1, and ece and brier where there are probabilities."""
    drawing: dict[str, Any] = {"groups": truth.groups, "samples": config.samples, "seed": config.seed}
    found = {
        name: metrics.bootstrap(statistic, truth.is_positive, answers.predicted, **drawing)
        for name, statistic in HARD_FIGURES.items()
    }
    if answers.probability is not None:
        for name, statistic in SOFT_FIGURES.items():
            found[name] = metrics.bootstrap(statistic, answers.probability, truth.is_positive, **drawing)
    return found


def system(name: str, title: str, truth: Truth, answers: Answers, config: EvaluateConfig) -> dict[str, Any]:
    """Describe one system: its figures, and which are undefined and why."""
    found = figures(truth, answers, config)
    records = {figure: metrics.as_record(interval) for figure, interval in found.items()}
    undefined = [figure for figure in UNDEFINED if records.get(figure, {}).get("value") is None]
    return {
        "name": name,
        "title": title,
        "texts": len(truth.is_positive),
        "figures": {figure: record for figure, record in records.items() if figure not in undefined},
        "undefined": {figure: UNDEFINED[figure] for figure in undefined},
    }


def majority(truth: Truth) -> Answers:
    """Answer every text with the label that is commonest among these very texts, so at its best."""
    return Answers(np.full(len(truth.is_positive), bool(truth.is_positive.mean() > 0.5)))


def compare(truth: Truth, student: Answers, teacher: Answers, config: EvaluateConfig) -> Comparison:
    """Compare the student with its teacher on the same texts, by a paired bootstrap of F1."""
    difference, chance = metrics.paired_bootstrap(
        metrics.f1,
        truth.is_positive,
        student.predicted,
        teacher.predicted,
        truth.groups,
        samples=config.samples,
        seed=config.seed,
    )
    return Comparison(
        texts=len(truth.is_positive),
        student_f1=metrics.f1(truth.is_positive, student.predicted),
        teacher_f1=metrics.f1(truth.is_positive, teacher.predicted),
        difference=difference,
        chance=chance,
        verdict=verdict_of(difference),
    )


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
    claim = {
        "better": "The student is better than its teacher",
        "worse": "The student is worse than its teacher",
        "not told apart": "The student and its teacher are not told apart",
    }[found.verdict]
    span = f"{numbers.signed(found.difference.low)} to {numbers.signed(found.difference.high)}"
    return (
        f"{claim} on {numbers.count(found.texts, 'human-labelled test text')} "
        f"(F1 {numbers.figure(found.student_f1)} against {numbers.figure(found.teacher_f1)}, "
        f"difference {numbers.signed(found.difference.value)}, 95% interval {span})."
    )


def threshold_table(truth: Truth, probability: Floats, chosen: float) -> list[dict[str, Any]]:
    """What would be found and flagged at each threshold, the chosen one among them, in rising order."""
    cuts = sorted({*THRESHOLDS, chosen})
    return [{"threshold": cut, "is_chosen": cut == chosen, **_at(truth, probability >= cut)} for cut in cuts]


def _at(truth: Truth, predicted: Bools) -> dict[str, float | None]:
    found = {name: HARD_FIGURES[name](truth.is_positive, predicted) for name in ("precision", "recall", "f1")}
    found["flagged_share"] = float(predicted.mean())
    return {name: round(value, 6) if numbers.is_known(value) else None for name, value in found.items()}


def curve(truth: Truth, probability: Floats) -> list[dict[str, float | None]]:
    """Precision and recall at every score, or at some 200 of them, from the strictest threshold to the laxest."""
    cuts = np.unique(probability)[::-1]
    if len(cuts) > CURVE_POINTS:
        cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, CURVE_POINTS).astype(int))]
    points = [(float(cut), _at(truth, probability >= cut)) for cut in cuts]
    return [
        {"threshold": round(cut, 6), "precision": found["precision"], "recall": found["recall"]}
        for cut, found in points
    ]


def reliability(truth: Truth, probability: Floats) -> list[dict[str, Any]]:
    """Say how often texts were positive, beside how likely they were called, in ten bins; empty ones are left out."""
    index = metrics.bin_index(probability, BINS)
    bins = []
    for number in sorted(set(index.tolist())):
        inside = index == number
        frequency = metrics.wilson(float(truth.is_positive[inside].sum()), int(inside.sum()))
        bins.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "texts": int(inside.sum()),
                "probability": round(float(probability[inside].mean()), 6),
                "frequency": metrics.as_record(frequency),
            }
        )
    return bins


def slice_rows(
    truth: Truth,
    systems: Mapping[str, tuple[Answers, Bools]],
    slices: Mapping[str, Bools],
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """Measure F1, precision and recall of each system in each slice.

    Args:
        truth: human labels.
        systems: answers by name, and which texts they answer.
        slices: which texts belong to each slice, by name, each of shape (texts,).
        config: the step's settings.
    """
    rows = []
    for name, members in slices.items():
        positives = int(truth.is_positive[members].sum())
        row: dict[str, Any] = {"name": name, "texts": int(members.sum()), "positives": positives}
        row["is_too_few"] = positives < config.min_positives
        for who, (answers, is_answered) in systems.items():
            chosen = members & is_answered
            row[who] = _slice_figures(truth.at(chosen), answers.at(chosen), config)
        rows.append(row)
    return rows


def _slice_figures(truth: Truth, answers: Answers, config: EvaluateConfig) -> dict[str, Any]:
    found = figures(truth, Answers(answers.predicted), config)
    return {name: metrics.as_record(found[name]) for name in ("f1", "precision", "recall")}


def errors_to_read(
    table: Sequence[Mapping[str, Any]], is_positive: Bools, predicted: Bools, probability: Floats, limit: int
) -> dict[str, Any]:
    """Choose the errors that a person should read: those the student was surest of first.

    Args:
        table: a row a text, with `id`, `text`, `teacher_label` and `slices`.
        is_positive: human labels, shape (texts,).
        predicted: the student's, shape (texts,).
        probability: the student's, of the positive label, shape (texts,).
        limit: most texts of each kind.

    Returns:
        "missed" and "false_alarms", each a list of texts with their probability; and "counts" of all of them.
    """
    missed = [index for index in np.argsort(probability, kind="stable") if is_positive[index] and not predicted[index]]
    alarms = [index for index in np.argsort(-probability, kind="stable") if predicted[index] and not is_positive[index]]

    def shown(index: int) -> dict[str, Any]:
        row = table[index]
        return {
            **row,
            "text": numbers.clip(row["text"], TEXT_SHOWN),
            "probability": round(float(probability[index]), 4),
        }

    return {
        "missed": [shown(int(index)) for index in missed[:limit]],
        "false_alarms": [shown(int(index)) for index in alarms[:limit]],
        "counts": {"missed": len(missed), "false_alarms": len(alarms)},
    }


def comparison_record(found: Comparison) -> dict[str, Any]:
    """Write a comparison for JSON, with its sentence."""
    record = {**asdict(found), "difference": metrics.as_record(found.difference)}
    finite = {name: value if value == value else None for name, value in record.items()}  # noqa: PLR0124 - nan
    return {**finite, "sentence": comparison_sentence(found)}
