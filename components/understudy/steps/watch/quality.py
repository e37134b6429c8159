"""Measure the model by what people and the teacher say: precision and recall, disagreement, trend."""

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from understudy.stats import metrics
from understudy.stats.drift.series import Point, angle
from understudy.stats.metrics import Bools, Floats, Interval
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


def measured(store: Store, card: Card, answered: pl.DataFrame, day: str, tests: Sequence[DatedTestSet]) -> Quality:
    """Measure the model by all answers up to a day.

    Args:
        store: holds the published bundles.
        card: for the labels.
        answered: all samples, by `samples.read_answered`.
        day: today.
        tests: the dated test sets.
    """
    by_day = answered.partition_by("day", as_dict=True, maintain_order=True)
    return Quality(
        date=day,
        card=card.name,
        samples=[sample_record(str(name[0]), table, card) for name, table in by_day.items()],
        months=_months(answered, card),
        cycles=learning_curve(store),
        tests=tests,
    )


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


def sample_record(day: str, sample: pl.DataFrame, card: Card) -> Sample:
    """Measure one sample.

    Args:
        day: of the sample.
        sample: its rows, with human_label and annotators where people answered.
        card: for the labels.

    Returns:
        date, version, drawn, answered, taught; labels (precision and recall of each label), f1, errors and
        disagreement, each with its 95% interval, or none where it is undefined.
    """
    human = reweighted(sample.filter(pl.col("human_label").is_not_null()), sample)
    taught = reweighted(sample.filter(pl.col("teacher_label").is_not_null()), sample)
    return {
        "date": day,
        "version": sample["version"][0],
        "drawn": len(sample),
        "answered": len(human),
        "taught": len(taught),
        "labels": {name: _of_label(human, name) for name in card.label_names},
        "f1": written(f1(human, card.positive_label)),
        "errors": _rate(human, "human_label"),
        "disagreement": _rate(taught, "teacher_label"),
    }


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


def f1(answered: pl.DataFrame, positive: str) -> Interval:
    """Measure F1 of the positive label by weights, with its 95% bootstrap interval by groups."""
    if not len(answered):
        return Interval(math.nan, math.nan, math.nan)
    own = answered["weight"].to_numpy()
    truth, prediction = ((answered[name] == positive).to_numpy() for name in ("human_label", "label"))

    def figure(is_positive: Bools, predicted: Bools, weights: Floats | None = None) -> Any:
        return metrics.f1(is_positive, predicted, own if weights is None else weights * own)

    return metrics.bootstrap(figure, truth, prediction, groups=answered["group"].to_list())


def points(sample: Sample) -> dict[str, Point]:
    """Return a sample's values of the quality series, as angles."""
    rates = {"errors": sample["errors"], "disagreement": sample["disagreement"]}
    return {
        name: Point(angle(rate["value"]), 1.0, rate["texts"])
        for name, rate in rates.items()
        if rate["value"] is not None
    }


def _months(answered: pl.DataFrame, card: Card) -> list[Month]:
    """Measure F1 by month, all samples of a month together."""
    human = [
        reweighted(part.filter(pl.col("human_label").is_not_null()), part)
        for part in answered.partition_by("day", maintain_order=True)
    ]
    rows = (pl.concat(human) if human else answered).with_columns(month=pl.col("day").str.head(7))
    by_month = rows.partition_by("month", as_dict=True, maintain_order=True)
    return [
        Month(month=str(name[0]), texts=len(part), f1=written(f1(part, card.positive_label)))
        for name, part in by_month.items()
        if len(part)
    ]


def _of_label(answered: pl.DataFrame, name: str) -> LabelFigures:
    """Measure precision and recall of one label."""
    weights = answered["weight"].to_numpy()
    is_true, is_predicted = ((answered[column] == name).to_numpy() for column in ("human_label", "label"))
    return {
        "precision": written(weighted_share(is_true[is_predicted], weights[is_predicted])),
        "recall": written(weighted_share(is_predicted[is_true], weights[is_true])),
    }


def _rate(answered: pl.DataFrame, column: str) -> Rate:
    """Measure the share of texts on which model and another judge differ, with the number of texts it rests on."""
    weights = answered["weight"].to_numpy()
    differs = (answered[column] != answered["label"]).to_numpy()
    return {**written(weighted_share(differs, weights)), "texts": round(effective(weights), 6)}


def written(interval: Interval) -> Figure:
    """Return an interval as it stands in a record; none where it is undefined."""
    value, low, high = (metrics.as_record(interval)[end] for end in ("value", "low", "high"))
    return Figure(value=value, low=low, high=high)
