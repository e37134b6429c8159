"""Render where a learning loop stands: the learning curve as a picture, what the next labels would buy, the cycles."""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.reports import charts, pages
from understudy.store.cycles import Cycle
from understudy.text import figures, numbers

TITLES = {"curve": "The learning curve", "cycles": "The cycles"}


@pages.from_record
def page(card: str, record: Mapping[str, Any], recorded: Sequence[Cycle]) -> str:
    """Build the page: it needs no other file, no network and no script.

    Args:
        card: name of the task.
        record: where its loop stands, as `review.standing.Standing.as_record` writes it.
        recorded: its cycles, oldest first.

    Raises:
        BadArtifact: a record lacks something that the page shows.
    """
    return pages.render(
        "loop.html.j2",
        card=card,
        stop=record["stop"],
        reason=record["reason"],
        lines=record["lines"],
        texts=record["texts"],
        figure=figures.headed(record["figure"]),
        chart=_curve(record["points"], figures.headed(record["figure"])) if record["points"] else None,
        rows=[_row(cycle) for cycle in recorded],
        is_rehearsal=any(cycle.is_rehearsal for cycle in recorded),
        sections=TITLES,
        folder="loop",
    )


def _curve(points: Sequence[Mapping[str, Any]], title: str) -> str:
    """Draw the curve: a cycle each, by the labels of people that taught it."""
    marks = [
        charts.Mark(
            date=f"{point['labels']:,}",
            value=point["value"],
            low=point["low"],
            high=point["high"],
            expected=None,
            is_alarm=False,
            words=f"{numbers.count(point['labels'], 'label')}: {title} {numbers.figure(point['value'])} "
            f"({numbers.figure_interval(point['low'], point['high'])}).",
        )
        for point in points
    ]
    ticks = charts.nice_ticks(min(mark.low for mark in marks), max(mark.high for mark in marks), lowest=0.0)
    return charts.series("learning", f"{title} by labels", marks, [(tick, numbers.figure(tick)) for tick in ticks])


def _row(cycle: Cycle) -> list[str]:
    """Write a cycle's row: when, who taught it, what it cost so far, what was decided, and what it left for people."""
    return [
        cycle.recorded[:10],
        f"{cycle.taught_by_people:,}",
        "n/a" if cycle.trained_texts is None else f"{cycle.trained_texts:,}",
        numbers.usd(cycle.teacher_usd),
        cycle.decision or "none",
        f"{cycle.queued:,}",
    ]
