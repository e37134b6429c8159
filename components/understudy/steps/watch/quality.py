"""What people and the teacher say of the model: precision and recall by label, errors, disagreement, and the trend."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from understudy.stats import metrics
from understudy.stats.drift.series import Point, angle
from understudy.stats.metrics import Bools, Floats, Interval
from understudy.store import codecs, hashing, registry
from understudy.store.storage import Store
from understudy.task.card import Card

PREFIX = "watch/quality/"
RECORD = re.compile(rf"{PREFIX}(\d{{4}}-\d{{2}}-\d{{2}})-\d+-[0-9a-f]+\.json")
FORMAT = 1
Record = dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What is known of the model's quality on a day.

    Attributes:
        date: the day.
        card: name of the task card.
        samples: one for each sample, oldest first; see `sample_record`.
        months: F1 by month: month, texts and f1 with its interval.
        cycles: the learning curve: version, published, trained_texts and f1 with its interval on its test set.
        tests: dated test sets, each compared with the one that the bundle was published on; see `testsets`.
    """

    date: str
    card: str
    samples: Sequence[Mapping[str, Any]]
    months: Sequence[Mapping[str, Any]]
    cycles: Sequence[Mapping[str, Any]]
    tests: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> bytes:
        """Write it."""
        return codecs.as_json({"format": FORMAT, **asdict(self)})

    @property
    def key(self) -> str:
        """Where it is kept; what people answer later on the same day has a key of its own."""
        answered = sum(int(sample["answered"]) for sample in self.samples)
        return f"{PREFIX}{self.date}-{answered:06d}-{hashing.hash_json(json.loads(self.as_json()))[:12]}.json"


def measured(store: Store, card: Card, answered: pl.DataFrame, day: str, tests: Sequence[Mapping[str, Any]]) -> Quality:
    """Measure the model by all answers up to a day.

    Args:
        store: holds the published bundles.
        card: for the labels.
        answered: all samples, by `sampling.read_answered`.
        day: today.
        tests: the dated test sets.
    """
    by_day = answered.partition_by("day", as_dict=True, maintain_order=True)
    return Quality(
        date=day,
        card=card.name,
        samples=[sample_record(str(name[0]), table, card) for name, table in by_day.items()],
        months=_months(answered, card),
        cycles=cycles(store),
        tests=tests,
    )


def put(store: Store, found: Quality) -> None:
    """Keep what was measured, once; nothing before there is a sample."""
    if found.samples:
        store.put_if_absent(found.key, found.as_json())


def newest_day(store: Store) -> str:
    """Return the last day on which quality was measured; "" before the first."""
    return max((one[1] for key in store.list(PREFIX) if (one := RECORD.fullmatch(key))), default="")


def sample_record(day: str, sample: pl.DataFrame, card: Card) -> dict[str, Any]:
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
        "f1": _written(f1(human, card.positive_label)),
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
    """A share by weights with its 95% interval, by the number of texts that would tell as much without weights.

    >>> import numpy as np
    >>> found = weighted_share(np.array([True, False, True, True]), np.ones(4))
    >>> found == metrics.wilson(3, 4)
    True

    Source: Kish, "Survey sampling", 1965, for the effective number; Wilson, 1927, for the interval.
    """
    number = effective(weights)
    if not number:
        return Interval(math.nan, 0.0, 1.0)
    return metrics.wilson(float(weights @ hits / weights.sum()) * number, number)


def effective(weights: Floats) -> float:
    """Number of texts that would tell as much without weights: (sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def f1(answered: pl.DataFrame, positive: str) -> Interval:
    """F1 of the positive label by weights, with its 95% bootstrap interval by groups."""
    if not len(answered):
        return Interval(math.nan, math.nan, math.nan)
    own = answered["weight"].to_numpy()
    truth, found = ((answered[name] == positive).to_numpy() for name in ("human_label", "label"))

    def figure(is_positive: Bools, predicted: Bools, weights: Floats | None = None) -> Any:
        return metrics.f1(is_positive, predicted, own if weights is None else weights * own)

    return metrics.bootstrap(figure, truth, found, groups=answered["group"].to_list())


def points(sample: Mapping[str, Any]) -> dict[str, Point]:
    """Return a sample's values of the quality series, as angles."""
    return {
        name: Point(angle(sample[name]["value"]), 1.0, sample[name]["texts"])
        for name in ("errors", "disagreement")
        if sample[name]["value"] is not None
    }


def cycles(store: Store) -> list[dict[str, Any]]:
    """Return the learning curve: what each published version had learned from, and its F1 on its own test set."""
    found = []
    for version in dict.fromkeys(state.version for state in registry.read_history(store)):
        manifest = registry.read_manifest(store, version)
        settings = registry.fetch_settings(store, version)
        paper = f"{manifest.papers}/evaluation.json"
        figures = published_f1(registry.read_paper(store, manifest, paper)) if paper in manifest.files else None
        published = next(state.published for state in registry.read_history(store) if state.version == version)
        found.append(
            {"version": version, "published": published, "trained_texts": settings.get("trained_texts"), "f1": figures}
        )
    return found


def published_f1(evaluation: Mapping[str, Any]) -> Record | None:
    """Return the student's F1 in an evaluation, with its interval."""
    student = next((one for one in evaluation.get("systems", ()) if one["name"] == "student"), None)
    return dict(student["figures"]["f1"]) if student and "f1" in student["figures"] else None


def _months(answered: pl.DataFrame, card: Card) -> list[dict[str, Any]]:
    """F1 by month, all samples of a month together."""
    human = [
        reweighted(part.filter(pl.col("human_label").is_not_null()), part)
        for part in answered.partition_by("day", maintain_order=True)
    ]
    told = pl.concat(human) if human else answered
    by_month = told.with_columns(month=pl.col("day").str.head(7)).partition_by(
        "month", as_dict=True, maintain_order=True
    )
    return [
        {"month": str(name[0]), "texts": len(part), "f1": _written(f1(part, card.positive_label))}
        for name, part in by_month.items()
        if len(part)
    ]


def _of_label(answered: pl.DataFrame, name: str) -> dict[str, Record]:
    weights = answered["weight"].to_numpy()
    is_said, is_found = ((answered[column] == name).to_numpy() for column in ("human_label", "label"))
    return {
        "precision": _written(weighted_share(is_said[is_found], weights[is_found])),
        "recall": _written(weighted_share(is_found[is_said], weights[is_said])),
    }


def _rate(answered: pl.DataFrame, column: str) -> Record:
    """Share of the texts on which the model and another judge differ, with the number of texts that it rests on."""
    weights = answered["weight"].to_numpy()
    differs = (answered[column] != answered["label"]).to_numpy()
    return {**_written(weighted_share(differs, weights)), "texts": round(effective(weights), 6)}


def _written(interval: Interval) -> Record:
    return metrics.as_record(interval)
