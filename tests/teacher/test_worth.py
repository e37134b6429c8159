"""What a teacher is worth: against chance, and against what costs nothing."""

import numpy as np
import pytest

from understudy.stats.metrics import Codes
from understudy.task.baselines import MAJORITY, RULES, commonest
from understudy.task.labels import LabelSpace
from understudy.teacher import worth
from understudy.teacher.worth import Worth

TIPS, THREE = LabelSpace(("other", "tip"), "tip"), LabelSpace(("a", "b", "c"))
SETS = LabelSpace(("a", "b", "c"), is_many=True)


def measured(
    truth: Codes, given: Codes, space: LabelSpace = TIPS, rules: Codes | None = None, samples: int = worth.SAMPLES
) -> Worth:
    rivals = {MAJORITY: commonest(truth, space)} | ({} if rules is None else {RULES: rules})
    return worth.measure(truth, given, np.arange(len(truth)), rivals, space, samples=samples)


def columns(*blocks: tuple[int, int, int]) -> tuple[Codes, Codes]:
    """Make labels of people and of the teacher from blocks of (texts, true label, label given)."""
    truth, given = zip(*((true, said) for texts, true, said in blocks for _ in range(texts)), strict=True)
    return np.array(truth), np.array(given)


# 850 of 1,000 are tips. It finds 680 of them and 128 of the 150 others: kappa 0.47, right less often than "tip".
OF_A_COMMON_LABEL = columns((680, 1, 1), (170, 1, 0), (22, 0, 1), (128, 0, 0))
# Of 200 texts 50 are tips. The teacher finds 10 of them, and takes 32 others for tips: right in 64%, kappa below 0.
BELOW_CHANCE = columns((10, 1, 1), (40, 1, 0), (32, 0, 1), (118, 0, 0))
# It finds 40 of the 50 and takes 20 others for tips: kappa 0.63, F1 0.73.
GOOD = columns((40, 1, 1), (10, 1, 0), (20, 0, 1), (130, 0, 0))


def test_a_teacher_below_chance_is_hopeless_and_the_sentence_has_the_arithmetic() -> None:
    found = measured(*BELOW_CHANCE)
    assert found.right == 0.64
    assert found.kappa.value < 0.0 < worth.LEAST_KAPPA
    assert found.verdict == "hopeless"
    said = worth.sentence(found, is_many=False)
    assert said.startswith("The teacher agrees with people hardly more than chance (kappa -0.01): kappa -0.01 (98.3% ")
    assert "it is right in 64% and has F1 0.22" in said
    assert "one and the same label for every text is right in 75% and has F1 0.00" in said


def test_a_good_teacher_is_worth_asking() -> None:
    found = measured(*GOOD)
    assert (found.verdict, worth.faults(found)) == ("worth asking", [])


def test_the_common_label_beats_no_teacher_that_agrees_beyond_chance() -> None:
    found = measured(*OF_A_COMMON_LABEL)
    assert found.rivals[0].ahead.low > 0
    assert found.rivals[0].right > found.right
    assert (found.better, found.verdict) == ([], "undecided")


def test_rules_that_are_certainly_better_make_a_good_teacher_hopeless() -> None:
    truth, given = GOOD
    found = measured(truth, given, rules=truth)
    assert found.verdict == "hopeless"
    assert worth.faults(found) == ["is certainly worse than the card's weak rules (F1 0.73 against 1.00)"]


def test_rules_that_are_as_good_leave_it_undecided() -> None:
    truth, given = GOOD
    assert measured(truth, given, rules=given).verdict == "undecided"


def test_a_label_that_most_texts_have_does_not_beat_a_teacher_that_is_right_more_often() -> None:
    """F1 of 'tip' for every text is 0.86 where 75% are tips; this teacher's is 0.83, and it is right in 77%."""
    found = measured(*columns((112, 1, 1), (38, 1, 0), (8, 0, 1), (42, 0, 0)))
    assert found.rivals[0].ahead.value > 0
    assert found.right > found.rivals[0].right
    assert found.better == []


@pytest.mark.parametrize("space", [THREE, SETS])
def test_a_teacher_that_answers_by_chance_is_hopeless_whatever_the_labels(space: LabelSpace) -> None:
    rng = np.random.default_rng(3)
    if space.is_many:
        truth, given = rng.random((200, 3)) < 0.4, rng.random((200, 3)) < 0.4
    else:
        truth, given = rng.integers(3, size=200), rng.integers(3, size=200)
    assert measured(truth, given, space).verdict == "hopeless"
    assert measured(truth, truth, space).verdict == "worth asking"


def test_one_label_for_every_text_has_no_kappa_beyond_chance() -> None:
    truth = np.random.default_rng(3).random((200, 3)) < 0.2
    found = measured(truth, np.zeros_like(truth), SETS)
    assert found.kappa.value == 0.0
    assert found.verdict == "hopeless"


@pytest.mark.parametrize(
    "blocks", [((5, 1, 0), (20, 0, 1)), ((9, 1, 0), (191, 0, 0))], ids=["few texts", "few of a label"]
)
def test_too_few_texts_say_nothing_of_a_teacher(blocks: tuple[tuple[int, int, int], ...]) -> None:
    found = measured(*columns(*blocks))
    assert (found.verdict, worth.faults(found)) == ("too few texts", [])


def test_texts_of_few_groups_say_nothing_of_a_teacher() -> None:
    truth, given = BELOW_CHANCE
    found = worth.measure(truth, given, np.arange(200) % 10, {MAJORITY: commonest(truth, TIPS)}, TIPS)
    assert found.verdict == "too few texts"


def test_of_teachers_that_are_barely_worth_asking_few_are_stopped() -> None:
    """True kappa 0.2, two looks at most: 5 in 100 may be stopped; 40 draws with more than 6 would be one in 100."""
    rng, stopped = np.random.default_rng(5), 0
    for _ in range(40):
        truth = rng.integers(3, size=400)
        given = np.where(rng.random(400) < 0.2, truth, rng.integers(3, size=400))
        first = measured(truth[:200], given[:200], THREE, samples=600).verdict
        last = measured(truth, given, THREE, samples=600).verdict if first == "undecided" else first
        stopped += last == "hopeless"
    assert stopped <= 6
