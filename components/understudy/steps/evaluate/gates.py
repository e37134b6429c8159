"""Judge the card's goals as gates, and decide.

The rule. "keep-the-teacher" when the teacher's primary figure is certainly higher (the whole 95% interval of the
student's minus the teacher's lies below 0) and the teacher is cheaper at the card's texts a month. Else "refuse" when a
goal is certainly missed, or a text of the card's `must` gets another label than it must. Else "publish". A goal that
this machine was too busy to judge refuses nothing, and the reason says it, with what to do. The primary figure is F1 of
the label that is looked for, else macro F1 over all labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Floats, Interval
from understudy.steps.evaluate import costs, speed
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.costs import Costs
from understudy.steps.evaluate.rules import Comparison
from understudy.steps.evaluate.speed import Timing
from understudy.task.card import Goals
from understudy.text import figures as names
from understudy.text import numbers

Decision = Literal["publish", "refuse", "keep-the-teacher"]
TITLES = {"p95_latency_ms": "P95 latency", "cost_per_1k_usd": "Cost of 1,000 texts"}
UNJUDGED = (
    "on a machine too busy to judge it. Run evaluate again where nothing else runs, and roll back what misses it then."
)
MOST_TOLD = 10  # goals that a reason names


@dataclass(frozen=True, slots=True)
class Gate:
    """One goal of the card.

    Attributes:
        name: of the figure.
        goal: that the card asks for.
        is_floor: whether the figure must be at least the goal, rather than at most.
        figure: what was measured; low and high are nan where there is no interval.
        chance: that the goal is met, as a share of the resamples; nan where there is none.
        is_met: by the point estimate, or by the whole interval when the step is strict.
        label: whose figure it is, against the rest; none where the goal is of the whole.
        title: what the goal is of, at the beginning of a sentence.
        is_judged: false where it is not met, and only the machine's other work may be why.
    """

    name: str
    goal: float
    is_floor: bool
    figure: Interval
    chance: float
    is_met: bool
    label: str | None
    title: str
    is_judged: bool = True

    @property
    def is_missed(self) -> bool:
        """Whether the goal is certainly not met."""
        return self.is_judged and not self.is_met


def asked(goals: Goals) -> list[tuple[str, str | None, float]]:
    """List the goals that labels given must reach: figure, label (none for the whole), and the least value."""
    whole = [(name, None, getattr(goals, name)) for name in ("f1", "recall", "macro_f1", "micro_f1", "accuracy")]
    of_labels = [(name, label, getattr(own, name)) for label, own in goals.labels.items() for name in ("f1", "recall")]
    return [goal for goal in (*whole, *of_labels) if goal[2] is not None]


def floor(
    name: str, goal: float, figure: Interval, draws: Floats, *, strict: bool, label: str | None, is_many: bool
) -> Gate:
    """Make a gate that asks for at least the goal; an undefined figure does not meet it."""
    tested = figure.low if strict else figure.value
    headed = names.headed(name, is_many=is_many)
    title = headed if label is None else f"{headed} of '{label}'"
    return Gate(name, goal, True, figure, metrics.chance_above(draws, goal), bool(tested >= goal), label, title)


def ceiling(name: str, goal: float, figure: Interval, draws: Floats, *, strict: bool) -> Gate:
    """Make a gate that asks for at most the goal; without an interval the point estimate is compared."""
    tested = figure.high if strict and numbers.is_known(figure.high) else figure.value
    chance, is_met = 1 - metrics.chance_above(draws, goal), bool(tested <= goal)
    return Gate(name, goal, False, figure, chance, is_met, None, TITLES[name])


def latency(goal: float, timing: Timing, config: EvaluateConfig) -> Gate:
    """Hold the machine's own P95 latency against its goal.

    On a busy machine a goal that is not met is missed only where what was computed alone takes longer.
    """
    own, least = (speed.percentile(ms, 0.95, config.samples, config.seed) for ms in (timing.own_ms, timing.least_ms))
    gate, at_best = (ceiling("p95_latency_ms", goal, *found, strict=config.strict) for found in (own, least))
    return replace(gate, is_judged=gate.is_met or not (timing.is_busy and at_best.is_met))


def cost(goal: float, per_1k_usd: float, least_usd: float, timing: Timing) -> Gate:
    """Hold the price of running the student against its goal.

    Args:
        goal: most dollars per 1,000 texts.
        per_1k_usd: as measured.
        least_usd: of a machine that does nothing else; a busy one misses the goal only where this misses it too.
        timing: tells whether the machine was busy.
    """
    gate = ceiling("cost_per_1k_usd", goal, Interval(per_1k_usd, np.nan, np.nan), np.empty(0), strict=False)
    return replace(gate, is_judged=gate.is_met or not (timing.is_busy and least_usd <= goal))


def written(name: str, value: float | None) -> str:
    """Write a figure of a gate in its own unit."""
    if name == "p95_latency_ms":
        return numbers.milliseconds(value)
    return numbers.usd(value) if name == "cost_per_1k_usd" else numbers.figure(value)


def gate_sentence(gate: Gate) -> str:
    """Say what was asked, what was measured, and how sure that is."""
    rule = "at least" if gate.is_floor else "at most"
    details = []
    if numbers.is_known(gate.figure.low) and numbers.is_known(gate.figure.high):
        details.append(f"95% interval {written(gate.name, gate.figure.low)} to {written(gate.name, gate.figure.high)}")
    if numbers.is_known(gate.chance):
        details.append(f"chance that the goal is met {numbers.chance(gate.chance)}")
    behind = f" ({', '.join(details)})" if details else ""
    goal, got = written(gate.name, gate.goal), written(gate.name, gate.figure.value)
    asked_and_got = f"{gate.title} must be {rule} {goal}, got {got}{behind}"
    return f"{asked_and_got}." if gate.is_judged else f"{asked_and_got}, {UNJUDGED}"


def record(gate: Gate) -> dict[str, Any]:
    """Write a gate for JSON, with its sentence."""
    figure = metrics.as_record(gate.figure, decimals=9)
    chance = round(gate.chance, 4) if numbers.is_known(gate.chance) else None
    return {**asdict(gate), "figure": figure, "chance": chance, "sentence": gate_sentence(gate)}


def decide(
    comparison: Comparison | None, found: Costs, gates: Sequence[Gate], broken: Sequence[str] = ()
) -> tuple[Decision, str]:
    """Decide, with the reason in a sentence or two; `broken` says what of the card's contract is not kept."""
    if comparison is not None and comparison.verdict == "worse" and found.is_teacher_cheaper:
        return "keep-the-teacher", (
            f"The teacher is certainly better ({names.TITLES[comparison.figure]} {numbers.figure(comparison.teacher)} "
            f"against {numbers.figure(comparison.student)}) and cheaper. {costs.balance(found)}"
        )
    missed = [gate for gate in gates if gate.is_missed]
    if missed or broken:
        told = _first([gate_sentence(gate) for gate in missed], "goal", "missed")
        return "refuse", " ".join([*told, *_first(broken, "text", "with another label than they must have")])
    if not gates:
        return "publish", "The card sets no goals, so none was missed."
    unjudged = [gate_sentence(gate) for gate in gates if not gate.is_judged]
    met = [gate for gate in gates if gate.is_met]
    return "publish", " ".join([*_met(met, len(gates)), *unjudged])


def _first(sentences: Sequence[str], noun: str, what: str) -> list[str]:
    """Keep the first sentences, and say how many more there are.

    >>> _first(["Missed."], "goal", "missed"), _first(["Missed."] * 12, "goal", "missed")[-1]
    (['Missed.'], 'And 2 more goals missed.')
    """
    more = len(sentences) - MOST_TOLD
    rest = [f"And {numbers.count(more, f'more {noun}')} {what}."] if more > 0 else []
    return [*sentences[:MOST_TOLD], *rest]


def _met(met: Sequence[Gate], asked_for: int) -> list[str]:
    """Say which goals are met; nothing where none is."""
    if len(met) > MOST_TOLD:
        some = "Every one" if len(met) == asked_for else f"{len(met)}"
        return [f"{some} of the card's {asked_for} goals {'is' if len(met) == asked_for else 'are'} met."]
    opening = "Every goal of the card is met" if len(met) == asked_for else "Met"
    return [f"{opening}: {numbers.listed([gate.title for gate in met])}."] if met else []
