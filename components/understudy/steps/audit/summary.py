"""Summarise the audit: the content of audit.json, and the sentences in it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from understudy.review.slice_tests import Errors, SliceTest
from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Floats
from understudy.steps.audit import rules
from understudy.steps.audit.agreement import alphas, figures_by_label, krippendorff_alpha
from understudy.steps.audit.config import AuditConfig
from understudy.steps.audit.rules import Confused, Counts
from understudy.task.labels import LabelSpace
from understudy.teacher import worth as teacher_worth
from understudy.text import numbers

METHOD = (
    "Human labels of the splits train and validation; each text counts once, unweighted, and as independent. "
    "Fisher's exact test, one-sided, each slice against all other texts, in both directions and for pairs of labels; "
    "Holm's correction over all tests. Shares with 95% Wilson intervals, those of pairs over all texts corrected for "
    "all pairs (Bonferroni); agreement, kappa, Krippendorff's alpha, macro F1 and the figures by label with 95% "
    "bootstrap intervals by group."
)
METHOD_OF_SETS = (
    "Human labels of the splits train and validation; each text counts once, unweighted, and as independent, and each "
    "label is a yes or no of its own. Fisher's exact test, one-sided, each slice against all other texts, of every "
    "label in both directions; Holm's correction over all tests. Shares with 95% Wilson intervals; agreement on all "
    "labels of a text, Krippendorff's alpha of each label and their mean, macro and micro F1 and the figures by label "
    "with 95% bootstrap intervals by group."
)
TEXT_SHOWN = 300
PAIRS_TOLD = 3


def summarise(
    table: pl.DataFrame,
    slices: Mapping[str, Bools],
    tests: Sequence[SliceTest],
    space: LabelSpace,
    config: AuditConfig,
    rivals: Mapping[str, Codes],
) -> dict[str, Any]:
    """Put what was found into records and sentences.

    Args:
        table: human-labelled texts with the teacher's answers: id, group, text, split, label, teacher_label, rationale.
        slices: which rows belong to each slice of the card, each of shape (texts,).
        tests: what `rules.compare_slices` found.
        space: the labels.
        config: the step's settings.
        rivals: what costs nothing answers to the same texts, by name; none where there are no texts.

    Returns:
        the content of audit.json but for what identifies the run. `labels` names the rows (people) and columns (the
        teacher) of `matrix`; `slices` has for each slice what `slice_record` says; `pairs` says which label the teacher
        gives in place of which, those with the most texts first. Where a text may have several labels,
        `labels_per_text` says so, `counts` has for each label in the place of `matrix` whether people (rows) and the
        teacher (columns) give it, no first, and there are no `pairs`. `worth` sets the teacher against
        chance and `rivals`; none where there are no texts.
    """
    truth, judged = space.codes(table["label"]), space.codes(table["teacher_label"])
    matrix = rules.cross_counts(truth, judged, len(space))
    described = [slice_record(name, truth, judged, inside, tests, space, config) for name, inside in slices.items()]
    rest = rules.in_no_slice(slices, len(table))
    figures = overall(truth, judged, table["group"].to_numpy(), space, config)
    pairs = None if space.is_many else rules.confused_pairs(matrix, config.min_labels)
    categories = rules.error_categories(truth, judged, slices)
    worth = _worth(truth, judged, table["group"].to_numpy(), rivals, space, config)
    return {
        "texts": len(table),
        "splits": {name: int((table["split"].cast(pl.String) == name).sum()) for name in ("train", "validation")},
        "labels": list(space.names),
        **({"labels_per_text": "many"} if space.is_many else {}),
        "positive_label": space.positive,
        **({} if space.is_many else {"counts": _positive_counts(matrix, space)}),
        **_counted(matrix, space),
        **figures,
        **({} if pairs is None else {"pairs": [pair_record(pair, space, config) for pair in pairs]}),
        "worth": worth,
        "tests": _asked(tests),
        "slices": described,
        "in_no_slice": {"texts": int(rest.sum()), "right": int(_is_right(truth, judged)[rest].sum())},
        "categories": [category_record(category, table, space, config.examples) for category in categories],
        "verdict": [
            agreement_sentence(len(table), figures, space),
            *([worth["sentence"]] if worth else []),
            *(errors_sentence(matrix, space) if pairs is None else pairs_sentence(pairs, space)),
            *verdicts(described),
        ],
        "method": METHOD_OF_SETS if space.is_many else METHOD,
    }


def _worth(
    truth: Codes,
    judged: Codes,
    groups: metrics.Groups,
    rivals: Mapping[str, Codes],
    space: LabelSpace,
    config: AuditConfig,
) -> dict[str, Any] | None:
    """Set the teacher against chance and against what costs nothing."""
    if not len(truth):
        return None
    found = teacher_worth.measure(
        truth,
        judged,
        groups,
        rivals,
        space,
        confidence=metrics.CONFIDENCE,
        samples=config.samples,
        seed=config.seed,
    )
    return teacher_worth.record(found, is_many=space.is_many)


def overall(
    truth: Codes, judged: Codes, groups: metrics.Groups, space: LabelSpace, config: AuditConfig
) -> dict[str, Any]:
    """Measure agreement, kappa, alpha, macro F1, and precision and recall of each label, those of most texts first.

    Where a text may have several labels, micro F1 stands in the place of kappa, and each label has an alpha too.
    """
    labels, draw = len(space), {"samples": config.samples, "seed": config.seed}
    statistics: dict[str, metrics.Statistic] = {
        "agreement": metrics.accuracy,
        **({} if space.is_many else {"kappa": partial(metrics.kappa, labels=labels)}),
        "krippendorff_alpha": partial(krippendorff_alpha, labels=labels),
        "macro_f1": partial(metrics.macro_f1, labels=labels),
        **({"micro_f1": partial(metrics.micro_f1, labels=labels)} if space.is_many else {}),
    }
    found = figures_by_label(truth, judged, groups, labels, **draw)
    own_alphas = alphas(truth, judged, groups, **draw) if space.is_many else []
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
                **({"krippendorff_alpha": metrics.as_record(own_alphas[label])} if own_alphas else {}),
            }
            for label in by_size
        },
    }


def slice_record(
    name: str,
    truth: Codes,
    judged: Codes,
    members: Bools,
    tests: Sequence[SliceTest],
    space: LabelSpace,
    config: AuditConfig,
) -> dict[str, Any]:
    """Describe one slice by the test with the smallest p, and all that was proven.

    Args:
        name: of the slice.
        truth: human labels of all texts, as `LabelSpace` has them.
        judged: the teacher's.
        members: which texts are the slice's, shape (texts,).
        tests: what `rules.compare_slices` found.
        space: the labels.
        config: the step's settings.

    Returns:
        texts, agreement inside and elsewhere; `is_biased`, and of the worst error `direction` ("under-labels",
        "over-labels", "confuses" or none), `label`, `given`, `p_value`, `p_adjusted` and `sentence`; `findings`, all
        errors that were proven, the worst first; `matrix` (`counts`, where a text may have several labels), that of the
        slice where it is biased; and the counts and shares of the positive label where there is one.
    """
    own = [test for test in tests if test.slice == name]
    matrix = rules.cross_counts(truth[members], judged[members], len(space))
    ranked = sorted(own, key=lambda test: (test.p is None, test.p or 0.0, test.question.given is None))
    proven = [test for test in ranked if test.is_biased(config.alpha)]
    worst = ranked[0] if ranked else None
    is_too_few = not proven and _is_too_few(own, space, config)
    is_wrong = ~_is_right(truth, judged)
    agreement = [Errors(int(is_wrong[part].sum()), int(part.sum())) for part in (members, ~members)]
    return {
        "name": name,
        "texts": int(members.sum()),
        **_positive_figures(matrix, own, space),
        "agreement": metrics.as_record(agreement[0].right),
        "agreement_elsewhere": metrics.as_record(agreement[1].right),
        "p_value": worst.p if worst else None,
        "p_adjusted": worst.p_adjusted if worst else None,
        "is_biased": bool(proven),
        **(_named(proven[0], space) if proven else {"direction": None, "label": None, "given": None}),
        "is_too_few": is_too_few,
        "findings": [_finding(test, space, _asked(tests)) for test in proven],
        **(_counted(matrix, space) if proven else dict.fromkeys(_counted(matrix, space))),
        "sentence": slice_sentence(name, own, proven, agreement, is_too_few, space, _asked(tests)),
    }


def _is_right(truth: Codes, judged: Codes) -> Bools:
    """Which texts the teacher labels as people do, all labels of several included. Shape (texts,)."""
    is_right = truth == judged
    return np.asarray(is_right.all(axis=1) if is_right.ndim == 2 else is_right)


def _counted(matrix: Floats, space: LabelSpace) -> dict[str, Any]:
    """Name what `rules.cross_counts` counted."""
    return {"counts" if space.is_many else "matrix": matrix.astype(int).tolist()}


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
    others = len(proven) - 1 if len(space) > 2 or space.is_many else 0
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
            f"No bias shown in slice '{name}': the teacher agrees with people on {_all_of(space)}"
            f"{_found(agreement[0])} against {numbers.percent(agreement[1].right.value)} elsewhere, by "
            f"{numbers.count(_asked(own), 'test')}."
        )
    missed, flagged = _on_positive(own, space)
    return (
        f"No bias shown in slice '{name}': the teacher found {_found(missed.inside)} "
        f"against {numbers.percent(missed.outside.right.value)} elsewhere, with "
        f"{numbers.percent(flagged.inside.share.value)} false alarms against "
        f"{numbers.percent(flagged.outside.share.value)}."
    )


def _all_of(space: LabelSpace) -> str:
    return "all labels of " if space.is_many else ""


def _found(errors: Errors) -> str:
    return _of(errors.tried - errors.wrong, errors.tried, errors.right)


def _wrong(errors: Errors) -> str:
    return _of(errors.wrong, errors.tried, errors.share)


def _of(hits: int, tried: int, share: metrics.Interval) -> str:
    if not numbers.tells(metrics.as_record(share)):
        return f"{hits} of {tried}"
    span = numbers.percent_interval(share.low, share.high)
    return f"{hits} of {tried} ({numbers.percent(share.value)}, 95% interval {span})"


def agreement_sentence(texts: int, figures: Mapping[str, Any], space: LabelSpace) -> str:
    """Say how well the teacher agrees with people over all texts."""
    if not texts:
        return "The teacher judged no text that has a human label in train or validation: nothing can be said of it."
    agreement = figures["agreement"]
    agrees = (
        f"On {numbers.count(texts, 'human-labelled text')} the teacher agrees with people "
        f"{'on all labels ' if space.is_many else ''}in "
        f"{numbers.percent(agreement['value'])} (95% interval "
        f"{numbers.percent_interval(agreement['low'], agreement['high'])})"
    )
    if space.positive is None:
        alpha, macro = figures["krippendorff_alpha"], figures["macro_f1"]
        micro = f", its micro F1 {numbers.figure(figures['micro_f1']['value'])}" if space.is_many else ""
        mean = "the labels' mean " if space.is_many else ""
        return (
            f"{agrees}; its macro F1 is {numbers.figure(macro['value'])}{micro} and {mean}Krippendorff's alpha "
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
        f"'{space.names[pair.given]}' in place of '{space.names[pair.label]}' ({pair.texts} of {pair.tried}"
        f"{_corrected(pair.share)})"
        for pair in pairs[:PAIRS_TOLD]
    ]
    return [f"Most often it gives {numbers.listed(worst)}."]


def _corrected(share: metrics.Interval) -> str:
    """Write the interval of a pair's share; nothing where that is 0% to 100%."""
    if not numbers.tells(metrics.as_record(share)):
        return ""
    return f", {numbers.percent_interval(share.low, share.high)} after correction for all pairs"


def errors_sentence(matrix: Floats, space: LabelSpace) -> list[str]:
    """Say which labels the teacher misses or gives wrongly most often, where a text may have several."""
    questions = rules.questions_of(space, matrix > 0)
    ranked = sorted(((question.errors(matrix), question) for question in questions), key=lambda one: -one[0].wrong)
    worst = [
        f"{'misses' if question.direction == 'under-labels' else 'wrongly gives'} '{space.names[question.label]}' "
        f"({errors.wrong} of {errors.tried} texts)"
        for errors, question in ranked[:PAIRS_TOLD]
        if errors.wrong
    ]
    return [f"Most often it {numbers.listed(worst)}."] if worst else []


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
    label, given = (None if column is None else space.names[column] for column in (category.label, category.given))
    return {
        "name": category.name(space),
        "label": label,
        "given": given,
        "slice": category.slice,
        "texts": len(rows),
        "examples": [
            {
                **row,
                **{key: space.words(row[key]) for key in ("label", "teacher_label")},
                "text": numbers.clip(row["text"], TEXT_SHOWN),
            }
            for row in shown
        ],
    }
