"""Forecast how long a training takes, by a few updates on this machine."""

import os

import numpy as np
import polars as pl

from understudy.runtime.forecasts import Forecast
from understudy.runtime.machine import ACCELERATOR
from understudy.steps.train import legibility, rules, stages
from understudy.steps.train.config import TrainConfig
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.text.numbers import count
from understudy.text.seen import seen_of


def forecast(card: Card, config: TrainConfig, taught: pl.Series, human: pl.DataFrame) -> Forecast:
    """Return what training on these texts takes, if validation ends no stage, and what of them is not read.

    Args:
        card: names the student and the labels.
        config: how the student learns.
        taught: texts that the teacher alone labels, as they are read, after their context where there is one.
        human: human labels to learn, as `tables.Gold`.

    Raises:
        BadSetting: the student reads too little of the texts, or cannot train where it was asked to.
    """
    texts = pl.concat([taught, seen_of(human)])
    if not len(texts):
        return Forecast("train", "no text to learn from")
    import torch

    from understudy.model import student
    from understudy.steps.train import device
    from understudy.steps.train.learn import Examples, Learner, Validation, make_deterministic

    make_deterministic(config.seed)
    place = device.chosen(config.device, os.environ.get(ACCELERATOR))
    model, tokenizer = student.load(card.student, card.label_names, is_many=card.is_many)
    found = legibility.measure(tokenizer, texts)
    legibility.require_legible(found, card.student, config)
    tokens = student.tokens_of(tokenizer, texts.to_list(), rules.longest(tokenizer, config))
    space = LabelSpace.of(card)
    targets = torch.full((len(tokens), len(space)), 1 / len(space))
    examples = Examples(tokens, targets, torch.ones(len(tokens)))
    suffice = rules.suffices(human.select(target=rules.target_column(space, human["label"])), space)
    sessions = np.zeros(len(tokens), np.int64) if config.pairs == "session" else None
    is_human = np.arange(len(tokens)) >= len(taught)
    planned = stages.plan(is_human, config, 1e-9, people_suffice=suffice, sessions=sessions)
    nobody = Validation([], space.codes([]), space)
    learner = Learner(model, tokenizer.pad_token_id, examples, planned, nobody, config, place)
    seconds = float(np.median(learner.time_updates()))
    updates = f"at most {count(learner.updates, 'update')} of {seconds:.2f} s on this machine now"
    notes = tuple(legibility.notes(found, card.student, config))
    words = f"{count(len(tokens), 'text')}, {updates}"
    return Forecast("train", words, seconds=seconds * learner.updates, notes=notes)
