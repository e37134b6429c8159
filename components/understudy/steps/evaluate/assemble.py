"""Assemble evaluation.json: all that the report shows, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

import understudy
from understudy.stats import metrics
from understudy.stats.metrics import Bools
from understudy.steps.evaluate import costs, gates, speed
from understudy.steps.evaluate import rules as core
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.gates import Gate
from understudy.steps.evaluate.rules import Answers, Comparison, Truth
from understudy.steps.evaluate.speed import Scored
from understudy.steps.evaluate.testset import LabelledTexts
from understudy.task.card import Card
from understudy.task.slices import in_slice, weak_positive

REST = "in no slice"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle and its teacher answered to the test texts.

    Attributes:
        card: the task.
        bundle: bundle.json.
        test: the texts, with human labels and the teacher's answers.
        scored: the student's probabilities and speed.
        config: the step's settings.
    """

    card: Card
    bundle: Mapping[str, Any]
    test: LabelledTexts
    scored: Scored
    config: EvaluateConfig

    @property
    def truth(self) -> Truth:
        """Human labels."""
        is_positive = (self.test.table["label"] == self.card.positive_label).to_numpy()
        return Truth(is_positive, self.test.table["group"].to_numpy())

    @property
    def student(self) -> Answers:
        """The bundle's answers at its threshold."""
        return Answers(self.scored.probability >= self.bundle["threshold"], self.scored.probability)

    @property
    def is_taught(self) -> Bools:
        """Which texts the teacher answered."""
        return self.test.table["teacher_label"].is_not_null().to_numpy()

    @property
    def teacher(self) -> Answers:
        """The teacher's answers; only those at `is_taught` count."""
        flagged = self.test.table["teacher_is_positive"].fill_null(False).to_numpy()
        probability = self.test.table["teacher_probability"]
        is_complete = probability.filter(self.test.table["teacher_label"].is_not_null()).null_count() == 0
        return Answers(flagged, probability.fill_null(0.0).to_numpy() if is_complete and self.is_taught.any() else None)

    @property
    def rules(self) -> Answers:
        """Answers of the card's weak rules."""
        return Answers(weak_positive(self.card, self.test.table["text"].to_list()))

    @property
    def slices(self) -> dict[str, Bools]:
        """Which texts belong to each slice of the card, and which to none."""
        found = {part.name: in_slice(part, self.test.table) for part in self.card.slices}
        outside: Bools = ~np.any(list(found.values()), axis=0) if found else np.zeros(0, dtype=bool)
        return {**found, REST: outside} if outside.any() else found

    @property
    def is_rehearsal(self) -> bool:
        """Whether a rehearsal teacher had a part in the bundle or in the teacher's answers."""
        return bool(self.bundle["is_rehearsal"]) or bool(self.test.table["is_rehearsal"].any())


def evaluation(measured: Measured) -> dict[str, Any]:
    """Return the content of evaluation.json."""
    truth, config = measured.truth, measured.config
    comparison = compare(measured)
    priced = price(measured)
    asked = goals(measured, priced.student_per_1k_usd)
    decision, reason = gates.decide(comparison, priced, asked)
    return {
        "format": 1,
        "version": understudy.__version__,
        "decision": decision,
        "reason": reason,
        "is_rehearsal": measured.is_rehearsal,
        "is_strict": config.strict,
        "card": card_part(measured.card),
        "bundle": {
            name: measured.bundle.get(name)
            for name in ("version", "graph", "graph_reason", "threshold", "max_length", "cascade")
        },
        "test": test_part(measured),
        "systems": systems(measured, priced),
        "comparison": None if comparison is None else core.comparison_record(comparison),
        "gates": [gates.record(gate) for gate in asked],
        "thresholds": core.threshold_table(truth, measured.scored.probability, measured.bundle["threshold"]),
        "slices": slices(measured),
        "reliability": core.reliability(truth, measured.scored.probability),
        "curve": core.curve(truth, measured.scored.probability),
        "speed": speed_part(measured),
        "costs": costs_part(measured, priced),
        "errors": errors(measured),
    }


def card_part(card: Card) -> dict[str, Any]:
    """Return what the report tells of the task."""
    names = {"name", "unit", "question", "labels", "positive_label", "rules", "texts_per_month"}
    return {**card.model_dump(mode="json", include=names), "hash": card.hash, "teacher": card.teacher.model}


def test_part(measured: Measured) -> dict[str, Any]:
    """Return how many texts were measured on, and what was refused."""
    truth = measured.truth
    return {
        "name": measured.test.name,
        "texts": len(truth.is_positive),
        "positives": int(truth.is_positive.sum()),
        "groups": len(np.unique(truth.groups)),
        "taught": int(measured.is_taught.sum()),
        "refused": measured.test.refused,
    }


def systems(measured: Measured, priced: costs.Costs) -> list[dict[str, Any]]:
    """Describe the student and everything that it is measured against, on the same texts."""
    truth, config, taught = measured.truth, measured.config, measured.is_taught
    p95, _ = latency(measured, 0.95)
    student = core.system("student", "Student", truth, measured.student, config)
    student |= {"p95_latency_ms": p95.value, "cost_per_1k_usd": priced.student_per_1k_usd}
    rows = [student]
    if taught.any() and not taught.all():
        title = f"Student, on the {int(taught.sum()):,} texts that the teacher answered"
        rows.append(core.system("student_taught", title, truth.at(taught), measured.student.at(taught), config))
    if taught.any():
        teacher = core.system("teacher", "Teacher", truth.at(taught), measured.teacher.at(taught), config)
        seconds = measured.card.teacher.seconds_per_text
        rows.append({**teacher, "p95_latency_ms": seconds * 1000, "cost_per_1k_usd": priced.teacher_per_1k_usd})
    if measured.card.weak_rules:
        rows.append(core.system("rules", "The card's weak rules", truth, measured.rules, config))
    return [*rows, core.system("majority", "Commonest label", truth, core.majority(truth), config)]


def compare(measured: Measured) -> Comparison | None:
    """Compare the student with its teacher where the teacher answered; none when it never did."""
    taught = measured.is_taught
    if not taught.any():
        return None
    return core.compare(
        measured.truth.at(taught), measured.student.at(taught), measured.teacher.at(taught), measured.config
    )


def latency(measured: Measured, share: float) -> tuple[metrics.Interval, metrics.Floats]:
    """Return a percentile of the student's latency, and its resamples."""
    return speed.percentile(measured.scored.latency_ms, share, measured.config.samples, measured.config.seed)


def goals(measured: Measured, cost_per_1k_usd: float) -> list[Gate]:
    """Hold the student against each goal that the card sets."""
    asked, config, truth = measured.card.goals, measured.config, measured.truth
    drawing: dict[str, Any] = {"groups": truth.groups, "samples": config.samples, "seed": config.seed}
    found = []
    for name, statistic, goal in (("f1", metrics.f1, asked.f1), ("recall", metrics.recall, asked.recall)):
        if goal is not None:
            columns = (truth.is_positive, measured.student.predicted)
            draws = metrics.draws_of(statistic, *columns, **drawing)
            figure = metrics.bootstrap(statistic, *columns, **drawing)
            found.append(gates.floor(name, goal, figure, draws, strict=config.strict))
    if asked.p95_latency_ms is not None:
        figure, draws = latency(measured, 0.95)
        found.append(gates.ceiling("p95_latency_ms", asked.p95_latency_ms, figure, draws, strict=config.strict))
    if asked.cost_per_1k_usd is not None:
        figure = metrics.Interval(cost_per_1k_usd, np.nan, np.nan)
        found.append(gates.ceiling("cost_per_1k_usd", asked.cost_per_1k_usd, figure, np.empty(0), strict=config.strict))
    return found


def slices(measured: Measured) -> list[dict[str, Any]]:
    """Measure the student, and the teacher where it answered, in each slice."""
    everywhere: Bools = np.ones(len(measured.is_taught), dtype=bool)
    who = {"student": (measured.student, everywhere)}
    if measured.is_taught.any():
        who["teacher"] = (measured.teacher, measured.is_taught)
    return core.slice_rows(measured.truth, who, measured.slices, measured.config)


def speed_part(measured: Measured) -> dict[str, Any]:
    """Return latency and throughput, and where they were measured."""
    return {
        "p50_latency_ms": metrics.as_record(latency(measured, 0.5)[0]),
        "p95_latency_ms": metrics.as_record(latency(measured, 0.95)[0]),
        "latency_texts": len(measured.scored.latency_ms),
        "texts_per_second": measured.scored.texts_per_second,
        "cores": measured.scored.cores,
        "teacher_seconds_per_text": measured.card.teacher.seconds_per_text,
    }


def price(measured: Measured) -> costs.Costs:
    """Work out what a month costs."""
    paid = measured.test.table["cost_usd"].drop_nulls().to_list()
    return costs.costs(measured.card, measured.config, measured.scored.texts_per_second, costs.teacher_price(paid))


def costs_part(measured: Measured, priced: costs.Costs) -> dict[str, Any]:
    """Return the costs with their arithmetic in words."""
    answers = int(measured.is_taught.sum())
    is_rehearsal = bool(measured.test.table["is_rehearsal"].any())
    lines = costs.arithmetic(priced, measured.card, measured.config, answers, is_rehearsal)
    return {**costs.record(priced), "arithmetic": lines}


def errors(measured: Measured) -> dict[str, Any]:
    """Choose the errors that a person should read, with the slices they are in."""
    names = measured.slices
    member_of = [
        [name for name, members in names.items() if members[index] and name != REST]
        for index in range(len(measured.test.table))
    ]
    rows = measured.test.table.select("id", "text", "teacher_label").with_columns(
        slices=pl.Series(member_of, dtype=pl.List(pl.String))
    )
    student = measured.student
    return core.errors_to_read(
        rows.to_dicts(),
        measured.truth.is_positive,
        student.predicted,
        measured.scored.probability,
        measured.config.errors_shown,
    )


def predictions(measured: Measured) -> pl.DataFrame:
    """Return one row a text: the human label beside every system's answer."""
    positive = measured.card.positive_label
    other = next(name for name in measured.card.label_names if name != positive)
    named = {"predicted": measured.student.predicted, "rules_label": measured.rules.predicted}
    return measured.test.table.select(
        "id",
        "group",
        "text",
        "label",
        *(pl.Series(column, np.where(flagged, positive, other)) for column, flagged in named.items()),
        pl.Series("probability", measured.scored.probability),
        "teacher_label",
        "teacher_probability",
    )
