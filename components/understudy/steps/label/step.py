"""The step label: files in, files out, and the teacher between them."""

from pathlib import Path

import polars as pl

from understudy import records
from understudy.errors import BudgetSpent
from understudy.llm import Estimate, Judged, Teacher, open_teacher
from understudy.progress import say
from understudy.shell import In, Out, Result
from understudy.steps.label import core
from understudy.steps.label.config import LabelConfig
from understudy.storage import prepare_store
from understudy.task import Card, load_card, load_config
from understudy.text import weak_positive
from understudy.wording import count, percent, usd


def run(
    card: In,
    pool: In,
    gold: In,
    test: In,
    judgements: Out,
    test_judgements: Out,
    store: str,
    dry_run: bool = False,
    overrides: str = "",
) -> Result:
    """Ask the teacher for its answers to a balanced draw of the pool and to the human-labelled texts.

    Answers are kept as they arrive: an answer that the store has is never asked for again, and a run that was killed
    or whose budget was spent goes on where it stopped. What it will cost is said before anything is spent.

    Args:
        card: snapshot of the task card.
        pool: texts that may be used for training.
        gold: human labels; texts of train and validation are judged too, for the audit.
        test: human labels of the test split; its texts are judged apart.
        judgements: the teacher's answers to the draw, and to train and validation.
        test_judgements: the teacher's answers to the test texts, for evaluate alone.
        store: folder or s3://bucket/prefix that keeps the answers.
        dry_run: only say what asking will take; the outputs hold what the store already has.
        overrides: key=value lines that change settings for this run.

    Returns:
        metrics texts, asked, from_store, failed, cost_usd, prompt_tokens, completion_tokens, positive_share; a dry run
        gives estimated tokens and dollars instead. Parameters judge, is_rehearsal, budget_spent.

    Raises:
        BadInput: no server, no key or a wrong one; nothing was spent.
        TeacherError: the teacher's answers are of no use, or too few.
        BudgetSpent: the budget ended before `min_answers` texts of the draw had an answer.
    """
    task = load_card(card)
    config: LabelConfig = load_config("label", task, overrides)
    drawn, wanted, held_out = _texts(task, config, pool, gold, test)
    with open_teacher(task, prepare_store(store), config, is_dry_run=dry_run) as teacher:
        estimates = [teacher.estimate(held_out), teacher.estimate(wanted)]
        if dry_run:
            judged = [teacher.stored(held_out), teacher.stored(wanted)]
        else:
            say(f"label: {_forecast(estimates)}, {_money(teacher, task)} spent so far.")
            judged = [teacher.judge(held_out, "label: test texts judged"), teacher.judge(wanted)]
        _write(judged, drawn, test_judgements, judgements)
        if dry_run:
            return _dry_result(estimates, teacher, task)
        _require_enough(judged[1], drawn, config, teacher, task)
        return _result(judged, teacher, task)


def _texts(
    card: Card, config: LabelConfig, pool: Path, gold: Path, test: Path
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the draw, the texts for training in the order of asking, and the test texts."""
    human = records.read_gold(gold, "train", "validation")
    unlabelled = records.read(pool, records.Texts).join(human.select("id"), on="id", how="anti")
    drawn = core.draw(unlabelled, weak_positive(card, unlabelled["text"].to_list()), config)
    held_out = records.read_gold(test, "test").sort("id").select("id", "text", weight=pl.lit(1.0))
    return drawn, core.for_training(drawn, human), held_out


def _write(judged: list[Judged], drawn: pl.DataFrame, test_judgements: Path, judgements: Path) -> None:
    records.write(judged[0].table, records.Judgements, test_judgements)
    records.write(core.reweighed(judged[1].table, drawn), records.Judgements, judgements)


def _require_enough(judged: Judged, drawn: pl.DataFrame, config: LabelConfig, teacher: Teacher, card: Card) -> None:
    """Refuse to go on with next to nothing when the budget is spent."""
    answered = len(drawn.join(judged.table, on="id", how="semi"))
    least = min(config.min_answers, len(drawn))
    if judged.is_budget_spent and answered < least:
        raise BudgetSpent(
            f"The budget must reach for at least {count(least, 'text')} of the draw, got {answered:,} answered for "
            f"{_money(teacher, card)} (budget.teacher_usd). What was bought is kept: raise the budget and run again, or "
            "lower label.min_answers."
        )


def _result(judged: list[Judged], teacher: Teacher, card: Card) -> Result:
    rows = sum(len(part.table) for part in judged)
    from_store, failed = sum(part.from_store for part in judged), sum(part.failures for part in judged)
    positive_share = _positive_share(judged[1].table, card)
    is_budget_spent = any(part.is_budget_spent for part in judged)
    for part in judged:
        for reason, number in part.failed.items():
            say(f"label: no answer for {count(number, 'text')}: {reason}.")
    return Result(
        headline=f"{count(rows, 'text')} judged ({from_store:,} from the store{f', {failed:,} failed' if failed else ''}), "
        f"{_money(teacher, card)}{' (budget spent)' if is_budget_spent else ''}, "
        f"{percent(positive_share)} {card.positive_label}{_stamp(teacher)}",
        metrics={
            "texts": rows,
            "asked": sum(part.asked for part in judged),
            "from_store": from_store,
            "failed": failed,
            "cost_usd": round(sum(part.cost_usd for part in judged), 6),
            "prompt_tokens": sum(part.prompt_tokens for part in judged),
            "completion_tokens": sum(part.completion_tokens for part in judged),
            "positive_share": positive_share,
        },
        parameters=_parameters(teacher, is_budget_spent=is_budget_spent),
    )


def _dry_result(estimates: list[Estimate], teacher: Teacher, card: Card) -> Result:
    if teacher.seat.absence:
        say(f"label: priced as if every answer must be bought. {teacher.seat.absence}")
    return Result(
        headline=f"dry run: {_forecast(estimates)}, {_money(teacher, card)} spent so far{_stamp(teacher)}",
        metrics={
            "texts": sum(part.texts for part in estimates),
            "from_store": sum(part.answered for part in estimates),
            "estimated_prompt_tokens": sum(part.prompt_tokens for part in estimates),
            "estimated_completion_tokens": sum(part.completion_tokens for part in estimates),
            "estimated_cost_usd": round(sum(part.cost_usd for part in estimates), 6),
        },
        parameters=_parameters(teacher, is_budget_spent=False),
    )


def _parameters(teacher: Teacher, *, is_budget_spent: bool) -> dict[str, str | bool]:
    seat = teacher.seat
    return {"judge": seat.judge, "is_rehearsal": seat.is_rehearsal, "budget_spent": is_budget_spent}


def _forecast(estimates: list[Estimate]) -> str:
    """Say what remains to be asked and what it will cost.

    Example: "1,240 of 1,550 texts to ask (310 answered), about 612,000 prompt and 7,440 completion tokens, $0.43".
    """
    texts, answered = sum(part.texts for part in estimates), sum(part.answered for part in estimates)
    prompt_tokens, completion_tokens = (
        sum(part.prompt_tokens for part in estimates),
        sum(part.completion_tokens for part in estimates),
    )
    return (
        f"{texts - answered:,} of {count(texts, 'text')} to ask ({answered:,} answered), about {prompt_tokens:,} prompt "
        f"and {completion_tokens:,} completion tokens, {usd(sum(part.cost_usd for part in estimates))}"
    )


def _money(teacher: Teacher, card: Card) -> str:
    return f"{usd(teacher.spent_usd)} of {usd(card.budget.teacher_usd)}"


def _positive_share(table: pl.DataFrame, card: Card) -> float:
    return float((table["label"] == card.positive_label).sum()) / max(len(table), 1)


def _stamp(teacher: Teacher) -> str:
    return " [rehearsal]" if teacher.seat.is_rehearsal else ""
