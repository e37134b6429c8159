"""Say what the search for hidden slices found: its record in audit.json, with sentences and lines for the card."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from understudy.review.cuts import Cuts, as_yaml
from understudy.review.hidden import HiddenTest
from understudy.review.slice_tests import SliceTest
from understudy.stats import metrics
from understudy.stats.metrics import Bools, of_label
from understudy.steps.audit.config import AuditConfig
from understudy.steps.audit.summary import TEXT_SHOWN, biased_sentence
from understudy.task.labels import LabelSpace
from understudy.text import numbers

METHOD = (
    "Hidden slices: the human labels were parted in two halves by group. Every cut of the texts by words, two words, "
    "length, columns and time was ranked on one half, and the worst few were tested on the other half alone "
    "(Fisher's exact test, one-sided, Holm's correction), then the other way about, each way at half of alpha. The "
    "search has an alpha of its own beside that of the card's slices. Counts are those of the half that confirmed."
)


def summarise(
    table: pl.DataFrame, cuts: Cuts, tests: Sequence[HiddenTest], space: LabelSpace, config: AuditConfig
) -> dict[str, Any]:
    """Put what was found into records and sentences.

    Args:
        table: human-labelled texts with the teacher's answers.
        cuts: that were searched.
        tests: what `hidden.find` found.
        space: the labels.
        config: `alpha` and `examples`.

    Returns:
        `words` and `other_cuts` searched, `tests` made, `found` with a record for each slice that was confirmed,
        `unconfirmed` names of the others, `sentences`, `method`.
    """
    asked = sum(one.test.p is not None for one in tests)
    found = [_record(table, one, space, config) for one in tests if one.test.is_biased(config.alpha)]
    return {
        "words": len(cuts.words),
        "other_cuts": len(cuts.others),
        "tests": asked,
        "found": found,
        "unconfirmed": [one.cut.name for one in tests if not one.test.is_biased(config.alpha)],
        "sentences": [one["sentence"] for one in found] or [_none_sentence(cuts, asked)],
        "method": METHOD,
    }


def _none_sentence(cuts: Cuts, asked: int) -> str:
    searched = (
        f"{numbers.count(len(cuts.words), 'word')}, pairs of them and {numbers.count(len(cuts.others), 'other cut')}"
    )
    if not asked:
        return f"No hidden slice was looked at: among {searched}, none has enough human labels and more errors inside."
    return f"No hidden slice was confirmed: {searched} were searched, and {numbers.count(asked, 'candidate')} tested."


def _record(table: pl.DataFrame, one: HiddenTest, space: LabelSpace, config: AuditConfig) -> dict[str, Any]:
    """Describe one slice that was confirmed."""
    test = one.test
    return {
        "name": one.cut.name,
        "texts": int(one.members.sum()),
        "direction": test.question.direction,
        "label": space.names[test.question.label],
        **asdict(test.inside),
        **{f"{name}_elsewhere": count for name, count in asdict(test.outside).items()},
        "share": metrics.as_record(test.inside.share),
        "share_elsewhere": metrics.as_record(test.outside.share),
        "p_value": test.p,
        "p_adjusted": test.p_adjusted,
        "sentence": f"A slice that the card does not name: {biased_sentence(test, space, one.corrected_for)}",
        "slice": as_yaml(one.cut),
        "keys": one.cut.keys,
        "examples": _examples(table, one, space, config.examples),
    }


def _examples(table: pl.DataFrame, one: HiddenTest, space: LabelSpace, most: int) -> list[dict[str, Any]]:
    """Show texts on which the error was made, in the order of their ids."""
    rows = table.filter(one.members & _is_error(table, one.test, space)).sort("id").head(most)
    return [
        {
            **row,
            **{key: space.words(row[key]) for key in ("label", "teacher_label")},
            "text": numbers.clip(row["text"], TEXT_SHOWN),
        }
        for row in rows.select("id", "split", "label", "teacher_label", "rationale", "text").to_dicts()
    ]


def _is_error(table: pl.DataFrame, test: SliceTest, space: LabelSpace) -> Bools:
    truth, judged = (of_label(space.codes(table[name]), test.question.label) for name in ("label", "teacher_label"))
    return judged & ~truth if test.question.direction == "over-labels" else truth & ~judged
