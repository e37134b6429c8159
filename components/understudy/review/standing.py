"""Say where a learning loop stands: what its last cycle gained, what more labels would buy, and whether it is to stop.

All of it is measured on the human labels of the split validation, on texts that every cycle has answered. The split
test has no part in it: a loop that stops by its test set has used it up.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from understudy.stats import gains
from understudy.stats.gains import Gain, Outlook
from understudy.stats.metrics import Floats, Interval, interval_of
from understudy.store import cycles
from understudy.store.cycles import Cycle
from understudy.store.storage import Store
from understudy.task import measures
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.text import figures, numbers

MORE = 100  # labels whose price is said
GOAL, GAIN, BUDGET = "goal met", "gain too small", "budget used up"
SPENT_SHARE = 0.995  # of a budget: what is left buys no answer
FEWEST_TEXTS = 50  # of the split validation; resamples of fewer claim more than they know


@dataclass(frozen=True, slots=True)
class Point:
    """A cycle on the learning curve: labels of people that taught it, and its figure with its 95% interval."""

    labels: int
    figure: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a loop stands.

    Attributes:
        figure: name of the one that decides.
        points: a cycle each, oldest first; none where no text is common to them.
        texts: of the split validation that every cycle has answered.
        passed_over: cycles by other labels than the card has now.
        last: what the last cycle gained; None for the first.
        next_cycle: what as many labels as wait would buy; None where the cycles are too few to say.
        more: what `MORE` labels would buy; None likewise.
        more_usd: what they cost in people's time.
        stop: `GOAL`, `GAIN` or `BUDGET`; empty where the loop is to go on.
        reason: why, in a sentence.
    """

    figure: str
    points: Sequence[Point]
    texts: int
    passed_over: int
    last: Gain | None
    next_cycle: Outlook | None
    more: Outlook | None
    more_usd: float
    stop: str
    reason: str

    def as_record(self) -> dict[str, Any]:
        """Write what the loop's page shows."""
        points = [{"labels": point.labels, **asdict(point.figure)} for point in self.points]
        return {
            "figure": self.figure,
            "points": points,
            "texts": self.texts,
            "stop": self.stop,
            "reason": self.reason,
            "lines": self.lines(),
        }

    def lines(self) -> list[str]:
        """Write it for a person, a line each."""
        told = [f"{'stop' if self.stop else 'go on'}: {self.reason}"]
        told += [] if self.last is None else [gain_sentence(self.last, self.figure)]
        told += [] if self.more is None else [more_sentence(self.more, self.more_usd, self.figure)]
        if self.passed_over:
            told.append(f"{numbers.count(self.passed_over, 'cycle')} by other labels than the card's passed over")
        return told


def read(store: Store, card: Card, label_usd: float) -> Standing | None:
    """Read the cycles of a card, and say where its loop stands; None before the first.

    Args:
        store: of the loop.
        card: for its labels, goals and budget.
        label_usd: what a label of people costs.

    Raises:
        BadArtifact: a record is damaged.
    """
    recorded = cycles.read_all(store, card.name)
    return standing(card, recorded, cycles.read_answers(store, card.name), label_usd) if recorded else None


def standing(card: Card, recorded: Sequence[Cycle], answers: Sequence[pl.DataFrame], label_usd: float) -> Standing:
    """Measure every cycle on the same texts, and decide.

    Args:
        card: for its labels, goals and budget.
        recorded: the cycles, oldest first.
        answers: of each, by `cycles.ANSWERS`.
        label_usd: what a label of people costs.
    """
    space = LabelSpace.of(card)
    pairs = [(one, table) for one, table in zip(recorded, answers, strict=True) if _speaks(table, space)]
    values, draws, texts = _measured([table for _, table in pairs], space)
    labels = np.array([max(1, one.taught_by_people) for one, _ in pairs], dtype=float)[: len(values)]
    points = [
        Point(int(count), interval_of(float(value), draws[:, at]))
        for at, (count, value) in enumerate(zip(labels, values, strict=True))
    ]
    coming = max(MORE, recorded[-1].queued)
    next_cycle, more = (gains.outlook(labels, draws, each) if len(points) else None for each in (coming, MORE))
    figure = figures.primary(space.positive)
    stop, reason = _decided(card, recorded[-1], figure, draws, texts, next_cycle)
    return Standing(
        figure=figure,
        points=points,
        texts=texts,
        passed_over=len(recorded) - len(pairs),
        last=gains.gain(values, draws, texts) if len(points) > 1 else None,
        next_cycle=next_cycle,
        more=more,
        more_usd=MORE * label_usd,
        stop=stop,
        reason=reason,
    )


def _speaks(table: pl.DataFrame, space: LabelSpace) -> bool:
    """Tell whether a cycle's labels and answers are all of the card's labels."""
    return None not in space.of_cells([*table["label"], *table["answer"]])


def _measured(tables: Sequence[pl.DataFrame], space: LabelSpace) -> tuple[Floats, Floats, int]:
    """Measure cycles on the texts that all of them have answered, by the newest labels.

    Returns:
        figures, shape (cycles,); resamples, shape (samples, cycles); and the number of texts. None of each without any.
    """
    common = tables[-1].select("id", "group", "label") if tables else pl.DataFrame(schema={"id": pl.String})
    for number, table in enumerate(tables):
        answer = table.select("id", pl.col("answer").alias(f"answer_{number}"))
        common = common.join(answer, on="id", how="inner", maintain_order="left")
    if not len(common):
        return np.empty(0), np.empty((0, 0)), 0
    given = [space.codes(common[f"answer_{number}"]) for number in range(len(tables))]
    statistic = measures.primary(space)[1]
    return *gains.drawn_figures(statistic, space.codes(common["label"]), given, common["group"].to_numpy()), len(common)


def _decided(
    card: Card, newest: Cycle, figure: str, draws: Floats, texts: int, coming: Outlook | None
) -> tuple[str, str]:
    """Say whether the loop is to stop, and why."""
    if spent := _budget_spent(card, newest):
        return BUDGET, spent
    if texts < FEWEST_TEXTS:
        return (
            "",
            f"every cycle has answered {numbers.count(texts, 'validation text')}, too few to say ({FEWEST_TEXTS})",
        )
    title, goal = figures.title(figure), getattr(card.goals, figure)
    if goal is not None and (chance := float(np.mean(draws[:, -1] >= goal))) >= 1 - gains.DOUBT:
        return GOAL, f"the goal of {goal:g} {title} is met (chance {numbers.percent(chance)})"
    if coming is None:
        return "", f"too few cycles to say what the next gains ({draws.shape[1]} of {gains.FEWEST_CYCLES})"
    more, chance_told = numbers.count(coming.labels, "more label"), numbers.percent(coming.chance)
    why = f"the chance that {more} gain {gains.MARGIN:g} {title} or more is {chance_told}"
    return GAIN if coming.is_too_little else "", why


def _budget_spent(card: Card, newest: Cycle) -> str:
    """Say which of the card's budgets is used up; empty where neither is."""
    people, teacher_usd = card.budget.human_labels, card.budget.teacher_usd
    if newest.human_labels >= people:
        return f"people gave {newest.human_labels:,} of the budget's {numbers.count(people, 'label')}"
    if newest.teacher_usd >= SPENT_SHARE * teacher_usd:
        return f"the teacher was paid {numbers.usd(newest.teacher_usd)} of the budget's {numbers.usd(teacher_usd)}"
    return ""


def gain_sentence(last: Gain, figure: str) -> str:
    """Write what a cycle gained, and whether that is enough.

    >>> gain_sentence(Gain(Interval(0.02, -0.01, 0.05), 0.7, "cannot tell", 1559), "f1")
    'the last cycle gained +0.02 F1 (-0.01 to +0.05); at least 0.01? cannot tell: 1,559 validation texts would'
    """
    low, high = numbers.signed(last.gain.low), numbers.signed(last.gain.high)
    more = "" if last.texts_to_tell is None else f": {numbers.count(last.texts_to_tell, 'validation text')} would"
    gained = f"the last cycle gained {numbers.signed(last.gain.value)} {figures.title(figure)} ({low} to {high})"
    return f"{gained}; at least {gains.MARGIN:g}? {last.verdict}{more}"


def more_sentence(more: Outlook, price_usd: float, figure: str) -> str:
    """Write what more labels cost and buy.

    >>> more_sentence(Outlook(100, Interval(0.01, 0.002, 0.03), 0.5), 12.5, "f1")
    'the next 100 labels cost about $12.50 of people and would buy +0.01 F1 (+0.002 to +0.03)'
    """
    low, high = numbers.signed(more.gain.low), numbers.signed(more.gain.high)
    bought = f"{numbers.signed(more.gain.value)} {figures.title(figure)} ({low} to {high})"
    return f"the next {more.labels:,} labels cost about {numbers.usd(price_usd)} of people and would buy {bought}"
