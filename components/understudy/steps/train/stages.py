"""Plan a training: stages, one after the other, each with its texts, its epochs and its rate.

What the teacher labels is much and partly wrong; what people label is little and right. A last stage on human labels
alone gives these the last word, where a weight only lets them be heard among the others.
"""

from dataclasses import dataclass

import numpy as np

from understudy.model.engine import Bools, Integers
from understudy.progress import say
from understudy.steps.train.config import TrainConfig
from understudy.text.numbers import count


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training.

    Attributes:
        name: whose labels it learns: "teacher", "mixed" or "people"; "pairs" for the teacher's order of texts.
        rows: positions of its texts in the training table, shape (texts of the stage,).
        epochs: most passes over them.
        rate: peak of its linear schedule.
        sessions: number of each text's session, shape (texts of the training table,), where it learns pairs; None where
            it learns labels.
    """

    name: str
    rows: Integers
    epochs: int
    rate: float
    sessions: Integers | None = None


def plan(
    is_human: Bools, config: TrainConfig, rate: float, *, people_suffice: bool, sessions: Integers | None = None
) -> list[Stage]:
    """Plan the stages that the settings name.

    Left out is a stage that would repeat the one before it, one without texts, and, which is told, people's where their
    labels are too few to learn from alone.

    Args:
        is_human: whether people labelled a text of the training table, shape (texts,).
        config: names the stages, and their epochs.
        rate: peak learning rate.
        people_suffice: whether the texts that people labelled could be learned from alone.
        sessions: number of each text's session, shape (texts,), where the teacher's pairs are learned first.

    >>> is_human = np.arange(30) < 12
    >>> [(stage.name, len(stage.rows)) for stage in plan(is_human, TrainConfig(), 1e-3, people_suffice=True)]
    [('mixed', 30), ('people', 12)]
    """
    chosen = {"teacher": ~is_human, "mixed": np.ones_like(is_human), "people": is_human}
    stages: list[Stage] = []
    if sessions is not None:
        stages.append(Stage("pairs", np.flatnonzero(~is_human), config.pair_epochs, rate, sessions))
    for name in config.stages.split(" then "):
        rows = np.flatnonzero(chosen[name])
        if not len(rows) or any(_repeats(rows, stage) for stage in stages[-1:]):
            continue
        if name == "people" and not people_suffice:
            few = count(len(rows), "text")
            say(f"train: no last stage on people's labels alone: {few}, too few or all of one label.")
            continue
        stages.append(Stage(name, rows, config.people_epochs if name == "people" else config.epochs, rate))
    return stages


def _repeats(rows: Integers, before: Stage) -> bool:
    """Tell whether labels of these texts were learned in the stage before."""
    return before.sessions is None and np.array_equal(rows, before.rows)
