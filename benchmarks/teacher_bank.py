"""Measure a prompt bank on answers that real LLMs gave: what the vote over a model's prompts gains, and weights on top.

    python -m benchmarks.teacher_bank DATA

DATA holds llm-answers/judged.parquet: human labels, and a column a model and prompt style; "?" is no usable answer, and
counts as wrong. `bank_gain` is the accuracy of the vote over a model's prompts less that of its prompts on average, in
points, on average over the models; `bank_gain_weighted` is the weighted vote less the plain one, with weights from 200
human labels and scored on the other texts. The intervals are of a bootstrap over texts and models. `import_paid_again`
counts the texts that a teacher over HTTP is asked about although their answers were imported.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import click
import numpy as np
import polars as pl

from benchmarks.figures import Figure, report
from tests.conftest import card_yaml
from tests.teachers import completion, teacher_server
from understudy.data.sources import opened
from understudy.stats.metrics import Floats
from understudy.store import tombstones
from understudy.store.storage import prepare_store
from understudy.task.card import parse_card
from understudy.task.labels import Integers
from understudy.task.sections import TeacherConfig
from understudy.teacher import bank, imports
from understudy.teacher.imports import Origin
from understudy.teacher.labeller import open_teacher
from understudy.teacher.response_log import ResponseLog

HUMAN_LABELS, DRAWS = 200, 2_000
LABELS = ("0", "1")
COLUMN, IMPORTED_TEXTS = "gpt_4/8-shot", 300
SEEDS = tuple(range(20))
Bounds = tuple[float, float, float]


def read(data: Path) -> tuple[Integers, dict[str, Integers]]:
    """Read human labels, shape (texts,), and each model's answers, shape (prompts, texts), as columns of labels."""
    table = pl.read_parquet(data / "llm-answers" / "judged.parquet")
    codes = {label: index for index, label in enumerate(LABELS)}

    def of(column: str) -> Integers:
        return table[column].replace_strict(codes, default=bank.NO_ANSWER, return_dtype=pl.Int64).to_numpy()

    models: dict[str, list[Integers]] = {}
    for column in table.columns:
        if "/" in column:
            models.setdefault(column.partition("/")[0], []).append(of(column))
    return of("label"), {model: np.stack(answers) for model, answers in models.items()}


def is_right(codes: Integers, truth: Integers, weights: Floats) -> Floats:
    """Tell for each text whether the vote is right, shape (texts,): half where two labels have as many votes.

    >>> is_right(np.array([[0, 1, -1], [1, 1, -1]]), np.array([1, 1, 1]), np.ones(2)).tolist()
    [0.5, 1.0, 0.0]
    """
    shares = bank.combine(bank.one_hot(codes, len(LABELS)), weights)
    best = np.isclose(shares, shares.max(axis=1, keepdims=True))
    return np.asarray(best[np.arange(len(truth)), truth] / np.maximum(best.sum(axis=1), 1), dtype=np.float64)


def gain(truth: Integers, codes: Integers) -> Floats:
    """What the vote gains on each text over a prompt on average, shape (texts,)."""
    return is_right(codes, truth, np.ones(len(codes))) - (codes == truth).mean(axis=0)


def weighted_gain(truth: Integers, codes: Integers, seeds: Sequence[int]) -> Floats:
    """What weights gain on each text over the plain vote, shape (texts,): on average over the draws without it."""
    plain = is_right(codes, truth, np.ones(len(codes)))
    gains = np.full((len(seeds), len(truth)), np.nan)
    for row, seed in enumerate(seeds):
        order = np.random.default_rng(seed).permutation(len(truth))
        human, rest = order[:HUMAN_LABELS], order[HUMAN_LABELS:]
        weights = bank.weights(codes[:, human], truth[human], len(LABELS))
        gains[row, rest] = is_right(codes[:, rest], truth[rest], weights) - plain[rest]
    scored = ~np.isnan(gains)
    return np.asarray(np.nansum(gains, axis=0) / np.maximum(scored.sum(axis=0), 1), dtype=np.float64)


def points(gains: Floats, seed: int) -> Bounds:
    """Mean gain in points with its 95% interval over models and texts.

    Args:
        gains: shape (models, texts).
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    models, texts = gains.shape
    of_models = rng.multinomial(models, np.full(models, 1 / models), size=DRAWS) / models
    of_texts = rng.multinomial(texts, np.full(texts, 1 / texts), size=DRAWS) / texts
    means = np.einsum("dm,dm->d", of_models, of_texts @ gains.T) * 100
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gains.mean() * 100), float(low), float(high)


def figures(data: Path, seeds: Sequence[int] = SEEDS) -> Mapping[str, Bounds]:
    """Measure the figures: each its value, and the bounds of its 95% interval.

    Args:
        data: folder that holds llm-answers/.
        seeds: of the draws of human labels; the first is that of the bootstrap too.
    """
    truth, models = read(data)
    plain = np.stack([gain(truth, codes) for codes in models.values()])
    weighted = np.stack([weighted_gain(truth, codes, seeds) for codes in models.values()])
    again = float(import_paid_again(data))
    return {
        "bank_gain": points(plain, seeds[0]),
        "bank_gain_weighted": points(weighted, seeds[0]),
        "import_paid_again": (again, again, again),
    }


def import_paid_again(data: Path) -> int:
    """Import one judge's answers as the teacher's, have all texts judged, and count those that are asked for again."""
    file = data / "llm-answers" / "judged.parquet"
    with opened(str(file), ["id", "text", "label"], called={"label": COLUMN}) as source:  # as ingest reads texts
        table = source.read(filled=["id", "text"])[0].head(IMPORTED_TEXTS)
    labels = [{"name": name, "definition": f"Label {name}."} for name in LABELS]
    card = parse_card(card_yaml(labels=labels, positive_label="1", weak_rules=None, slices=None))
    with TemporaryDirectory() as folder, teacher_server(lambda *_: completion('{"label": "0"}')) as server:
        address = {"OPENAI_BASE_URL": server.url, "UNDERSTUDY_CACHE": f"{folder}/cache"}
        with patch.dict(os.environ, address):
            store = prepare_store(f"{folder}/store")
            answers, sha256, _ = imports.from_table(str(file), COLUMN, card, tombstones.NOTHING)
            with closing(ResponseLog(store, card.name)) as log:
                imports.take_in(answers, card, log, Origin(COLUMN, 0.0, is_teacher=True, sha256=sha256))
            with open_teacher(card, store, TeacherConfig()) as teacher:
                teacher.judge(table.select("id", "text", weight=pl.lit(1.0)))
    usable = set(table.filter(pl.col("label").is_in(LABELS))["text"])
    return len(usable & set(server.texts))


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
def main(data: Path) -> None:
    """Measure, and report."""
    started = time.monotonic()
    found = {name: Figure(*bounds) for name, bounds in figures(data).items()}
    settings = {"human_labels": HUMAN_LABELS, "bootstrap_draws": DRAWS}
    report("teacher-bank", found, settings, SEEDS, time.monotonic() - started)


if __name__ == "__main__":
    main()
