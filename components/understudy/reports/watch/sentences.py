"""Write the watch's verdict and evidence in words."""

from collections.abc import Mapping, Sequence
from typing import Literal

from understudy.stats.drift.attribution import Explained
from understudy.stats.drift.series import BY_NAME
from understudy.store.watch_records import Figure, Night, Quality, Sample, Value
from understudy.text import figures, numbers

Cause = Literal["content", "base rate", "scores"]
MOST_NAMED = 3
TOO_FEW = "too few texts to say"  # where an interval is 0% to 100%
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
    found = amount(name, value.value) if tells(name, value.low, value.high) else TOO_FEW
    return f"{found}; expected {amount(name, value.expected)}; {evidence(value)}"


def tells(name: str, low: float, high: float) -> bool:
    """Whether an interval of a series rules anything out; of a share, 0% to 100% does not."""
    return BY_NAME[name].unit != "share" or not numbers.is_whole(low, high)


def told(name: str, value: float, low: float, high: float) -> str:
    """Write a value of a series with its interval; nothing where that is 0% to 100%."""
    return f"{amount(name, value)} ({interval(name, low, high)})" if tells(name, low, high) else numbers.UNKNOWN


def with_interval(name: str, value: Value) -> str:
    """Write a night's value of a series beside what was expected."""
    return f"{told(name, value.value, value.low, value.high)}, expected {amount(name, value.expected)}"


def strongest(night: Night) -> str:
    """Name the series of a night that speaks most for a change."""
    name = max(night.series, key=lambda one: night.series[one].evidence, default=None)
    return f"{evidence(night.series[name])} ({name})" if name else numbers.UNKNOWN


def share(night: Night) -> str:
    """Write a night's share of the label that is watched, of several that which moved most."""
    value = night.series.get("shares")
    if value is not None and not tells("shares", value.low, value.high):
        return numbers.UNKNOWN
    if value is None or night.positive_label is not None:
        return amount("shares", value.value if value else None)
    return f"{value.label} {amount('shares', value.value)}"


def of_sample(sample: Sample | None) -> str:
    """Say how sure the primary figure is by people's answers, and of when it is."""
    if sample is None:
        return "no answers yet"
    primary = sample["primary"]
    span = numbers.figure_interval(primary["low"], primary["high"]) if numbers.tells(primary) else TOO_FEW
    return f"{span}, sample of {sample['date']}"


def by_people(measured: Quality) -> str:
    """Say in a line what the newest answered sample is worth by people's answers; empty where nobody answered one.

    Args:
        measured: what is known of the model's quality.
    """
    sample = answered(measured)
    if sample is None:
        return ""
    value = numbers.figure_told(sample["primary"]) if numbers.tells(sample["primary"]) else TOO_FEW
    answers = numbers.count(sample["answered"], "answer")
    return f"{figures.headed(measured.figure)} by people {value}, by {answers} to the sample of {sample['date']}"


def answered(measured: Quality) -> Sample | None:
    """Return the newest sample that people answered; None where there is none."""
    return next((one for one in reversed(measured.samples) if one["answered"]), None)


def rate(judged: Figure | Mapping[str, float | None]) -> str:
    """Write a rate of errors or disagreements."""
    if judged["value"] is None:
        return "nobody was asked"
    return numbers.percent_told(judged) if numbers.tells(judged) else TOO_FEW


def difference(between: Figure | None) -> str:
    """Write a difference of two figures."""
    if between is None or between["value"] is None:
        return numbers.UNKNOWN
    return f"{numbers.signed(between['value'])} ({numbers.signed_interval(between['low'], between['high'])})"


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


def refused(rows: int, of: int) -> str:
    """Say that many rows were refused.

    >>> refused(30, 230)
    '13% of the rows were refused, 30 of 230.'
    """
    return f"{numbers.percent(rows / of)} of the rows were refused, {rows:,} of {of:,}."


def reason(verdict: str, cause: Cause | None, evidence: Sequence[str]) -> str:
    """Say in a sentence or two why the verdict is what it is."""
    if verdict == "fine":
        return "No series has changed."
    return " ".join([evidence[0], *([CAUSES[cause]] if cause else []), *evidence[1:]])
