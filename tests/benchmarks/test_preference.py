"""The benchmark of pairs: a fair rival, and a simulated teacher that errs as it says."""

import numpy as np

from benchmarks import preference as benchmark
from understudy.steps.train import preference, rules

LENGTHS, SESSIONS = [3 + index % 17 for index in range(200)], np.arange(200) // 20


def test_cross_entropy_makes_at_least_as_many_updates_as_pairs_and_labels_together():
    pairs, labels = benchmark.stages_of(benchmark.PAIRS, LENGTHS, SESSIONS, seed=1)
    alone = benchmark.stages_of(benchmark.CROSS_ENTROPY, LENGTHS, SESSIONS, seed=1)
    limits = benchmark.CONFIG.batch_tokens, 1, 0
    of_labels = len(rules.epoch_batches(LENGTHS, *limits))
    of_pairs = pairs.epochs * len(preference.session_batches(LENGTHS, SESSIONS, *limits))
    assert sum(stage.epochs for stage in alone) * of_labels >= of_pairs + labels.epochs * of_labels
    assert all(stage.sessions is None for stage in alone)


def test_pairs_across_sessions_are_of_sessions_of_the_same_sizes():
    across, _ = benchmark.stages_of(benchmark.ACROSS, LENGTHS, SESSIONS, seed=1)
    assert np.bincount(across.sessions).tolist() == np.bincount(SESSIONS).tolist()
    assert (across.sessions != SESSIONS).mean() > 0.8


def test_the_simulated_teacher_leans_in_whole_meetings():
    truth, sessions = np.zeros(4000, dtype=int), np.arange(4000) // 400
    even, leaning = (
        benchmark.answers(truth, sessions, 3, benchmark.Noise(offset=offset, flipped=0.0), seed=1)
        for offset in (0.0, 2.0)
    )
    np.testing.assert_allclose(even.sum(axis=1), 1)
    spread = [np.std([scores[sessions == name, 0].mean() for name in range(10)]) for scores in (even, leaning)]
    assert spread[0] < 0.01
    assert spread[1] > 0.05
