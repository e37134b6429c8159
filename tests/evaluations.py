"""What a bundle and its teacher answered, made by hand, for tests of evaluate and of the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tests.conftest import card_yaml
from understudy.steps.evaluate.assemble import Measured
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.costs import Sampling
from understudy.steps.evaluate.speed import Scored, Timing
from understudy.steps.evaluate.testset import LabelledTexts
from understudy.task import label_sets
from understudy.task.card import parse_card
from understudy.teacher.answers import Spent

BUNDLE = {
    "version": "hotel-tips-0123456789ab",
    "graph": "int8",
    "graph_reason": "average precision 0.912 in int8, 0.915 in fp32, 0.02 may be lost; nothing else is faster here",
    "decision": {"label": 1, "threshold": 0.5, "costs": None},
    "max_length": 64,
    "is_rehearsal": False,
}
LATENCY_MS = np.linspace(2.0, 6.0, 101)
CALM = Timing(wall_ms=np.array([LATENCY_MS * 1.01, LATENCY_MS]), processor_ms=np.array([LATENCY_MS, LATENCY_MS]))
TOPICS = ("card arrival", "exchange rate", "lost or stolen card", "top up by bank transfer charge", "refund", "pin")
LIKELIEST = {"label": None, "threshold": None, "costs": None}


def measured(
    kinds: list[tuple[int, bool, float, bool | None]],
    *,
    texts: list[str] | None = None,
    card: dict[str, Any] | None = None,
    config: EvaluateConfig | None = None,
    is_rehearsal: bool = False,
    teacher_usd: float = 0.0004,
    texts_per_second: float = 400.0,
    timing: Timing | None = None,
    spent: Spent | None = None,
    sampling: Sampling | None = None,
    training_s: float | None = None,
) -> Measured:
    """Lay out a measurement.

    Args:
        kinds: blocks of (texts, is positive, student's probability, teacher flagged it or None for no answer).
        texts: their texts in the same order; plain ones when not given.
        card: changes to the card of tests.
        config: the step's settings.
        is_rehearsal: stamp of the bundle and of the teacher's answers.
        teacher_usd: price of one answer of the teacher.
        texts_per_second: that the student is said to score; a calm machine would score twice as many.
        timing: of single texts; on a calm machine when not given.
        spent: what the task has cost, where it is known.
        sampling: the weekly sample; none is drawn when not given.
        training_s: seconds that train took, where it is known.
    """
    rows = [kind[1:] for kind in kinds for _ in range(kind[0])]
    flags = [row[2] for row in rows]
    table = _table(
        ["tip" if row[0] else "other" for row in rows],
        [None if flag is None else ("tip" if flag else "other") for flag in flags],
        texts,
        is_rehearsal=is_rehearsal,
        teacher_usd=teacher_usd,
    )
    probability = np.array([row[1] for row in rows])
    return Measured(
        card=parse_card(card_yaml(**(card or {}))),
        bundle={**BUNDLE, "is_rehearsal": is_rehearsal},
        test=LabelledTexts("the split test", table, {}, spent=spent),
        scored=Scored(
            np.column_stack([1 - probability, probability]), texts_per_second, 2 * texts_per_second, timing or CALM, 2
        ),
        config=config or EvaluateConfig(samples=400),
        sampling=sampling or Sampling(),
        training_s=training_s,
    )


def measured_labels(
    kinds: list[tuple[int, str, dict[str, float], str | None]],
    *,
    names: Sequence[str],
    positive: str | None = None,
    card: dict[str, Any] | None = None,
    decision: dict[str, Any] | None = None,
    config: EvaluateConfig | None = None,
    texts: list[str] | None = None,
) -> Measured:
    """Lay out a measurement with any number of labels.

    Args:
        kinds: blocks of (texts, true label, the student's probabilities, the teacher's label or None for no answer);
            what the probabilities leave of 1 is shared by the labels that they do not name.
        names: of the labels.
        positive: the one that is looked for, if any.
        card: other changes to the card of tests.
        decision: of the bundle; the likeliest label when it is not given.
        config: the step's settings.
        texts: their texts in the same order; plain ones when not given.
    """
    rows = [kind[1:] for kind in kinds for _ in range(kind[0])]
    probabilities = np.zeros((len(rows), len(names)))
    for index, (_, given, _) in enumerate(rows):
        probabilities[index] = (1 - sum(given.values())) / max(1, len(names) - len(given))
        for name, share in given.items():
            probabilities[index, list(names).index(name)] = share
    labels = [{"name": name, "definition": f"It is about {name}."} for name in names]
    changes = {"labels": labels, "positive_label": positive, "weak_rules": None, **(card or {})}
    return Measured(
        card=parse_card(card_yaml(**changes)),
        bundle={**BUNDLE, "decision": decision or LIKELIEST},
        test=LabelledTexts("the split test", _table([row[0] for row in rows], [row[2] for row in rows], texts), {}),
        scored=Scored(probabilities, 400.0, 800.0, CALM, 2),
        config=config or EvaluateConfig(samples=200),
    )


def measured_several(
    kinds: list[tuple[int, Sequence[str], dict[str, float], Sequence[str] | None]],
    *,
    names: Sequence[str],
    thresholds: Sequence[float] = (),
    **changes: Any,
) -> Measured:
    """Lay out a measurement where a text may have several labels.

    Args:
        kinds: blocks of (texts, true labels, the student's probabilities, the teacher's labels or None for no answer);
            a label without a probability has 0.05.
        names: of the labels.
        thresholds: of the labels; 0.5 where they are not given.
        changes: as of `measured_labels`.
    """
    given = [
        (
            texts,
            label_sets.ordered(true, names),
            dict.fromkeys(names, 0.05) | said,
            None if taught is None else label_sets.ordered(taught, names),
        )
        for texts, true, said, taught in kinds
    ]
    card = {"labels_per_text": "many", **changes.pop("card", {})}
    decision = {**LIKELIEST, "thresholds": list(thresholds) or [0.5] * len(names)}
    return measured_labels(given, names=names, card=card, decision=decision, **changes)


def banking(labels: int = 77, seed: int = 3) -> Measured:
    """Lay out a test set of many labels, of which some are taken for their neighbours and one has no text."""
    rng = np.random.default_rng(seed)
    names = [f"{TOPICS[index % len(TOPICS)]} {index:02}" for index in range(labels)]
    kinds: list[tuple[int, str, dict[str, float], str | None]] = []
    for index, name in enumerate(names[:-1]):
        near, skill = names[(index + 1) % (labels - 1)], rng.uniform(0.5, 1.0)
        for _ in range(int(rng.integers(4, 30))):
            is_right, is_taught = rng.random(2) < (skill, 0.8)
            sure = float(rng.uniform(0.45, 0.99))
            kinds.append((1, name, {name if is_right else near: sure}, name if is_taught else near))
    return measured_labels(kinds, names=names)


def _table(
    labels: list[str],
    taught: list[str | None],
    texts: list[str] | None,
    *,
    is_rehearsal: bool = False,
    teacher_usd: float = 0.0004,
) -> pl.DataFrame:
    ids = [f"t{index:05}" for index in range(len(labels))]
    return pl.DataFrame(
        {
            "id": ids,
            "group": ids,
            "text": texts or [f"We stayed in room {index}." for index in range(len(labels))],
            "label": labels,
            "teacher_label": taught,
            "teacher_probabilities": [None] * len(labels),
            "cost_usd": [None if label is None else teacher_usd for label in taught],
            "is_rehearsal": [None if label is None else is_rehearsal for label in taught],
        },
        schema_overrides={
            "teacher_label": pl.String, "teacher_probabilities": pl.List(pl.Float64), "cost_usd": pl.Float64,
            "is_rehearsal": pl.Boolean,
        },
    )  # fmt: skip
