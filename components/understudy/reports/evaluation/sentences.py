"""Write the evaluation in words: the decision, its reasons, and what could not be measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.text import numbers

Evaluation = Mapping[str, Any]
System = Mapping[str, Any]
BADGES = {"publish": "Publish", "refuse": "Do not publish", "keep-the-teacher": "Keep the teacher"}
REHEARSAL = (
    "A rehearsal teacher stood in for the LLM, so the figures show how a run goes. They say nothing of what a real "
    "teacher, or a student taught by one, would reach."
)
TITLES = {"f1": "F1", "macro_f1": "macro F1", "ece": "ECE", "brier": "Brier score"}


def student_of(evaluation: Evaluation) -> System:
    """Return the student among the systems."""
    return next(system for system in evaluation["systems"] if system["name"] == "student")


def teacher_of(evaluation: Evaluation) -> System | None:
    """Return the teacher among the systems; none when it answered no test text."""
    return next((system for system in evaluation["systems"] if system["name"] == "teacher"), None)


def value(system: System | None, name: str) -> float | None:
    """Return a system's figure; none when it is undefined."""
    return system["figures"].get(name, {}).get("value") if system else None


def verdict(evaluation: Evaluation) -> str:
    """Say the decision in one line."""
    goals = evaluation["gates"]
    missed = sum(not gate["is_met"] for gate in goals)
    month = numbers.count(evaluation["card"]["texts_per_month"], evaluation["card"]["unit"])
    return {
        "publish": "the student meets every goal of the card" if goals else "the card sets no goals",
        "refuse": f"the student misses {missed} of the card's {numbers.count(len(goals), 'goal')}",
        "keep-the-teacher": f"it is certainly better, and cheaper at {month} a month",
    }[evaluation["decision"]]


def comparison(evaluation: Evaluation) -> str:
    """Say how the student stands to its teacher, with the chance that it is the better one."""
    compared = evaluation["comparison"]
    if compared is None:
        return "The teacher's answers to these texts were not given, so the student is not set beside it."
    if compared["chance"] is None:
        return str(compared["sentence"])
    return f"{compared['sentence']} The chance that the student is better is {numbers.chance(compared['chance'])}."


def basis(evaluation: Evaluation) -> str:
    """Say on how many texts the decision rests."""
    test, positive = evaluation["test"], evaluation["card"]["positive_label"]
    texts, groups = numbers.count(test["texts"], "human-labelled text"), numbers.count(test["groups"], "group")
    return f"Measured on {texts} from {groups}, {numbers.count(test['positives'])} of them '{positive}'."


def refused(test: Mapping[str, Any]) -> str:
    """Say how many rows of the test file were refused; nothing when none was."""
    rows = sum(test["refused"].values())
    return f" {numbers.count(rows, 'row')} of the file {'was' if rows == 1 else 'were'} refused." if rows else ""


def undefined(systems: Sequence[System]) -> list[str]:
    """Say which figures are undefined, of which systems, and why."""
    titles: dict[tuple[str, str], list[str]] = {}
    for system in systems:
        for name, reason in system["undefined"].items():
            titles.setdefault((TITLES.get(name, name), reason), []).append(system["title"])
    figures: dict[tuple[str, str], list[str]] = {}
    for (name, reason), who in titles.items():
        figures.setdefault((numbers.listed(who), reason), []).append(name)
    return [f"n/a: {numbers.listed(names)} of {who}, since {reason}." for (who, reason), names in figures.items()]


def speed(measured: Mapping[str, Any]) -> str:
    """Say where and how speed was measured."""
    interval = measured["p95_latency_ms"]
    return (
        f"Latency: {numbers.count(measured['latency_texts'], 'test text')} one at a time on one thread; P95 with its "
        f"95% interval {numbers.milliseconds(interval['low'])} to {numbers.milliseconds(interval['high'])}. "
        f"Throughput: {measured['texts_per_second']:,.0f} texts a second in batches on "
        f"{numbers.count(measured['cores'], 'core')}. The teacher's {measured['teacher_seconds_per_text']:g} seconds a "
        "text come from the card."
    )
