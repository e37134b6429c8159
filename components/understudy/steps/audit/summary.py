"""Summarise the audit: the content of audit.json, and the sentences in it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from understudy.stats import metrics
from understudy.stats.metrics import Bools, Floats
from understudy.steps.audit import rules
from understudy.steps.audit.agreement import figures_by_label, krippendorff_alpha
from understudy.steps.audit.config import AuditConfig
from understudy.steps.audit.rules import Confused, Counts, Errors, SliceTest
from understudy.task.labels import Integers, LabelSpace
from understudy.text import numbers

METHOD = (
    "Human labels of the splits train and validation; each text counts once, unweighted, and as independent. "
    "Fisher's exact test, one-sided, each slice against all other texts, in both directions and for pairs of labels; "
    "Holm's correction over all tests. Shares with 95% Wilson intervals, those of pairs over all texts corrected for "
    "all pairs (Bonferroni); agreement, kappa, Krippendorff's alpha, macro F1 and the figures by label with 95% "
    "bootstrap intervals by group."
)
TEXT_SHOWN = 300
PAIRS_TOLD = 3


def summarise(
    table: pl.DataFrame,
    slices: Mapping[str, Bools],
    tests: Sequence[SliceTest],
    space: LabelSpace,
    config: AuditConfig,
) -> dict[str, Any]:
    """Put what was found into records and sentences.

    Args:
        table: human-labelled texts with the teacher's answers: id, group, text, split, label, teacher_label, rationale.
        slices: which rows belong to each slice of the card, each of shape (texts,).
        tests: what `rules.compare_slices` found.
        space: the labels.
        config: the step's settings.

    Returns:
        the content of audit.json but for what identifies the run. `labels` names the rows (people) and columns (the
        teacher) of `matrix`; `slices` has for each slice what `slice_record` says; `pairs` says which label the teacher
        gives in place of which, those with the most texts first.
    """
    truth, judged = space.codes(table["label"]), space.codes(table["teacher_label"])
    matrix = metrics.confusion_matrix(truth, judged, len(space))
    described = [slice_record(name, truth[inside], judged[inside], matrix, tests, space, config)
                 for name, inside in slices.items()]  # fmt: skip
    rest = rules.in_no_slice(slices, len(table))
    figures = overall(truth, judged, table["group"].to_numpy(), space, config)
    pairs = rules.confused_pairs(matrix, config.min_labels)
    categories = rules.error_categories(truth, judged, slices)
    return {
        "texts": len(table),
        "splits": {name: int((table["split"].cast(pl.String) == name).sum()) for name in ("train", "validation")},
        "labels": list(space.names),
        "positive_label": space.positive,
        "counts": _positive_counts(matrix, space),
        "matrix": _whole(matrix),
        **figures,
        "pairs": [pair_record(pair, space, config) for pair in pairs],
        "tests": _asked(tests),
        "slices": described,
        "in_no_slice": {"texts": int(rest.sum()), "right": int((truth == judged)[rest].sum())},
        "categories": [category_record(category, table, space, config.examples) for category in categories],
        "verdict": [
            agreement_sentence(len(table), figures, space),
            *pairs_sentence(pairs, space),
            *verdicts(described),
        ],
        "method": METHOD,
    }


def overall(
    truth: Integers, judged: Integers, groups: metrics.Groups, space: LabelSpace, config: AuditConfig
) -> dict[str, Any]:
    """Measure agreement, kappa, alpha, macro F1, and precision and recall of each label, those of most texts first."""
    labels, draw = len(space), {"samples": config.samples, "seed": config.seed}
    statistics: dict[str, metrics.Statistic] = {
        "agreement": metrics.accuracy,
        "kappa": partial(metrics.kappa, labels=labels),
        "krippendorff_alpha": partial(krippendorff_alpha, labels=labels),
        "macro_f1": partial(metrics.macro_f1, labels=labels),
    }
    found = figures_by_label(truth, judged, groups, labels, **draw)
    by_size = sorted(range(labels), key=lambda label: (label != space.positive_index, -found[label].human, label))
    return {
        **{
            name: metrics.as_record(metrics.bootstrap(statistic, truth, judged, groups=groups, **draw))
            for name, statistic in statistics.items()
        },
        "classes": {
            space.names[label]: {
                "human": found[label].human,
                "teacher": found[label].teacher,
                "precision": metrics.as_record(found[label].precision),
                "recall": metrics.as_record(found[label].recall),
            }
            for label in by_size
        },
    }


def slice_record(
    name: str,
    truth: Integers,
    judged: Integers,
    whole: Floats,
    tests: Sequence[SliceTest],
    space: LabelSpace,
    config: AuditConfig,
) -> dict[str, Any]:
    """Describe one slice by the test with the smallest p, and all that was proven.

    Args:
        name: of the slice.
        truth: human labels of its texts, shape (texts,).
        judged: the teacher's, shape (texts,).
        whole: confusion matrix of all texts.
        tests: what `rules.compare_slices` found.
        space: the labels.
        config: the step's settings.

    Returns:
        texts, agreement inside and elsewhere; `is_biased`, and of the worst error `direction` ("under-labels",
        "over-labels", "confuses" or none), `label`, `given`, `p_value`, `p_adjusted` and `sentence`; `findings`, all
        errors that were proven, the worst first; `matrix`, that of the slice where it is biased; and the counts and
        shares of the positive label where there is one.
    """
    own = [test for test in tests if test.slice == name]
    matrix = metrics.confusion_matrix(truth, judged, len(space))
    ranked = sorted(own, key=lambda test: (test.p is None, test.p or 0.0, test.question.given is None))
    proven = [test for test in ranked if test.is_biased(config.alpha)]
    worst = ranked[0] if ranked else None
    is_too_few = not proven and _is_too_few(own, space, config)
    agreement = [Errors(int(part.sum() - np.trace(part)), int(part.sum())) for part in (matrix, whole - matrix)]
    return {
        "name": name,
        "texts": len(truth),
        **_positive_figures(matrix, own, space),
        "agreement": metrics.as_record(agreement[0].right),
        "agreement_elsewhere": metrics.as_record(agreement[1].right),
        "p_value": worst.p if worst else None,
        "p_adjusted": worst.p_adjusted if worst else None,
        "is_biased": bool(proven),
        **(_named(proven[0], space) if proven else {"direction": None, "label": None, "given": None}),
        "is_too_few": is_too_few,
        "findings": [_finding(test, space, _asked(tests)) for test in proven],
        "matrix": _whole(matrix) if proven else None,
        "sentence": slice_sentence(name, own, proven, agreement, is_too_few, space, _asked(tests)),
    }


def _positive_counts(matrix: Floats, space: LabelSpace) -> dict[str, int] | None:
    return None if space.positive_index is None else asdict(Counts.of(matrix, space.positive_index))


def _positive_figures(matrix: Floats, own: Sequence[SliceTest], space: LabelSpace) -> dict[str, Any]:
    """Counts of the positive label in a slice, with its recall and false alarms inside and elsewhere."""
    if space.positive_index is None:
        return {}
    missed, flagged = _on_positive(own, space)
    return {
        **asdict(Counts.of(matrix, space.positive_index)),
        "recall": metrics.as_record(missed.inside.right),
        "false_alarm_share": metrics.as_record(flagged.inside.share),
        "recall_elsewhere": metrics.as_record(missed.outside.right),
        "false_alarm_share_elsewhere": metrics.as_record(flagged.outside.share),
    }


def _on_positive(own: Sequence[SliceTest], space: LabelSpace) -> list[SliceTest]:
    """Return a slice's tests on the label that is looked for: that it is missed, and that it is given too often."""
    return [test for test in own if rules.is_on_positive(test.question, space)]


def _is_too_few(own: Sequence[SliceTest], space: LabelSpace, config: AuditConfig) -> bool:
    """Whether nothing can be told: of the label that is looked for, or, where none is, of any label."""
    return any(test.is_too_small(config.min_labels) for test in _on_positive(own, space)) or not own


def _asked(tests: Sequence[SliceTest]) -> int:
    """Count the tests that could be made: the number that Holm's correction is for."""
    return sum(test.p is not None for test in tests)


def _named(test: SliceTest, space: LabelSpace) -> dict[str, str | None]:
    given = test.question.given
    return {
        "direction": test.question.direction,
        "label": space.names[test.question.label],
        "given": None if given is None else space.names[given],
    }


def _finding(test: SliceTest, space: LabelSpace, asked: int) -> dict[str, Any]:
    """Describe one error that was proven in a slice."""
    return {
        **_named(test, space),
        **asdict(test.inside),
        "share": metrics.as_record(test.inside.share),
        "share_elsewhere": metrics.as_record(test.outside.share),
        "p_value": test.p,
        "p_adjusted": test.p_adjusted,
        "sentence": biased_sentence(test, space, asked),
    }


def pair_record(pair: Confused, space: LabelSpace, config: AuditConfig) -> dict[str, Any]:
    """Describe one pair of labels over all texts."""
    return {
        "label": space.names[pair.label],
        "given": space.names[pair.given],
        "texts": pair.texts,
        "tried": pair.tried,
        "share": metrics.as_record(pair.share),
        "is_too_few": pair.tried < config.min_labels,
    }


def slice_sentence(
    name: str,
    own: Sequence[SliceTest],
    proven: Sequence[SliceTest],
    agreement: Sequence[Errors],
    is_too_few: bool,
    space: LabelSpace,
    asked: int,
) -> str:
    """Say what was found in a slice, with the numbers that it rests on."""
    if is_too_few:
        return _too_few_sentence(name, own, agreement[0].tried, space)
    if not proven:
        return _unproven_sentence(name, own, agreement, space)
    others = len(proven) - 1 if len(space) > 2 else 0
    more = f" It makes {numbers.count(others, 'other kind')} of error more often there, too." if others else ""
    return biased_sentence(proven[0], space, asked) + more


def biased_sentence(test: SliceTest, space: LabelSpace, asked: int) -> str:
    """Say which error the teacher makes more often in a slice."""
    label, inside, outside = space.names[test.question.label], test.inside, test.outside
    proof = f"({numbers.p_value(test.p_adjusted or 0.0)} after correction for {numbers.count(asked, 'test')})"
    if test.question.given is not None:
        return (
            f"The teacher gives '{space.names[test.question.given]}' in place of '{label}' in '{test.slice}' texts: to "
            f"{_wrong(inside)} of the '{label}' among them against {numbers.percent(outside.share.value)} elsewhere "
            f"{proof}."
        )
    of_label = "" if label == space.positive else f" '{label}' in"
    if test.question.direction == "under-labels":
        return (
            f"The teacher under-labels{of_label} '{test.slice}' texts: of the '{label}' among them it found "
            f"{_found(inside)} against {numbers.percent(outside.right.value)} elsewhere {proof}."
        )
    flagged = "it flagged" if label == space.positive else "it called so"
    return (
        f"The teacher over-labels{of_label} '{test.slice}' texts: of those that are not '{label}' {flagged} "
        f"{_wrong(inside)} against {numbers.percent(outside.share.value)} elsewhere {proof}."
    )


def _too_few_sentence(name: str, own: Sequence[SliceTest], texts: int, space: LabelSpace) -> str:
    few = f"Too few human labels to tell whether the teacher is biased in slice '{name}': "
    if space.positive is None:
        return f"{few}of {numbers.count(texts, 'text')} inside, no label has enough both there and elsewhere."
    missed, flagged = _on_positive(own, space)
    return (
        f"{few}{missed.inside.tried} '{space.positive}' and {flagged.inside.tried} other texts inside, "
        f"{missed.outside.tried} and {flagged.outside.tried} elsewhere."
    )


def _unproven_sentence(name: str, own: Sequence[SliceTest], agreement: Sequence[Errors], space: LabelSpace) -> str:
    if space.positive is None:
        return (
            f"No bias shown in slice '{name}': the teacher agrees with people on {_found(agreement[0])} against "
            f"{numbers.percent(agreement[1].right.value)} elsewhere, by {numbers.count(_asked(own), 'test')}."
        )
    missed, flagged = _on_positive(own, space)
    return (
        f"No bias shown in slice '{name}': the teacher found {_found(missed.inside)} "
        f"against {numbers.percent(missed.outside.right.value)} elsewhere, with "
        f"{numbers.percent(flagged.inside.share.value)} false alarms against "
        f"{numbers.percent(flagged.outside.share.value)}."
    )


def _found(errors: Errors) -> str:
    return _of(errors.tried - errors.wrong, errors.tried, errors.right)


def _wrong(errors: Errors) -> str:
    return _of(errors.wrong, errors.tried, errors.share)


def _of(hits: int, tried: int, share: metrics.Interval) -> str:
    span = numbers.percent_interval(share.low, share.high)
    return f"{hits} of {tried} ({numbers.percent(share.value)}, 95% interval {span})"


def agreement_sentence(texts: int, figures: Mapping[str, Any], space: LabelSpace) -> str:
    """Say how well the teacher agrees with people over all texts."""
    if not texts:
        return "The teacher judged no text that has a human label in train or validation: nothing can be said of it."
    agreement = figures["agreement"]
    agrees = (
        f"On {numbers.count(texts, 'human-labelled text')} the teacher agrees with people in "
        f"{numbers.percent(agreement['value'])} (95% interval "
        f"{numbers.percent_interval(agreement['low'], agreement['high'])})"
    )
    if space.positive is None:
        alpha, macro = figures["krippendorff_alpha"], figures["macro_f1"]
        return (
            f"{agrees}; its macro F1 is {numbers.figure(macro['value'])} and Krippendorff's alpha "
            f"{numbers.figure(alpha['value'])}."
        )
    positive = figures["classes"][space.positive]
    return (
        f"{agrees}; it finds {numbers.percent(positive['recall']['value'])} of the '{space.positive}' texts, and is "
        f"right in {numbers.percent(positive['precision']['value'])} of what it calls '{space.positive}'."
    )


def pairs_sentence(pairs: Sequence[Confused], space: LabelSpace) -> list[str]:
    """Say which label the teacher gives most often in place of which; with two labels there is nothing to add."""
    if len(space) == 2 or not pairs:
        return []
    worst = [
        f"'{space.names[pair.given]}' in place of '{space.names[pair.label]}' ({pair.texts} of {pair.tried}, "
        f"{numbers.percent_interval(pair.share.low, pair.share.high)} after correction for all pairs)"
        for pair in pairs[:PAIRS_TOLD]
    ]
    return [f"Most often it gives {numbers.listed(worst)}."]


def verdicts(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences on biased slices, or one that there is none, then those on slices with too few labels."""
    biased = [found["sentence"] for found in slices if found["is_biased"]]
    few = [found["sentence"] for found in slices if found["is_too_few"]]
    if not slices:
        return ["The card names no slices, so no bias was looked for."]
    none = [] if biased or len(few) == len(slices) else ["No slice shows a bias of the teacher."]
    return biased + none + few


def category_record(category: rules.Category, table: pl.DataFrame, space: LabelSpace, examples: int) -> dict[str, Any]:
    """Count one kind of error, with examples by id."""
    rows = table.filter(category.members).sort("id")
    shown = rows.head(examples).select("id", "split", "label", "teacher_label", "rationale", "text").to_dicts()
    return {
        "name": category.name(space),
        "label": space.names[category.label],
        "given": space.names[category.given],
        "slice": category.slice,
        "texts": len(rows),
        "examples": [{**row, "text": numbers.clip(row["text"], TEXT_SHOWN)} for row in shown],
    }


def _whole(matrix: Floats) -> list[list[int]]:
    return [[int(cell) for cell in row] for row in matrix]
