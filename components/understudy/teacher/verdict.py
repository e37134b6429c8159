"""Judge whether a task needs a student at all: by what teacher and student are worth, and what a month of each costs.

Alone, before anything is learned, the teacher is held against people and the card's goals. A hopeless teacher, by
the rule of the early stop (`worth`), teaches no student. One that is worth asking needs no student where it is the
cheaper one and certainly reaches every goal; it gets one where it is the dearer one, or certainly misses a goal.

Beside a student, on the same texts, two that are certainly within `MARGIN` of each other are alike, whoever of them is
the better one, and what they cost decides. Else McNemar's exact test says who is better. A better teacher that is the
dearer one gives way only to a student that reaches the card's goals, as the report's gates have it.

Whatever the labels cannot decide is "too few labels", with how many more would, if they show the same as those so far.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from understudy.stats import metrics
from understudy.stats.metrics import Interval
from understudy.stats.paired import ALPHA, MOST_TEXTS, POWER, Paired
from understudy.teacher import worth
from understudy.teacher.worth import Worth
from understudy.text import figures
from understudy.text.numbers import count, figure, listed, percent, usd

MARGIN = 0.03  # of the texts: two judges whose shares of right answers certainly differ by less are alike
VOLUMES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # texts a month, in the table of costs

Choice = Literal["do not fine-tune", "fine-tune", "too few labels to say", "another teacher first"]


@dataclass(frozen=True, slots=True)
class Prices:
    """What a text costs, in dollars.

    Attributes:
        texts_per_month: of the card.
        teacher_usd: of one answer.
        student_usd: of one text that the student scores.
        fixed_usd: of a month of a student, whatever its texts: weekly samples, waiting, and a part of what it cost
            to make.
    """

    texts_per_month: int
    teacher_usd: float
    student_usd: float
    fixed_usd: float

    def month(self, texts: int) -> tuple[float, float]:
        """Return what so many texts a month cost by the teacher and by the student.

        >>> Prices(1_000_000, teacher_usd=0.002, student_usd=0.0, fixed_usd=100.0).month(10_000)
        (20.0, 100.0)
        """
        return texts * self.teacher_usd, texts * self.student_usd + self.fixed_usd

    @property
    def break_even(self) -> float | None:
        """Texts a month from which on the student is the cheaper one; None where it never is.

        >>> Prices(1_000_000, teacher_usd=0.002, student_usd=0.0, fixed_usd=100.0).break_even
        50000.0
        """
        saved = self.teacher_usd - self.student_usd
        return self.fixed_usd / saved if saved > 0 else None

    @property
    def is_teacher_cheaper(self) -> bool:
        """Whether the card's texts a month cost less by the teacher."""
        teacher, student = self.month(self.texts_per_month)
        return teacher < student


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of the card, and what a judge reaches.

    Attributes:
        title: of the figure, such as "F1" or "recall of 'tip'".
        least: what the card asks.
        reached: on the human-labelled texts, with its 95% interval.
    """

    title: str
    least: float
    reached: Interval

    @property
    def is_met(self) -> bool:
        """Whether the figure itself reaches the goal, as gates have it."""
        return self.reached.value >= self.least

    @property
    def is_open(self) -> bool:
        """Whether the interval holds the goal, or is undefined."""
        return not (self.reached.low >= self.least or self.reached.high < self.least)

    @property
    def words(self) -> str:
        """Say what is reached and what is asked."""
        span = f"{figure(self.reached.low)} to {figure(self.reached.high)}"
        return f"{self.title} {figure(self.reached.value)} ({span}) of a goal of {figure(self.least)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to fine-tune a student, with the sentence that says why, and how many labels more would say it.

    `more` is None where labels are enough, or where no number up to `paired.MOST_TEXTS` would decide.
    """

    choice: Choice
    sentence: str
    more: int | None = None

    def as_record(self) -> dict[str, Any]:
        """Write it for JSON."""
        return asdict(self)


def texts_to_settle(found: Interval, limit: float, texts: int) -> int | None:
    """Return how many texts would show on which side of a limit a figure lies: intervals shrink with the root of them.

    An interval of 0.80, 0.70 to 0.90, is twice as wide on its side as the way to 0.75: four times as many texts.

    >>> texts_to_settle(Interval(0.80, 0.70, 0.90), 0.75, 100)
    401
    >>> texts_to_settle(Interval(0.80, 0.70, 0.90), 0.80, 100) is None
    True
    """
    gap = found.value - limit
    half = found.value - found.low if gap > 0 else found.high - found.value
    if not gap or math.isnan(half):
        return None
    needed = math.floor(round(texts * (half / gap) ** 2, 6)) + 1
    return needed if needed <= MOST_TEXTS else None


def alone(teacher: Worth, goals: Sequence[Goal], prices: Prices, *, is_many: bool) -> Verdict:
    """Judge by the teacher alone, before a student is learned.

    Args:
        teacher: what it is worth on human-labelled texts.
        goals: that the card sets on labels given, as the teacher reaches them.
        prices: of a text.
        is_many: a text may have several labels.
    """
    arithmetic = worth.arithmetic(teacher, is_many=is_many)
    if teacher.verdict == "hopeless":
        faults = listed(worth.faults(teacher))
        return Verdict("another teacher first", f"Another teacher first: this one {faults}: {arithmetic}.")
    if teacher.verdict in {"too few texts", "undecided"}:
        why = f"whether the teacher is worth asking is open after {count(teacher.texts, 'text')}: {arithmetic}"
        return _too_few(why, _texts_for_worth(teacher), teacher.texts)
    if not prices.is_teacher_cheaper:
        return Verdict("fine-tune", f"Fine-tune: the teacher is worth asking ({arithmetic}), and {_costs(prices)}.")
    if missed := [goal.words for goal in goals if not goal.is_open and not goal.is_met]:
        return Verdict(
            "fine-tune",
            f"Fine-tune on people's labels too: the teacher is cheap ({_costs(prices)}) and misses what the card asks, "
            f"{listed(missed)}.",
        )
    if still_open := [goal for goal in goals if goal.is_open]:
        why = f"whether the teacher is good enough is open: {listed([goal.words for goal in still_open])}"
        needed = [texts_to_settle(goal.reached, goal.least, teacher.texts) for goal in still_open]
        return _too_few(why, _largest(needed), teacher.texts)
    asked = f"reaches {listed([goal.words for goal in goals])}" if goals else "is worth asking; the card sets no goal"
    return Verdict("do not fine-tune", f"{_not_needed(prices)}: it {asked}; {arithmetic}. {_costs(prices)}.")


def beside(found: Paired, goals: Sequence[Goal], prices: Prices) -> Verdict:
    """Judge by a teacher and a student on the same human-labelled texts.

    Args:
        found: who has which texts right; the teacher is the first.
        goals: that the card sets on labels given, as the student reaches them.
        prices: of a text.
    """
    both = _both(found)
    is_told, is_alike = found.p < ALPHA, found.is_alike(MARGIN)
    if not is_told and not is_alike:
        return _too_few(both, found.texts_to_tell(MARGIN), found.texts, POWER)
    is_student_fit = bool(goals) and all(goal.is_met for goal in goals)
    if is_alike:
        choice: Choice = "do not fine-tune" if prices.is_teacher_cheaper else "fine-tune"
        how = f"they are alike, within {percent(MARGIN)} of the texts"
    elif found.second > found.first:
        choice, how = "fine-tune", "the student is better"
    elif prices.is_teacher_cheaper or not is_student_fit:
        choice, how = "do not fine-tune", "the teacher is better"
    else:
        choice = "fine-tune"
        how = f"the teacher is better, but the student reaches {listed([goal.words for goal in goals])}"
    opening = _not_needed(prices) if choice == "do not fine-tune" and prices.is_teacher_cheaper else choice.capitalize()
    return Verdict(choice, f"{opening}: {how}; {both}. {_costs(prices)}.")


def _too_few(why: str, needed: int | None, texts: int, power: float | None = None) -> Verdict:
    if needed is None:
        told = f"even {MOST_TEXTS:,} would hardly, if they show the same as these: it is too close to the limit"
        return Verdict("too few labels to say", f"Too few labels to say, and {told}; {why}.")
    more = max(1, needed - texts)
    chance = f"they would with a chance of at least {percent(power)}" if power else "they would"
    return Verdict(
        "too few labels to say",
        f"Too few labels to say: {more:,} more would. {why[:1].upper()}{why[1:]}. With {needed:,} in all {chance}, if "
        "they show the same as these.",
        more,
    )


def _both(found: Paired) -> str:
    teacher, student = found.both + found.first, found.both + found.second
    test = f"sign-flip test over {count(len(found.gaps), 'group')}," if found.gaps else "exact McNemar"
    return (
        f"of {count(found.texts, 'text')} the teacher has {teacher:,} right and the student {student:,}; "
        f"{found.first:,} : {found.second:,} have one of them alone right ({test} p = {found.p:.3g})"
    )


def _texts_for_worth(teacher: Worth) -> int | None:
    """Return how many texts would show whether a teacher is worth asking, by the rule of `worth`.

    Fewer than `worth` judges by would not, whatever the intervals are; nor are so many enough where those stay open.
    """
    open_ones = [] if teacher.kappa.low >= worth.LEAST_KAPPA else [(teacher.kappa, worth.LEAST_KAPPA)]
    open_ones += [(rival.ahead, 0.0) for rival in teacher.rivals if rival.ahead.high >= 0]
    settled = [texts_to_settle(found, limit, teacher.texts) for found, limit in open_ones]
    return _largest([teacher.needed, *settled])


def _largest(needed: Sequence[int | None]) -> int | None:
    known = [texts for texts in needed if texts is not None]
    return max(known) if len(known) == len(needed) else None


def _not_needed(prices: Prices) -> str:
    month = count(prices.texts_per_month, "text")
    return f"Do not fine-tune: the teacher is good enough and cheap enough at {month} a month"


def _costs(prices: Prices) -> str:
    teacher, student = prices.month(prices.texts_per_month)
    even = prices.break_even
    turn = "the student is never the cheaper one" if even is None else (
        f"from {count(math.ceil(even), 'text')} a month on the student is the cheaper one"
    )  # fmt: skip
    return (
        f"{count(prices.texts_per_month, 'text')} a month cost {usd(teacher)} by the teacher and {usd(student)} by a "
        f"student, its labels and samples included; {turn}"
    )


def cost_table(prices: Prices) -> list[dict[str, Any]]:
    """Return what a month costs by teacher and student at several volumes, the card's among them.

    >>> cost_table(Prices(1_000, teacher_usd=0.01, student_usd=0.0, fixed_usd=100.0))[0]
    {'texts': 1000, 'teacher_usd': 10.0, 'student_usd': 100.0, 'is_card': True}
    """
    rows = []
    for texts in sorted({*VOLUMES, prices.texts_per_month}):
        teacher, student = prices.month(texts)
        is_card = texts == prices.texts_per_month
        rows.append({"texts": texts, "teacher_usd": teacher, "student_usd": student, "is_card": is_card})
    return rows


def goals_record(goals: Sequence[Goal]) -> list[dict[str, Any]]:
    """Write goals for JSON."""
    return [
        {"title": figures.headed(goal.title), "least": goal.least, "reached": metrics.as_record(goal.reached)}
        for goal in goals
    ]
