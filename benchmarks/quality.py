"""Measure the student's quality on labels by people: a forum, hotels, and what it gains over its teachers.

    make benchmark-quality DATA=../shared/data
    SEEDS=1 SIZE=small make benchmark-quality DATA=../shared/data    # at most 30 minutes on two cores

Each figure is the mean over the seeds. Its interval is of texts and seeds together: texts of a test set are drawn anew
by whole groups, the same for every seed, and with them the seeds. Thresholds, calibrators and epochs are chosen on
validation and calibration labels; a test split is scored once. What is known of the forum's test set is its share of
suggestions, as a card would state it: student and TF-IDF are calibrated at it.

    forum_f1            human labels of the forum's training sentences, on its test set, its share stated
    forum_vs_tfidf      less the F1 of TF-IDF with logistic regression on the same labels
    forum_ece_excess_*  calibration error over its noise floor, half of the calibration split positive: with the true
                        share stated, and with `prior: estimate` from unlabelled texts alone
    hotel_f1            the forum's student, learned on from hotel sentences; cross-validated
    gain                share by which its F1 is above that of a simulated teacher; 500 human labels, cross-validated
    real_gain_mcc       MCC above that of the teacher, a vote of three open LLMs, on news; 500 human labels
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import quality_tasks
from benchmarks.figures import Figure, report
from benchmarks.quality_tasks import Compared, Size
from understudy.stats import metrics
from understudy.stats.metrics import Floats, Statistic

SIZES = {
    "small": Size(forum=2_000, pool=0, news=800),
    "full": Size(forum=100_000, pool=2_000, news=8_000),
}
MINUTES = {"small": 25, "full": 240}  # a seed, on two cores
SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Draws:
    """A figure of one seed: its value, and on texts drawn anew, shape (SAMPLES,)."""

    value: float
    draws: Floats


def drawn(statistic: Statistic, compared: Compared) -> Draws:
    """Measure the student."""
    columns = compared.truth, compared.student
    return Draws(float(statistic(*columns)), metrics.draws_of(statistic, *columns, groups=compared.groups))


def gained(statistic: Statistic, compared: Compared, *, is_relative: bool) -> Draws:
    """Measure the student less its rival, on the same texts; relative to the rival where that is asked for."""
    own, other = drawn(statistic, compared), drawn(statistic, compared.of_rival())

    def gain(first: Floats, second: Floats) -> Floats:
        return (first - second) / (second if is_relative else 1.0)

    return Draws(float(gain(np.array(own.value), np.array(other.value))), gain(own.draws, other.draws))


def over_seeds(found: Sequence[Draws]) -> Figure:
    """Return the mean over seeds, with the 95% interval of texts and seeds.

    >>> over_seeds([Draws(0.5, np.full(SAMPLES, 0.5)), Draws(0.7, np.full(SAMPLES, 0.7))])
    Figure(value=0.6, low=0.5, high=0.7)
    """
    lot = np.random.default_rng(0)
    seeds = lot.integers(len(found), size=(SAMPLES, len(found)))
    draws = np.array([each.draws for each in found])[seeds, np.arange(SAMPLES)[:, None]].mean(axis=1)
    return Figure.of(metrics.interval_of(float(np.mean([each.value for each in found])), draws))


def of_seed(seed: int, size: Size) -> dict[str, Draws]:
    """Measure all figures of a seed."""
    forum = quality_tasks.forum(seed, size)
    figures = {"forum_f1": drawn(metrics.f1, forum.told)}
    figures["forum_vs_tfidf"] = gained(metrics.f1, forum.told, is_relative=False)
    for name, probabilities in forum.balanced.items():
        groups = forum.told.groups
        draws = metrics.draws_of(metrics.ece, probabilities, forum.told.truth, groups=groups)
        error, floor = float(metrics.ece(probabilities, forum.told.truth)), metrics.ece_floor(probabilities)
        figures[f"forum_ece_excess_{name}"] = Draws(error - floor, draws - floor)
    figures["hotel_f1"] = drawn(metrics.f1, quality_tasks.hotel(seed, forum.student))
    taught = quality_tasks.taught(seed, size)
    figures["gain_student_f1"] = drawn(metrics.f1, taught)
    figures["gain_teacher_f1"] = drawn(metrics.f1, taught.of_rival())
    figures["gain"] = gained(metrics.f1, taught, is_relative=True)
    news = quality_tasks.news(seed, size)
    for name, statistic in (("mcc", mcc), ("accuracy", metrics.accuracy), ("f1", metrics.f1)):
        figures[f"real_gain_{name}"] = gained(statistic, news, is_relative=False)
    return figures


def mcc(truth: metrics.Bools, predicted: metrics.Bools, weights: Floats | None = None) -> metrics.Figure:
    """Matthews' correlation coefficient of two labels.

    >>> float(mcc(np.array([True, True, False, False]), np.array([True, True, False, False])))
    1.0
    """
    counts = metrics.confusion(truth, predicted, weights)
    found, alarms, missed, passed = (
        counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative
    )  # fmt: skip
    spread = (found + alarms) * (found + missed) * (passed + alarms) * (passed + missed)
    return metrics.share(found * passed - alarms * missed, np.sqrt(spread))


def main() -> None:
    """Measure every seed and report; trainings are kept, so a run that was stopped goes on."""
    started, name = time.monotonic(), os.environ.get("SIZE", "full")
    seeds = range(int(os.environ.get("SEEDS", "5")))
    print(f"{len(seeds)} seed(s), size {name}: about {MINUTES[name] * len(seeds):,} minutes on two cores.", flush=True)
    found: list[Mapping[str, Draws]] = []
    for seed in seeds:
        found.append(of_seed(seed, SIZES[name]))
        print(f"seed {seed}: {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
    figures = {key: over_seeds([each[key] for each in found]) for key in found[0]}
    report("quality", figures, {"size": name, "student": "minilm"}, [*seeds], time.monotonic() - started)


if __name__ == "__main__":
    main()
