"""Measure how fast a bundle scores on this machine: one text on one thread, and batches on all cores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.model.scoring import Bundle
from understudy.progress import track
from understudy.runtime.machine import cores
from understudy.stats.metrics import Floats, Interval

WARM_UP_TEXTS = 8
PIECE_TEXTS = 2048
SHORTEST_TIMING_S = 1.0


@dataclass(frozen=True, slots=True)
class Scored:
    """Probabilities of the labels, and how long they took.

    Attributes:
        probabilities: calibrated, shape (texts, labels).
        texts_per_second: in batches on all cores.
        latency_ms: of single texts on one thread, shape (some texts,).
        cores: of this machine.
    """

    probabilities: Floats
    texts_per_second: float
    latency_ms: Floats
    cores: int


def score(folder: Path, texts: Sequence[str], latency_texts: int) -> Scored:
    """Score texts with a bundle and measure its speed.

    Args:
        folder: the bundle.
        texts: at least one.
        latency_texts: most texts that are scored one at a time, evenly spread over `texts`.
    """
    bundle = Bundle.open(folder)
    probabilities, texts_per_second = _throughput(bundle, texts)
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(latency_texts, len(texts))).astype(int))
    latency_ms = _latencies(Bundle.open(folder, threads=1), [texts[index] for index in chosen])
    return Scored(probabilities, texts_per_second, latency_ms, cores())


def _throughput(bundle: Bundle, texts: Sequence[str]) -> tuple[Floats, float]:
    """Score all texts, again and again until the time is long enough to be measured."""
    bundle.score(texts[:WARM_UP_TEXTS])
    started, passes = time.perf_counter(), 0
    while passes == 0 or time.perf_counter() - started < SHORTEST_TIMING_S:
        probabilities = _scored(bundle, texts)
        passes += 1
    return probabilities, len(texts) * passes / (time.perf_counter() - started)


def _scored(bundle: Bundle, texts: Sequence[str]) -> Floats:
    pieces = []
    with track(len(texts), "evaluate: texts scored") as progress:
        for start in range(0, len(texts), PIECE_TEXTS):
            piece = texts[start : start + PIECE_TEXTS]
            pieces.append(bundle.score(piece).probabilities)
            progress.advance(len(piece))
    return np.concatenate(pieces)


def _latencies(bundle: Bundle, texts: Sequence[str]) -> Floats:
    for text in texts[:WARM_UP_TEXTS]:
        bundle.score([text])
    durations = []
    for text in texts:
        started = time.perf_counter()
        bundle.score([text])
        durations.append((time.perf_counter() - started) * 1000)
    return np.asarray(durations)


def percentile(latency_ms: Floats, share: float, samples: int, seed: int) -> tuple[Interval, Floats]:
    """Return a percentile of latencies with its interval, and the resampled percentiles.

    Args:
        latency_ms: of single texts, shape (texts,).
        share: of the percentile, in (0, 1).
        samples: resamples of the bootstrap.
        seed: of the bootstrap.
    """
    drawn = np.random.default_rng(seed).integers(len(latency_ms), size=(samples, len(latency_ms)))
    draws: Floats = np.quantile(latency_ms[drawn], share, axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(np.quantile(latency_ms, share)), float(low), float(high)), draws
