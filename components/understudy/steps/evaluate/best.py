"""Name the best of the student, its teacher and what costs nothing, by the figure that decides."""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.stats.metrics import Interval
from understudy.steps.evaluate.rules import Verdict, verdict_of
from understudy.task import baselines
from understudy.text import figures, numbers

WORDS, PREVIOUS = "words", "previous"  # rivals that cost something to make, and next to nothing to run
NAMED = {
    "student": "the student",
    "teacher": "the teacher",
    WORDS: "TF-IDF with logistic regression on the same labels",
    PREVIOUS: "the bundle that serves",
    **baselines.NAMED,
}
BESIDE = {
    "better": "certainly better than the student",
    "not told apart": "not told apart from the student",
    "worse": "on the texts that both answered worse than the student",  # the teacher, where it answered some only
}


def record(systems: Sequence[Mapping[str, Any]], ahead: Mapping[str, Interval], positive: str | None) -> dict[str, Any]:
    """Find the system with the highest primary figure, and say how surely it is ahead of the student.

    Args:
        systems: records of evaluation.json, the student first; of equal ones the first is named.
        ahead: by name, the primary figure of another system minus the student's on the texts that both answered.
        positive: the label that is looked for.

    Returns:
        name, figure, value, verdict (of it against the student; none for the student itself), words (what to put in a
        line, such as "best the card's weak rules with F1 1.00, certainly better than the student").
    """
    figure = figures.primary(positive)
    known = {system["name"]: system["figures"].get(figure, {}).get("value") for system in systems}
    rated = {name: value for name, value in known.items() if name in NAMED and value is not None}
    name = max(rated, key=lambda other: rated[other]) if rated else "student"
    is_beside = name in ahead and "student" in rated  # its figure is undefined where nothing is or is called positive
    verdict: Verdict | None = verdict_of(ahead[name]) if is_beside else None
    words = f"best {NAMED[name]} with {figures.title(figure)} {numbers.figure(rated.get(name))}"
    return {
        "name": name,
        "figure": figure,
        "value": rated.get(name),
        "verdict": verdict,
        "words": words if verdict is None else f"{words}, {BESIDE[verdict]}",
        "sentence": _sentence(name, figure, rated, ahead, verdict),
    }


def but(found: Mapping[str, Any]) -> str:
    """Say beside a reason to publish that something that costs next to nothing is certainly better; else nothing.

    Args:
        found: what `record` returns.
    """
    if found["verdict"] != "better" or found["name"] == "teacher":
        return ""
    verb = "are" if baselines.is_plural(found["name"]) else "is"
    title, value = figures.title(found["figure"]), numbers.figure(found["value"])
    return f" But {NAMED[found['name']]} {verb} certainly better ({title} {value}){_cost(found['name'])}."


def _cost(name: str) -> str:
    return ", and cost nothing" if name in baselines.NAMED else ""


def _sentence(
    name: str, figure: str, rated: Mapping[str, float], ahead: Mapping[str, Interval], verdict: Verdict | None
) -> str:
    """Say which is best, with the arithmetic, and what that means where it costs nothing."""
    title = figures.headed(figure)
    if verdict is None:
        others = [f"{NAMED[other]} {numbers.figure(value)}" for other, value in rated.items() if other != name]
        beside = f" ({numbers.listed(others)})" if others else ""
        return f"{title} is highest of {NAMED[name]}, {numbers.figure(rated.get(name))}{beside}."
    difference = ahead[name]
    span = numbers.signed_interval(difference.low, difference.high)
    is_free = verdict == "better" and name in baselines.NAMED
    free = " That costs nothing: use it in the student's place." if is_free else ""
    return (
        f"{title} is highest of {NAMED[name]}: {numbers.figure(rated[name])} against {numbers.figure(rated['student'])}"
        f" of the student, difference {numbers.signed(difference.value)}, 95% interval {span}, {BESIDE[verdict]}.{free}"
    )
