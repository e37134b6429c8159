"""Check a label design, and judge whether the task needs a student: before any money, or with a small paid sample."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from understudy.data import sources
from understudy.errors import BadData, BadInput
from understudy.progress import say
from understudy.review import design
from understudy.review.labelled import Labelled
from understudy.stats import metrics
from understudy.stats.draw import lot
from understudy.stats.metrics import Codes, Figure, Floats, Groups
from understudy.stats.paired import Paired
from understudy.steps.evaluate import costs, gates
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.store import tombstones
from understudy.store.storage import Store
from understudy.task import measures
from understudy.task.baselines import simple_answers
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.sections import ColumnsConfig, TeacherConfig
from understudy.teacher import verdict, worth
from understudy.teacher.estimate import usd_an_answer
from understudy.teacher.labeller import open_teacher
from understudy.teacher.verdict import Goal, Prices
from understudy.text import figures, numbers

# of a student, until its own speed is measured: the slowest of docs/speed.md, whole reviews by DeBERTa-v3-small
TEXTS_PER_SECOND = 65.0
USUAL_WORDS = 20  # of a text, for the teacher's price where no text is there
SEED = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """What a teacher answered to human-labelled texts.

    Attributes:
        table: columns id, text, group, label, teacher_label and cost_usd (null where it is unknown).
        is_rehearsal: the answers are a rehearsal's.
        notes: what was asked and spent now.
    """

    table: pl.DataFrame
    is_rehearsal: bool
    notes: tuple[str, ...] = ()


def check(
    card: Card, labelled: Labelled | None, compared: pl.DataFrame | None, store: Store | None, ask: int
) -> dict[str, Any]:
    """Check the design by people's labels, and give the verdict as far as there are answers: the page's record.

    Args:
        card: the task.
        labelled: people's votes.
        compared: people's labels beside a teacher's and a student's, of `read_compared`.
        store: that holds the teacher's answers; texts that somebody asked it to forget are left out.
        ask: of how many labelled texts the teacher is asked, within the card's budget; 0 asks nothing.
    """
    if labelled is not None and store is not None:
        labelled = labelled.without(tombstones.read(store))
    found = {} if labelled is None else {"design": design.check(card, labelled.votes), "left_out": labelled.notes}
    answers = None if labelled is None or store is None else answered(card, labelled.votes, store, ask)
    priced, arithmetic = prices(card, labelled, answers)
    record: dict[str, Any] = {
        "format": 1,
        "card": card.name,
        **found,
        "costs": verdict.cost_table(priced),
        "cost_sentences": arithmetic,
    }
    if compared is not None:
        record |= _beside(card, compared, priced)
    elif answers is not None and len(answers.table):
        record |= _alone(card, answers, priced)
    return record


def read_compared(address: str, card: Card) -> pl.DataFrame:
    """Read what two judges said of the same texts: columns label (people's), teacher, student and group.

    A text whose cell of `group` is empty, or whose file has none, is a group of its own; groups are numbers.

    Raises:
        BadData: the file cannot be read, a cell is no label of the card, or an id stands in several rows.
    """
    space, names = LabelSpace.of(card), ("label", "teacher", "student")
    called = {
        name: own for name, own in card.settings().of(ColumnsConfig).called.items() if name in {"label", "id", "group"}
    }
    with sources.opened(address, names, ["id", "group"], names if space.is_many else [], called=called) as source:
        table, refused = source.read(filled=names)
    said = {name: space.of_cells(table[name].to_list()) for name in names}
    wrong = [cell for name in names for cell, known in zip(table[name], said[name], strict=True) if known is None]
    if wrong or refused or not len(table):
        why = space.no_label(wrong[0]) if wrong else refused[0].detail if refused else "no row"
        raise BadData(
            f"A comparison must have a label of the card in each cell of {', '.join(names)}, got {why} ({address}). "
            "Mend the file."
        )
    _require_each_text_once(table, address)
    own = pl.len() + pl.int_range(pl.len())  # beyond all ranks
    group = pl.coalesce(pl.col("group").rank("dense"), own) if "group" in table.columns else own
    cells = [pl.Series(name, cells, pl.String) for name, cells in said.items()]
    return table.with_columns(*cells, group=group.cast(pl.Int64)).select(*names, "group")


def _require_each_text_once(table: pl.DataFrame, address: str) -> None:
    """Refuse ids that repeat: a text would be counted as several that tell the same."""
    twice = int(table["id"].drop_nulls().is_duplicated().sum()) if "id" in table.columns else 0
    if twice:
        raise BadData(
            f"A comparison must have each text once, got {numbers.count(twice, 'row')} that share an id ({address}). "
            "Leave one row of each id."
        )


def answered(card: Card, votes: pl.DataFrame, store: Store, ask: int) -> Answers:
    """Return the teacher's answers to human-labelled texts that the store has, and those to `ask` of them, by lot.

    Raises:
        BadInput: the card shows the teacher the turns before a text, which a labels file does not have.
    """
    if card.context is not None:
        raise BadInput(
            "A card of which the teacher is asked here must have no context, got one (context). Run a training: its "
            "step label tries the teacher on the test texts, with the turns before them."
        )
    groups = votes.group_by("id").agg(pl.col("group").drop_nulls().first())
    texts = design.majority(votes).drop_nulls("text").join(groups, on="id", how="left", maintain_order="left")
    lots = pl.Series([lot(SEED, "design", name) for name in texts["id"]], dtype=pl.String)
    texts = texts.with_columns(pl.coalesce("group", "id"), weight=pl.lit(1.0), lot=lots).sort("lot")
    with open_teacher(card, store, card.settings().of(TeacherConfig), is_dry_run=not ask) as teacher:
        notes: tuple[str, ...] = ()
        if ask:
            wanted = texts.head(ask)
            estimate = teacher.estimate(wanted)
            say(f"design: {estimate.words}, about {numbers.usd(estimate.cost_usd)}.")
            judged = teacher.judge(wanted, "design: texts judged")
            spent = " (budget spent)" if judged.is_budget_spent else ""
            asked = f"{numbers.count(judged.asked, 'text')} asked now, {numbers.usd(judged.cost_usd)}{spent}"
            notes = (asked, *judged.remarks())
        known = teacher.stored(texts).table.select("id", "cost_usd", "is_rehearsal", teacher_label="label")
    table = texts.join(known, on="id", how="inner").sort("id")
    return Answers(table, bool(table["is_rehearsal"].any()), notes)


def prices(card: Card, labelled: Labelled | None, answers: Answers | None) -> tuple[Prices, list[str]]:
    """Work out what a text costs by teacher and student, with the arithmetic in sentences."""
    settings = card.settings()
    config = settings.of(EvaluateConfig)
    known = [] if answers is None else answers.table["cost_usd"].drop_nulls().to_list()
    if answers is not None and known:
        each = math.fsum(known) / len(known)
        kind = "a rehearsal's answers at the card's prices" if answers.is_rehearsal else "the answers that were bought"
        priced = f"a mean of {numbers.usd_each(each)} a text over {len(known):,} of {kind}"
    else:
        each = _estimated_usd(card, labelled)
        priced = costs.estimated(numbers.usd_each(each))
    basis = costs.Basis(TEXTS_PER_SECOND, each * 1000, sampling=costs.sampling_of(settings))
    found = costs.costs(card, config, basis)
    *student, _, _ = costs.arithmetic(found, card, config, basis, 0, is_rehearsal=False)
    month = numbers.count(card.texts_per_month, "text")
    teacher = f"Teacher: {priced}; {month} a month cost {numbers.usd(found.teacher_month_usd)}."
    fixed = found.student_month_usd - found.student_running_usd
    return Prices(card.texts_per_month, each, found.student_per_1k_usd / 1000, fixed), [*student, teacher]


def _estimated_usd(card: Card, labelled: Labelled | None) -> float:
    """Estimate the price of an answer from labelled texts, or from one of usual length."""
    known = [] if labelled is None else labelled.votes["text"].drop_nulls().unique(maintain_order=True).to_list()
    return usd_an_answer(card, known or ["words " * USUAL_WORDS])


def _alone(card: Card, answers: Answers, priced: Prices) -> dict[str, Any]:
    """Judge by the teacher alone."""
    space, table = LabelSpace.of(card), answers.table
    truth, given = space.codes(table["label"]), space.codes(table["teacher_label"])
    groups = table["group"].to_numpy()
    rivals = simple_answers(card, table["text"].to_list(), truth)
    found = worth.measure(truth, given, groups, rivals, space)
    goals = reached(card, truth, given, groups)
    return {
        "verdict": verdict.alone(found, goals, priced, is_many=space.is_many).as_record(),
        "judges": ["teacher"],
        "is_rehearsal": answers.is_rehearsal,
        "asked": answers.notes,
        "goals": verdict.goals_record(goals),
        "mistaken": mistaken(table, space),
    }


def _beside(card: Card, table: pl.DataFrame, priced: Prices) -> dict[str, Any]:
    """Judge by a teacher and a student on the same texts."""
    space = LabelSpace.of(card)
    truth, teacher, student = (space.codes(table[name]) for name in ("label", "teacher", "student"))
    groups = table["group"].to_numpy()
    found = Paired.of(metrics.is_right(truth, teacher), metrics.is_right(truth, student), groups)
    goals = reached(card, truth, student, groups)
    return {
        "verdict": verdict.beside(found, goals, priced).as_record(),
        "judges": ["teacher", "student"],
        "is_rehearsal": False,
        "asked": (),
        "goals": verdict.goals_record(goals),
        "mistaken": [],
    }


def reached(card: Card, truth: Codes, given: Codes, groups: Groups) -> list[Goal]:
    """Measure what a judge reaches of the card's goals on labels given, with 95% intervals."""
    space = LabelSpace.of(card)
    goals = []
    for name, label, least in gates.asked(card.goals):
        title = figures.title(name, is_many=space.is_many)
        statistic = measures.statistics(space).get(name)
        if label is not None:
            title, statistic = f"{title} of '{label}'", partial(_of_label, measures.SIDED[name], space.index(label))
        if statistic is not None:
            goals.append(Goal(title, least, metrics.bootstrap(statistic, truth, given, groups=groups)))
    return goals


def _of_label(
    statistic: metrics.Statistic, label: int, truth: Codes, given: Codes, weights: Floats | None = None
) -> Figure:
    return statistic(metrics.of_label(truth, label), metrics.of_label(given, label), weights)


def mistaken(table: pl.DataFrame, space: LabelSpace, shown: int = 3) -> list[Mapping[str, Any]]:
    """Count what the teacher takes for what, the commonest first, with some of the texts."""
    wrong = table.filter(pl.col("label") != pl.col("teacher_label"))
    pairs = wrong.group_by("label", "teacher_label").agg(pl.len().alias("texts"), pl.col("text").head(shown))
    rows = pairs.sort("texts", "label", "teacher_label", descending=[True, False, False]).iter_rows()
    return [
        {"label": space.words(label), "given": space.words(given), "texts": texts, "shown": some}
        for label, given, texts, some in rows
    ]
