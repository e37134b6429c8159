"""Run the step label: ask the teacher for a sample of the pool and for the test split."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from understudy.errors import BadInput, BudgetSpent
from understudy.progress import say
from understudy.review import labels
from understudy.runtime.shell import In, Out, Result
from understudy.stats.metrics import Floats, Interval, defined
from understudy.steps.label import rules, sampler, trial, unasked
from understudy.steps.label.config import LabelConfig
from understudy.steps.label.reading import human_labels, texts_to_ask
from understudy.store import tables, tombstones
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.sections import TeacherConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.teacher.answers import Spent, write_sent, write_spent
from understudy.teacher.client import place_of
from understudy.teacher.labeller import Bank, Estimate, Judged, Sent, Teacher, open_teacher
from understudy.teacher.redaction import examples as redacted_examples
from understudy.teacher.refusals import FORMS
from understudy.text.house import went
from understudy.text.numbers import clipped, count, percent, percent_interval, usd
from understudy.text.seen import asked_of

EXAMPLES, LONGEST_EXAMPLE = 10, 120  # texts that a dry run shows without what is taken out; signs of each


def run(
    card: In,
    pool: In,
    gold: In,
    test: In,
    judgements: Out,
    test_judgements: Out,
    store: str,
    dry_run: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Ask the teacher for its answers to a balanced draw of the pool and to the human-labelled texts.

    Answers are kept as they arrive: an answer that the store has is never asked for again, and a run that was killed
    or whose budget was spent goes on where it stopped. What it will cost is said before anything is spent. The teacher
    is tried on human-labelled test texts first, and a hopeless one ends the step there. Where train.stages is "people"
    nobody is asked, and both outputs are empty.

    Args:
        card: snapshot of the task card.
        pool: texts that may be used for training.
        gold: human labels; texts of train and validation are judged too, for the audit.
        test: human labels of the test split; its texts are judged apart.
        judgements: the teacher's answers to the draw, and to train and validation.
        test_judgements: the teacher's answers to the test texts, for evaluate alone.
        store: folder or s3://bucket/prefix that keeps the answers.
        dry_run: only say what asking will take; the outputs hold what the store already has.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics texts, asked, from_store, failed, without_probabilities (answers whose probabilities the server did not
        give though it was asked), cut_prompts (texts that the server seems to have cut before it read them),
        answers_schema, answers_json and answers_plain (how they were asked for and came), answers_estimated (whose
        tokens the server did not count, so that they and their cost are estimated), cost_usd,
        prompt_tokens, completion_tokens, left_the_house (texts of these that were ever sent to a server outside of the
        house), positive_share (of the pool, estimated by the draw's weights) with its interval, positive_share_low and
        positive_share_high (where no label is looked for, commonest_share and labels_given instead, and
        labels_per_text where a text may have several); a
        dry run gives estimated tokens and dollars instead. Parameters judge, is_rehearsal, budget_spent.

    Raises:
        BadInput: no server, no key or a wrong one; nothing was spent.
        TeacherError: the teacher's answers are of no use, or too few.
        BudgetSpent: the budget ended before `min_answers` texts of the draw had an answer.
        HopelessTeacher: it is certainly no better than chance, or worse than what costs nothing (`stop_hopeless`).
    """
    task = load_card(card)
    settings = task.settings(overrides)
    config = settings.of(LabelConfig)
    keep = prepare_store(store)
    if settings.value("train.stages") == "people":  # who learns from no teacher
        return unasked.leave(task, keep, human_labels(gold, test), judgements, test_judgements)
    ask = partial(texts_to_ask, task, config, pool, gold, test, tombstones.read(keep))
    with open_teacher(task, keep, settings.of(TeacherConfig), is_dry_run=dry_run) as teacher:
        drawn, wanted, held_out = ask(teacher.steady)
        estimate = teacher.estimate(held_out) + teacher.estimate(wanted)
        if teacher.identity.prompt.shortened:
            say(f"label: {teacher.identity.prompt.shortened}")
        _tell_redacted(teacher, pl.concat([held_out, wanted], how="diagonal"), is_dry_run=dry_run)
        if dry_run:
            known = _weighed(teacher, gold, (held_out, teacher.stored(held_out)), (wanted, teacher.stored(wanted)))
            _write(*known, drawn, test_judgements, judgements)
            _tell_where(teacher.sent(held_out, wanted), test_judgements, judgements)
            return _dry_result(estimate, teacher, task)
        say(f"label: {_forecast(estimate)}, {_money(teacher, task)} spent so far; {place_of(task.teacher).words}.")
        _require_budget(teacher, task, config, held_out, wanted, drawn)
        for_test = trial.judge(teacher, held_out, test, task, config)
        first = _first_answers(teacher, drawn)
        if first.asked:
            drawn, wanted, _ = ask(teacher.steady)
        say(f"label: {sampler.words_of(task, config, drawn)}.")
        for_training = teacher.judge(wanted).after(first)
        for_test, for_training = _weighed(teacher, gold, (held_out, for_test), (wanted, for_training))
        _write(for_test, for_training, drawn, test_judgements, judgements)
        sent = _tell_where(teacher.sent(held_out, wanted), test_judgements, judgements)
        estimated = for_test.estimated + for_training.estimated
        spent = _spent(teacher, task, [held_out, wanted], human_labels(gold, test), estimated)
        write_spent(test_judgements, _timed(spent, keep, task))
        _require_enough(for_training, drawn, config, teacher, task)
        return _result(for_test + for_training, _Shares.of(for_training.table, drawn, task), teacher, task, sent)


@dataclass(frozen=True, slots=True)
class _Shares:
    """Shares of the pool that the teacher gives each label, and the interval of the one that is looked for, if any."""

    all: Floats
    positive: Interval | None

    @classmethod
    def of(cls, judgements: pl.DataFrame, drawn: pl.DataFrame, card: Card) -> "_Shares":
        space = LabelSpace.of(card)
        own = space.positive_index
        positive = None if own is None else rules.share_interval(judgements, drawn, space, own)
        return cls(rules.label_shares(judgements, drawn, space), positive)


def _first_answers(teacher: Teacher, drawn: pl.DataFrame) -> Judged:
    """Ask for the first set, by whose answers the rest is drawn, where there is one."""
    first = drawn.filter(pl.col("stratum") == sampler.FIRST)
    if first.is_empty():
        return Judged(tables.empty(tables.Judgements))
    return teacher.judge(first, "label: first texts judged", is_part=True)


def _weighed(
    teacher: Teacher, gold: Path, held_out: tuple[pl.DataFrame, Judged], wanted: tuple[pl.DataFrame, Judged]
) -> tuple[Judged, Judged]:
    """Weigh the wordings of a prompt bank by the human labels of train and validation, and combine its answers so.

    Args:
        teacher: whose answers stay as they are where it is asked in one way.
        gold: human labels of train and validation.
        held_out: texts of the test split, and the answers to them.
        wanted: texts for training, likewise.
    """
    if not isinstance(teacher, Bank):
        return held_out[1], wanted[1]
    human = tables.read_gold(gold, "train", "validation").select("id", "label")
    found = teacher.weigh(wanted[0].join(human, on="id", how="inner", maintain_order="left"))
    say(f"label: wordings weigh {', '.join(f'{name} {weight:.2f}' for name, weight in found.items())}.")
    for_test, for_training = (replace(had, table=teacher.stored(texts).table) for texts, had in (held_out, wanted))
    return for_test, for_training


def _tell_redacted(teacher: Teacher, texts: pl.DataFrame, *, is_dry_run: bool) -> None:
    """Say in how many texts something is taken out before they are sent; a dry run shows some as they would be."""
    redaction = teacher.identity.prompt.redaction
    if not redaction:
        return
    shown, changed, hollow = redacted_examples(redaction, asked_of(texts), EXAMPLES if is_dry_run else 0)
    nothing_left = f"; in {count(hollow, 'text')} of them nothing is left" if hollow else ""
    say(f"label: {redaction.words} taken out of {changed:,} of {count(len(texts), 'text')}{nothing_left}.")
    for text in shown:
        say(f"label: sent as: {clipped(text, LONGEST_EXAMPLE)}")


def _write(
    for_test: Judged, for_training: Judged, drawn: pl.DataFrame, test_judgements: Path, judgements: Path
) -> None:
    tables.write(for_test.table, tables.Judgements, test_judgements)
    tables.write(rules.reweighed(for_training.table, drawn), tables.Judgements, judgements)


def _tell_where(sent: Sent, *folders: Path) -> Sent:
    """Leave for the audit and the report how many texts left the house, and where to."""
    for folder in folders:
        write_sent(folder, sent.as_record())
    return sent


def _spent(teacher: Teacher, card: Card, asked: list[pl.DataFrame], human_labels: int, estimated: int) -> Spent:
    """Return what was paid so far, and how long the answers took."""
    seconds = [each for texts in asked for each in teacher.seconds(texts)]
    is_rehearsal = teacher.identity.is_rehearsal
    spent_usd = round(teacher.spent_usd + sum(teacher.spent_on(each.role) for each in card.roles()), 6)
    return Spent.of(spent_usd, human_labels, seconds, is_rehearsal=is_rehearsal, estimated=estimated)


def _timed(spent: Spent, store: Store, card: Card) -> Spent:
    """Say how long people take for a label, as the store's lines have it."""
    seconds = labels.seconds_measured(store, card.name)
    return replace(spent, timed=len(seconds), label_s=labels.typical_s(seconds))


def _require_budget(
    teacher: Teacher, card: Card, config: LabelConfig, held_out: pl.DataFrame, wanted: pl.DataFrame, drawn: pl.DataFrame
) -> None:
    """Refuse a budget that cannot reach for the least that training needs, before any of it is spent."""
    least = wanted.head(len(wanted) - len(drawn) + min(config.min_answers, len(drawn)))
    needed = (teacher.estimate(held_out) + teacher.estimate(least)).cost_usd
    left = card.budget.teacher_usd - teacher.spent_usd
    if needed > left:
        raise BadInput(
            f"The budget must reach for the human-labelled texts and {config.min_answers:,} of the draw, about "
            f"{usd(needed)}, got {usd(max(left, 0.0))} left of {usd(card.budget.teacher_usd)} (budget.teacher_usd). "
            "Nothing was spent now: raise the budget, lower label.min_answers, or give fewer human labels."
        )


def _require_enough(judged: Judged, drawn: pl.DataFrame, config: LabelConfig, teacher: Teacher, card: Card) -> None:
    """Refuse to go on with next to nothing when the budget is spent."""
    answered = len(drawn.join(judged.table, on="id", how="semi"))
    least = min(config.min_answers, len(drawn))
    if judged.is_budget_spent and answered < least:
        raise BudgetSpent(
            f"The budget must reach for at least {count(least, 'text')} of the draw, got {answered:,} answered for "
            f"{_money(teacher, card)} (budget.teacher_usd). What was bought is kept: raise the budget and run again, "
            "or lower label.min_answers."
        )


def _result(judged: Judged, shares: _Shares, teacher: Teacher, card: Card, sent: Sent) -> Result:
    for reason in judged.reasons():
        say(f"label: no answer for {reason}.")
    notes = [f"{judged.from_store:,} from the store", *judged.remarks()]
    money = f"{_money(teacher, card)}{' (budget spent)' if judged.is_budget_spent else ''}"
    return Result(
        headline=f"{count(len(judged.table), 'text')} judged ({', '.join(notes)}), {money}, "
        f"{_shares_words(shares, LabelSpace.of(card))}; {went(sent.as_record())}{_stamp(teacher)}",
        metrics={
            "texts": len(judged.table),
            "asked": judged.asked,
            "from_store": judged.from_store,
            "failed": judged.failures,
            "without_probabilities": judged.without_probabilities,
            "cut_prompts": judged.cut_prompts,
            **{f"answers_{form}": judged.forms.get(form, 0) for form in FORMS},
            "answers_estimated": judged.estimated,
            "cost_usd": round(judged.cost_usd, 6),
            "prompt_tokens": judged.prompt_tokens,
            "completion_tokens": judged.completion_tokens,
            "left_the_house": sum(sent.left.values()),
            **_share_metrics(shares, LabelSpace.of(card)),
        },
        parameters=_parameters(teacher, is_budget_spent=judged.is_budget_spent),
    )


def _shares_words(shares: _Shares, space: LabelSpace) -> str:
    """Say how large a part of the pool the label has that is looked for, else the commonest one."""
    if shares.positive is not None:
        span = percent_interval(shares.positive.low, shares.positive.high)
        return f"about {percent(shares.positive.value)} of the pool ({span}) {clipped(space.positive or '')}"
    commonest = int(shares.all.argmax())
    several = f", {shares.all.sum():.1f} labels a text" if space.is_many else ""
    return (
        f"{(shares.all > 0).sum()} of {count(len(space), 'label')} given, the commonest '"
        f"{clipped(space.names[commonest])}' to about {percent(shares.all[commonest])} of the pool{several}"
    )


def _share_metrics(shares: _Shares, space: LabelSpace) -> dict[str, float]:
    """Return the shares that stay comparable from run to run: names of labels are free text, and may be hundreds."""
    if shares.positive is not None:
        own = shares.positive
        figures = {"positive_share": own.value, "positive_share_low": own.low, "positive_share_high": own.high}
        return defined(figures)
    several = {"labels_per_text": float(shares.all.sum())} if space.is_many else {}
    return {"commonest_share": float(shares.all.max()), "labels_given": int((shares.all > 0).sum()), **several}


def _dry_result(estimate: Estimate, teacher: Teacher, card: Card) -> Result:
    if teacher.identity.absence:
        say(f"label: priced as if every answer must be bought. {teacher.identity.absence}")
    return Result(
        headline=f"dry run: {_forecast(estimate)}, {_money(teacher, card)} spent so far{_stamp(teacher)}; "
        f"{card.teacher.price_words}; {place_of(card.teacher).words}",
        metrics={
            "texts": estimate.texts,
            "from_store": estimate.answered,
            "estimated_prompt_tokens": estimate.prompt_tokens,
            "estimated_completion_tokens": estimate.completion_tokens,
            "estimated_cost_usd": round(estimate.cost_usd, 6),
        },
        parameters=_parameters(teacher, is_budget_spent=False),
    )


def _parameters(teacher: Teacher, *, is_budget_spent: bool) -> dict[str, str | bool]:
    identity = teacher.identity
    return {"judge": identity.name, "is_rehearsal": identity.is_rehearsal, "budget_spent": is_budget_spent}


def _forecast(estimate: Estimate) -> str:
    """Say what remains to be asked and what it will cost.

    Example: "1,240 of 1,550 texts to ask (310 answered), about 612,000 prompt and 7,440 completion tokens, $0.43".
    """
    return (
        f"{estimate.words}, about {estimate.prompt_tokens:,} prompt and {estimate.completion_tokens:,} completion "
        f"tokens, {usd(estimate.cost_usd)}"
    )


def _money(teacher: Teacher, card: Card) -> str:
    return f"{usd(teacher.spent_usd)} of {usd(card.budget.teacher_usd)}"


def _stamp(teacher: Teacher) -> str:
    return " [rehearsal]" if teacher.identity.is_rehearsal else ""
