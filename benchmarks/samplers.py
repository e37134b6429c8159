"""Balanced against natural share: what a student learns of the same number of answers, drawn by each sampler.

    python -m benchmarks.samplers --seeds 8
    python -m benchmarks.samplers --seeds 8 --positive 0.08 --flipped 0.03  # as rare as tips among hotel sentences

The forum's sentences without the test set, by post: three fifths are the pool, a fifth chooses the threshold, a fifth
measures. The teacher is people's label, flipped for some texts. The student is a logistic regression over words
and pairs of words (TF-IDF); its threshold has the highest F1 on texts of the natural share, as calibrate's has.
Intervals are Student's t over the seeds, of the difference from uniform on the same seed. A minute each.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
from scipy.stats import t
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from benchmarks import forum
from benchmarks.figures import Figure, report
from understudy.stats.draw import share
from understudy.stats.metrics import Bools, Floats
from understudy.steps.label import sampler
from understudy.steps.label.config import LabelConfig
from understudy.task.card import Card

NATURAL = 0.245  # of the sentences that are suggestions
SIZES = (400, 1000)


def samplers() -> Mapping[str, tuple[Card, str]]:
    """Name the ways to draw: a card, and its sampler."""
    card = forum.card()
    bare = card.model_copy(update={"weak_rules": ()})
    return {
        "uniform": (bare, "uniform"),
        "balanced_by_rules": (card, "balanced"),
        "balanced_by_answers": (bare, "balanced"),
        "stratified": (card, "stratified"),
        "boundary": (bare, "boundary"),
    }


def parts(seed: int, positive: float, flipped: float) -> list[pl.DataFrame]:
    """Part the sentences by post into pool, those for the threshold, and those to measure on; with a teacher's label.

    Args:
        seed: of the parts and the flips.
        positive: share of suggestions, at most `NATURAL`: others are left out by lot.
        flipped: share of the teacher's labels that are wrong.
    """
    table = forum.labelled().filter(pl.col("split").is_null() | (pl.col("split") != "test"))
    names, looked_for = forum.card().label_names, forum.card().positive_label
    kept = positive * (1 - NATURAL) / (NATURAL * (1 - positive))
    is_kept = pl.Series([share(seed, "kept", name) < kept for name in table["id"]])
    table = table.filter((pl.col("label") != looked_for) | is_kept)
    flips = pl.Series([share(seed, "flip", name) < flipped for name in table["id"]])
    other = pl.col("label").replace_strict({names[0]: names[1], names[1]: names[0]})
    table = table.with_columns(said=pl.when(flips).then(other).otherwise("label"))
    place = pl.Series([share(seed, "part", group) for group in table["group"]])
    return [table.filter((place >= low) & (place < high)) for low, high in ((0, 0.6), (0.6, 0.8), (0.8, 1))]


def scored(taught: pl.DataFrame, others: Sequence[pl.DataFrame], positive: str) -> list[Floats]:
    """Teach the student what the teacher said, and score other texts."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    model = LogisticRegression(C=10.0, class_weight="balanced", solver="liblinear")
    model.fit(vectorizer.fit_transform(taught["text"].to_list()), (taught["said"] == positive).to_numpy())
    return [model.decision_function(vectorizer.transform(part["text"].to_list())) for part in others]


def answers(pool: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return what the teacher says of some texts: columns id and label."""
    return pool.join(texts, on="id", how="semi").select("id", label="said")


def best_threshold(scores: Floats, is_positive: Bools) -> float:
    """Return the threshold of the highest F1."""
    precision, recall, thresholds = precision_recall_curve(is_positive, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return float(thresholds[f1[:-1].argmax()])


def measured(seed: int, shares: tuple[float, float]) -> dict[str, float]:
    """Draw, teach and measure with one seed, of `parts` with these shares: figures by size, sampler and name."""
    pool, tuning, held_out = parts(seed, *shares)
    positive = str(forum.card().positive_label)
    truths = [(part["label"] == positive).to_numpy() for part in (tuning, held_out)]
    found: dict[str, float] = {}
    for size in SIZES:
        for name, (card, kind) in samplers().items():
            config = LabelConfig(texts=size, sampler=kind, seed=seed)
            drawn = sampler.draw(card, pool, config, partial(answers, pool))
            taught = pool.join(drawn.select("id"), on="id", how="semi")
            tuned, scores = scored(taught, [tuning, held_out], positive)
            given = scores >= best_threshold(tuned, truths[0])
            found[f"f1_{name}_{size}"] = float(f1_score(truths[1], given))
            found[f"ap_{name}_{size}"] = float(average_precision_score(truths[1], scores))
            found[f"positives_{name}_{size}"] = float(np.mean(taught["label"].to_numpy() == positive))
    return found


def over_seeds(rows: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    """Return the mean of each figure over the seeds, and for f1 and ap what it is over uniform, with its interval."""
    figures = {name: Figure(float(np.mean([row[name] for row in rows]))) for name in rows[0]}
    for name in [name for name in rows[0] if name.startswith(("f1_", "ap_")) and "_uniform_" not in name]:
        base = f"{name[:3]}uniform_{name.rpartition('_')[2]}"
        gains = np.array([row[name] - row[base] for row in rows])
        half = float(t.ppf(0.975, len(rows) - 1) * gains.std(ddof=1) / np.sqrt(len(rows)))
        figures[f"{name}_over_uniform"] = Figure(float(gains.mean()), gains.mean() - half, gains.mean() + half)
    return figures


def main() -> None:
    """Measure, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--positive", type=float, default=NATURAL)
    parser.add_argument("--flipped", type=float, default=0.1)
    given = parser.parse_args()
    start, seeds = time.monotonic(), range(given.seeds)
    figures = over_seeds([measured(seed, (given.positive, given.flipped)) for seed in seeds])
    said = {"positive": given.positive, "flipped": given.flipped, "sizes": SIZES}
    report("samplers", figures, said, list(seeds), time.monotonic() - start)


if __name__ == "__main__":
    main()
