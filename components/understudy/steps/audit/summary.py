"""Summarise the audit: the content of audit.json, and the sentences in it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Interval
from understudy.steps.audit import rules
from understudy.steps.audit.config import AuditConfig
from understudy.steps.audit.rules import Counts, SliceTest
from understudy.text import numbers

METHOD = (
    "Human labels of the splits train and validation; each text counts once, unweighted, and as independent. "
    "Fisher's exact test, one-sided, each slice against all other texts, in both directions; Holm's correction over "
    "all tests. Shares with 95% Wilson intervals; agreement, kappa and the figures by label with 95% bootstrap "
    "intervals by group."
)
TEXT_SHOWN = 300


def summarise(
    table: pl.DataFrame,
    slices: Mapping[str, Bools],
    tests: Sequence[SliceTest],
    labels: tuple[str, str],
    config: AuditConfig,
) -> dict[str, Any]:
    """Put what was found into records and sentences.

    Args:
        table: human-labelled texts with the teacher's answers: id, group, text, split, label, teacher_label, rationale.
        slices: which rows belong to each slice of the card, each of shape (texts,).
        tests: what `rules.compare_slices` found.
        labels: the positive label and the other.
        config: the step's settings.

    Returns:
        the content of audit.json but for what identifies the run. `slices` has for each slice its counts, `p_value`,
        `p_adjusted`, `is_biased`, `direction` ("under-labels", "over-labels" or none), `is_too_few` and `sentence`.
    """
    is_positive, judged = ((table[column] == labels[0]).to_numpy() for column in ("label", "teacher_label"))
    described = [slice_record(name, tests, labels[0], config) for name in slices]
    rest = rules.in_no_slice(slices, len(table))
    figures = overall(is_positive, judged, table["group"].to_numpy(), labels, config)
    categories = rules.error_categories(is_positive, judged, slices)
    return {
        "texts": len(table),
        "splits": {name: int((table["split"].cast(pl.String) == name).sum()) for name in ("train", "validation")},
        "positive_label": labels[0],
        "counts": asdict(rules.count(is_positive, judged)),
        **figures,
        "tests": _asked(tests),
        "slices": described,
        "in_no_slice": asdict(rules.count(is_positive[rest], judged[rest])),
        "categories": [category_record(category, table, config.examples) for category in categories],
        "verdict": [agreement_sentence(len(table), figures, labels[0]), *verdicts(described)],
        "method": METHOD,
    }


def overall(
    is_positive: Bools, judged: Bools, groups: metrics.Groups, labels: tuple[str, str], config: AuditConfig
) -> dict[str, Any]:
    """Measure agreement, kappa, and precision and recall of each label."""

    def interval(statistic: metrics.Statistic, truth: Bools, found: Bools) -> dict[str, float | None]:
        drawn = metrics.bootstrap(statistic, truth, found, groups=groups, samples=config.samples, seed=config.seed)
        return metrics.as_record(drawn)

    sides = {labels[0]: (is_positive, judged), labels[1]: (~is_positive, ~judged)}
    return {
        "agreement": interval(metrics.accuracy, is_positive, judged),
        "kappa": interval(metrics.kappa, is_positive, judged),
        "classes": {
            label: {
                "human": int(truth.sum()),
                "teacher": int(found.sum()),
                "precision": interval(metrics.precision, truth, found),
                "recall": interval(metrics.recall, truth, found),
            }
            for label, (truth, found) in sides.items()
        },
    }


def slice_record(name: str, tests: Sequence[SliceTest], positive_label: str, config: AuditConfig) -> dict[str, Any]:
    """Describe one slice by the test with the smaller p."""
    own = [test for test in tests if test.slice == name]
    worst = min(own, key=lambda test: (test.p is None, test.p))
    is_biased = worst.is_biased(config.alpha)
    is_too_few = not is_biased and any(test.is_too_small(config.min_labels) for test in own)
    return {
        "name": name,
        **asdict(worst.inside),
        "recall": metrics.as_record(worst.inside.recall),
        "false_alarm_share": metrics.as_record(worst.inside.error("over-labels")),
        "recall_elsewhere": metrics.as_record(worst.outside.recall),
        "false_alarm_share_elsewhere": metrics.as_record(worst.outside.error("over-labels")),
        "p_value": worst.p,
        "p_adjusted": worst.p_adjusted,
        "is_biased": is_biased,
        "direction": worst.direction if is_biased else None,
        "is_too_few": is_too_few,
        "sentence": slice_sentence(worst, positive_label, _asked(tests), is_biased, is_too_few),
    }


def _asked(tests: Sequence[SliceTest]) -> int:
    """Count the tests that could be made: the number that Holm's correction is for."""
    return sum(test.p is not None for test in tests)


def slice_sentence(test: SliceTest, positive_label: str, asked: int, is_biased: bool, is_too_few: bool) -> str:
    """Say what was found in a slice, with the numbers that it rests on."""
    if is_too_few:
        return _too_few_sentence(test, positive_label)
    if not is_biased:
        return _unproven_sentence(test)
    proof = f"({numbers.p_value(test.p_adjusted or 0.0)} after correction for {numbers.count(asked, 'test')})"
    if test.direction == "under-labels":
        return (
            f"The teacher under-labels '{test.slice}' texts: of the '{positive_label}' among them it found "
            f"{_of(test.inside.recall, test.inside, 'under-labels')} against "
            f"{numbers.percent(test.outside.recall.value)} elsewhere {proof}."
        )
    return (
        f"The teacher over-labels '{test.slice}' texts: of those that are not '{positive_label}' it flagged "
        f"{_of(test.inside.error('over-labels'), test.inside, 'over-labels')} against "
        f"{numbers.percent(test.outside.error('over-labels').value)} elsewhere {proof}."
    )


def _too_few_sentence(test: SliceTest, positive_label: str) -> str:
    inside, outside = test.inside, test.outside
    return (
        f"Too few human labels to tell whether the teacher is biased in slice '{test.slice}': "
        f"{inside.tried('under-labels')} '{positive_label}' and {inside.tried('over-labels')} other texts inside, "
        f"{outside.tried('under-labels')} and {outside.tried('over-labels')} elsewhere."
    )


def _unproven_sentence(test: SliceTest) -> str:
    inside, outside = test.inside, test.outside
    return (
        f"No bias shown in slice '{test.slice}': the teacher found {_of(inside.recall, inside, 'under-labels')} "
        f"against {numbers.percent(outside.recall.value)} elsewhere, with "
        f"{numbers.percent(inside.error('over-labels').value)} false alarms against "
        f"{numbers.percent(outside.error('over-labels').value)}."
    )


def _of(share: Interval, counts: Counts, direction: rules.Direction) -> str:
    hits = counts.true_positive if direction == "under-labels" else counts.false_positive
    span = numbers.percent_interval(share.low, share.high)
    return f"{hits} of {counts.tried(direction)} ({numbers.percent(share.value)}, 95% interval {span})"


def agreement_sentence(texts: int, figures: Mapping[str, Any], positive_label: str) -> str:
    """Say how well the teacher agrees with people over all texts."""
    if not texts:
        return "The teacher judged no text that has a human label in train or validation: nothing can be said of it."
    agreement, positive = figures["agreement"], figures["classes"][positive_label]
    return (
        f"On {numbers.count(texts, 'human-labelled text')} the teacher agrees with people in "
        f"{numbers.percent(agreement['value'])} (95% interval "
        f"{numbers.percent_interval(agreement['low'], agreement['high'])}); it finds "
        f"{numbers.percent(positive['recall']['value'])} of the '{positive_label}' texts, and is right in "
        f"{numbers.percent(positive['precision']['value'])} of what it calls '{positive_label}'."
    )


def verdicts(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences on biased slices, or one that there is none, then those on slices with too few labels."""
    biased = [found["sentence"] for found in slices if found["is_biased"]]
    few = [found["sentence"] for found in slices if found["is_too_few"]]
    if not slices:
        return ["The card names no slices, so no bias was looked for."]
    none = [] if biased or len(few) == len(slices) else ["No slice shows a bias of the teacher."]
    return biased + none + few


def category_record(category: rules.Category, table: pl.DataFrame, examples: int) -> dict[str, Any]:
    """Count one kind of error, with examples by id."""
    rows = table.filter(category.members).sort("id")
    shown = rows.head(examples).select("id", "split", "label", "teacher_label", "rationale", "text").to_dicts()
    return {
        "name": category.name,
        "direction": category.direction,
        "slice": category.slice,
        "texts": len(rows),
        "examples": [{**row, "text": numbers.clip(row["text"], TEXT_SHOWN)} for row in shown],
    }
