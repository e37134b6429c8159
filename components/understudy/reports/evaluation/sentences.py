"""The top of the page: the decision, why, and the figures that people ask for first."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports.markup import element
from understudy.text import numbers

Evaluation = Mapping[str, Any]
BADGES = {"publish": "Publish", "refuse": "Do not publish", "keep-the-teacher": "Keep the teacher"}


def student_of(evaluation: Evaluation) -> Mapping[str, Any]:
    """Return the student among the systems."""
    return next(system for system in evaluation["systems"] if system["name"] == "student")


def teacher_of(evaluation: Evaluation) -> Mapping[str, Any] | None:
    """Return the teacher among the systems; none when it answered no test text."""
    return next((system for system in evaluation["systems"] if system["name"] == "teacher"), None)


def value(system: Mapping[str, Any] | None, name: str) -> float | None:
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


def comparison_words(evaluation: Evaluation) -> str:
    """Say how the student stands to its teacher, with the chance that it is the better one."""
    comparison = evaluation["comparison"]
    if comparison is None:
        return "The teacher's answers to these texts were not given, so the student is not set beside it."
    if comparison["chance"] is None:
        return str(comparison["sentence"])
    return f"{comparison['sentence']} The chance that the student is better is {numbers.chance(comparison['chance'])}."


def banner(evaluation: Evaluation) -> Element | None:
    """Warn that this was a rehearsal."""
    if not evaluation["is_rehearsal"]:
        return None
    words = (
        " A rehearsal teacher stood in for the LLM, so the figures show how a run goes. They say nothing of what a "
        "real teacher, or a student taught by one, would reach."
    )
    return element("p", element("strong", "Rehearsal."), words, class_="rehearsal", role="note")


def head(evaluation: Evaluation) -> Element:
    """Build the top of the page: the decision, why, and on what it rests."""
    decision, test, bundle = evaluation["decision"], evaluation["test"], evaluation["bundle"]
    positive = f"'{evaluation['card']['positive_label']}'"
    texts, groups = numbers.count(test["texts"], "human-labelled text"), numbers.count(test["groups"], "group")
    basis = f"Measured on {texts} from {groups}, {numbers.count(test['positives'])} of them {positive}. Bundle "
    rows = sum(test["refused"].values())
    refused = f" {numbers.count(rows, 'row')} of the file {'was' if rows == 1 else 'were'} refused." if rows else ""
    title = [element("span", BADGES[decision], class_="badge"), element("span", f": {verdict(evaluation)}")]
    return element(
        "header",
        element("p", "Understudy report · ", element("b", evaluation["card"]["name"]), class_="kicker"),
        element("h1", title),
        element("p", comparison_words(evaluation), class_="lede"),
        element("p", evaluation["reason"]) if evaluation["decision"] != "publish" else None,
        element("p", basis, element("code", str(bundle["version"])), f".{refused}", class_="muted"),
        class_=f"head {decision}",
    )


def tiles(evaluation: Evaluation) -> Element:
    """Show the four figures that people ask for first, each beside the teacher's."""
    student, teacher = student_of(evaluation), teacher_of(evaluation)
    own, other = _headline_figures(student), _headline_figures(teacher or {"figures": {}})
    details = [_interval(student, "f1"), _interval(student, "recall"), "one text, one thread", "in batches"]
    sources = ["", "", " (by the card)", ""]
    cards = [
        element(
            "div",
            element("dt", name),
            element("dd", element("b", number), element("small", detail), class_="number"),
            element("dd", f"teacher {other[name]}{source}", class_="beside") if teacher else None,
        )
        for (name, number), detail, source in zip(own.items(), details, sources, strict=True)
    ]
    return element("dl", cards, class_="tiles")


def _headline_figures(system: Mapping[str, Any]) -> dict[str, str]:
    return {
        "F1": numbers.figure(value(system, "f1")),
        "Recall": numbers.figure(value(system, "recall")),
        "P95 latency": numbers.milliseconds(system.get("p95_latency_ms")),
        "Cost of 1,000": numbers.usd(system.get("cost_per_1k_usd")),
    }


def _interval(system: Mapping[str, Any], name: str) -> str:
    found = system["figures"].get(name)
    return numbers.figure_interval(found["low"], found["high"]) if found else "undefined"
