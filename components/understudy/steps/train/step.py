"""Run the step train: train one student from teacher and human labels."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from understudy import __version__
from understudy.model.engine import Integers
from understudy.progress import say, track
from understudy.runtime.machine import ACCELERATOR
from understudy.runtime.shell import In, Out, Result
from understudy.steps.train import legibility, rules, stages
from understudy.steps.train.config import TrainConfig
from understudy.store import codecs, tables
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.text.numbers import count
from understudy.text.seen import seen_of

if TYPE_CHECKING:
    from understudy.steps.train.learn import Learner


def run(
    card: In,
    pool: In,
    gold: In,
    judgements: In,
    audit: In,
    student: Out,
    store: str,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Train one student from soft teacher labels and human labels.

    The validation split decides which epoch is kept and when to stop. Progress is kept in the store: a training that
    was killed goes on from its last checkpoint and ends with the same weights. What came out stays there until the
    card's next training begins: where the student was lost on its way, the step gives it again without training.

    Args:
        card: snapshot of the task card.
        pool: texts that may be used for training.
        gold: human labels; train is learned from, validation decides when to stop.
        judgements: the teacher's answers.
        audit: what the audit measured of the teacher; corrects its answers where it is biased.
        student: the trained model in safetensors, with its tokenizer.
        store: folder or s3:// that keeps checkpoints.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics average_precision (validation; the mean over the labels where none is looked for), best_epoch,
        updates, seconds (of training, over all attempts), resumed_at (0 from the start), texts, human_texts,
        unread_share (of the texts' letters and signs, those that are unknown to the student's vocabulary or broken up
        by it). Parameters student, seconds.

    Raises:
        TooFewLabels: there is too little to learn from.
        BadSetting: the student reads too little of the texts, or cannot train where it was asked to.
        BadArtifact: a training text stands in the test split.
    """
    task = load_card(card)
    config = task.settings(overrides).of(TrainConfig)
    lesson = _lesson(task, config, pool, gold, judgements, audit)
    learned = _learn(lesson, task, config, prepare_store(store), student)
    return Result(
        headline=f"{task.student} on {len(lesson.table):,} texts ({lesson.human_texts} by people), "
        f"validation AP {learned['average_precision']:.3f} after epoch {learned['best_epoch']}",
        metrics={**learned, "texts": len(lesson.table), "human_texts": lesson.human_texts},
        parameters={"student": task.student, "seconds": learned["seconds"]},
    )


@dataclass(frozen=True, slots=True)
class Lesson:
    """All that a student learns from.

    Attributes:
        table: columns id, group, text, target, weight and is_human.
        validation: human labels that decide when to stop.
        human_texts: how many of the table's texts people labelled.
        is_rehearsal: whether a rehearsal teacher had a part in it.
    """

    table: pl.DataFrame
    validation: pl.DataFrame
    human_texts: int
    is_rehearsal: bool


def _lesson(task: Card, config: TrainConfig, pool: Path, gold: Path, judgements: Path, audit: Path) -> Lesson:
    human = tables.read_gold(gold, "train")
    judged = tables.read(judgements, tables.Judgements)
    if not config.learns_from_teacher:
        judged = judged.clear()
    found = codecs.read_document(audit / "audit.json", "audit")
    table = rules.training_table(tables.read(pool, tables.Texts), human, judged, found, task, config.human_weight)
    rules.require_no_leakage(table, tables.read(gold, tables.LeakageGuard))
    is_rehearsal = bool(judged["is_rehearsal"].any())
    return Lesson(table, tables.read_gold(gold, "validation"), len(human), is_rehearsal)


def _learn(lesson: Lesson, task: Card, config: TrainConfig, store: Store, folder: Path) -> dict[str, float]:
    """Train, from a checkpoint when the store has one of this very training, and write the student."""
    from understudy.model import student
    from understudy.steps.train import checkpoints

    training = checkpoints.Training(task.name, _training(lesson, task, config))
    checkpoints.remove_ended(store, besides=training)
    learner, tokenizer, unread_share = _learner(lesson, task, config)
    if (kept := checkpoints.read_latest(store, training)) is not None:
        learner.resume(kept)
    with track(learner.updates, "train: updates") as progress:
        progress.advance(learner.position.update, is_kept=True)
        learned = learner.run(
            keep=lambda checkpoint: checkpoints.write(store, training, checkpoint),
            tell=lambda position, loss: progress.advance(1, f"epoch {position.epoch + 1}, loss {loss:.3f}"),
        )
    if kept is None or not kept.has_ended:
        checkpoints.write(store, training, learner.checkpoint())
    about = _about(lesson, task, rules.longest(tokenizer, config)) | {"weights": student.weights_hash(task.student)}
    student.save(learner.model.cpu(), tokenizer, about, folder)
    (folder / student.LEARNED_FILE).write_bytes(codecs.as_parquet(lesson.table.select("id").sort("id")))
    return {
        "average_precision": learned.best_score,
        "best_epoch": learned.best_epoch + 1,
        "updates": learned.updates,
        "seconds": round(learner.position.seconds, 3),
        "resumed_at": kept.position.update if kept else 0,
        "unread_share": unread_share,
    }


def _training(lesson: Lesson, task: Card, config: TrainConfig) -> str:
    """Name a training by all that decides its outcome, so that a checkpoint is never taken up by another one.

    The release is a part of it: another one may train otherwise.
    """
    tables = (lesson.table.write_json(), lesson.validation.write_json())
    labels = repr((task.label_names, task.positive_label, *(["many"] if task.is_many else [])))
    parts = [*tables, __version__, repr(config), task.student, labels]
    return hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]


def _learner(lesson: Lesson, task: Card, config: TrainConfig) -> tuple["Learner", Any, float]:
    """Make a learner; return it with its student's tokenizer, and the share of the texts that this does not read."""
    import torch

    from understudy.model import student
    from understudy.steps.train import device
    from understudy.steps.train.learn import Examples, Learner, Validation, make_deterministic

    make_deterministic(config.seed)
    place = device.chosen(config.device, os.environ.get(ACCELERATOR))
    model, tokenizer = student.load(task.student, task.label_names, is_many=task.is_many)
    unread_share = _unread_share(tokenizer, lesson, task, config)
    longest = rules.longest(tokenizer, config)
    tokens, checked = (
        student.tokens_of(tokenizer, seen_of(table).to_list(), longest) for table in (lesson.table, lesson.validation)
    )
    targets = torch.tensor(rules.targets_of(lesson.table), dtype=torch.float32)
    weights = torch.tensor(lesson.table["weight"].to_numpy(), dtype=torch.float32)
    space = LabelSpace.of(task)
    validation = Validation(checked, space.codes(lesson.validation["label"]), space)
    rate = config.learning_rate or student.learning_rate_of(task.student)
    is_human = lesson.table["is_human"].to_numpy()
    suffice = rules.suffices(lesson.table.filter("is_human"), space)
    sessions = _sessions(lesson.table, config) if config.pairs == "session" else None
    planned = stages.plan(is_human, config, rate, people_suffice=suffice, sessions=sessions)
    examples = Examples(tokens, targets, weights)
    learner = Learner(model, tokenizer.pad_token_id, examples, planned, validation, config, place)
    return learner, tokenizer, unread_share


def _sessions(table: pl.DataFrame, config: TrainConfig) -> Integers:
    """Number the sessions of the texts, shape (texts,), and say how many pairs the teacher's hold.

    Raises:
        TooFewLabels: there are too few.
    """
    from understudy.steps.train import preference

    sessions = table["group"].rank("dense").to_numpy().astype(np.int64)
    is_taught = ~table["is_human"].to_numpy()
    scores = rules.targets_of(table)[is_taught]
    pairs = preference.require_pairs(scores, sessions[is_taught], config.pair_difference)
    say(f"train: {count(pairs, 'pair')} of the teacher's texts within a session come first.")
    return sessions


def _unread_share(tokenizer: Any, lesson: Lesson, task: Card, config: TrainConfig) -> float:
    """Say what of the texts the student does not read, and return which share that is.

    Raises:
        BadSetting: it is too large.
    """
    found = legibility.measure(tokenizer, seen_of(lesson.table))
    legibility.require_legible(found, task.student, config)
    for note in legibility.notes(found, task.student, config):
        say(f"train: {note}")
    return found.unread_share


def _about(lesson: Lesson, task: Card, longest: int) -> dict[str, Any]:
    return {
        "student": task.student,
        "labels": list(task.label_names),
        **({"labels_per_text": "many"} if task.is_many else {}),
        "positive_label": task.positive_label,
        "max_length": longest,
        "texts": len(lesson.table),
        "human_texts": lesson.human_texts,
        "is_rehearsal": lesson.is_rehearsal,
    }
