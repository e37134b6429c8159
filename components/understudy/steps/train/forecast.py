"""Forecast how long a training takes, by a few updates on this machine."""

from typing import TYPE_CHECKING

import numpy as np

from understudy.runtime.forecasts import Forecast
from understudy.steps.train import rules
from understudy.steps.train.config import TrainConfig
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.text.numbers import count

if TYPE_CHECKING:
    import polars as pl


def forecast(card: Card, config: TrainConfig, texts: "pl.Series") -> Forecast:
    """Return what training on these texts takes, if validation does not end it before.

    Args:
        card: names the student and the labels.
        config: how the student learns.
        texts: as they are read, after their context where there is one.
    """
    if not len(texts):
        return Forecast("train", "no text to learn from")
    import torch

    from understudy.model import student
    from understudy.steps.train.learn import Examples, Learner, Validation, make_deterministic

    device = make_deterministic(config.seed)
    model, tokenizer = student.load(card.student, card.label_names, is_many=card.is_many)
    tokens = student.tokens_of(tokenizer, texts.to_list(), rules.longest(tokenizer, config))
    space = LabelSpace.of(card)
    targets = torch.full((len(tokens), len(space)), 1 / len(space))
    examples = Examples(tokens, targets, torch.ones(len(tokens)))
    nobody = Validation([], space.codes([]), space)
    learner = Learner(model, tokenizer.pad_token_id, examples, nobody, config, 1e-9, device)
    seconds = float(np.median(learner.time_updates()))
    updates = f"at most {count(learner.updates, 'update')} of {seconds:.2f} s on this machine now"
    return Forecast("train", f"{count(len(tokens), 'text')}, {updates}", seconds=seconds * learner.updates)
