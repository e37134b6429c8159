"""Say how many human labels would settle whether the teacher is biased in a slice, and draw the texts for them.

A slice is suspected where the teacher errs more often inside and the test leaves it open. Its labels of the kind that
the error is made on are taken to go on at the rate that was seen there; all others stay as they are. The texts are
drawn by lot whatever the teacher said of them: drawn by its answers they would say nothing of how often it errs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import polars as pl

from understudy.review.slice_tests import Errors, SliceTest, p_worse
from understudy.stats.draw import lot
from understudy.stats.metrics import Bools
from understudy.steps.audit.config import AuditConfig
from understudy.task.labels import LabelSpace
from understudy.teacher.answers import own_probability
from understudy.text import numbers
from understudy.text.seen import columns_of

POWER = 0.8  # chance that a bias of the size that was seen is proven
SUSPECTED_BELOW = 0.2  # uncorrected p; above it there is little to settle
MOST_LABELS = 5_000
COUNTED = "the command understudy review --queue AUDIT/settle shows them, and answers count in later audits."


@dataclass(frozen=True, slots=True)
class Suspect:
    """A slice whose bias is open.

    Attributes:
        test: the one with the least p.
        labels: more human labels that would prove it with chance `POWER`; none where `MOST_LABELS` would not.
        texts: of the slice that are to be labelled for these.
    """

    test: SliceTest
    labels: int | None
    texts: int | None


def least_wrong(tried: int, outside: Errors, level: float) -> int:
    """Return the fewest errors among `tried` inside that prove a bias; `tried` + 1 where none do.

    >>> least_wrong(10, Errors(10, 100), level=0.05)
    4
    """
    low, high = 0, tried + 1
    while low < high:
        middle = (low + high) // 2
        p = p_worse(Errors(middle, tried), outside)
        low, high = (low, middle) if p is not None and p < level else (middle + 1, high)
    return low


def power(more: int, inside: Errors, outside: Errors, level: float) -> float:
    """Chance that so many more labels prove the bias, were it as large as it was seen.

    >>> power(0, Errors(9, 10), Errors(10, 100), level=0.05)
    1.0
    """
    from scipy.stats import binom

    missing = least_wrong(inside.tried + more, outside, level) - inside.wrong
    return float(binom.sf(missing - 1, more, inside.share.value))


def labels_to_settle(inside: Errors, outside: Errors, level: float) -> int | None:
    """Return how many more labels inside prove the bias with chance `POWER`, within a tenth of their number.

    >>> labels_to_settle(Errors(5, 10), Errors(20, 100), level=0.0025)
    39
    """
    more = 1
    while more <= MOST_LABELS:
        if power(more, inside, outside, level) >= POWER:
            return more
        more += max(1, more // 10)
    return None


def suspects_of(tests: Sequence[SliceTest], slices: Mapping[str, Bools], config: AuditConfig) -> list[Suspect]:
    """Find the slices in which a bias is neither proven nor unlikely, in the slices' order.

    Args:
        tests: of the named slices.
        slices: which human-labelled texts belong to each, each of shape (texts,).
        config: `alpha`.
    """
    asked = [test for test in tests if test.p is not None]
    found = []
    for name, members in slices.items():
        own = sorted((test for test in asked if test.slice == name), key=lambda test: test.p or 0.0)
        if not own or any(test.is_biased(config.alpha) for test in own):
            continue
        test = own[0]
        if (test.p or 0.0) < SUSPECTED_BELOW:
            labels = labels_to_settle(test.inside, test.outside, config.alpha / len(asked))
            texts = None if labels is None else ceil(labels * int(members.sum()) / test.inside.tried)
            found.append(Suspect(test, labels, texts))
    return found


def record(suspect: Suspect, drawn: int, space: LabelSpace) -> dict[str, Any]:
    """Describe what would settle one slice; `drawn` texts of the pool wait for it."""
    test = suspect.test
    return {
        "slice": test.slice,
        "direction": test.question.direction,
        "label": space.names[test.question.label],
        "labels": suspect.labels,
        "texts": suspect.texts,
        "drawn": drawn,
        "sentence": sentence(suspect, drawn, space),
    }


def sentence(suspect: Suspect, drawn: int, space: LabelSpace) -> str:
    """Say how many labels settle it, and what it means when they do not prove it."""
    test, label = suspect.test, space.names[suspect.test.question.label]
    kind = f"not '{label}'" if test.question.direction == "over-labels" else f"'{label}'"
    seen = (
        f"Slice '{test.slice}' is open: the teacher errs on {test.inside.wrong} of {test.inside.tried} texts that are "
        f"{kind} inside against {numbers.percent(test.outside.share.value)} elsewhere."
    )
    if suspect.labels is None or suspect.texts is None:
        return f"{seen} Not even {MOST_LABELS:,} more labels would settle a difference as small as this."
    return (
        f"{seen} About {numbers.count(suspect.labels, 'more human label')} of that kind there, some "
        f"{numbers.count(suspect.texts, 'text')} of the slice, prove a bias of this size with a chance of "
        f"{numbers.percent(POWER)}; if they do not, it is probably smaller, or none. "
        f"{numbers.count(drawn, 'text')} of the pool {'is' if drawn == 1 else 'are'} drawn for it: {COUNTED}"
    )


def draw(
    pool: pl.DataFrame, slices: Mapping[str, Bools], suspects: Sequence[Suspect], space: LabelSpace, config: AuditConfig
) -> pl.DataFrame:
    """Draw by lot the texts of suspected slices that people should label, whatever the teacher said of them.

    Args:
        pool: texts without a human label, with the teacher's answers.
        slices: which rows of `pool` belong to each slice, each of shape (texts,).
        suspects: the slices.
        space: the labels.
        config: `queue_per_slice` and `seed`.

    Returns:
        rows of `tables.AuditQueue` but for the guideline; a text of two slices stands once, with the first.
    """
    columns = ["id", "group", *columns_of(pool), "slice", "direction", "label", "teacher_label", "teacher_probability"]
    lots = pl.col("id").map_elements(partial(lot, config.seed, "audit-settle"), return_dtype=pl.String)
    parts = [
        pool.filter(slices[suspect.test.slice])
        .sort(lots)
        .head(min(config.queue_per_slice, suspect.texts or 0))
        .with_columns(
            slice=pl.lit(suspect.test.slice),
            direction=pl.lit(suspect.test.question.direction),
            label=pl.lit(space.names[suspect.test.question.label]),
        )
        for suspect in suspects
    ]
    held = parts or [pool.head(0).with_columns(slice=pl.lit(""), direction=pl.lit("confuses"), label=pl.lit(""))]
    drawn = pl.concat(held).unique("id", keep="first", maintain_order=True)
    return drawn.with_columns(own_probability("teacher", space)).select(columns)
