"""Judge the card's goals as gates, and decide.

The rule. "keep-the-teacher" when the teacher's F1 is certainly higher (the whole 95% interval of the student's minus
the teacher's lies below 0) and the teacher is cheaper at the card's texts a month. Else "refuse" when a goal is missed.
Else "publish".
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from understudy.stats import metrics
from understudy.stats.metrics import Floats, Interval
from understudy.steps.evaluate import costs
from understudy.steps.evaluate.costs import Costs
from understudy.steps.evaluate.rules import Comparison
from understudy.text import numbers

Decision = Literal["publish", "refuse", "keep-the-teacher"]
TITLES = {
    "f1": "F1",
    "recall": "Recall",
    "p95_latency_ms": "P95 latency",
    "cost_per_1k_usd": "Cost of 1,000 texts",
}


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
    """

    name: str
    goal: float
    is_floor: bool
    figure: Interval
    chance: float
    is_met: bool


def floor(name: str, goal: float, figure: Interval, draws: Floats, *, strict: bool) -> Gate:
    """Make a gate that asks for at least the goal; an undefined figure does not meet it."""
    tested = figure.low if strict else figure.value
    return Gate(name, goal, True, figure, metrics.chance_above(draws, goal), bool(tested >= goal))


def ceiling(name: str, goal: float, figure: Interval, draws: Floats, *, strict: bool) -> Gate:
    """Make a gate that asks for at most the goal; without an interval the point estimate is compared."""
    tested = figure.high if strict and numbers.is_known(figure.high) else figure.value
    return Gate(name, goal, False, figure, 1 - metrics.chance_above(draws, goal), bool(tested <= goal))


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
    return f"{TITLES[gate.name]} must be {rule} {goal}, got {got}{behind}."


def record(gate: Gate) -> dict[str, Any]:
    """Write a gate for JSON, with its sentence."""
    figure = metrics.as_record(gate.figure, decimals=9)
    chance = round(gate.chance, 4) if numbers.is_known(gate.chance) else None
    words = {"title": TITLES[gate.name], "sentence": gate_sentence(gate)}
    return {**asdict(gate), "figure": figure, "chance": chance, **words}


def decide(comparison: Comparison | None, found: Costs, gates: Sequence[Gate]) -> tuple[Decision, str]:
    """Decide, with the reason in a sentence or two."""
    if comparison is not None and comparison.verdict == "worse" and found.is_teacher_cheaper:
        return "keep-the-teacher", (
            f"The teacher is certainly better (F1 {numbers.figure(comparison.teacher_f1)} against "
            f"{numbers.figure(comparison.student_f1)}) and cheaper. {costs.balance(found)}"
        )
    missed = [gate for gate in gates if not gate.is_met]
    if missed:
        return "refuse", " ".join(gate_sentence(gate) for gate in missed)
    if not gates:
        return "publish", "The card sets no goals, so none was missed."
    return "publish", f"Every goal of the card is met: {numbers.listed([TITLES[gate.name] for gate in gates])}."
