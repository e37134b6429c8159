"""What int8 changes on real sentences: labels, and F1 against people's labels.

    make benchmark-precision

Needs ../shared/data. A MiniLM student is trained on the demo's labels (and kept under build/), and exported. Its fp32
and its int8 graph are calibrated, each for itself as in a training run, and label the same sentences.

int8_same_labels       share of the sentences of 1,427 hotel reviews to which both give one label
int8_f1_difference     F1 of int8 less that of fp32 on 808 other hotel sentences, which people labelled as suggestion or
                       not: more than the tips that the student was taught
int8_f1_difference_own the same on the task's own test split

The intervals are by review; by sentence for the 808.
"""

import csv
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from benchmarks import hotel
from benchmarks.figures import BUILD, Figure, report
from benchmarks.workloads import SHARED
from understudy import metrics, records
from understudy.documents import read_json, write_json
from understudy.engine import Bools
from understudy.metrics import Column, Interval
from understudy.scoring import Bundle
from understudy.shell import execute

FOLDER = BUILD / "benchmark-precision"
LABELLED = SHARED / "data/suggestion-mining/b_trial.csv"
SEED = 20261121


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts that people labelled: the text, whether it is positive, and its group; each of shape (texts,)."""

    texts: list[str]
    is_positive: Bools
    groups: Column


def suggestions() -> Labelled:
    """Read the sentences of the contest, each known by itself."""
    with LABELLED.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    is_positive = np.array([row["label"] == "1" for row in rows])
    return Labelled([row["sentence"] for row in rows], is_positive, np.arange(len(rows)))


def own() -> Labelled:
    """Read the test split of the task."""
    table = hotel.gold().filter(pl.col("split") == "test")
    is_positive = (table["label"] == hotel.card().positive_label).to_numpy()
    return Labelled(table["text"].to_list(), is_positive, table["group"].to_numpy())


def bundles(sentences: pl.DataFrame) -> tuple[Bundle, Bundle]:
    """Export the student, and calibrate its fp32 and its int8 graph."""
    records.write(sentences.with_columns(time=pl.lit(None, pl.String)), records.Texts, FOLDER / "pool")
    records.write(hotel.gold(), records.Gold, FOLDER / "gold")
    graphs = FOLDER / "graphs"
    given = {"card": hotel.TASK, "gold": FOLDER / "gold", "overrides": "infer.max_missed=0"}
    execute("export", {**given, "pool": FOLDER / "pool", "student": hotel.student(), "graphs": graphs})
    return calibrated("fp32", given), calibrated("int8", given)


def calibrated(graph: str, given: Mapping[str, Any]) -> Bundle:
    """Calibrate a graph as if export had chosen it."""
    about = read_json(FOLDER / "graphs/graphs.json", "export")
    write_json(FOLDER / "graphs/graphs.json", {**about, "graph": graph})
    execute("calibrate", {**given, "graphs": FOLDER / "graphs", "bundle": FOLDER / graph})
    return Bundle.open(FOLDER / graph)


def decided(bundle: Bundle, texts: list[str]) -> Bools:
    """Which texts are positive."""
    return bundle.decide(bundle.probabilities(texts))


def same_labels(exact: Bundle, integers: Bundle, sentences: pl.DataFrame) -> Figure:
    """Share of the sentences to which both give one label."""
    answers = [decided(bundle, sentences["text"].to_list()) for bundle in (exact, integers)]
    return figure(metrics.bootstrap(metrics.accuracy, *answers, groups=sentences["group"].to_numpy(), seed=SEED))


def f1_difference(exact: Bundle, integers: Bundle, labelled: Labelled) -> Figure:
    """F1 of int8 less that of fp32."""
    answers = [decided(bundle, labelled.texts) for bundle in (integers, exact)]
    groups = labelled.groups
    return figure(metrics.paired_bootstrap(metrics.f1, labelled.is_positive, *answers, groups=groups, seed=SEED)[0])


def figure(interval: Interval) -> Figure:
    """Return an interval as a benchmark reports it."""
    return Figure(interval.value, interval.low, interval.high)


def main() -> None:
    """Train, export, compare, report."""
    print("Trains a student unless there is one (3 minutes), then takes about 2 minutes on two cores.", flush=True)
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    sentences = hotel.sentences()
    exact, integers = bundles(sentences)
    figures = {
        "int8_same_labels": same_labels(exact, integers, sentences),
        "int8_f1_difference": f1_difference(exact, integers, suggestions()),
        "int8_f1_difference_own": f1_difference(exact, integers, own()),
    }
    settings = {
        "sentences": len(sentences),
        "reviews": sentences["group"].n_unique(),
        "suggestions": len(suggestions().texts),
        "own": len(own().texts),
        "thresholds": {"fp32": round(exact.threshold, 4), "int8": round(integers.threshold, 4)},
    }
    file = report("precision", figures, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
