"""Say what a training will cost before anything is spent: each step that costs something forecasts its own part."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from understudy.model.architectures import told_language
from understudy.review import labels
from understudy.runtime import forecasts
from understudy.runtime.shell import execute
from understudy.steps.evaluate import needed
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.label.config import LabelConfig
from understudy.steps.label.forecast import forecast as of_label
from understudy.steps.label.reading import texts_to_ask
from understudy.steps.mine.forecast import forecast as of_mine
from understudy.steps.mine.rules import settings_of as mining
from understudy.steps.train.config import TrainConfig
from understudy.steps.train.forecast import forecast as of_train
from understudy.store import layout, tables, tombstones
from understudy.store.folder import FolderStore
from understudy.store.storage import Store, open_store
from understudy.task.card import Card, load_card
from understudy.task.sections import TeacherConfig
from understudy.task.settings import Overrides
from understudy.teacher.client import place_of
from understudy.teacher.labeller import Teacher, open_teacher
from understudy.text.language import language_of
from understudy.text.numbers import usd
from understudy.text.seen import seen_of

READ_BY_INGEST = (layout.CARDS, layout.SPLITS, layout.LABELS, layout.TOMBSTONES)
OUTPUTS = ("snapshot", "pool", "gold", "test", "refused")


def dry_run(arguments: Mapping[str, str]) -> list[str]:
    """Read and divide the texts beside the store, which stays as it is, and say what the training would cost.

    Args:
        arguments: of the training pipeline.

    Returns:
        lines to show: the headline of ingest, and those of `lines`.
    """
    store = open_store(arguments["store"])
    with tempfile.TemporaryDirectory(prefix="understudy-dry-run-") as beside:
        folder = Path(beside)
        own = FolderStore(folder / "store")
        for key in (key for family in READ_BY_INGEST for key, _ in family.listed(store)):
            own.put_if_absent(key, store.read(key))
        outputs = {name: folder / "ingest" / name for name in OUTPUTS}
        result = execute("ingest", {**arguments, **outputs, "store": str(folder / "store")})
        return [f"ingest: {result.headline}", *lines(folder / "ingest", store, arguments["overrides"])]


def lines(ingested: Path, store: Store, overrides: str) -> list[str]:
    """Say what follows after ingest: texts, tokens, dollars, minutes and people's hours, and where texts go.

    A line a step, one of their sum, one of what the test split can show, one of the teacher's prices and one of its
    place.

    Args:
        ingested: folder of what ingest wrote.
        store: keeps the teacher's answers: what it has costs nothing.
        overrides: step.key=value lines.
    """
    card = load_card(ingested / "snapshot")
    settings = card.settings(Overrides.parse(overrides))
    pool, gold, test = (ingested / name for name in ("pool", "gold", "test"))
    forgotten = tombstones.read(store)
    unseen = forgotten.without(tables.read(pool, tables.Texts))
    labelled = (tables.read(gold, tables.Gold), labels.read_all(store, card.name))
    with open_teacher(card, store, settings.of(TeacherConfig), is_dry_run=True) as teacher:
        drawn, wanted, held_out = texts_to_ask(
            card, settings.of(LabelConfig), pool, gold, test, forgotten, lambda texts: teacher.stored(texts).table
        )
        if settings.value("train.stages") == "people":  # who learns from no teacher
            drawn, wanted, held_out = drawn.clear(), wanted.clear(), held_out.clear()
        for known in (wanted, *labelled):
            unseen = unseen.join(known, on="id", how="anti")
        kinds = of_kinds(len(held_out), len(wanted) - len(drawn), len(drawn))
        asked = of_label(teacher, held_out, wanted)
        asked = replace(asked, words=f"{asked.words}: {kinds}")
        edited, left_usd = _of_editor(card, teacher), {"": max(card.budget.teacher_usd - teacher.spent_usd, 0.0)}
    miner = card.acting("oracle")
    with open_teacher(miner, store, settings.of(TeacherConfig), is_dry_run=True) as oracle:
        mined = of_mine(oracle, mining(settings, card), unseen, labels.seconds_measured(store, card.name))
        left_usd[miner.teacher.role] = max(miner.budget.teacher_usd - oracle.spent_usd, 0.0)
    checked, human = tables.read_gold(gold, "validation"), tables.read_gold(gold, "train")
    taught = wanted.join(checked, on="id", how="anti")  # the teacher is asked about those too, for the audit
    others = seen_of(taught.join(human, on="id", how="anti"))
    learned = pl.concat([others, seen_of(human)])
    trained = of_train(card, settings.of(TrainConfig), others, human)
    hourly_usd = card.prices.annotator_usd_per_hour
    left_usd |= {one.role: one.usd for one in edited}
    told = forecasts.lines([asked, *edited, trained, mined], left_usd, hourly_usd)
    language = language_of(learned.to_list()) or settings.of(IngestConfig).language
    roles = [f"{one.role}: {one.model}, {one.price_words}; {place_of(one).words}" for one in card.playing()]
    return [
        *told,
        *_unread(card, language),
        *_test_labels(card, test),
        f"prices: {card.teacher.price_words}",
        f"teacher: {place_of(card.teacher).words}",
        *roles,
    ]


def _unread(card: Card, language: str) -> list[str]:
    """Say that the student was not made for the language of the texts, where it was not."""
    unread = told_language(card.student, language)
    return [f"student: {unread}"] if unread else []


def _test_labels(card: Card, test: Path) -> list[str]:
    """Say what the human labels of the test split can show of the card's goal."""
    labels = tables.read_gold(test, "test")["label"]
    counts = dict(labels.value_counts().iter_rows())
    said = needed.beforehand(card, {name: count / len(labels) for name, count in counts.items()}, len(labels))
    return [f"test split: {said}"] if said else []


def _of_editor(card: Card, teacher: Teacher) -> list[forecasts.Forecast]:
    """Return what the step revise takes at most: which errors there are, the audit will say."""
    if card.models is None or card.models.editor is None:
        return []
    left_usd = max(card.models.editor.budget_usd - teacher.spent_on("editor"), 0.0)
    words = f"errors that the audit will find, within {usd(left_usd)} (models.editor.budget_usd)"
    return [forecasts.Forecast("revise", words, usd=left_usd, role="editor")]


def of_kinds(test: int, human: int, drawn: int) -> str:
    """Say of which kinds the texts are that the teacher is asked about: label.texts counts the last alone.

    >>> of_kinds(280, 265, 250)
    '280 of the test split, 265 of train and validation, 250 drawn from the others (label.texts)'
    """
    return (
        f"{test:,} of the test split, {human:,} of train and validation, {drawn:,} drawn from the others (label.texts)"
    )
