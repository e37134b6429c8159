"""Measure many labels: 77 intents of bank customers, acts of meetings, speed against two labels, false alarms.

Banking77 (Casanueva et al., "Efficient intent detection with dual sentence encoders", 2020) goes through whole training
runs, as a user would start them: once with all human labels, once with 500 of them and a rehearsal teacher that is
right in 85%, and takes one intent mostly for one that is like it. Its test texts are looked at by the step evaluate
alone; how many epochs to train was chosen by the validation split.
"""

import copy
import csv
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import yaml

from benchmarks import dialogue_acts, label_watch
from benchmarks.figures import BUILD, Figure, report
from benchmarks.workloads import MINILM, SHARED
from understudy.model import calibration
from understudy.model.calibration import Calibrator, Form
from understudy.model.decision import DecisionRule
from understudy.model.engine import Floats, Graph
from understudy.model.scoring import Bundle
from understudy.runners.local import run as local
from understudy.runners.outcome import REFUSED
from understudy.runners.request import Request
from understudy.stats import metrics
from understudy.stats.draw import share
from understudy.store import codecs, tables
from understudy.task.labels import LabelSpace

DATA = SHARED / "data/banking77"
FOLDER = BUILD / "benchmark-labels"
SEED, FLIP, HUMAN, EPOCHS = 0, 0.15, 500, 12
LIKES = 2  # intents that the teacher takes one for
HELD_OUT = {None: 0.1, HUMAN: 0.2}  # share of the human labels for validation, and for calibration
PLAIN = Form(has_slopes=False, has_biases=False)
SPEED_TEXTS, SPEED_ROUNDS = 4096, 15


def banking() -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Read the intents: columns id, group, text, label and is_test; and the labels' names."""
    parts = []
    for file in ("train.csv", "test.csv"):
        with (DATA / file).open(encoding="utf-8", newline="") as lines:
            rows = [(row["text"], row["category"]) for row in csv.DictReader(lines)]
        table = pl.DataFrame(rows, schema=["text", "label"], orient="row").with_row_index("number")
        name = pl.format("{}-{}", pl.lit(file[:-4]), "number")
        parts.append(table.select(id=name, group=name, text="text", label="label", is_test=pl.lit(file == "test.csv")))
    found = pl.concat(parts)
    return found, tuple(sorted(found["label"].unique()))


def write_task(folder: Path, texts: pl.DataFrame, names: Sequence[str], human: pl.DataFrame) -> None:
    """Write card, texts, human labels with their splits, and the answers of the rehearsal teacher."""
    folder.mkdir(parents=True)
    labels = [{"name": name, "definition": f"The customer writes about: {name.replace('_', ' ')}."} for name in names]
    card = {
        "name": "banking77",
        "unit": "message",
        "question": "What does this customer of a bank want?",
        "labels": labels,
        "rules": ["One intent a message: the one that the customer needs answered."],
        "teacher": {"model": "rehearsal", "input_usd_per_million": 0.0, "output_usd_per_million": 0.0},
        "budget": {"teacher_usd": 1, "human_labels": 20_000},
        "goals": {"macro_f1": 0.5},
        "ingest": {"fold_near_duplicates": False, "min_per_label": 2},
        "calibrate": {"min_per_label": 2},
        "label": {"texts": 10_000},
        "mine": {"texts": 100},
        "train": {"epochs": EPOCHS},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card, allow_unicode=True), encoding="utf-8")
    texts.select("id", "group", "text").write_csv(folder / "texts.csv")
    human.select("id", "label", "split").write_csv(folder / "labels.csv")
    texts.select("text", "label").write_csv(folder / "answers.csv")


def split_of(name: str, part: float) -> str:
    """Draw the split of a training text by a hash of its id; validation and calibration get a part each."""
    lot = share("split", name, digits=12)
    return "validation" if lot < part else "calibration" if lot < 2 * part else "train"


def human_labels(texts: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """Return the test's labels and those of training texts, all or about `most` of them, every label among them.

    Args:
        texts: all of them.
        most: labels outside of the test; None for all.
    """
    test = texts.filter("is_test").with_columns(split=pl.lit("test"))
    known, part = texts.filter(~pl.col("is_test")), HELD_OUT[most]
    known = known.with_columns(split=pl.Series([split_of(name, part) for name in known["id"]], dtype=pl.String))
    if most is not None:
        lots = pl.Series("lot", [share("human", name, digits=12) for name in known["id"]])
        known = known.with_columns(lots).sort("lot").head(most).drop("lot")
    return pl.concat([known, test.select(known.columns)])


def like_pairs(texts: pl.DataFrame, names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each label with those whose training texts have the most words in common with its own."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = texts.filter(~pl.col("is_test"))
    together = [" ".join(known.filter(pl.col("label") == name)["text"]) for name in names]
    vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(together)
    alike = (vectors @ vectors.T).toarray()
    np.fill_diagonal(alike, -1)
    pairs = {tuple(sorted((row, int(other)))) for row in range(len(names)) for other in alike[row].argsort()[-LIKES:]}
    return [(names[first], names[second]) for first, second in sorted(pairs)]


def trained(name: str, texts: pl.DataFrame, names: Sequence[str], most: int | None, flip: float) -> Path:
    """Run a training, unless it was run before.

    Returns:
        the run's folder.
    """
    folder = FOLDER / name
    done = folder / "runs" / name
    if (done / "evaluate/evaluation/evaluation.json").is_file():
        return done
    shutil.rmtree(folder, ignore_errors=True)
    write_task(folder, texts, names, human_labels(texts, most))
    request = Request(
        pipeline="training",
        card=str(folder / "card.yaml"),
        texts=str(folder / "texts.csv"),
        labels=str(folder / "labels.csv"),
        store=str(folder / "store"),
        work=folder / "runs",
        name=name,
    )
    with teacher(folder, flip, like_pairs(texts, names)):
        code = local.run(request)
    if code not in {0, REFUSED}:
        raise SystemExit(f"The training must end, got exit code {code} ({done}).")
    return done


@contextmanager
def teacher(folder: Path, flip: float, like: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Start a rehearsal teacher that errs in a share of the texts, mostly between like labels."""
    from understudy.teacher.injected_errors import Errors
    from understudy.teacher.simulated import Plan, serve

    plan = Plan(folder / "answers.csv", Errors(flip=flip, like=like, seed=SEED), card=folder / "card.yaml")
    with serve(plan) as server:
        os.environ.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="rehearsal")
        yield


def accuracy(run: Path) -> Figure:
    """Read the student's accuracy on the test texts."""
    found = codecs.read_document(run / "evaluate/evaluation/evaluation.json", "evaluate")
    student = next(one for one in found["systems"] if one["name"] == "student")["figures"]["accuracy"]
    return Figure(student["value"], student["low"], student["high"])


def gain(run: Path) -> dict[str, Figure]:
    """Compare student and teacher on the human labels of the test texts, in points of accuracy."""
    rows = pl.read_parquet(run / "evaluate/evaluation/predictions.parquet").filter(
        pl.col("teacher_label").is_not_null()
    )
    truth, student, own = (rows[column].to_numpy() for column in ("label", "predicted", "teacher_label"))
    difference, _ = metrics.paired_bootstrap(metrics.accuracy, truth, student, own, rows["group"].to_numpy())
    points = Figure(100 * difference.value, 100 * difference.low, 100 * difference.high)
    return {
        "banking77_gain": points,
        "banking77_student_accuracy": accuracy(run),
        "banking77_teacher_accuracy": Figure(metrics.accuracy(truth, own)),
    }


def calibrated(run: Path, texts: pl.DataFrame) -> dict[str, Figure]:
    """Measure the bundle's calibration on the test texts, beside temperature scaling of the same student."""
    bundle = Bundle.open(run / "calibrate/bundle")
    split = tables.read_gold(run / "ingest/gold", "calibration")
    test = texts.filter("is_test")
    truth, logits = bundle.space.codes(test["label"]), bundle.graph.logits(test["text"].to_list())
    fitted = calibration.fit(
        bundle.graph.logits(split["text"].to_list()), bundle.space.codes(split["label"]), np.ones(len(split)), PLAIN
    )
    found: dict[str, Figure] = {}
    for name, calibrator in (("banking77", bundle.calibrator), ("banking77_temperature", fitted)):
        found |= _calibration(name, calibrator.probabilities(logits), truth)
    return found


def _calibration(name: str, probabilities: Floats, truth: Any) -> dict[str, Figure]:
    given = probabilities.argmax(axis=1)
    confidence, groups = probabilities.max(axis=1), np.arange(len(truth))
    ece = metrics.bootstrap(metrics.ece, confidence, given == truth, groups=groups)
    loss = metrics.bootstrap(metrics.log_loss, probabilities, truth, groups=groups)
    return {f"{name}_ece": Figure.of(ece), f"{name}_log_loss": Figure.of(loss)}


def speed(texts: Sequence[str]) -> Figure:
    """Label texts in turns by a model with 77 labels and one with two, else alike; the ratio of texts a second."""
    bundles = {labels: _bundle(labels, texts) for labels in (2, 77)}
    seconds = {labels: np.zeros(SPEED_ROUNDS + 1) for labels in bundles}
    for turn in range(SPEED_ROUNDS + 1):
        for labels in sorted(bundles, reverse=turn % 2 == 1):
            started = time.perf_counter()
            bundles[labels].choose(bundles[labels].score(texts).probabilities)
            seconds[labels][turn] = time.perf_counter() - started
    ratios = (seconds[2] / seconds[77])[1:]  # the first warms up
    medians = np.median(np.random.default_rng(SEED).choice(ratios, (2000, SPEED_ROUNDS)), axis=1)
    return Figure(float(np.median(ratios)), *(float(end) for end in np.quantile(medians, [0.025, 0.975])))


def _bundle(labels: int, texts: Sequence[str]) -> Bundle:
    """Make a bundle in memory: MiniLM's shape with random weights, in int8."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from understudy.model import student
    from understudy.model.onnx import export

    folder = FOLDER / f"speed-{labels}"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(SEED)
    config = copy.deepcopy(MINILM)
    config.num_labels = labels
    tokenizer = student.tokenizer_of("minilm")
    fp32 = export.export_fp32(AutoModelForSequenceClassification.from_config(config).eval(), folder / "fp32", 20, 256)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    rows = student.tokens_of(tokenizer, list(texts[:200]), 256)
    int8 = export.export_int8(fp32, folder / "int8", rows)
    graph = Graph(int8, folder / "tokenizer.json", 256, tokenizer.pad_token_id, labels=labels)
    names = tuple(f"label {number}" for number in range(labels))
    flat = Calibrator(np.ones(labels), np.zeros(labels))
    return Bundle(folder, "", LabelSpace(names), DecisionRule(), True, {}, graph, flat)


@click.command()
@click.option("--only", type=click.Choice(["banking77", "dialogues", "speed", "watch"]), help="One part alone.")
def main(only: str | None) -> None:
    """Measure and report; the trainings are kept under build/benchmark-labels."""
    started = time.monotonic()
    texts, names = banking()
    figures: dict[str, Figure] = {}
    if only in {None, "banking77"}:
        everything = trained("all", texts, names, None, FLIP)
        taught = trained("taught", texts, names, HUMAN, FLIP)
        figures |= {"banking77_accuracy": accuracy(everything), **gain(taught), **calibrated(everything, texts)}
    if only in {None, "dialogues"}:
        figures |= dialogue_acts.measure()
    if only in {None, "speed"}:
        figures["speed_77_over_2"] = speed(texts["text"].to_list()[:SPEED_TEXTS])
    if only in {None, "watch"}:
        figures |= label_watch.measure(110.0)
    settings = {"epochs": EPOCHS, "flip": FLIP, "human_labels": HUMAN, "likes": LIKES, "student": "minilm"}
    file = report("labels", figures, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
