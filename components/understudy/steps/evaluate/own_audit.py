"""Audit the student itself: in which parts of the texts it errs more often, and what that asks of the card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from understudy.review import hidden
from understudy.review.cuts import as_yaml, cuts_of
from understudy.review.hidden import DIRECTIONS
from understudy.review.slice_tests import Question, SliceTest, corrected, put_to
from understudy.stats.metrics import Bools, Codes, of_label
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.rules import Answers, Truth
from understudy.task.card import QUESTION
from understudy.task.labels import LabelSpace
from understudy.text import numbers

METHOD = (
    "The card's slices are tested by Fisher's exact test, one-sided, with Holm's correction over all of them. Slices "
    "that nobody named are searched on one half of the test texts by group, and confirmed on the other half alone, "
    "each way at half of alpha 0.05; counts are those of the half that confirmed."
)
FROM_ELSEWHERE = "from the pool, not from this page: a test text that teaches can no longer test"


@dataclass(frozen=True, slots=True)
class Search:
    """How the search goes, as `hidden.Search` says."""

    alpha: float = 0.05
    min_labels: int = 10
    search_candidates: int = 5


def record(
    table: pl.DataFrame,
    columns: Sequence[str],
    truth: Truth,
    student: Answers,
    slices: Mapping[str, Bools],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Find where the student errs more often than elsewhere.

    Args:
        table: test texts with column text, and those by which slices are cut.
        columns: of these.
        truth: human labels.
        student: its answers.
        slices: those of the card, each of shape (texts,).
        config: `min_positives` is the fewest texts inside and outside of a slice that is searched; and the seed.

    Returns:
        `found`, a record a slice with `sentence`, what to write on the card (`slice`, none where it is there or cannot
        be named; `rule`, a question for the card's rules) and counts; `sentences` where nothing was found; `method`.
    """
    search = Search(min_labels=config.min_positives)
    named = _named(truth.codes, student.codes, slices, truth.space)
    proven = [test for test in named if test.is_biased(search.alpha)]
    cuts = cuts_of(table, columns, search.min_labels)
    half = hidden.halves_of(truth.groups.tolist(), config.seed)
    tests = hidden.find(truth.codes, student.codes, cuts, half, slices, proven, truth.space, search)
    found = [_record(test, None, truth.space) for test in proven]
    found += [_record(one.test, as_yaml(one.cut), truth.space) for one in tests if one.test.is_biased(search.alpha)]
    words, others = numbers.count(len(cuts.words), "word"), numbers.count(len(cuts.others), "other cut")
    none = (
        f"No part of the texts was confirmed in which the student errs more often: {words}, pairs of them, {others} "
        f"and {numbers.count(len(slices), 'slice')} of the card were searched."
    )
    return {"found": found, "sentences": [] if found else [none], "method": METHOD}


def _named(truth: Codes, given: Codes, slices: Mapping[str, Bools], space: LabelSpace) -> list[SliceTest]:
    """Test each slice of the card for what is missed and given wrongly of each label that is looked at."""
    wrong = {label: of_label(truth, label) != of_label(given, label) for label in space.sides}
    questions = [Question(direction, label) for label in space.sides for direction in DIRECTIONS]
    return corrected(
        [
            put_to(name, question, question.tried(truth), wrong[question.label], members)
            for name, members in slices.items()
            for question in questions
        ]
    )


def _record(test: SliceTest, line: str | None, space: LabelSpace) -> dict[str, Any]:
    """Describe one part of the texts, with what to write on the card."""
    label, is_missed = space.names[test.question.label], test.question.direction == "under-labels"
    what = f"'{label}' is missed" if is_missed else f"'{label}' is given wrongly"
    sides = [f"in {side.wrong} of {numbers.count(side.tried, 'text')}" for side in (test.inside, test.outside)]
    asked = f"which texts of the kind '{numbers.clipped(test.slice)}' are '{label}', and which are not?"
    return {
        "name": test.slice,
        "direction": test.question.direction,
        "label": label,
        **asdict(test.inside),
        **{f"{name}_elsewhere": count for name, count in asdict(test.outside).items()},
        "p_adjusted": test.p_adjusted,
        "sentence": (
            f"In '{test.slice}' {what} {sides[0]} where it could be, elsewhere {sides[1]} (corrected "
            f"{numbers.p_value(test.p_adjusted or 0.0)})."
        ),
        "slice": line,
        "rule": f'- "{QUESTION} {asked}"',
        "advice": f"Answer this in the card's rules, and give '{label}' an example of the kind {FROM_ELSEWHERE}.",
    }
