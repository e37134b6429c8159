"""Try the teacher on a few human-labelled texts before it is asked for the texts that a student learns from."""

from pathlib import Path

import polars as pl

from understudy.errors import HopelessTeacher
from understudy.progress import say
from understudy.steps.label import rules
from understudy.steps.label.config import LabelConfig
from understudy.store import tables
from understudy.task.baselines import simple_answers
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.teacher import worth
from understudy.teacher.labeller import Judged, Teacher
from understudy.teacher.worth import Worth
from understudy.text.numbers import usd

PROGRESS = "label: test texts judged"


def judge(teacher: Teacher, held_out: pl.DataFrame, test: Path, card: Card, config: LabelConfig) -> Judged:
    """Ask for the test texts: a few at random first, more of them where these do not decide, then all.

    All of them are asked for in any case when the run goes on, so what a trial buys is bought once. The draw is by lot
    over the test split, without regard to what the texts say, so every figure is of the split as it is.

    Args:
        teacher: who is asked.
        held_out: texts of the test split, columns id, text and weight, and context where the card has it.
        test: human labels of the test split.
        card: the task.
        config: how many texts are tried, and whether a hopeless teacher ends the step.

    Returns:
        the answers to all test texts.

    Raises:
        HopelessTeacher: it is certainly not worth asking further, and `stop_hopeless` was not taken back.
    """
    judged, found, number = Judged(tables.empty(tables.Judgements)), None, 0
    human = tables.read_gold(test, "test").select("id", "group", "text", "label")
    for number in rules.looks(len(held_out), config.trial_texts):
        looked_at = rules.tried(held_out, number, config.seed)
        judged = teacher.judge(looked_at, PROGRESS, is_part=number < len(held_out)).after(judged)
        found = _measured(judged, human, card)
        if found is not None and found.verdict in {"hopeless", "worth asking"}:
            break
    if found is not None and found.verdict == "hopeless":
        _stop(found, teacher, card, config)
    is_all = number == len(held_out)  # what failed is not asked for again at once
    return judged if is_all else teacher.judge(held_out, PROGRESS).after(judged)


def _measured(judged: Judged, human: pl.DataFrame, card: Card) -> Worth | None:
    """Measure the teacher on what it answered; none where it answered nothing."""
    both = judged.table.select("id", teacher_label="label").join(human, on="id", how="inner").sort("id")
    if both.is_empty():
        return None
    space = LabelSpace.of(card)
    truth, given = space.codes(both["label"]), space.codes(both["teacher_label"])
    rivals = simple_answers(card, both["text"].to_list(), truth)
    return worth.measure(truth, given, both["group"].to_numpy(), rivals, space)


def _stop(found: Worth, teacher: Teacher, card: Card, config: LabelConfig) -> None:
    """End the step, or say why it would end where it was told to go on."""
    why = rules.hopeless_sentence(found, is_many=card.is_many)
    if not config.stop_hopeless:
        say(f"label: {why} It goes on, for label.stop_hopeless is false.")
        return
    raise HopelessTeacher(
        f"{why} No text was asked for that a student learns from; {usd(teacher.spent_usd)} of "
        f"{usd(card.budget.teacher_usd)} spent so far, and its answers are kept. Take another model, mend the card's "
        "question, labels and rules, or look whether people's labels are right; label.stop_hopeless=false goes on all "
        "the same (--set) and pays for no answer twice."
    )
