"""Compute what the student costs beside its teacher, with the arithmetic in words."""

from dataclasses import dataclass
from typing import Any

from understudy.steps.evaluate.config import EvaluateConfig
from understudy.task.card import Card
from understudy.teacher.answers import Spent
from understudy.text import numbers


@dataclass(frozen=True, slots=True)
class Costs:
    """Dollars. A month is the card's `texts_per_month`; the teacher's are none where its price is unknown.

    Attributes:
        texts_per_month: from the card.
        texts_per_second: that the student scores, in batches on all cores.
        student_per_1k_usd: of running it on the card's instance.
        student_running_usd: the same for a month.
        one_off_usd: of the teacher's answers and of human labels: what was spent, or, where nobody says, the card's
            budgets.
        student_month_usd: running, plus the one-off cost spread over the months.
        teacher_per_1k_usd: mean price of its answers.
        teacher_month_usd: the same for a month.
        payback_months: after how many months the one-off cost is back; none when it never is.
    """

    texts_per_month: int
    texts_per_second: float
    student_per_1k_usd: float
    student_running_usd: float
    one_off_usd: float
    student_month_usd: float
    teacher_per_1k_usd: float | None
    teacher_month_usd: float | None
    payback_months: float | None

    @property
    def is_teacher_cheaper(self) -> bool:
        """Whether a month of the teacher costs less than a month of the student, one-off cost included."""
        return self.teacher_month_usd is not None and self.teacher_month_usd < self.student_month_usd


def per_1k_usd(usd_per_hour: float, texts_per_second: float) -> float:
    """Price of scoring 1,000 texts on an instance that does nothing else.

    $0.36 an hour is $0.0001 a second; at 100 texts a second 1,000 take 10 seconds.

    >>> round(per_1k_usd(0.36, 100), 6)
    0.001
    """
    return usd_per_hour / 3600 / texts_per_second * 1000


def human_labels_usd(labels: int, labels_per_hour: float, usd_per_hour: float) -> float:
    """Price of human labels.

    >>> human_labels_usd(1000, 200, 25)
    125.0
    """
    return labels / labels_per_hour * usd_per_hour


def costs(
    card: Card,
    config: EvaluateConfig,
    texts_per_second: float,
    teacher_per_1k_usd: float | None,
    spent: Spent | None = None,
) -> Costs:
    """Work out a month of the student beside a month of its teacher."""
    thousands = card.texts_per_month / 1000
    per_1k = per_1k_usd(card.prices.instance_usd_per_hour, texts_per_second)
    answers_usd, given = _made_with(card, spent)
    labels_usd = human_labels_usd(given, config.labels_per_hour, card.prices.annotator_usd_per_hour)
    one_off = answers_usd + labels_usd
    teacher_month = None if teacher_per_1k_usd is None else teacher_per_1k_usd * thousands
    saved = None if teacher_month is None else teacher_month - per_1k * thousands
    return Costs(
        texts_per_month=card.texts_per_month,
        texts_per_second=texts_per_second,
        student_per_1k_usd=per_1k,
        student_running_usd=per_1k * thousands,
        one_off_usd=one_off,
        student_month_usd=per_1k * thousands + one_off / config.amortise_months,
        teacher_per_1k_usd=teacher_per_1k_usd,
        teacher_month_usd=teacher_month,
        payback_months=one_off / saved if saved is not None and saved > 0 else None,
    )


def _made_with(card: Card, spent: Spent | None) -> tuple[float, int]:
    """Return dollars for the teacher's answers, and how many human labels: as spent, else as the card allows."""
    budget = card.budget
    return (budget.teacher_usd, budget.human_labels) if spent is None else (spent.teacher_usd, spent.human_labels)


def arithmetic(
    found: Costs, card: Card, config: EvaluateConfig, answers: int, spent: Spent | None, *, is_rehearsal: bool
) -> list[str]:
    """Say how the costs come about, a sentence a step.

    Args:
        found: the costs.
        card: for its prices and budgets.
        config: for the pace of people and the months of the one-off cost.
        answers: how many of the teacher's answers its price is the mean of.
        spent: what the task has cost so far, where that is known.
        is_rehearsal: those answers were a rehearsal, priced by the card.
    """
    lines = [_running(found, card), _once(found, card, config, spent)]
    if found.teacher_per_1k_usd is None or found.teacher_month_usd is None:
        return [*lines, "Teacher: its price is unknown, since none of its answers to the test texts were given."]
    basis = "a rehearsal's answers at the card's prices" if is_rehearsal else "the answers that were bought"
    month = numbers.count(found.texts_per_month, "text")
    each = numbers.usd_each(found.teacher_per_1k_usd / 1000)
    lines.append(
        f"Teacher: a mean of {each} a text over {numbers.count(answers)} of {basis}, x 1,000 = "
        f"{numbers.usd(found.teacher_per_1k_usd)} per 1,000 texts; {month} a month cost "
        f"{numbers.usd(found.teacher_month_usd)}."
    )
    return [*lines, balance(found)]


def _running(found: Costs, card: Card) -> str:
    hourly, month = numbers.usd(card.prices.instance_usd_per_hour), numbers.count(found.texts_per_month, "text")
    return (
        f"Student, running: {hourly} an hour / 3,600 seconds / {found.texts_per_second:,.0f} texts a second x 1,000 = "
        f"{numbers.usd(found.student_per_1k_usd)} per 1,000 texts; {month} a month cost "
        f"{numbers.usd(found.student_running_usd)}."
    )


def _once(found: Costs, card: Card, config: EvaluateConfig, spent: Spent | None) -> str:
    answers, given = _made_with(card, spent)
    labels, hourly = found.one_off_usd - answers, numbers.usd(card.prices.annotator_usd_per_hour)
    paid = f"the card's budgets of {numbers.usd(answers)} for the teacher's answers and of"
    if spent is not None:
        prices = ", a rehearsal's at the card's prices" if spent.is_rehearsal else ""
        uncounted = numbers.count(spent.estimated, "answer")
        counted = f" (the server counts no tokens: those of {uncounted} are estimated)" if spent.estimated else ""
        paid = (
            f"{numbers.usd(answers)} paid for the teacher's answers so far{prices}{counted}, and people's time, "
            "estimated as"
        )
    return (
        f"Student, once: {paid} "
        f"{numbers.count(given, 'human label')} at {config.labels_per_hour:,.0f} an hour and "
        f"{hourly} an hour ({numbers.usd(labels)}) make {numbers.usd(found.one_off_usd)}: "
        f"{numbers.usd(found.one_off_usd / config.amortise_months)} a month over {config.amortise_months:,.0f} months."
    )


def balance(found: Costs) -> str:
    """Say which of the two is cheaper a month, and by how much."""
    if found.teacher_month_usd is None:
        return ""
    gap = abs(found.teacher_month_usd - found.student_month_usd)
    who = "teacher" if found.is_teacher_cheaper else "student"
    back = ""
    if found.payback_months is not None and who == "student":
        back = f"; the one-off cost is back after {months(found.payback_months)}"
    return (
        f"A month of the student costs {numbers.usd(found.student_month_usd)} all in all, a month of the teacher "
        f"{numbers.usd(found.teacher_month_usd)}: the {who} is cheaper by {numbers.usd(gap)}{back}."
    )


def months(number: float) -> str:
    """Write a span of months.

    >>> months(0.3), months(1.0), months(14.2)
    ('less than a month', '1.0 months', '14 months')
    """
    if number < 1:
        return "less than a month"
    return f"{number:.1f} months" if number < 10 else f"{number:,.0f} months"


def teacher_price(cost_usd: list[float]) -> float | None:
    """Mean price of 1,000 answers; none when there are no answers."""
    return sum(cost_usd) / len(cost_usd) * 1000 if cost_usd else None


def record(found: Costs) -> dict[str, Any]:
    """Write the costs for JSON."""
    names = Costs.__dataclass_fields__
    return {name: getattr(found, name) for name in names} | {"is_teacher_cheaper": found.is_teacher_cheaper}
