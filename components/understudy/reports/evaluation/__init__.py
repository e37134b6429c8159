"""Render the evaluation: one self-contained HTML page, and a few lines for a terminal.

Everything shown comes from the content of evaluation.json, so the same evaluation gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.reports import charts, heat_map, pages
from understudy.reports.evaluation import sentences
from understudy.text import figures, numbers

Evaluation = Mapping[str, Any]
MOST_SHOWN = 20  # labels or goals at a glance; the others are folded away


@pages.from_record
def page(evaluation: Evaluation) -> str:
    """Build the report: one HTML page that needs no other file, no network and no script.

    Args:
        evaluation: the content of evaluation.json.

    Raises:
        BadArtifact: it lacks something that the page shows.
    """
    return pages.render(
        "evaluation.html.j2",
        folder="evaluation",
        sections=_sections(evaluation),
        evaluation=evaluation,
        tiles=_tiles(evaluation),
        points=_operating_points(evaluation["systems"]),
        charts=charts,
        heat_map=heat_map,
        words=sentences,
        figures=figures,
        mistakes=sentences.mistakes(evaluation),
        most_shown=MOST_SHOWN,
    )


def _sections(evaluation: Evaluation) -> dict[str, str]:
    """Name the parts of the page in their order, each by its template, with its title."""
    has_thresholds = sentences.looked_for(evaluation) is not None
    return {
        "beside": "Beside its teacher" if sentences.teacher_of(evaluation) else "Beside simple answers",
        "goals": "Goals",
        "labels": "Label by label",
        "curves": "Probabilities and thresholds" if has_thresholds else "Probabilities and confidence",
        "slices": "Slices",
        "audit": "Where it errs more often",
        "cost": "Cost and latency",
        **({"thresholds": "Thresholds"} if has_thresholds else {"coverage": "What to leave to people"}),
        "errors": "Errors to read",
        "task": "The task",
        "method": "How this was measured",
    }


def _tiles(evaluation: Evaluation) -> list[dict[str, str]]:
    """Choose the four figures that people ask for first, each beside the teacher's."""
    student, teacher = sentences.student_of(evaluation), sentences.teacher_of(evaluation)
    names = _first_two(evaluation)
    details = [*(_interval(student, name) for name in names), "one text, one thread", "in batches"]
    sources = ["", "", " (by the card)", ""]
    titles = {name: figures.headed(name, is_many=sentences.is_many(evaluation)) for name in names}
    others = _headline_figures(teacher, titles) if teacher else {}
    return [
        {
            "name": name,
            "number": number,
            "detail": detail,
            "beside": f"teacher {others[name]}{source}" if teacher else "",
        }
        for (name, number), detail, source in zip(
            _headline_figures(student, titles).items(), details, sources, strict=True
        )
    ]


def _first_two(evaluation: Evaluation) -> tuple[str, str]:
    """Name the figure that decides, and what people ask for next."""
    has_positive = sentences.looked_for(evaluation) is not None
    return sentences.primary(evaluation), "recall" if has_positive else "accuracy"


def _headline_figures(system: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, str]:
    return {
        **{title: _figure(system["figures"].get(name)) for name, title in titles.items()},
        "P95 latency": numbers.milliseconds(system.get("p95_latency_ms")),
        "Cost of 1,000": numbers.usd(system.get("cost_per_1k_usd")),
    }


def _figure(found: Mapping[str, Any] | None) -> str:
    """Write a figure; nothing where its interval is 0 to 1."""
    return numbers.figure(found["value"] if found and numbers.tells(found) else None)


def _interval(system: Mapping[str, Any], name: str) -> str:
    interval = system["figures"].get(name)
    if interval and interval["value"] is not None and not numbers.tells(interval):
        return "too few texts to say"
    return numbers.figure_interval(interval["low"], interval["high"]) if interval else "undefined"


def _operating_points(systems: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Take precision and recall of each system that has both."""
    points = [
        {**system, **{name: sentences.value(system, name) for name in ("precision", "recall")}}
        for system in systems
        if system["name"] != "student_taught"
    ]
    return [point for point in points if point["precision"] is not None and point["recall"] is not None]


def headline(evaluation: Evaluation) -> str:
    """Say what the student is worth in a line, and which of it, its teacher and what costs nothing is best."""
    student, teacher = sentences.student_of(evaluation), sentences.teacher_of(evaluation)
    name, figure = sentences.primary(evaluation), evaluation["primary"]
    beside = f", teacher {numbers.figure(sentences.value(teacher, name))}" if teacher else ""
    is_judged = {gate["name"]: gate["is_judged"] for gate in evaluation["gates"]}
    latency, price = (
        "" if is_judged.get(goal, True) else " (the machine is too busy to judge its goal)"
        for goal in ("p95_latency_ms", "cost_per_1k_usd")
    )
    return (
        f"{figures.headed(name)} {numbers.figure(figure['value'])} "
        f"({numbers.figure_interval(figure['low'], figure['high'])}){beside} on "
        f"{numbers.count(evaluation['test']['texts'], 'human-labelled text')}; {evaluation['best']['words']}; "
        f"{sentences.calibrated(student)}; P95 {numbers.milliseconds(student['p95_latency_ms'])}{latency}, "
        f"{numbers.usd(student['cost_per_1k_usd'])} per 1,000{price}"
    )


def summary_lines(evaluation: Evaluation) -> list[str]:
    """Write the headline table and the verdict for a terminal, a line each."""
    several = sentences.is_many(evaluation)
    names = figures.in_a_line(sentences.looked_for(evaluation), is_many=several)
    first, *others = (figures.title(name, is_many=several) for name in names)
    header = ["", f"{first} (95% interval)", *others, "P95 latency", "$ per 1,000"]
    rows = [header, *(_summary_row(system, names) for system in evaluation["systems"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    stamp = ["Rehearsal: a rehearsal teacher stood in for the LLM."] if evaluation["is_rehearsal"] else []
    decided = f"{sentences.BADGES[evaluation['decision']]}: {evaluation['reason']}"
    told = [sentences.comparison(evaluation), evaluation["best"]["sentence"], *evaluation["missing"]]
    return [*lines, "", *told, decided, *stamp]


def _summary_row(system: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    decisive = system["figures"].get(names[0])
    interval = f" ({numbers.figure_interval(decisive['low'], decisive['high'])})" if decisive else ""
    shares = [sentences.shown(system, name) for name in names]
    return [
        system["title"],
        shares[0] + interval,
        *shares[1:],
        numbers.milliseconds(system.get("p95_latency_ms")),
        numbers.usd(system.get("cost_per_1k_usd")),
    ]
