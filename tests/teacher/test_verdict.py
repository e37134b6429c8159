"""Whether a task needs a student: what decides, and how many labels more would."""

import numpy as np
import pytest

from understudy.stats.metrics import Interval
from understudy.stats.paired import Paired
from understudy.task.baselines import MAJORITY, commonest
from understudy.task.labels import LabelSpace
from understudy.teacher import verdict, worth
from understudy.teacher.verdict import Goal, Prices
from understudy.teacher.worth import Worth

TIPS = LabelSpace(("other", "tip"), "tip")
CHEAP = Prices(10_000, teacher_usd=0.001, student_usd=0.0, fixed_usd=50.0)  # $10 by the teacher, $50 by a student
DEAR = Prices(1_000_000, teacher_usd=0.001, student_usd=0.0, fixed_usd=50.0)  # $1,000 against $50
REACHED = Goal("F1", 0.7, Interval(0.8, 0.75, 0.85))
MISSED = Goal("F1", 0.9, Interval(0.8, 0.75, 0.85))
OPEN = Goal("F1", 0.75, Interval(0.8, 0.7, 0.9))


def teacher(right: int, missed: int, alarms: int, others: int) -> Worth:
    truth = np.repeat([1, 1, 0, 0], [right, missed, alarms, others])
    given = np.repeat([1, 0, 1, 0], [right, missed, alarms, others])
    rivals = {MAJORITY: commonest(truth, TIPS)}
    return worth.measure(truth, given, np.arange(len(truth)), rivals, TIPS, samples=1000)


GOOD, BY_CHANCE = teacher(40, 10, 20, 130), teacher(12, 38, 38, 112)


def alone(found: Worth, goals: list[Goal], prices: Prices) -> verdict.Verdict:
    return verdict.alone(found, goals, prices, is_many=False)


@pytest.mark.parametrize(
    ("found", "goals", "prices", "choice"),
    [
        (GOOD, [REACHED], CHEAP, "do not fine-tune"),
        (GOOD, [], CHEAP, "do not fine-tune"),
        (GOOD, [REACHED], DEAR, "fine-tune"),
        (GOOD, [MISSED], CHEAP, "fine-tune"),
        (GOOD, [OPEN], CHEAP, "too few labels to say"),
        (GOOD, [OPEN], DEAR, "fine-tune"),
        (BY_CHANCE, [REACHED], DEAR, "another teacher first"),
        (BY_CHANCE, [REACHED], CHEAP, "another teacher first"),
    ],
)
def test_the_teacher_alone_decides_by_worth_goals_and_price(found, goals, prices, choice) -> None:
    given = alone(found, goals, prices)
    assert given.choice == choice
    assert (given.more is not None) == (choice == "too few labels to say")


def test_a_goal_within_the_interval_says_how_many_labels_more() -> None:
    given = alone(GOOD, [OPEN], CHEAP)
    assert given.more == 4 * 200 + 1 - 200  # the interval is twice as wide as the way to the goal
    assert given.sentence.startswith(
        "Too few labels to say: 601 more would. Whether the teacher is good enough is open"
    )


def test_thirty_texts_are_too_few_by_the_rule_of_the_early_stop() -> None:
    found = teacher(8, 2, 2, 18)
    given = alone(found, [REACHED], CHEAP)
    assert (given.choice, given.more) == ("too few labels to say", worth.LEAST_TEXTS - 30)


def test_a_middling_teacher_on_few_texts_needs_as_many_as_its_intervals_do() -> None:
    found = teacher(6, 4, 8, 22)  # kappa 0.30: at 50 texts the interval still holds 0.2
    given = alone(found, [], CHEAP)
    assert found.needed == worth.LEAST_TEXTS
    assert given.more is not None
    assert given.more > 10 * (worth.LEAST_TEXTS - found.texts)


def test_few_texts_at_the_very_limit_are_not_promised_to_suffice() -> None:
    kappa = Interval(worth.LEAST_KAPPA, -0.1, 0.5)
    found = Worth(40, kappa, "f1", 0.5, 0.6, (), worth.LEAST_TEXTS, worth.CONFIDENCE)
    assert alone(found, [], CHEAP).more is None


def test_a_rare_label_asks_for_as_many_texts_as_hold_ten_of_it() -> None:
    found = teacher(3, 1, 1, 95)
    assert (found.needed, alone(found, [], CHEAP).more) == (250, 150)


def test_takemeters_thirty_texts_are_too_few_and_twenty_eight_more_would_say() -> None:
    given = verdict.beside(Paired(texts=30, both=26, first=4, second=0), [], CHEAP)
    assert (given.choice, given.more) == ("too few labels to say", 28)
    assert "4 : 0 have one of them alone right (exact McNemar p = 0.125)" in given.sentence
    assert "With 58 in all they would with a chance of at least 80%" in given.sentence


TEACHER_BETTER = Paired(texts=200, both=160, first=30, second=5)
STUDENT_BETTER = Paired(texts=200, both=160, first=5, second=30)
ALIKE = Paired(texts=1000, both=900, first=20, second=20)
TOLD_APART_YET_ALIKE = Paired(texts=20_000, both=18_000, first=100, second=200)  # p = 8e-9, half a percent of the texts


@pytest.mark.parametrize(
    ("found", "goals", "prices", "choice"),
    [
        (TEACHER_BETTER, [REACHED], CHEAP, "do not fine-tune"),
        (TEACHER_BETTER, [REACHED], DEAR, "fine-tune"),
        (TEACHER_BETTER, [MISSED], DEAR, "do not fine-tune"),
        (TEACHER_BETTER, [], DEAR, "do not fine-tune"),
        (STUDENT_BETTER, [MISSED], CHEAP, "fine-tune"),
        (ALIKE, [], CHEAP, "do not fine-tune"),
        (ALIKE, [], DEAR, "fine-tune"),
        (TOLD_APART_YET_ALIKE, [], CHEAP, "do not fine-tune"),
        (TOLD_APART_YET_ALIKE, [], DEAR, "fine-tune"),
    ],
)
def test_teacher_and_student_decide_by_mcnemar_goals_and_price(found, goals, prices, choice) -> None:
    given = verdict.beside(found, goals, prices)
    assert (given.choice, given.more) == (choice, None)


def test_a_better_teacher_that_is_dear_is_not_called_cheap() -> None:
    said = verdict.beside(TEACHER_BETTER, [], DEAR).sentence
    assert said.startswith("Do not fine-tune: the teacher is better")
    assert "1,000,000 texts a month cost $1,000 by the teacher and $50.00 by a student" in said


def test_the_verdict_names_the_volume_and_where_the_student_becomes_the_cheaper_one() -> None:
    said = alone(GOOD, [REACHED], CHEAP).sentence
    assert said.startswith("Do not fine-tune: the teacher is good enough and cheap enough at 10,000 texts a month")
    assert "from 50,000 texts a month on the student is the cheaper one" in said
    dear_student = Prices(10_000, teacher_usd=0.001, student_usd=0.002, fixed_usd=50.0)
    assert "the student is never the cheaper one" in alone(GOOD, [REACHED], dear_student).sentence
