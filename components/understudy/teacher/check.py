"""Check a teacher on a few texts: what it answers, what its server can do, and the settings that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import polars as pl

from understudy.errors import TeacherError
from understudy.secrets.keys import hide
from understudy.task.card import Card
from understudy.task.sections import TeacherConfig
from understudy.teacher.client import Reply, place_of
from understudy.teacher.labeller import Estimate, Judged, Teacher
from understudy.teacher.refusals import FORMS
from understudy.text.numbers import clipped, count, percent, usd, usd_each

TEXTS = 5
SHOWN_TEXT, SHOWN_ANSWER = 70, 400  # signs
OFTEN_SLOW = 4  # times the median answer, until a server counts as slow
THOUSAND = 1_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What a teacher did with a few texts.

    Attributes:
        judged: its answers and what they took.
        replies: what it wrote, each with the text that was asked for, in order; tries that failed included.
        seconds: that the answers took, one after the other.
        left_out: what its server refuses, in words.
        config: how it was asked.
    """

    judged: Judged
    replies: Sequence[tuple[str, Reply]]
    seconds: Sequence[float]
    left_out: Sequence[str]
    config: TeacherConfig


def texts_of(card: Card) -> list[str]:
    """Return texts to check a teacher on where none are given: the labels' examples, else their definitions."""
    examples = [example for label in card.labels for example in label.examples]
    return list(dict.fromkeys([*examples, *(label.definition for label in card.labels)]))


def announce(card: Card, teacher: Teacher, estimate: Estimate) -> str:
    """Say who is asked where, for how much at most."""
    rehearsal = ", a rehearsal," if teacher.identity.is_rehearsal else ""
    endpoint = teacher.identity.endpoint
    return (
        f"{card.teacher.model}{rehearsal} at {endpoint.url if endpoint else 'no server'}: {estimate.words}, about "
        f"{usd(estimate.cost_usd)}, {usd(teacher.spent_usd)} of {usd(card.budget.teacher_usd)} spent so far; "
        f"{place_of(card.teacher).words}."
    )


def ask(teacher: Teacher, texts: pl.DataFrame, config: TeacherConfig) -> Checked:
    """Ask about some texts, one after the other.

    Raises:
        TeacherError: the server gives no answer at all; one that cannot be used is an answer.
        BadInput: key, model or address are wrong.
    """
    replies: list[tuple[str, Reply]] = []
    endpoint = teacher.identity.endpoint
    if endpoint is not None:
        endpoint.hear = lambda text, reply: replies.append((text, reply))
    judged = teacher.judge(texts, "teacher check: texts judged")
    if judged.failures and not replies:
        raise TeacherError(
            f"The teacher must answer, got nothing for {'; '.join(judged.reasons())}. Mend the server or the card."
        )
    return Checked(judged, replies, teacher.seconds(texts), endpoint.left_out if endpoint else (), config)


def one_by_one(config: TeacherConfig) -> TeacherConfig:
    """Return settings under which seconds are those of one text, and every answer is shown."""
    return replace(config, concurrency=1, max_failed_share=1.0, mode="chat")


def sentences(checked: Checked) -> list[str]:
    """Say what came of it, a line each: the raw answers, what the server can do, and the settings that follow."""
    return [*_answers(checked), "", "The server", *_abilities(checked), "", *_settings(checked)]


def _answers(checked: Checked) -> list[str]:
    lines = []
    for number, (text, reply) in enumerate(checked.replies, start=1):
        lines += [
            f"{number}. {clipped(text, SHOWN_TEXT)}",
            f"   {clipped(hide(reply.said or reply.failure), SHOWN_ANSWER)}",
        ]
    return [*lines, *(f"No answer for {reason}." for reason in checked.judged.reasons())]


def _abilities(checked: Checked) -> list[str]:
    judged, replies = checked.judged, [reply for _, reply in checked.replies]
    forms = ", ".join(f"{judged.forms[form]} {words}" for form, words in FORMS.items() if judged.forms.get(form))
    with_probabilities = len(judged.table) - judged.without_probabilities
    probabilities = f"read from {with_probabilities} of {count(len(judged.table), 'answer')}"
    uncounted = sum(None in {reply.prompt_tokens, reply.completion_tokens} for reply in replies)
    counted = f"not counted in {uncounted}: tokens and costs are estimates" if uncounted else "counted by the server"
    lines = [
        f"  answers: {len(judged.table)} usable, {forms or 'none'}",
        f"  log-probabilities: {probabilities if checked.config.logprobs else 'not asked for'}",
        f"  tokens: {counted}",
        f"  asked {'; '.join(checked.left_out) if checked.left_out else 'with every parameter'}",
    ]
    if judged.cut_prompts:
        lines.append(
            f"  prompts: {judged.cut_prompts} seem to have been cut: it counts far fewer tokens than were sent"
        )
    if checked.seconds:
        lines.append(f"  seconds a text: {median(checked.seconds):.2f}, {max(checked.seconds):.2f} at most")
    if judged.asked:
        each = judged.cost_usd / judged.asked
        lines.append(f"  dollars a text: {usd_each(each)}, {usd(each * THOUSAND)} for 1,000")
    return lines


def _settings(checked: Checked) -> list[str]:
    """Say which of the card's settings of the teacher follow from what was seen."""
    judged, config = checked.judged, checked.config
    found, usual_s = [], median(checked.seconds) if checked.seconds else 0.0
    if usual_s:
        found.append(f"seconds_per_text: {max(round(usual_s, 2), 0.01):g}  # measured here, one after the other")
    if config.logprobs and len(judged.table) and judged.without_probabilities == len(judged.table):
        found.append("logprobs: false  # it gives none")
    if OFTEN_SLOW * usual_s > config.timeout_s:
        found.append(f"timeout_s: {OFTEN_SLOW * usual_s:.0f}  # {OFTEN_SLOW} times what an answer takes")
    if any("max_answer_tokens" in reason for reason in judged.failed):
        found.append(f"max_answer_tokens: {4 * config.max_answer_tokens}  # answers were cut")
    lines = ["On the card, under teacher", *(f"  {line}" for line in found)] if found else []
    if judged.failures:
        share = percent(judged.failures / max(1, judged.asked))
        lines.append(f"{share} of the texts have no answer: a run stops beyond {percent(config.max_failed_share)}.")
    return lines
