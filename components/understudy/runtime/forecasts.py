"""Say what steps will take before any of it is spent: texts, tokens, dollars, minutes, and people's hours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.text.numbers import count, usd

MARGIN = "at four characters a token; a bill may be a quarter higher"  # as bought answers were


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a step will take.

    Attributes:
        step: name of the step.
        words: what it works through, a few words.
        tokens: that are sent to the teacher and come back.
        usd: what these cost.
        seconds: that it takes; None where nothing tells.
        people_s: seconds that people have to work at most for what it makes.
        notes: what else should be known before it is paid for, a sentence each.
        role: of the card's models, whose budget pays; empty for the teacher.
    """

    step: str
    words: str
    tokens: int = 0
    usd: float = 0.0
    seconds: float | None = None
    people_s: float = 0.0
    notes: tuple[str, ...] = ()
    role: str = ""


def lines(forecasts: Sequence[Forecast], left_usd: Mapping[str, float], hourly_usd: float) -> list[str]:
    """Write forecasts, a line each, and one of all together.

    Args:
        forecasts: of the steps that cost something.
        left_usd: what is left of each model's budget in this store, by its role; the teacher's is empty.
        hourly_usd: price of an hour of people's work.

    >>> asked = Forecast("label", "2,000 texts to ask", 900_000, 0.5, 120.0)
    >>> for line in lines([asked, Forecast("mine", "500 texts to review", people_s=7200.0)], {"": 4.0}, 25.0):
    ...     print(line)
    label: 2,000 texts to ask, about 900,000 tokens, $0.50, 2 minutes
    mine: 500 texts to review, at most 2.0 hours of people, $50.00
    in all: about $0.50 for the teacher (at four characters a token; a bill may be a quarter higher), of $4.00 left in \
the budget; 2 minutes; at most 2.0 hours of people, $50.00
    """
    told = []
    for each in forecasts:
        told += [f"{each.step}: {', '.join([each.words, *_parts(each, hourly_usd)])}"]
        told += [f"{each.step}: {note}" for note in each.notes]
    seconds, people_s = sum(each.seconds or 0.0 for each in forecasts), sum(each.people_s for each in forecasts)
    money = {role: sum(each.usd for each in forecasts if each.role == role) for role in left_usd}
    whole = [_money(role, dollars, left_usd[role]) for role, dollars in money.items()]
    whole += [minutes(seconds), *_people(people_s, hourly_usd)]
    for role, dollars in money.items():
        if dollars > left_usd[role]:
            whose = f"for the {role} " if role else ""
            whole.append(f"all of it {whose}would cost {usd(dollars)}: the budget ends the asking before")
    return [*told, f"in all: {'; '.join(whole)}"]


def _money(role: str, dollars: float, left: float) -> str:
    margin, whose = f" ({MARGIN})" if dollars else "", "its" if role else "the"
    return f"about {usd(min(dollars, left))} for the {role or 'teacher'}{margin}, of {usd(left)} left in {whose} budget"


def _parts(each: Forecast, hourly_usd: float) -> list[str]:
    parts = [f"about {count(each.tokens, 'token')}", usd(each.usd)] if each.tokens else []
    parts += [] if each.seconds is None else [minutes(each.seconds)]
    return [*parts, *_people(each.people_s, hourly_usd)]


def _people(people_s: float, hourly_usd: float) -> list[str]:
    hours = people_s / 3600
    return [f"at most {hours:,.1f} hours of people, {usd(hours * hourly_usd)}"] if people_s else []


def minutes(seconds: float) -> str:
    """Write how long something takes.

    >>> minutes(20.0), minutes(61.0), minutes(1300.0)
    ('less than a minute', '1 minute', '22 minutes')
    """
    return "less than a minute" if seconds < 45 else count(max(1, round(seconds / 60)), "minute")
