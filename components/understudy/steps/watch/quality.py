"""Measure the model by what people and the teacher say: precision and recall, disagreement, trend."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from understudy.stats import metrics
from understudy.stats.drift.series import Point, angle
from understudy.stats.metrics import Bools, Codes, Floats, Interval
from understudy.store import hashing, layout
from understudy.store.storage import Store
from understudy.store.watch_records import (
    DatedTestSet,
    Figure,
    LabelFigures,
    Month,
    Quality,
    Rate,
    Sample,
    learning_curve,
    quality_days,
)
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.text import figures


@dataclass(frozen=True, slots=True)
class Counts:
    """Answered texts by label: sums of weights, and of their squares, each of shape (labels,)."""

    right: Floats
    given: Floats
    given_squares: Floats
    true: Floats
    true_squares: Floats

    def __add__(self, other: "Counts") -> "Counts":
        """Add up answers of different samples."""
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def measured(store: Store, card: Card, answered: pl.DataFrame, day: str, tests: Sequence[DatedTestSet]) -> Quality:
    """Measure the model by all answers up to a day.

    Args:
        store: holds the published bundles.
        card: for the labels.
        answered: all samples, by `samples.read_answered`; where a text may have several labels, with sets of them.
        day: today.
        tests: the dated test sets.
    """
    space = LabelSpace.of(card)
    return Quality(
        date=day,
        card=card.name,
        figure=figures.primary(space.positive),
        samples=sample_records(answered, space),
        months=_months(answered, space),
        cycles=learning_curve(store),
        tests=tests,
    )


def sample_records(answered: pl.DataFrame, space: LabelSpace) -> list[Sample]:
    """Measure each sample, its labels beside those of the same bundle's samples before it, oldest first."""
    records, before = list[Sample](), dict[str, Counts]()
    for name, table in answered.partition_by("day", as_dict=True, maintain_order=True).items():
        version = str(table["version"][0])
        record, counts = sample_record(str(name[0]), table, space, before.get(version))
        records.append(record)
        before[version] = before[version] + counts if version in before else counts
    return records


def key_of(known: Quality) -> str:
    """Return where it is kept; what people answer later on the same day has a key of its own. "" before a sample."""
    if not known.samples:
        return ""
    answered = sum(sample["answered"] for sample in known.samples)
    digest = hashing.hash_json(json.loads(known.as_json()))[:12]
    return layout.QUALITY.key(day=known.date, number=answered, name=digest)


def put(store: Store, known: Quality) -> None:
    """Keep what was measured, once; nothing before there is a sample."""
    if key := key_of(known):
        store.put_if_absent(key, known.as_json())


def newest_day(store: Store) -> str:
    """Return the last day on which quality was measured; "" before the first."""
    return max(quality_days(store), default="")


def sample_record(
    day: str, sample: pl.DataFrame, space: LabelSpace, before: Counts | None = None
) -> tuple[Sample, Counts]:
    """Measure one sample.

    Args:
        day: of the sample.
        sample: its rows, with human_label and annotators where people answered.
        space: the labels.
        before: answers to the samples before it.

    Returns:
        date, version, drawn, answered, taught; labels (precision and recall of each label, and what changed), the
        primary figure, errors and disagreement, each with its 95% interval, or none where it is undefined. And the
        answers by label.
    """
    human = reweighted(sample.filter(pl.col("human_label").is_not_null()), sample)
    taught = reweighted(sample.filter(pl.col("teacher_label").is_not_null()), sample)
    counts = counted(human, space)
    return {
        "date": day,
        "version": sample["version"][0],
        "drawn": len(sample),
        "answered": len(human),
        "taught": len(taught),
        "labels": _by_label(counts, before, space),
        "primary": written(primary(human, space)),
        "errors": _rate(human, "human_label", space),
        "disagreement": _rate(taught, "teacher_label", space),
    }, counts


def reweighted(answered: pl.DataFrame, sample: pl.DataFrame) -> pl.DataFrame:
    """Let the answered texts of each part stand for all texts of it; a part without an answer is left out.

    Source: Holt and Smith, "Post stratification", 1979.
    """
    parts = sample.group_by("stratum").agg(size=pl.col("stratum_texts").first())
    counted = answered.group_by("stratum").agg(number=pl.len())
    joined = answered.join(parts, on="stratum", maintain_order="left").join(
        counted, on="stratum", maintain_order="left"
    )
    return joined.with_columns(weight=pl.col("size") / pl.col("number")).drop("size", "number")


def weighted_share(hits: Bools, weights: Floats) -> Interval:
    """Measure a share by weights with its 95% interval, by the number of texts that would tell as much without weights.

    >>> import numpy as np
    >>> weighted_share(np.array([True, False, True, True]), np.ones(4)) == metrics.wilson(3, 4)
    True

    Source: Kish, "Survey sampling", 1965, for the effective number; Wilson, 1927, for the interval.
    """
    number = effective(weights)
    if not number:
        return Interval(math.nan, 0.0, 1.0)
    return metrics.wilson(float(weights @ hits / weights.sum()) * number, number)


def effective(weights: Floats) -> float:
    """Count the texts that would tell as much without weights: (sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def primary(answered: pl.DataFrame, space: LabelSpace) -> Interval:
    """Measure the primary figure by weights, with its 95% bootstrap interval by groups."""
    if not len(answered):
        return Interval(math.nan, math.nan, math.nan)
    own = answered["weight"].to_numpy()
    truth, given, labels = _codes(answered, space)
    sought = space.positive_index

    def figure(true: Codes, found: Codes, weights: Floats | None = None) -> Any:
        weight = own if weights is None else weights * own
        if sought is None:
            return metrics.macro_f1(true, found, weight, labels=labels)
        return metrics.f1(true == sought, found == sought, weight)

    value, draws = (
        float(figure(truth, given)),
        metrics.draws_of(figure, truth, given, groups=answered["group"].to_list()),
    )
    return metrics.interval_of(value, draws if sought is not None else metrics.reflected(draws, value))


def _codes(answered: pl.DataFrame, space: LabelSpace, judge: str = "human_label") -> tuple[Codes, Codes, int]:
    """Return the labels by people and by the model, and how many there are; an older card may have had others."""
    given = {*answered[judge].unique(), *answered["label"].unique()}
    met = {name for label in given for name in space.names_in(label)} - {*space.names}
    wider = LabelSpace((*space.names, *sorted(met)), is_many=space.is_many)
    return wider.codes(answered[judge]), wider.codes(answered["label"]), len(wider)


def counted(answered: pl.DataFrame, space: LabelSpace) -> Counts:
    """Count answered texts by label."""
    weights = answered["weight"].to_numpy().astype(float)
    truth, given, labels = _codes(answered, space)

    def total(codes: Codes, values: Floats) -> Floats:
        if codes.ndim == 2:
            return np.asarray(values @ codes)[: len(space)]
        return np.asarray(np.bincount(codes, weights=values, minlength=labels)[: len(space)], dtype=float)

    right = total(truth & given, weights) if space.is_many else total(truth, weights * (truth == given))
    return Counts(
        right,
        total(given, weights),
        total(given, weights**2),
        total(truth, weights),
        total(truth, weights**2),
    )


def points(sample: Sample) -> dict[str, Point]:
    """Return a sample's values of the quality series, as angles."""
    rates = {"errors": sample["errors"], "disagreement": sample["disagreement"]}
    return {
        name: Point(angle(rate["value"]), 1.0, rate["texts"])
        for name, rate in rates.items()
        if rate["value"] is not None
    }


def _months(answered: pl.DataFrame, space: LabelSpace) -> list[Month]:
    """Measure the primary figure by month, all samples of a month together."""
    human = [
        reweighted(part.filter(pl.col("human_label").is_not_null()), part)
        for part in answered.partition_by("day", maintain_order=True)
    ]
    rows = (pl.concat(human) if human else answered).with_columns(month=pl.col("day").str.head(7))
    by_month = rows.partition_by("month", as_dict=True, maintain_order=True)
    return [
        Month(month=str(name[0]), texts=len(part), primary=written(primary(part, space)))
        for name, part in by_month.items()
        if len(part)
    ]


def _by_label(counts: Counts, before: Counts | None, space: LabelSpace) -> dict[str, LabelFigures]:
    """Measure precision and recall of each label, and which of them fell most surely since `before`."""
    own = _figures(counts)
    old = _figures(before) if before else None
    return {
        name: {
            "precision": written(own[place][0]),
            "recall": written(own[place][1]),
            "change": _change(own[place], old[place]) if old else None,
        }
        for place, name in enumerate(space.names)
    }


def _figures(counts: Counts) -> list[tuple[Interval, Interval]]:
    """Return precision and recall of each label by weights, with their 95% intervals."""
    precision = zip(counts.right, counts.given, counts.given_squares, strict=True)
    recall = zip(counts.right, counts.true, counts.true_squares, strict=True)
    return [(_share(*first), _share(*second)) for first, second in zip(precision, recall, strict=True)]


def _share(right: float, total: float, squares: float) -> Interval:
    """Measure a share by sums of weights; see `weighted_share`."""
    if not total:
        return Interval(math.nan, 0.0, 1.0)
    number = float(total) ** 2 / float(squares)
    return metrics.wilson(float(right / total) * number, number)


def _change(new: tuple[Interval, Interval], old: tuple[Interval, Interval]) -> Figure | None:
    """Return the change of the figure whose interval ends lowest: what fell most surely."""
    found = [difference(after, before) for after, before in zip(new, old, strict=True)]
    known = [one for one in found if math.isfinite(one.value)]
    return written(min(known, key=lambda one: one.high)) if known else None


def difference(new: Interval, old: Interval) -> Interval:
    """Difference of two figures measured on different texts, with its 95% interval.

    >>> found = difference(Interval(0.70, 0.64, 0.76), Interval(0.80, 0.72, 0.88))
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)  # 0.06 and 0.08 make 0.10
    (-0.1, -0.2, 0.0)

    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
    """
    change = new.value - old.value
    return Interval(
        change,
        change - math.hypot(new.value - new.low, old.high - old.value),
        change + math.hypot(new.high - new.value, old.value - old.low),
    )


def _rate(answered: pl.DataFrame, judge: str, space: LabelSpace) -> Rate:
    """Measure the share of texts on which model and another judge differ, with the number of texts it rests on.

    Where a text may have several labels, they differ on a text as soon as they do on one.
    """
    weights = answered["weight"].to_numpy()
    truth, given, _ = _codes(answered, space, judge)
    differs = truth != given
    differs = differs.any(axis=1) if space.is_many else differs
    return {**written(weighted_share(differs, weights)), "texts": round(effective(weights), 6)}


def written(interval: Interval) -> Figure:
    """Return an interval as it stands in a record; none where it is undefined."""
    value, low, high = (metrics.as_record(interval)[end] for end in ("value", "low", "high"))
    return Figure(value=value, low=low, high=high)
