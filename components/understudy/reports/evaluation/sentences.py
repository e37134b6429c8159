"""Write the evaluation in words: the decision, its reasons, and what could not be measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.task import label_sets
from understudy.text import figures, numbers

Evaluation = Mapping[str, Any]
System = Mapping[str, Any]
NAMED = 10  # labels that a sentence lists
BADGES = {"publish": "Publish", "refuse": "Do not publish", "keep-the-teacher": "Keep the teacher"}
REHEARSAL = (
    "A rehearsal teacher stood in for the LLM, so the figures show how a run goes. They say nothing of what a real "
    "teacher, or a student taught by one, would reach."
)


def student_of(evaluation: Evaluation) -> System:
    """Return the student among the systems."""
    return next(system for system in evaluation["systems"] if system["name"] == "student")


def teacher_of(evaluation: Evaluation) -> System | None:
    """Return the teacher among the systems; none when it answered no test text."""
    return next((system for system in evaluation["systems"] if system["name"] == "teacher"), None)


def value(system: System | None, name: str) -> float | None:
    """Return a system's figure; none when it is undefined."""
    return system["figures"].get(name, {}).get("value") if system else None


def shown(system: System, name: str) -> str:
    """Write a system's figure for a table; a calibration error beside what chance alone makes of it."""
    decimals = 3 if name in {"ece", "brier"} else 2
    floor = system["figures"].get(name, {}).get("floor")
    noise = "" if floor is None else f" (noise {numbers.figure(floor, decimals)})"
    return numbers.figure(value(system, name), decimals) + noise


def calibrated(system: System) -> str:
    """Say how far a system's probabilities are off, and how far chance alone puts them."""
    error = system["figures"]["ece"]
    off, noise = (numbers.figure(error[part], decimals=3) for part in ("value", "floor"))
    return f"calibration error {off}, where chance alone gives {noise}"


def verdict(evaluation: Evaluation) -> str:
    """Say the decision in one line."""
    goals = evaluation["gates"]
    missed = sum(gate["is_judged"] and not gate["is_met"] for gate in goals)
    unjudged = sum(not gate["is_judged"] for gate in goals)
    broken = sum(not held["is_kept"] for held in evaluation["must"])
    misses = [f"misses {missed} of the card's {numbers.count(len(goals), 'goal')}"] if missed or not broken else []
    breaks = (
        [f"breaks {broken} of the card's {numbers.count(len(evaluation['must']), 'text')} of must"] if broken else []
    )
    month = numbers.count(evaluation["card"]["texts_per_month"], evaluation["card"]["unit"])
    return {
        "publish": _met(len(goals), unjudged),
        "refuse": f"the student {numbers.listed([*misses, *breaks])}",
        "keep-the-teacher": f"it is certainly better, and cheaper at {month} a month",
    }[evaluation["decision"]]


def _met(goals: int, unjudged: int) -> str:
    if unjudged:
        return f"{unjudged} of the card's {numbers.count(goals, 'goal')} could not be judged on this busy machine"
    return "the student meets every goal of the card" if goals else "the card sets no goals"


def comparison(evaluation: Evaluation) -> str:
    """Say how the student stands to its teacher, with the chance that it is the better one."""
    compared = evaluation["comparison"]
    if compared is None:
        return "The teacher's answers to these texts were not given, so the student is not set beside it."
    if compared["chance"] is None:
        return str(compared["sentence"])
    return f"{compared['sentence']} The chance that the student is better is {numbers.chance(compared['chance'])}."


def looked_for(evaluation: Evaluation) -> str | None:
    """Return the label that is looked for; none where all matter alike."""
    positive: str | None = evaluation["card"]["positive_label"]
    return positive


def is_many(evaluation: Evaluation) -> bool:
    """Whether a text may have several labels, or none."""
    return bool(evaluation["card"].get("labels_per_text") == "many")


def said(evaluation: Evaluation, label: str) -> str:
    """Write what a text is labelled for a reader."""
    return label_sets.words(label) if is_many(evaluation) else label


def primary(evaluation: Evaluation) -> str:
    """Name the figure that decides."""
    return figures.primary(looked_for(evaluation))


def columns(evaluation: Evaluation) -> dict[str, str]:
    """Name the figures that are shown of every system, the one that decides first, with their titles."""
    several = is_many(evaluation)
    shown = figures.shown(looked_for(evaluation), is_many=several)
    return {name: figures.headed(name, is_many=several) for name in shown}


def of_parts(evaluation: Evaluation) -> tuple[str, str]:
    """Name the two figures that are shown of a slice."""
    if looked_for(evaluation) is not None:
        return "f1", "recall"
    first, second = figures.of_parts(None, is_many=is_many(evaluation))
    return first, second


def basis(evaluation: Evaluation) -> str:
    """Say on how many texts the decision rests."""
    test, positive = evaluation["test"], looked_for(evaluation)
    texts, groups = numbers.count(test["texts"], "human-labelled text"), numbers.count(test["groups"], "group")
    of_labels = (
        f"of {numbers.count(len(evaluation['card']['labels']), 'label')}"
        if positive is None
        else f"{numbers.count(test['positives'])} of them '{positive}'"
    )
    several = ", of which a text may have several or none" if is_many(evaluation) else ""
    return f"Measured on {texts} from {groups}, {of_labels}{several}.{_older_labels(test)}"


def _older_labels(test: Mapping[str, Any]) -> str:
    """Say how many labels are not by the card's guideline; nothing where all are."""
    older = test.get("by_other_guidelines", 0)
    were = "was" if older == 1 else "were"
    return f" {numbers.count(older)} of these labels {were} not given by the card's guideline." if older else ""


def decides(bundle: Mapping[str, Any], positive: str | None) -> str:
    """Say which label a text gets, or which ones."""
    if several := bundle.get("thresholds"):
        lowest, highest = (f"{end(several.values()):.3f}" for end in (min, max))
        span = lowest if lowest == highest else f"{lowest} to {highest}"
        return f"each label whose probability reaches the label's own threshold ({span})"
    if bundle["threshold"] is None:
        return "the label that costs least to be wrong with" if bundle["is_by_cost"] else "the likeliest label"
    other = "the one of the others that costs least to be wrong with" if bundle["is_by_cost"] else "the likeliest other"
    return f"'{positive}' from a probability of {bundle['threshold']:.3f} upwards, else {other}"


def weakest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Order labels by the student's F1, the lowest first; those without a text, of which nothing is known, are out."""
    known = [row for row in rows if row["texts"] and row["student"]["f1"]["value"] is not None]
    return sorted(known, key=lambda row: (row["student"]["f1"]["value"], -row["texts"]))


def unseen(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say of which labels nothing is known; nothing where every label has a text."""
    names = [f"'{row['name']}'" for row in rows if not row["texts"]]
    if not names:
        return ""
    return f"No test text has the label {some(names)}, so nothing is known of how well such texts are found."


def few(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say of which labels little is known; nothing where none has too few texts."""
    names = [f"'{row['name']}'" for row in rows if row["texts"] and row["is_too_few"]]
    return f"Too few texts to rely on: {some(names)}." if names else ""


def some(names: Sequence[str]) -> str:
    """List names, and how many more there are of a long list.

    >>> some(["a", "b"]), some([str(number) for number in range(12)])
    ('a and b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    more = len(names) - NAMED
    return numbers.listed(names) if more <= 0 else f"{', '.join(names[:NAMED])} and {more:,} more"


def mistakes(evaluation: Evaluation) -> str:
    """Say how many texts got a wrong label, and in how many ways; of several labels how many were wrong."""
    texts = evaluation["test"]["texts"]
    if is_many(evaluation):
        found = evaluation["mistakes"]
        if not found["wrong"]:
            return f"All {numbers.count(texts, 'text')} got exactly the right labels."
        share, missed = numbers.percent(found["wrong"] / texts), numbers.count(found["missed"], "label")
        return (
            f"{numbers.count(found['wrong'])} of {numbers.count(texts, 'text')} ({share}) did not get exactly the "
            f"right labels: {missed} missed, {numbers.count(found['false_alarms'])} given wrongly."
        )
    found = evaluation["confusion"]
    if not found["wrong"]:
        return f"All {numbers.count(texts, 'text')} got the right label."
    order = "; the commonest come first" if found["kinds"] > 1 else ""
    ways = f"in {numbers.count(found['kinds'], 'pair')} of labels{order}"
    share = numbers.percent(found["wrong"] / texts)
    return f"{numbers.count(found['wrong'])} of {numbers.count(texts, 'text')} ({share}) got a wrong label, {ways}."


def refused(test: Mapping[str, Any]) -> str:
    """Say how many rows of the test file were refused; nothing when none was."""
    rows = sum(test["refused"].values())
    return f" {numbers.count(rows, 'row')} of the file {'was' if rows == 1 else 'were'} refused." if rows else ""


def undefined(systems: Sequence[System]) -> list[str]:
    """Say which figures are undefined, of which systems, and why."""
    titles: dict[tuple[str, str], list[str]] = {}
    for system in systems:
        for name, reason in system["undefined"].items():
            titles.setdefault((figures.TITLES.get(name, name), reason), []).append(system["title"])
    missing: dict[tuple[str, str], list[str]] = {}
    for (name, reason), who in titles.items():
        missing.setdefault((numbers.listed(who), reason), []).append(name)
    return [f"n/a: {numbers.listed(names)} of {who}, since {reason}." for (who, reason), names in missing.items()]


def speed(measured: Mapping[str, Any]) -> str:
    """Say where and how speed was measured."""
    interval = measured["p95_latency_ms"]
    return (
        f"Latency: {numbers.count(measured['latency_texts'], 'test text')} one at a time on one thread, each in the "
        f"fastest of {measured['rounds']} rounds; P95 with its 95% interval {numbers.milliseconds(interval['low'])} to "
        f"{numbers.milliseconds(interval['high'])}. Load: other work had the processor for "
        f"{numbers.percent(measured['waiting'])} of the time, and counting every round P95 is "
        f"{numbers.milliseconds(measured['p95_latency_ms_under_load'])}. "
        f"Throughput: {measured['texts_per_second']:,.0f} texts a second in batches on "
        f"{numbers.count(measured['cores'], 'core')}. {teacher_speed(measured['teacher'])}"
    )


def teacher_speed(teacher: Mapping[str, Any]) -> str:
    """Say how the teacher's latency was measured, if it was."""
    if teacher["p95_ms"] is None:
        return "How long the teacher's answers took is not known."
    who = "a rehearsal teacher, not the LLM," if teacher["is_rehearsal"] else "the teacher"
    return (
        f"The latency of {who} is that of {numbers.count(teacher['answers'], 'answer')}, from sending to answer, while "
        "several were asked for at once."
    )
