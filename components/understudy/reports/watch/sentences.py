"""Write the watch's verdict and evidence in words."""

from collections.abc import Mapping, Sequence
from typing import Literal

from understudy.stats.drift.attribution import Explained
from understudy.stats.drift.series import BY_NAME
from understudy.store.watch_records import Figure, Night, Sample, Value
from understudy.text import numbers

Cause = Literal["content", "base rate", "scores"]
MOST_NAMED = 3
BADGES = {"fine": "Fine", "look": "Look", "retrain": "Retrain"}
ASKS = {
    "fine": "The model may go on.",
    "look": "A person should look at this.",
    "retrain": "A training run should be started; a trigger lies in the store.",
}
SUBJECTS = {
    "scores": "The mean score",
    "lengths": "The mean length",
    "vocabulary": "The mean surprise of a word",
    "unknown": "The share of tokens that the student's vocabulary does not know",
    "disagreement": "The disagreement with the teacher",
    "errors": "The share of errors that people found",
    "missed": "The share of texts that the first stage lost",
}
CAUSES: dict[Cause, str] = {
    "content": "The texts themselves have changed.",
    "base rate": "Texts of each label stayed as they were: the base rate has changed, not the content.",
    "scores": "A changed base rate alone does not explain the scores, so the texts may have changed too.",
}


def amount(name: str, value: float | None) -> str:
    """Write a value of a series.

    >>> amount("shares", 0.1034), amount("lengths", 14.24), amount("vocabulary", 9.5441), amount("scores", -2.5)
    ('10.3%', '14.2 words', '9.54 bits', '-2.50')
    """
    if value is None or not numbers.is_known(value):
        return numbers.UNKNOWN
    unit = BY_NAME[name].unit
    if unit == "share":
        return f"{value * 100:.{2 if name == 'missed' else 1}f}%"
    return f"{value:.1f} {unit}" if unit == "words" else f"{value:.2f} {unit}".rstrip()


def interval(name: str, low: float | None, high: float | None) -> str:
    """Write an interval of a series."""
    return f"{amount(name, low)} to {amount(name, high)}"


def evidence(value: Value) -> str:
    """Say how near a series is to an alarm."""
    if value.is_standing:
        return "alarm" if value.is_alarm else "alarm stands"
    return "evidence under 0.01" if value.evidence < 0.01 else f"evidence {value.evidence:.2f}"


def state(name: str, value: Value) -> str:
    """Say in a line where a series stands."""
    return f"{amount(name, value.value)}; expected {amount(name, value.expected)}; {evidence(value)}"


def with_interval(name: str, value: Value) -> str:
    """Write a night's value of a series beside what was expected."""
    return (
        f"{amount(name, value.value)} ({interval(name, value.low, value.high)}), expected "
        f"{amount(name, value.expected)}"
    )


def strongest(night: Night) -> str:
    """Name the series of a night that speaks most for a change."""
    name = max(night.series, key=lambda one: night.series[one].evidence, default=None)
    return f"{evidence(night.series[name])} ({name})" if name else numbers.UNKNOWN


def share(night: Night) -> str:
    """Write a night's share of the label that is watched, of several that which moved most."""
    value = night.series.get("shares")
    if value is None or night.positive_label is not None:
        return amount("shares", value.value if value else None)
    return f"{value.label} {amount('shares', value.value)}"


def of_sample(sample: Sample | None) -> str:
    """Say how sure the primary figure is by people's answers, and of when it is."""
    if sample is None:
        return "no answers yet"
    return f"{numbers.figure_interval(sample['primary']['low'], sample['primary']['high'])}, sample of {sample['date']}"


def rate(judged: Figure | Mapping[str, float | None]) -> str:
    """Write a rate of errors or disagreements."""
    if judged["value"] is None:
        return "nobody was asked"
    return f"{numbers.percent(judged['value'])} ({numbers.percent_interval(judged['low'], judged['high'])})"


def difference(between: Figure | None) -> str:
    """Write a difference of two figures."""
    if between is None or between["value"] is None:
        return numbers.UNKNOWN
    low, high = numbers.signed(between["low"]), numbers.signed(between["high"])
    return f"{numbers.signed(between['value'])} ({low} to {high})"


def subject(name: str, value: Value) -> str:
    """Name what a series is about."""
    return SUBJECTS[name] if value.label is None else f"The share of '{value.label}'"


def change(name: str, value: Value) -> str:
    """Say what a standing alarm is about."""
    moved = "rose" if value.expected is None or value.value > value.expected else "fell"
    span, about = interval(name, value.low, value.high), subject(name, value)
    if name == "missed":
        found, promised = amount(name, value.value), amount(name, value.expected)
        return f"{about} is {found} ({span}), and has been above the promised {promised} since {value.since}."
    return (
        f"{about} {moved} from {amount(name, value.expected)} to {amount(name, value.value)} ({span}), "
        f"since {value.since}{_others(value.moved[1:])}."
    )


def _others(moved: Sequence[str]) -> str:
    """Name the labels that moved too.

    >>> _others(["a"]), _others(["a", "b", "c", "d", "e"])
    ("; that of 'a' moved too", "; those of 'a', 'b', 'c' and 2 more moved too")
    """
    if not moved:
        return ""
    names = [f"'{one}'" for one in moved[:MOST_NAMED]]
    more = [f"{len(moved) - MOST_NAMED} more"] if len(moved) > MOST_NAMED else []
    return f"; {'that' if len(moved) == 1 else 'those'} of {numbers.listed([*names, *more])} moved too"


def base_rate(found: Explained, label: str) -> str:
    """Say how far changed shares of the labels explain the scores."""
    return (
        f"By the scores, the true share of '{label}' went from {numbers.percent(found.before)} to "
        f"{numbers.percent(found.after)}; this leaves {numbers.percent(found.left_over)} of the scores unexplained, "
        f"where chance leaves {numbers.percent(found.by_chance)}."
    )


def refused(share: float) -> str:
    """Say that many rows were refused."""
    return f"{numbers.percent(share)} of the rows were refused."


def reason(verdict: str, cause: Cause | None, evidence: Sequence[str]) -> str:
    """Say in a sentence or two why the verdict is what it is."""
    if verdict == "fine":
        return "No series has changed."
    return " ".join([evidence[0], *([CAUSES[cause]] if cause else []), *evidence[1:]])
