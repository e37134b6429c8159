"""Run the step audit: test the teacher against people."""

from pathlib import Path
from typing import Any

import polars as pl

from understudy.reports import audit as markdown
from understudy.runtime.shell import In, Out, Result
from understudy.stats.metrics import Bools, defined
from understudy.steps.audit import rules, summary
from understudy.steps.audit.config import AuditConfig
from understudy.store import codecs, tables
from understudy.task.card import Card, load_card
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.task.slices import in_slice
from understudy.teacher.answers import teacher_answers
from understudy.text import numbers

AUDIT_FILE, PAGE_FILE = "audit.json", "audit.md"


def run(card: In, pool: In, gold: In, judgements: In, audit: Out, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Compare the teacher with people, by label and by slice, and say in words where it is biased.

    It looks at the human labels of the splits train and validation only, and not at answers to review queues: these
    texts were chosen because student and teacher disagree, so the teacher looks worse on them than it is.

    Args:
        card: snapshot of the task card.
        pool: texts that may be sent to people.
        gold: human labels.
        judgements: the teacher's answers.
        audit: audit.json, the same for people as audit.md, and queue.parquet with texts of biased slices to label.
        overrides: settings that this run changes, by section and name.
    """
    task = load_card(card)
    config = task.settings(overrides).of(AuditConfig)
    human = tables.read_gold(gold, "train", "validation").filter(pl.col("origin").cast(pl.String) == "labels")
    answers = teacher_answers(tables.read(judgements, tables.Judgements), task)
    judged = human.join(answers, on="id", how="inner").sort("id")
    slices = slices_of(task, judged)
    tests = rules.compare_slices(
        (judged["label"] == task.positive_label).to_numpy(), judged["teacher_is_positive"].to_numpy(), slices
    )
    found = {
        "format": 1,
        "card": task.name,
        "is_rehearsal": bool(judged["is_rehearsal"].any()),
        "human_texts": len(human),
        **summary.summarise(judged, slices, tests, _labels(task), config),
    }
    unlabelled = tables.read(pool, tables.Texts).join(tables.read(gold, tables.Gold), on="id", how="anti")
    queue = _queue(task, unlabelled.join(answers, on="id", how="inner"), tests, config)
    _write(audit, found, queue)
    return _result(found, len(queue))


def slices_of(card: Card, table: pl.DataFrame) -> dict[str, Bools]:
    """Find which rows belong to each slice of the card, each of shape (rows,)."""
    return {part.name: in_slice(part, table) for part in card.slices}


def _labels(card: Card) -> tuple[str, str]:
    other = next(name for name in card.label_names if name != card.positive_label)
    return card.positive_label, other


def _queue(card: Card, pool: pl.DataFrame, tests: list[rules.SliceTest], config: AuditConfig) -> pl.DataFrame:
    """Choose texts of the pool that people should label, for every bias that is proven."""
    proven = [test for test in tests if test.is_biased(config.alpha)]
    return rules.queue_for(pool, slices_of(card, pool), proven, config.queue_per_slice, config.seed)


def _write(folder: Path, found: dict[str, Any], queue: pl.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    codecs.write_document(folder / AUDIT_FILE, found)
    (folder / PAGE_FILE).write_text(markdown.page(found), encoding="utf-8")
    tables.write(queue, tables.AuditQueue, folder)


def _result(found: dict[str, Any], queued: int) -> Result:
    biases = [f"{part['direction']} '{part['name']}'" for part in found["slices"] if part["is_biased"]]
    positive = found["classes"][found["positive_label"]]
    figures = {
        "agreement": found["agreement"]["value"],
        "kappa": found["kappa"]["value"],
        "teacher_precision": positive["precision"]["value"],
        "teacher_recall": positive["recall"]["value"],
        "human_labelled_texts": found["texts"],
        "biased_slices": len(biases),
        "queued": queued,
    }
    verdict = f"the teacher {numbers.listed(biases)}" if biases else "no bias of the teacher shown"
    agreement = numbers.percent(found["agreement"]["value"])
    return Result(
        headline=f"{verdict}; it agrees with people on {agreement} of {numbers.count(found['texts'], 'text')}",
        metrics=defined({name: value for name, value in figures.items() if value is not None}),
    )
