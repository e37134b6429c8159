"""Train a MiniLM student for a benchmark, as the step train does."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from understudy.task.card import Card
from understudy.task.labels import LabelSpace


def student(folder: Path, task: Card, taught: pl.DataFrame, checked: pl.DataFrame) -> Path:
    """Train a student, unless it is there already.

    Args:
        folder: of the student.
        task: names the labels.
        taught: what it learns, columns id, text and label.
        checked: what decides when to stop, columns text and label.

    Returns:
        the folder.
    """
    if (folder / "student.json").is_file():
        return folder
    fresh = folder.with_name("training")
    shutil.rmtree(fresh, ignore_errors=True)
    _train(fresh, task, taught, checked)
    return fresh.rename(folder)


def _train(folder: Path, task: Card, taught: pl.DataFrame, checked: pl.DataFrame) -> None:
    import torch

    from understudy.model import student as students
    from understudy.steps.train import device, learn
    from understudy.steps.train.config import TrainConfig
    from understudy.steps.train.stages import Stage

    config = TrainConfig()
    learn.make_deterministic(config.seed)
    place = device.chosen(config.device, None)
    model, tokenizer = students.load("minilm", task.label_names)

    def tokens(table: pl.DataFrame) -> learn.Tokens:
        return students.tokens_of(tokenizer, table["text"].to_list(), config.max_length)

    space = LabelSpace.of(task)
    targets = torch.tensor(space.one_hot(space.codes(taught["label"])), dtype=torch.float32)
    examples = learn.Examples(tokens(taught), targets, torch.ones(len(taught)))
    validation = learn.Validation(tokens(checked), space.codes(checked["label"]), space)
    rate, pad = students.learning_rate_of("minilm"), tokenizer.pad_token_id
    stage = Stage("people", np.arange(len(taught)), config.epochs, rate)
    learner = learn.Learner(model, pad, examples, [stage], validation, config, place)
    learner.run(lambda _: None, lambda *_: None)
    about = {
        "student": "minilm",
        "labels": list(task.label_names),
        "positive_label": task.positive_label,
        "max_length": config.max_length,
        "texts": len(taught),
        "is_rehearsal": True,
    }
    students.save(learner.model.cpu(), tokenizer, about, folder)
    taught.select("id").write_parquet(folder / students.LEARNED_FILE)
