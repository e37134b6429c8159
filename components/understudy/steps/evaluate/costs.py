"""Compute what the student costs beside its teacher, with the arithmetic in words."""

from dataclasses import dataclass
from typing import Any

from understudy.steps.evaluate.config import EvaluateConfig
from understudy.task.card import Card
from understudy.task.settings import Settings
from understudy.teacher.answers import Spent
from understudy.text import numbers

NIGHTS, WEEKS = 365 / 12, 365 / 84  # of a month
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sample that people and the teacher label every week, so that the student is known to hold.

    Attributes:
        people_texts: texts that people get.
        teacher_texts: texts that the teacher is asked for.
        teacher_usd: most dollars that the teacher may cost.
    """

    people_texts: int = 0
    teacher_texts: int = 0
    teacher_usd: float = 0.0


NO_SAMPLE = Sampling()


def sampling_of(chosen: Settings) -> Sampling:
    """Read what a weekly sample is, from the settings of the step that draws it."""
    people = chosen.value("sample.random_texts") + chosen.value("sample.stratified_texts")
    return Sampling(people, chosen.value("sample.teacher_texts"), chosen.value("sample.teacher_usd"))


@dataclass(frozen=True, slots=True)
class Basis:
    """What the costs are worked out from, besides the card and the settings.

    Attributes:
        texts_per_second: that the student scores, in batches on all cores.
        teacher_per_1k_usd: mean price of the teacher's answers; none where it is unknown.
        spent: what the task has cost by the end of label; none where nobody says.
        training_s: seconds that train took; none where nobody says.
        sampling: the weekly sample.
    """

    texts_per_second: float
    teacher_per_1k_usd: float | None
    spent: Spent | None = None
    training_s: float | None = None
    sampling: Sampling = NO_SAMPLE


@dataclass(frozen=True, slots=True)
class Costs:
    """Dollars. A month is the card's `texts_per_month`; the teacher's are none where its price is unknown.

    Attributes:
        texts_per_month: from the card.
        texts_per_second: that the student scores, in batches on all cores.
        student_per_1k_usd: of running it on the card's instance.
        student_running_usd: the same for a month.
        waiting_month_usd: of instances that are paid and score nothing, in the nights of a month.
        sample_month_usd: of people's and the teacher's labels for the weekly samples of a month.
        training_usd: of the instance that trained; none where nobody says for how long.
        one_off_usd: of that, of the teacher's answers and of human labels: what was spent, or, where nobody says, the
            card's budgets.
        student_month_usd: running, waiting and sampling, plus the one-off cost spread over the months.
        teacher_per_1k_usd: mean price of its answers.
        teacher_month_usd: the same for a month.
        payback_months: after how many months the one-off cost is back; none when it never is.
    """

    texts_per_month: int
    texts_per_second: float
    student_per_1k_usd: float
    student_running_usd: float
    waiting_month_usd: float
    sample_month_usd: float
    training_usd: float | None
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


def labels_per_hour(config: EvaluateConfig, spent: Spent | None) -> float:
    """Return people's pace: as it was measured, else as the settings say."""
    measured_s = None if spent is None else spent.label_s
    return config.labels_per_hour if measured_s is None else HOUR_S / measured_s


def human_labels_usd(labels: int, labels_per_hour: float, usd_per_hour: float) -> float:
    """Price of human labels.

    >>> human_labels_usd(1000, 200, 25)
    125.0
    """
    return labels / labels_per_hour * usd_per_hour


def costs(card: Card, config: EvaluateConfig, basis: Basis) -> Costs:
    """Work out a month of the student beside a month of its teacher."""
    thousands, hourly = card.texts_per_month / 1000, card.prices.instance_usd_per_hour
    per_1k, teacher_per_1k = per_1k_usd(hourly, basis.texts_per_second), basis.teacher_per_1k_usd
    waiting = NIGHTS * config.night_waiting_s / HOUR_S * hourly
    sampled = sample_month_usd(card, config, basis)
    training = None if basis.training_s is None else basis.training_s / HOUR_S * card.prices.training_usd
    answers_usd, given = _made_with(card, basis.spent)
    one_off = answers_usd + _labels_usd(given, card, config, basis) + (training or 0.0)
    monthly = per_1k * thousands + waiting + sampled
    teacher_month = None if teacher_per_1k is None else teacher_per_1k * thousands
    saved = None if teacher_month is None else teacher_month - monthly
    return Costs(
        texts_per_month=card.texts_per_month,
        texts_per_second=basis.texts_per_second,
        student_per_1k_usd=per_1k,
        student_running_usd=per_1k * thousands,
        waiting_month_usd=waiting,
        sample_month_usd=sampled,
        training_usd=training,
        one_off_usd=one_off,
        student_month_usd=monthly + one_off / config.amortise_months,
        teacher_per_1k_usd=teacher_per_1k,
        teacher_month_usd=teacher_month,
        payback_months=one_off / saved if saved is not None and saved > 0 else None,
    )


def sample_month_usd(card: Card, config: EvaluateConfig, basis: Basis) -> float:
    """Price of the weekly samples of a month: people's time, and the teacher's answers up to their cap."""
    return WEEKS * (_labels_usd(basis.sampling.people_texts, card, config, basis) + _sample_teacher_usd(basis))


def _sample_teacher_usd(basis: Basis) -> float:
    """Price of the teacher's answers to one sample; the cap, where the price of an answer is unknown."""
    asked, most = basis.sampling.teacher_texts, basis.sampling.teacher_usd
    if basis.teacher_per_1k_usd is None:
        return most if asked else 0.0
    return min(most, asked * basis.teacher_per_1k_usd / 1000)


def _labels_usd(labels: int, card: Card, config: EvaluateConfig, basis: Basis) -> float:
    return human_labels_usd(labels, labels_per_hour(config, basis.spent), card.prices.annotator_usd_per_hour)


def _made_with(card: Card, spent: Spent | None) -> tuple[float, int]:
    """Return dollars for the teacher's answers, and how many human labels: as spent, else as the card allows."""
    budget = card.budget
    return (budget.teacher_usd, budget.human_labels) if spent is None else (spent.teacher_usd, spent.human_labels)


def arithmetic(
    found: Costs, card: Card, config: EvaluateConfig, basis: Basis, answers: int, *, is_rehearsal: bool
) -> list[str]:
    """Say how the costs come about, a sentence a step.

    Args:
        found: the costs.
        card: for its prices and budgets.
        config: for the pace of people and the months of the one-off cost.
        basis: what they were worked out from.
        answers: how many of the teacher's answers its price is the mean of; 0 where it is estimated.
        is_rehearsal: those answers were a rehearsal, priced by the card.
    """
    lines = [
        _running(found, card),
        _waiting(found, card, config),
        *([_sampling(found, card, config, basis)] if basis.sampling.people_texts else []),
        _once(found, card, config, basis),
    ]
    if found.teacher_per_1k_usd is None or found.teacher_month_usd is None:
        return [*lines, "Teacher: its price is unknown, since none of its answers to the test texts were given."]
    priced = "a rehearsal's answers at the card's prices" if is_rehearsal else "the answers that were bought"
    month = numbers.count(found.texts_per_month, "text")
    each = numbers.usd_each(found.teacher_per_1k_usd / 1000)
    mean = f"a mean of {each} a text over {numbers.count(answers)} of {priced}" if answers else estimated(each)
    lines.append(
        f"Teacher: {mean}, x 1,000 = "
        f"{numbers.usd(found.teacher_per_1k_usd)} per 1,000 texts; {month} a month cost "
        f"{numbers.usd(found.teacher_month_usd)}."
    )
    return [*lines, balance(found)]


def estimated(each: str) -> str:
    """Say what an answer costs where none has a price."""
    return f"about {each} a text by the card's prices, at four characters a token"


def _running(found: Costs, card: Card) -> str:
    hourly, month = numbers.usd(card.prices.instance_usd_per_hour), numbers.count(found.texts_per_month, "text")
    return (
        f"Student, running: {hourly} an hour / 3,600 seconds / {found.texts_per_second:,.0f} texts a second x 1,000 = "
        f"{numbers.usd(found.student_per_1k_usd)} per 1,000 texts; {month} a month cost "
        f"{numbers.usd(found.student_running_usd)}."
    )


def _waiting(found: Costs, card: Card, config: EvaluateConfig) -> str:
    return (
        f"Student, waiting: {config.night_waiting_s:,.0f} seconds a night in which nodes and pods start, list and "
        f"write (assumed: evaluate.night_waiting_s) at {numbers.usd(card.prices.instance_usd_per_hour)} an hour make "
        f"{numbers.usd(found.waiting_month_usd)} a month."
    )


def _sampling(found: Costs, card: Card, config: EvaluateConfig, basis: Basis) -> str:
    sampling = basis.sampling
    people, pace = _labels_usd(sampling.people_texts, card, config, basis), labels_per_hour(config, basis.spent)
    teacher = f" and {numbers.usd(_sample_teacher_usd(basis))} of the teacher" if sampling.teacher_texts else ""
    return (
        f"Student, watched: a sample of at most {numbers.count(sampling.people_texts, 'text')} a week, "
        f"{numbers.usd(people)} of people's time at {pace:,.0f} an hour{teacher}, makes "
        f"{numbers.usd(found.sample_month_usd)} a month."
    )


def _once(found: Costs, card: Card, config: EvaluateConfig, basis: Basis) -> str:
    spent = basis.spent
    answers, given = _made_with(card, spent)
    hourly = numbers.usd(card.prices.annotator_usd_per_hour)
    paid = f"the card's budgets of {numbers.usd(answers)} for the teacher's answers and of"
    if spent is not None:
        prices = ", a rehearsal's at the card's prices" if spent.is_rehearsal else ""
        uncounted = numbers.count(spent.estimated, "answer")
        counted = f" (the server counts no tokens: those of {uncounted} are estimated)" if spent.estimated else ""
        measured = f"by the median of {numbers.count(spent.timed, 'label')} that were timed,"
        words = "estimated as" if spent.label_s is None else measured
        paid = (
            f"{numbers.usd(answers)} paid for the teacher's answers so far{prices}{counted}, and people's time, {words}"
        )
    trained = "; what training cost is not known"
    if basis.training_s is not None:
        price = numbers.usd(card.prices.training_usd)
        trained = f", and {basis.training_s / 60:,.1f} minutes of training at {price} an hour"
        trained = f"{trained} ({numbers.usd(found.training_usd)})"
    labels, pace = numbers.usd(_labels_usd(given, card, config, basis)), labels_per_hour(config, spent)
    return (
        f"Student, once: {paid} {numbers.count(given, 'human label')} at {pace:,.0f} an hour and "
        f"{hourly} an hour ({labels}){trained}: together {numbers.usd(found.one_off_usd)}, "
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
