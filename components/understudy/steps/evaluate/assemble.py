"""Assemble evaluation.json: all that the report shows, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

import understudy
from understudy.model import contract
from understudy.model.contract import Held
from understudy.model.decision import DecisionRule, told
from understudy.review.guidelines import by_others
from understudy.stats import metrics
from understudy.stats.metrics import Bools, Floats
from understudy.steps.evaluate import best, by_label, costs, curves, gates, needed, own_audit, reading, rivals, speed
from understudy.steps.evaluate import rules as core
from understudy.steps.evaluate.by_label import LabelFigures
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.gates import Gate
from understudy.steps.evaluate.rivals import Rival
from understudy.steps.evaluate.rules import Answers, Comparison, Truth
from understudy.steps.evaluate.speed import Scored
from understudy.steps.evaluate.testset import LabelledTexts
from understudy.task import baselines, measures, weak_rules
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.task.slices import in_slice, weak_labels
from understudy.teacher.answers import own_probability
from understudy.teacher.estimate import usd_an_answer
from understudy.text import figures

REST = "in no slice"
FREE = {
    baselines.RULES: "The card's weak rules",
    baselines.COMBINED: "The weak rules combined",
    baselines.MAJORITY: "Commonest label",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle and its teacher answered to the test texts.

    Attributes:
        card: the task.
        bundle: bundle.json.
        test: the texts, with human labels and the teacher's answers.
        scored: the student's probabilities and speed.
        config: the step's settings.
        sampling: the weekly sample, for what it costs.
        training_s: seconds that train took; none where nobody says.
        held: what the bundle says of the texts of the card's contract.
        rivals: what else answers all test texts and cost something to make, by name.
    """

    card: Card
    bundle: Mapping[str, Any]
    test: LabelledTexts
    scored: Scored
    config: EvaluateConfig
    sampling: costs.Sampling = costs.NO_SAMPLE
    training_s: float | None = None
    held: Sequence[Held] = ()
    rivals: Mapping[str, Rival] = field(default_factory=dict)

    @property
    def space(self) -> LabelSpace:
        """The labels of the task."""
        return LabelSpace.of(self.card)

    @property
    def rule(self) -> DecisionRule:
        """How the bundle decides on a label."""
        return DecisionRule.of_record(self.bundle["decision"])

    @property
    def truth(self) -> Truth:
        """Human labels."""
        codes = self.space.codes(self.test.table["label"])
        return Truth(self.space, codes, self.test.table["group"].to_numpy())

    @property
    def student(self) -> Answers:
        """The bundle's answers."""
        return Answers(self.rule.choose(self.scored.probabilities), self.scored.probabilities)

    @property
    def is_taught(self) -> Bools:
        """Which texts the teacher answered."""
        return self.test.table["teacher_label"].is_not_null().to_numpy()

    @property
    def teacher(self) -> Answers:
        """The teacher's answers; only those at `is_taught` count."""
        taught = self.is_taught
        codes = np.zeros_like(self.truth.codes)
        codes[taught] = self.space.codes(self.test.table["teacher_label"].drop_nulls())
        given = self.test.table["teacher_probabilities"]
        if not taught.any() or not (given.filter(taught).list.len() == len(self.space)).fill_null(False).all():
            return Answers(codes)
        probabilities = np.zeros((len(taught), len(self.space)))
        probabilities[taught] = np.array(given.filter(taught).to_list(), dtype=np.float64)
        return Answers(codes, probabilities)

    @property
    def rules(self) -> Answers:
        """Answers of the card's weak rules."""
        return core.by_rules(self.truth, weak_labels(self.card, self.test.table["text"].to_list()))

    @property
    def rules_combined(self) -> Answers:
        """Answers of all weak rules at once, each weighed by what it is worth on the other groups' texts."""
        found = weak_rules.hits(self.card, self.test.table["text"].to_list())
        return Answers(weak_rules.combined(found, self.truth.codes, self.truth.groups, self.space))

    @property
    def free(self) -> dict[str, Answers]:
        """Answers of what costs nothing, by name: the weak rules, alone and combined, and the commonest label."""
        rules = {baselines.RULES: self.rules} if self.card.weak_rules else {}
        if len(self.card.weak_rules) >= weak_rules.FEWEST_COMBINED and len(np.unique(self.truth.groups)) > 1:
            rules[baselines.COMBINED] = self.rules_combined
        return {**rules, baselines.MAJORITY: core.majority(self.truth)}

    @property
    def slices(self) -> dict[str, Bools]:
        """Which texts belong to each slice of the card, and which to none."""
        found = {part.name: in_slice(part, self.test.table) for part in self.card.slices}
        outside: Bools = ~np.any(list(found.values()), axis=0) if found else np.zeros(0, dtype=bool)
        return {**found, REST: outside} if outside.any() else found

    @property
    def answer_usd(self) -> list[float]:
        """What each of the teacher's answers cost, where it is known."""
        known: list[float] = self.test.table["cost_usd"].drop_nulls().to_list()
        return known

    @property
    def cost_basis(self) -> costs.Basis:
        """What the costs are worked out from."""
        per_1k, texts = costs.teacher_price(self.answer_usd), self.test.table["text"]
        if per_1k is None and self.is_taught.any():  # imported, and nobody says what they cost
            per_1k = usd_an_answer(self.card, texts.filter(self.is_taught).to_list()) * 1000
        return costs.Basis(self.scored.texts_per_second, per_1k, self.test.spent, self.training_s, self.sampling)

    @property
    def is_rehearsal(self) -> bool:
        """Whether a rehearsal teacher had a part in the bundle or in the teacher's answers."""
        return bool(self.bundle["is_rehearsal"]) or bool(self.test.table["is_rehearsal"].any())


def evaluation(measured: Measured) -> dict[str, Any]:
    """Return the content of evaluation.json."""
    comparison = compare(measured)
    priced = price(measured)
    found = systems(measured, priced)
    of_labels = by_label.measure(measured.truth, measured.student, measured.config)
    asked = goals(measured, of_labels, priced.student_per_1k_usd)
    decision, reason = gates.decide(comparison, priced, asked, contract.broken(measured.held, measured.space))
    ahead = ahead_of_student(measured, comparison)
    best_of_all = best.record(found, ahead, measured.space.positive)
    return {
        "format": 3,
        "version": understudy.__version__,
        "decision": decision,
        "reason": f"{reason}{best.but(best_of_all) if decision == 'publish' else ''}",
        "is_rehearsal": measured.is_rehearsal,
        "is_strict": measured.config.strict,
        "card": card_part(measured.card),
        "bundle": bundle_part(measured),
        "test": test_part(measured),
        "sent": measured.test.sent,
        "primary": primary(measured.space, found[0]),
        "systems": found,
        "comparison": None if comparison is None else core.comparison_record(comparison),
        "best": best_of_all,
        "rivals": paired(measured, ahead),
        "missing": needed.missing(comparison, asked, len(measured.test.table)),
        "must": [{**asdict(one), "is_kept": one.is_kept} for one in measured.held],
        "gates": [gates.record(gate) for gate in asked],
        "labels": labels(measured, of_labels),
        **_confused(measured),
        **probabilities(measured),
        "slices": slices(measured),
        "audit": audit_part(measured),
        "speed": speed_part(measured),
        "costs": costs_part(measured, priced),
        "errors": errors(measured),
    }


def _confused(measured: Measured) -> dict[str, Any]:
    """Say which labels are taken for which, or, where a text may have several, missed and given wrongly."""
    if measured.space.is_many:
        return {"mistakes": by_label.mistakes(measured.truth, measured.student)}
    return {"confusion": by_label.confusion(measured.truth, measured.student)}


def primary(space: LabelSpace, student: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figure that decides, with its name; none where it is undefined."""
    name = figures.primary(space.positive)
    return {"figure": name, **student["figures"].get(name, {"value": None, "low": None, "high": None})}


def bundle_part(measured: Measured) -> dict[str, Any]:
    """Return what the report tells of the bundle, and how it decides."""
    names = ("version", "graph", "graph_reason", "max_length", "cascade")
    rule = measured.rule
    decides: dict[str, Any] = {"threshold": rule.threshold, "is_by_cost": rule.costs is not None}
    if rule.thresholds is not None:
        decides["thresholds"] = dict(zip(measured.space.names, rule.thresholds.tolist(), strict=True))
    return {**{name: measured.bundle.get(name) for name in names}, **decides}


def revision_part(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the report tells of the labels that an editor revised, from revise.json; nothing where it was not."""
    if found is None or found["reason"]:
        return {}
    categories = [{name: each[name] for name in ("name", "is_accepted", "sentence")} for each in found["categories"]]
    names = ("editor", "sentence", "sent", "is_rehearsal")
    return {"revision": {**{name: found[name] for name in names}, "categories": categories}}


def card_part(card: Card) -> dict[str, Any]:
    """Return what the report tells of the task."""
    names = {"name", "unit", "question", "labels", "positive_label", "rules", "texts_per_month"}
    names |= {"labels_per_text"} if card.is_many else set()
    said = {**card.model_dump(mode="json", include=names), "hash": card.hash, "teacher": card.teacher.model}
    return said | ({"models": {each.role: each.model for each in card.roles()}} if card.roles() else {})


def test_part(measured: Measured) -> dict[str, Any]:
    """Return how many texts were measured on, and what was refused."""
    truth, looked_for = measured.truth, measured.space.positive_index
    return {
        "name": measured.test.name,
        "texts": len(truth.codes),
        "positives": None if looked_for is None else int((truth.codes == looked_for).sum()),
        "groups": len(np.unique(truth.groups)),
        "taught": int(measured.is_taught.sum()),
        "refused": measured.test.refused,
        **_by_other_guidelines(measured),
    }


def _by_other_guidelines(measured: Measured) -> dict[str, int]:
    """Count the human labels that were not given by the card's guideline, where the test set has such."""
    if "guideline" not in measured.test.table.columns:
        return {}
    others = sum(by_others(measured.test.table["guideline"], Guideline.of(measured.card).hash))
    return {"by_other_guidelines": others} if others else {}


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
        p95_ms = None if measured.test.spent is None else measured.test.spent.p95_ms
        rows.append({**teacher, "p95_latency_ms": p95_ms, "cost_per_1k_usd": priced.teacher_per_1k_usd})
    titles = FREE | ({baselines.MAJORITY: "Commonest labels"} if measured.space.is_many else {})
    rows += [core.system(name, one.title, truth, one.answers, config) for name, one in measured.rivals.items()]
    return [*rows, *(core.system(name, titles[name], truth, found, config) for name, found in measured.free.items())]


def compare(measured: Measured) -> Comparison | None:
    """Compare the student with its teacher where the teacher answered; none when it never did."""
    taught = measured.is_taught
    if not taught.any():
        return None
    return core.compare(
        measured.truth.at(taught), measured.student.at(taught), measured.teacher.at(taught), measured.config
    )


def ahead_of_student(measured: Measured, comparison: Comparison | None) -> dict[str, metrics.Interval]:
    """Return how far each other system's primary figure is ahead of the student's, by name, with paired intervals."""
    truth, student, config = measured.truth, measured.student, measured.config
    others = {name: one.answers for name, one in measured.rivals.items()} | measured.free
    found = {name: core.compare_simple(truth, student, answers, config) for name, answers in others.items()}
    if comparison is not None:
        behind = comparison.difference
        found["teacher"] = metrics.Interval(-behind.value, -behind.high, -behind.low)
    return found


def paired(measured: Measured, ahead: Mapping[str, metrics.Interval]) -> dict[str, dict[str, Any]]:
    """Set each rival beside the student on the texts that both answered, by name."""
    truth, student, taught = measured.truth, measured.student, measured.is_taught
    answers = {name: one.answers for name, one in measured.rivals.items()} | measured.free
    found = {name: rivals.paired(truth, student, own, ahead[name]) for name, own in answers.items()}
    if "teacher" in ahead:
        both = truth.at(taught), student.at(taught), measured.teacher.at(taught)
        return {"teacher": rivals.paired(*both, ahead["teacher"]), **found}
    return found


def latency(measured: Measured, share: float) -> tuple[metrics.Interval, metrics.Floats]:
    """Return a percentile of the student's latency, and its resamples."""
    return speed.percentile(measured.scored.timing.own_ms, share, measured.config.samples, measured.config.seed)


def goals(measured: Measured, of_labels: LabelFigures, cost_per_1k_usd: float) -> list[Gate]:
    """Hold the student against each goal that the card sets."""
    asked, config = measured.card.goals, measured.config
    found = []
    for name, label, goal in gates.asked(asked):
        figure, draws = _measured(measured, of_labels, name, label)
        found.append(
            gates.floor(name, goal, figure, draws, strict=config.strict, label=label, is_many=measured.space.is_many)
        )
    if asked.p95_latency_ms is not None:
        found.append(gates.latency(asked.p95_latency_ms, measured.scored.timing, config))
    if asked.cost_per_1k_usd is not None:
        scored, hourly = measured.scored, measured.card.prices.instance_usd_per_hour
        least_usd = costs.per_1k_usd(hourly, scored.most_texts_per_second)
        found.append(gates.cost(asked.cost_per_1k_usd, cost_per_1k_usd, least_usd, scored.timing))
    return found


def _measured(
    measured: Measured, of_labels: LabelFigures, name: str, label: str | None
) -> tuple[metrics.Interval, Floats]:
    """Return a figure of the student, of one label or of the whole, and its resamples; none of a label of few texts."""
    if label is not None:
        column = measured.space.index(label)
        is_enough = of_labels.texts(column) >= measured.config.min_positives
        return of_labels.interval(name, column), of_labels.draws_of(name, column) if is_enough else np.empty(0)
    truth, statistic = measured.truth, measures.statistics(measured.space)[name]
    columns, drawn = (truth.codes, measured.student.codes), core.drawing(truth, measured.config)
    return metrics.bootstrap(statistic, *columns, **drawn), metrics.draws_of(statistic, *columns, **drawn)


def labels(measured: Measured, of_labels: LabelFigures) -> list[dict[str, Any]]:
    """Measure the student, and the teacher where it answered, on each label against the rest."""
    taught, who = measured.is_taught, {"student": of_labels}
    if taught.any():
        who["teacher"] = by_label.measure(measured.truth.at(taught), measured.teacher.at(taught), measured.config)
    return by_label.rows(measured.truth, measured.student, who, measured.config)


def probabilities(measured: Measured) -> dict[str, Any]:
    """Say how far the probabilities can be trusted, and what another threshold or people for unsure texts would give.

    Thresholds are of the label that is looked for; where none is, texts are kept by how sure the student is of them.
    """
    truth, student = measured.truth, measured.student
    said = core.claim(truth, student)
    if measured.space.positive is None:
        table = curves.coverage_table(truth, student, measured.config)
        coverage = {"table": table, "curve": curves.coverage_curve(truth, student)}
        return {"reliability": curves.reliability(said), "thresholds": [], "curve": [], "coverage": coverage}
    return {
        "reliability": curves.reliability(said),
        "thresholds": curves.threshold_table(said.is_true, said.probability, measured.rule.threshold),
        "curve": curves.curve(said.is_true, said.probability),
        "coverage": None,
    }


def slices(measured: Measured) -> list[dict[str, Any]]:
    """Measure the student, and the teacher where it answered, in each slice."""
    everywhere: Bools = np.ones(len(measured.is_taught), dtype=bool)
    who = {"student": (measured.student, everywhere)}
    if measured.is_taught.any():
        who["teacher"] = (measured.teacher, measured.is_taught)
    return core.slice_rows(measured.truth, who, measured.slices, measured.config)


def audit_part(measured: Measured) -> dict[str, Any]:
    """Say in which parts of the texts the student errs more often than elsewhere."""
    table = measured.test.table
    columns = sorted({part.column for part in measured.card.slices if part.column is not None} & {*table.columns})
    slices = {name: members for name, members in measured.slices.items() if name != REST}
    return own_audit.record(table, columns, measured.truth, measured.student, slices, measured.config)


def speed_part(measured: Measured) -> dict[str, Any]:
    """Return latency and throughput, where they were measured, and how busy it was there."""
    timing, spent = measured.scored.timing, measured.test.spent
    return {
        "p50_latency_ms": metrics.as_record(latency(measured, 0.5)[0]),
        "p95_latency_ms": metrics.as_record(latency(measured, 0.95)[0]),
        "latency_texts": timing.wall_ms.shape[1],
        "rounds": timing.wall_ms.shape[0],
        "p95_latency_ms_under_load": float(np.quantile(timing.wall_ms, 0.95)),
        "waiting": round(timing.waiting, 4),
        "is_busy": timing.is_busy,
        "texts_per_second": measured.scored.texts_per_second,
        "cores": measured.scored.cores,
        "teacher": {
            "answers": spent.answers if spent else 0,
            "p50_ms": spent.p50_ms if spent else None,
            "p95_ms": spent.p95_ms if spent else None,
            "is_rehearsal": spent.is_rehearsal if spent else None,
        },
    }


def price(measured: Measured) -> costs.Costs:
    """Work out what a month costs."""
    return costs.costs(measured.card, measured.config, measured.cost_basis)


def costs_part(measured: Measured, priced: costs.Costs) -> dict[str, Any]:
    """Return the costs with their arithmetic in words."""
    answers = len(measured.answer_usd)
    is_rehearsal = bool(measured.test.table["is_rehearsal"].any())
    lines = costs.arithmetic(
        priced, measured.card, measured.config, measured.cost_basis, answers, is_rehearsal=is_rehearsal
    )
    return {**costs.record(priced), "arithmetic": lines}


def errors(measured: Measured) -> dict[str, Any]:
    """Choose the errors that a person should read, with the slices they are in."""
    names = measured.slices
    member_of = [
        [name for name, members in names.items() if members[index] and name != REST]
        for index in range(len(measured.test.table))
    ]
    truth, student = measured.truth, measured.student
    rows = measured.test.table.select("id", "text", "label", "teacher_label").with_columns(
        given=pl.Series(measured.space.named(student.codes)), slices=pl.Series(member_of, dtype=pl.List(pl.String))
    )
    if measured.space.is_many:
        return reading.of_labels(rows.to_dicts(), truth, student, 2 * measured.config.errors_shown)
    if measured.space.positive is None:
        return reading.of_pairs(rows.to_dicts(), truth, student, 2 * measured.config.errors_shown)
    return reading.of_positives(rows.to_dicts(), truth, student, measured.config.errors_shown)


def predictions(measured: Measured) -> pl.DataFrame:
    """Return one row a text: the human label beside every system's answer."""
    student, space = measured.student, measured.space
    said = told(measured.scored.probabilities, student.codes)
    return measured.test.table.select(
        "id",
        "group",
        "text",
        "label",
        pl.Series("predicted", space.named(student.codes)),
        pl.Series("probability", said.probability),
        pl.Series("runner_up", [None if label < 0 else space.names[label] for label in said.runner_up], pl.String),
        pl.Series("runner_up_probability", said.runner_up_probability).fill_nan(None),
        pl.Series("rules_label", space.named(measured.rules.codes)),
        "teacher_label",
        own_probability("teacher", space),
    )
