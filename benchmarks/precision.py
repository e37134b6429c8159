"""What int8 changes on real sentences: labels, and F1 against people's labels.

    make benchmark-precision

Needs ../shared/data. A MiniLM student learns from people's labels (and is kept under build/), and is exported. Its fp32
and its int8 graph are calibrated, each for itself as in a training run, and label the same sentences, which neither has
seen: the rest of the forum's sentences that people labelled.

int8_same_labels        share of the sentences to which both give one label, when int8 says positive as often as fp32
int8_f1_difference      F1 of int8 less that of fp32 then
int8_same_labels_own    the same with the threshold that calibrate chose for each graph: near its best, F1 hardly
int8_f1_difference_own  depends on the threshold, so two choices by a few hundred texts lie apart

The intervals are by forum post.
"""

import shutil
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from benchmarks import forum
from benchmarks.figures import BUILD, Figure, report
from benchmarks.taught import is_positive
from understudy.model.calibration import log_odds
from understudy.model.engine import Bools
from understudy.model.scoring import Bundle
from understudy.runtime.shell import execute
from understudy.stats import metrics
from understudy.stats.metrics import Column
from understudy.store import codecs, tables

FOLDER = BUILD / "benchmark-precision"
SEED = 20261121


def bundles() -> tuple[Bundle, Bundle]:
    """Export the student, and calibrate its fp32 and its int8 graph."""
    pool = forum.learned().select("id", "group", "text").with_columns(time=pl.lit(None, pl.String))
    tables.write(pool, tables.Texts, FOLDER / "pool")
    tables.write(forum.gold(), tables.Gold, FOLDER / "gold")
    given = {"card": forum.TASK, "gold": FOLDER / "gold", "overrides": "cascade.max_missed=0"}
    graphs = FOLDER / "graphs"
    execute("export", {**given, "pool": FOLDER / "pool", "student": forum.student(), "graphs": graphs})
    return calibrated("fp32", given), calibrated("int8", given)


def calibrated(graph: str, given: Mapping[str, Any]) -> Bundle:
    """Calibrate a graph as if export had chosen it."""
    about = codecs.read_document(FOLDER / "graphs/graphs.json", "export")
    codecs.write_document(FOLDER / "graphs/graphs.json", {**about, "graph": graph})
    execute("calibrate", {**given, "graphs": FOLDER / "graphs", "bundle": FOLDER / graph})
    return Bundle.open(FOLDER / graph)


def compared(exact: Bundle, integers: Bundle, sentences: pl.DataFrame) -> dict[str, Figure]:
    """Let both label the sentences."""
    texts = sentences["text"].to_list()
    exact_answers, own = (bundle.choose(bundle.probabilities(texts)) == 1 for bundle in (exact, integers))
    scores = log_odds(integers.graph.logits(texts), 1)
    as_often = scores >= np.sort(scores)[len(texts) - exact_answers.sum()]
    found = {}
    for suffix, answers in (("", as_often), ("_own", own)):
        found[f"int8_same_labels{suffix}"] = same(sentences, answers, exact_answers)
        found[f"int8_f1_difference{suffix}"] = f1_difference(sentences, answers, exact_answers)
    return found


def same(sentences: pl.DataFrame, answers: Bools, others: Bools) -> Figure:
    """Share of the sentences that have one label."""
    return Figure.of(metrics.bootstrap(metrics.accuracy, answers, others, groups=posts(sentences), seed=SEED))


def f1_difference(sentences: pl.DataFrame, answers: Bools, others: Bools) -> Figure:
    """F1 of the answers less that of the others."""
    people, groups = is_positive(sentences, forum.card()), posts(sentences)
    return Figure.of(metrics.paired_bootstrap(metrics.f1, people, answers, others, groups=groups, seed=SEED)[0])


def posts(sentences: pl.DataFrame) -> Column:
    """Return the post of each sentence."""
    return sentences["group"].to_numpy()


def main() -> None:
    """Train, export, compare, report."""
    print("Trains a student unless there is one (4 minutes), then takes about 1 minute on two cores.", flush=True)
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (exact, integers), sentences = bundles(), forum.unseen()
    figures = compared(exact, integers, sentences)
    settings = {
        "sentences": len(sentences),
        "taught": forum.TAUGHT,
        "thresholds": {"fp32": round(exact.threshold, 4), "int8": round(integers.threshold, 4)},
    }
    file = report("precision", figures, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
