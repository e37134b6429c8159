"""The step train: files in, files out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from understudy import records
from understudy.errors import BadArtifact
from understudy.shell import In, Out, Result
from understudy.steps.train import core
from understudy.steps.train.config import TrainConfig
from understudy.storage import Store, open_store
from understudy.task import Card, load_card, load_config


def run(
    card: In, pool: In, gold: In, judgements: In, audit: In, student: Out, store: str, overrides: str = ""
) -> Result:
    """Train one student from soft teacher labels and human labels.

    The validation split decides which epoch is kept and when to stop. Progress is kept in the store: a training that
    was killed goes on from its last checkpoint and ends with the same weights.

    Args:
        card: snapshot of the task card.
        pool: texts that may be used for training.
        gold: human labels; train is learned from, validation decides when to stop.
        judgements: the teacher's answers.
        audit: what the audit measured of the teacher; corrects its answers where it is biased.
        student: the trained model in safetensors, with its tokenizer.
        store: folder or s3:// that keeps checkpoints.
        overrides: key=value lines that change settings for this run.

    Returns:
        metrics average_precision (validation), best_epoch, updates, texts, human_texts.

    Raises:
        TooFewLabels: there is too little to learn from.
        BadArtifact: a training text stands in the test split.
    """
    task = load_card(card)
    config: TrainConfig = load_config("train", task, overrides)
    judged = records.read(judgements, records.Judgements)
    table = _training_table(task, pool, gold, judged, audit, config)
    validation = records.read_gold(gold, "validation")
    key = _training_key(table, validation, task, config)
    about = _about(task, config, table, is_rehearsal=bool(judged["is_rehearsal"].any()))
    learned = _train(task, table, validation, config, student, about, open_store(store), key)
    human = int((table["weight"] != 1.0).sum())
    return Result(
        headline=f"{task.student} on {len(table):,} texts ({human} by people), "
        f"validation AP {learned['average_precision']:.3f} after epoch {learned['best_epoch']}",
        metrics={**learned, "texts": len(table), "human_texts": human},
        parameters={"student": task.student},
    )


def _training_table(
    task: Card, pool: Path, gold: Path, judgements: pl.DataFrame, audit: Path, config: TrainConfig
) -> pl.DataFrame:
    table = core.training_table(
        pool=records.read(pool, records.Texts),
        gold=records.read_gold(gold, "train"),
        judgements=judgements,
        audit=_read_audit(audit),
        card=task,
        human_weight=config.human_weight,
    )
    core.require_fenced(table, records.read(gold, records.Firewall))
    return table


def _read_audit(audit: Path) -> dict[str, Any]:
    path = audit / "audit.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadArtifact(f"An audit must have a readable audit.json, got {error} ({path}).") from error
    return content


def _training_key(table: pl.DataFrame, validation: pl.DataFrame, task: Card, config: TrainConfig) -> str:
    """Name a training by all that decides its outcome, so that a checkpoint is never taken up by another one."""
    parts = [table.write_json(), validation.write_json(), repr(config), task.student, ",".join(task.label_names)]
    return f"{task.name}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"


def _train(
    task: Card,
    table: pl.DataFrame,
    validation: pl.DataFrame,
    config: TrainConfig,
    folder: Path,
    about: dict[str, Any],
    store: Store,
    key: str,
) -> dict[str, float]:
    from understudy import student
    from understudy.progress import track
    from understudy.steps.train import checkpoints, learn

    device = learn.make_deterministic(config.seed)
    model, tokenizer = student.load(task.student, task.label_names)
    learner = learn.Learner(
        model,
        tokenizer.pad_token_id,
        learn.Examples(*_examples(tokenizer, table, task, config)),
        _validation(tokenizer, validation, task, config),
        config,
        config.learning_rate or student.learning_rate_of(task.student),
        device,
    )
    if (kept := checkpoints.read_latest(store, key)) is not None:
        learner.resume(kept)
    with track(learner.updates, "train: updates") as progress:
        progress.advance(learner.position.update)
        learned = learner.run(
            keep=lambda checkpoint: checkpoints.write(store, key, checkpoint),
            tell=lambda position, loss: progress.advance(1, f"epoch {position.epoch + 1}, loss {loss:.3f}"),
        )
    student.save(learner.model.cpu(), tokenizer, about, folder)
    checkpoints.remove(store, key)
    return {
        "average_precision": learned.best_score,
        "best_epoch": learned.best_epoch + 1,
        "updates": learned.updates,
        "resumed_at": kept.position.update if kept else 0,
    }


def _examples(tokenizer: Any, table: pl.DataFrame, task: Card, config: TrainConfig) -> tuple[Any, Any, Any]:
    import torch

    from understudy.student import tokens_of

    positive = torch.tensor(table["target"].to_numpy(), dtype=torch.float32)
    columns = [positive if name == task.positive_label else 1 - positive for name in task.label_names]
    weights = torch.tensor(table["weight"].to_numpy(), dtype=torch.float32)
    return tokens_of(tokenizer, table["text"].to_list(), config.max_length), torch.stack(columns, dim=1), weights


def _validation(tokenizer: Any, validation: pl.DataFrame, task: Card, config: TrainConfig) -> Any:
    from understudy.steps.train.learn import Validation
    from understudy.student import tokens_of

    is_positive = (validation["label"] == task.positive_label).to_numpy()
    tokens = tokens_of(tokenizer, validation["text"].to_list(), config.max_length)
    return Validation(tokens, is_positive, task.positive_index)


def _about(task: Card, config: TrainConfig, table: pl.DataFrame, is_rehearsal: bool) -> dict[str, Any]:
    return {
        "student": task.student,
        "labels": list(task.label_names),
        "positive_label": task.positive_label,
        "max_length": config.max_length,
        "texts": len(table),
        "is_rehearsal": is_rehearsal,
    }
