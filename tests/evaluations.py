"""What a bundle and its teacher answered, made by hand, for tests of evaluate and of the report."""

from typing import Any

import numpy as np
import polars as pl

from tests.conftest import card_yaml
from understudy.steps.evaluate.assemble import Measured
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.speed import Scored
from understudy.steps.evaluate.testset import LabelledTexts
from understudy.task.card import parse_card

BUNDLE = {
    "version": "hotel-tips-0123456789ab",
    "graph": "int8",
    "graph_reason": "average precision 0.912 in int8, 0.915 in fp32, 0.02 may be lost; nothing else is faster here",
    "threshold": 0.5,
    "max_length": 64,
    "is_rehearsal": False,
}


def measured(
    kinds: list[tuple[int, bool, float, bool | None]],
    *,
    texts: list[str] | None = None,
    card: dict[str, Any] | None = None,
    config: EvaluateConfig | None = None,
    is_rehearsal: bool = False,
    teacher_usd: float = 0.0004,
    texts_per_second: float = 400.0,
) -> Measured:
    """Lay out a measurement.

    Args:
        kinds: blocks of (texts, is positive, student's probability, teacher flagged it or None for no answer).
        texts: their texts in the same order; plain ones when not given.
        card: changes to the card of tests.
        config: the step's settings.
        is_rehearsal: stamp of the bundle and of the teacher's answers.
        teacher_usd: price of one answer of the teacher.
        texts_per_second: that the student is said to score.
    """
    rows = [kind[1:] for kind in kinds for _ in range(kind[0])]
    ids = [f"t{index:05}" for index in range(len(rows))]
    flags = [row[2] for row in rows]
    table = pl.DataFrame(
        {
            "id": ids,
            "group": ids,
            "text": texts or [f"We stayed in room {index}." for index in range(len(rows))],
            "label": ["tip" if row[0] else "other" for row in rows],
            "teacher_label": [None if flag is None else ("tip" if flag else "other") for flag in flags],
            "teacher_is_positive": flags,
            "teacher_probability": [None] * len(rows),
            "cost_usd": [None if flag is None else teacher_usd for flag in flags],
            "is_rehearsal": [None if flag is None else is_rehearsal for flag in flags],
        },
        schema_overrides={
            "teacher_label": pl.String, "teacher_is_positive": pl.Boolean, "teacher_probability": pl.Float64,
            "cost_usd": pl.Float64, "is_rehearsal": pl.Boolean,
        },
    )  # fmt: skip
    latency_ms = np.linspace(2.0, 6.0, 101)
    return Measured(
        card=parse_card(card_yaml(**(card or {}))),
        bundle={**BUNDLE, "is_rehearsal": is_rehearsal},
        test=LabelledTexts("the split test", table, {}),
        scored=Scored(np.array([row[1] for row in rows]), texts_per_second, latency_ms, 2),
        config=config or EvaluateConfig(samples=400),
    )
