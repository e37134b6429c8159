"""Simulate samples of people's labels beside a teacher's answers: how many labels it saves, and what intervals hold.

    make benchmark-power      2,000 simulations of each in five seeds, about four minutes; SEEDS=1 SIZE=small takes one

Figures: `<teacher>_<labels>_<figure>_saved`, how many times as many labels people's alone would need for the same mean
squared error; `..._covered`, the share of 95% intervals that hold the truth. A good teacher correlates with people at
0.8, a fair one at 0.4, and one of them guesses. Targets: covered at least 0.94; saved at least 2 with the good teacher,
and never below 0.95.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.figures import Figure, report
from understudy.stats import metrics
from understudy.stats.metrics import Floats
from understudy.stats.prediction_powered import estimate

FIGURES = ("precision", "recall", "f1")
TEXTS, PARTS, THRESHOLD = 10_000, 5, 0.4
# how often it finds a positive text, and takes another one for it: it correlates with people at 0.8, 0.4 and 0
TEACHERS: Mapping[str, tuple[float, float]] = {"good": (0.82, 0.02), "fair": (0.5, 0.08), "none": (0.5, 0.5)}
LABELS = (200, 500)


@dataclass(frozen=True, slots=True)
class Found:
    """What simulations found, by figure.

    Attributes:
        saved: mean squared error of people's labels alone over that with the teacher.
        covered: share of the intervals that hold the truth.
        correlation: of teacher and people, the mean over the simulations.
    """

    saved: dict[str, float]
    covered: dict[str, float]
    correlation: float


def simulate(teacher: str, *, labels: int, repeats: int, seed: int) -> Found:
    """Draw texts, their labels and a stratified sample again and again, and estimate each time.

    Args:
        teacher: of `TEACHERS`.
        labels: that people give, as many in each of `PARTS` parts of the range of probabilities.
        repeats: how often.
        seed: of the draws.
    """
    rng, found_share, alarm_share = np.random.default_rng(seed), *TEACHERS[teacher]
    errors: Floats = np.empty((repeats, 2, len(FIGURES)))
    held: Floats = np.empty((repeats, len(FIGURES)))
    correlations = np.empty(repeats)
    for repeat in range(repeats):
        chance = rng.beta(0.4, 3.0, TEXTS)
        truth, flagged = rng.random(TEXTS) < chance, chance >= THRESHOLD
        said = (rng.random(TEXTS) < np.where(truth, found_share, alarm_share)).astype(float)
        strata = (chance * PARTS).astype(int).clip(max=PARTS - 1)
        members = [np.flatnonzero(strata == part) for part in range(PARTS)]
        drawn = np.concatenate([rng.choice(some, min(labels // PARTS, len(some)), replace=False) for some in members])
        right = [statistic(truth, flagged) for statistic in (metrics.precision, metrics.recall, metrics.f1)]
        alone, both = (
            estimate(flagged, said, strata, drawn, truth[drawn], most_weight=most).values() for most in (0.0, 1.0)
        )
        errors[repeat] = [[one.value - own for one, own in zip(way, right, strict=True)] for way in (alone, both)]
        held[repeat] = [one.low <= own <= one.high for one, own in zip(both, right, strict=True)]
        correlations[repeat] = np.corrcoef(truth, said)[0, 1]
    saved = (errors[:, 0] ** 2).mean(axis=0) / (errors[:, 1] ** 2).mean(axis=0)
    return Found(
        dict(zip(FIGURES, saved.tolist(), strict=True)),
        dict(zip(FIGURES, held.mean(axis=0).tolist(), strict=True)),
        float(correlations.mean()),
    )


def measured(labels: int, teacher: str, seeds: Sequence[int], repeats: int) -> Iterator[tuple[str, Figure]]:
    """Simulate once a seed; what is saved has the interval of the seeds, what is covered Wilson's."""
    found = [simulate(teacher, labels=labels, repeats=repeats, seed=seed) for seed in seeds]
    correlation = float(np.mean([one.correlation for one in found]))
    yield f"{teacher}_{labels}_correlation", Figure(correlation)
    for figure in FIGURES:
        saved = np.array([one.saved[figure] for one in found])
        half = metrics.Z * float(saved.std(ddof=1)) / len(saved) ** 0.5 if len(saved) > 1 else np.nan
        ends = (float(saved.mean() - half), float(saved.mean() + half)) if len(saved) > 1 else (None, None)
        yield f"{teacher}_{labels}_{figure}_saved", Figure(float(saved.mean()), *ends)
        held = sum(one.covered[figure] for one in found) * repeats
        yield f"{teacher}_{labels}_{figure}_covered", Figure.of(metrics.wilson(held, len(found) * repeats))


def main() -> None:
    """Simulate, and report."""
    started, seeds = time.monotonic(), range(int(os.environ.get("SEEDS", "5")))
    repeats = 100 if os.environ.get("SIZE") == "small" else 400
    print(f"{repeats} simulations a seed, of {len(TEACHERS)} teachers and {LABELS} labels; a few minutes.", flush=True)
    found = {
        name: figure
        for labels in LABELS
        for teacher in TEACHERS
        for name, figure in measured(labels, teacher, seeds, repeats)
    }
    settings = {"texts": TEXTS, "parts": PARTS, "repeats": repeats, "teachers": dict(TEACHERS)}
    report("power", found, settings, list(seeds), time.monotonic() - started)


if __name__ == "__main__":
    main()
