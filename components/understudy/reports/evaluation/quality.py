"""How good the student is: beside its teacher, against the card's goals, by probability, slice and threshold."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports import charts
from understudy.reports.evaluation.sentences import Evaluation, teacher_of, value
from understudy.reports.layout import bar, figure, notes, scroll, section, table
from understudy.reports.markup import Child, element
from understudy.text import numbers


def beside_the_teacher(evaluation: Evaluation) -> Element:
    """Set the student beside its teacher, the card's rules and the commonest label."""
    header = ["", "F1 (95% interval)", "Precision", "Recall", "Macro F1", "ECE", "Brier", "P95 latency", "$ per 1,000"]
    rows = [_system_row(system) for system in evaluation["systems"]]
    listed = table("Figures of the student and of its rivals", header, rows, kind="cards wide", marked=[0])
    title = "Beside its teacher" if teacher_of(evaluation) else "Beside simple answers"
    return section(title, "beside", _untaught(evaluation), scroll(listed), notes(undefined_notes(evaluation)))


def _untaught(evaluation: Evaluation) -> Element | None:
    missing = evaluation["test"]["texts"] - evaluation["test"]["taught"]
    if not missing or not teacher_of(evaluation):
        return None
    return element("p", f"The teacher did not answer {numbers.count(missing, 'text')}; it is compared on the others.")


def _system_row(system: Mapping[str, Any]) -> list[Child]:
    found = system["figures"]
    return [
        [system["title"], element("small", numbers.count(system["texts"], "text"))],
        bar(found.get("f1"), system["name"]),
        *(numbers.figure(value(system, name)) for name in ("precision", "recall", "macro_f1")),
        *(numbers.figure(value(system, name), decimals=3) for name in ("ece", "brier")),
        numbers.milliseconds(system.get("p95_latency_ms")),
        numbers.usd(system.get("cost_per_1k_usd")),
    ]


def undefined_notes(evaluation: Evaluation) -> list[str]:
    """Say which figures are undefined, of which systems, and why."""
    titles = {"f1": "F1", "macro_f1": "macro F1", "ece": "ECE", "brier": "Brier score"}
    systems: dict[tuple[str, str], list[str]] = {}
    for system in evaluation["systems"]:
        for name, reason in system["undefined"].items():
            systems.setdefault((titles.get(name, name), reason), []).append(system["title"])
    figures_of: dict[tuple[str, str], list[str]] = {}
    for (name, reason), who in systems.items():
        figures_of.setdefault((numbers.listed(who), reason), []).append(name)
    return [f"n/a: {numbers.listed(names)} of {who}, since {reason}." for (who, reason), names in figures_of.items()]


def goals(evaluation: Evaluation) -> Element:
    """Hold the student against the card's goals."""
    rule = "the whole 95% interval must meet it" if evaluation["is_strict"] else "the measured figure must meet it"
    if not evaluation["gates"]:
        return section("Goals", "goals", element("p", "The card sets no goals, so nothing was asked of the student."))
    rows = [
        element(
            "li",
            element("span", "met" if gate["is_met"] else "missed", class_="mark"),
            element("span", gate["sentence"]),
            class_="met" if gate["is_met"] else "missed",
        )
        for gate in evaluation["gates"]
    ]
    return section(
        "Goals",
        "goals",
        element("ul", rows, class_="goals"),
        element("p", f"A goal is met or missed: {rule}.", class_="muted"),
    )


def curves(evaluation: Evaluation) -> Element:
    """Draw how far the probabilities can be trusted, and what other thresholds would give."""
    points = [
        {**system, "precision": value(system, "precision"), "recall": value(system, "recall")}
        for system in evaluation["systems"]
        if system["name"] != "student_taught"
    ]
    known = [point for point in points if point["precision"] is not None and point["recall"] is not None]
    drawn = element("div", _reliability(evaluation), _precision_recall(evaluation, known), class_="figures")
    return section("Probabilities and thresholds", "curves", drawn)


def _reliability(evaluation: Evaluation) -> Element:
    words = (
        "On the diagonal, a text called 30% likely is positive 3 times in 10. Bars on the dots are 95% intervals; "
        "larger dots hold more texts."
    )
    return element(
        "figure",
        element("h3", "Can its probabilities be trusted?"),
        charts.reliability(evaluation["reliability"]),
        element("figcaption", words),
        bins(evaluation["reliability"]),
    )


def _precision_recall(evaluation: Evaluation, points: Sequence[Mapping[str, Any]]) -> Element:
    words = f"The student's mark is its threshold, {evaluation['bundle']['threshold']:.3f}."
    return element(
        "figure",
        element("h3", "What else could it find?"),
        charts.precision_recall(evaluation["curve"], points),
        element("figcaption", legend(points), element("p", words)),
    )


def legend(points: Sequence[Mapping[str, Any]]) -> Element:
    """Name the marks of the precision-recall curve."""
    items = [
        element("li", element("span", class_=f"key {point['name']}", aria_hidden="true"), point["title"])
        for point in points
    ]
    return element("ul", items, class_="legend")


def bins(found: Sequence[Mapping[str, Any]]) -> Element:
    """Give the reliability diagram's numbers to those who cannot see it."""
    rows: list[list[Child]] = [
        [
            f"{part['low']:.1f} to {part['high']:.1f}",
            numbers.count(part["texts"]),
            numbers.percent(part["probability"]),
            [
                numbers.percent(part["frequency"]["value"]),
                " ",
                element("small", numbers.percent_interval(part["frequency"]["low"], part["frequency"]["high"])),
            ],
        ]
        for part in found
    ]
    header = ["Probability", "Texts", "Mean", "Positive"]
    return element(
        "details", element("summary", "The numbers"), table("Reliability by bin", header, rows, kind="dense")
    )


def slices(evaluation: Evaluation) -> Element:
    """Show where the student is strong and weak, beside its teacher."""
    if not evaluation["slices"]:
        return section("Slices", "slices", element("p", "The card names no slices."))
    who = [name for name in ("student", "teacher") if name in evaluation["slices"][0]]
    header = [
        "Slice",
        *(f"{name.capitalize()}'s F1" for name in who),
        *(f"{name.capitalize()}'s recall" for name in who),
    ]
    rows: list[list[Child]] = [
        [
            [element("bdi", part["name"]), element("small", _slice_size(part))],
            *(bar(part[name]["f1"], name) for name in who),
            *(figure(part[name]["recall"]) for name in who),
        ]
        for part in evaluation["slices"]
    ]
    few = [part["name"] for part in evaluation["slices"] if part["is_too_few"]]
    warning = f"Too few positive texts to rely on: {numbers.listed(few)}." if few else None
    return section(
        "Slices",
        "slices",
        scroll(table("F1 and recall by slice", header, rows, kind="cards")),
        notes([warning] if warning else []),
    )


def _slice_size(part: Mapping[str, Any]) -> str:
    few = ", too few" if part["is_too_few"] else ""
    return f"{numbers.count(part['texts'], 'text')}, {part['positives']:,} positive{few}"


def thresholds(evaluation: Evaluation) -> Element:
    """List what other thresholds would find and flag."""
    found = evaluation["thresholds"]
    rows: list[list[Child]] = [
        [
            _threshold(row),
            numbers.figure(row["precision"]),
            numbers.figure(row["recall"]),
            numbers.figure(row["f1"]),
            numbers.percent(row["flagged_share"]),
        ]
        for row in found
    ]
    words = (
        "The threshold was chosen on the calibration split. This table is for reading: to choose by it would be to fit "
        "the test."
    )
    marked = [place for place, row in enumerate(found) if row["is_chosen"]]
    header = ["Threshold", "Precision", "Recall", "F1", "Flagged"]
    listed = table("Figures by threshold", header, rows, kind="dense", marked=marked)
    return section("Thresholds", "thresholds", element("p", words), listed)


def _threshold(row: Mapping[str, Any]) -> Child:
    if row["is_chosen"]:
        return [f"{row['threshold']:.3f}", element("span", "chosen", class_="tag")]
    return f"{row['threshold']:.2f}"
