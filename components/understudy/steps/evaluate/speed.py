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
ROUNDS = 3  # times that each text is scored alone; the fastest counts
CALM_SHARE = 0.05  # of the time of single texts that may be spent waiting for a processor


@dataclass(frozen=True, slots=True)
class Timing:
    """How long single texts took on one thread, in every round.

    Attributes:
        wall_ms: from the text to its label, shape (rounds, texts).
        processor_ms: of it, what this process computed, shape (rounds, texts).
    """

    wall_ms: Floats
    processor_ms: Floats

    @property
    def own_ms(self) -> Floats:
        """The machine's own time for each text, that of its fastest round, shape (texts,)."""
        return np.asarray(self.wall_ms.min(axis=0))

    @property
    def least_ms(self) -> Floats:
        """The least that each text can take: what its fastest round computed, shape (texts,)."""
        return np.asarray(np.minimum(self.processor_ms.min(axis=0), self.own_ms))

    @property
    def waiting(self) -> float:
        """Share of the time in which other work had the processor, in [0, 1].

        >>> Timing(np.array([[10.0, 10.0]]), np.array([[10.0, 5.0]])).waiting
        0.25
        """
        return float(np.clip(1 - self.processor_ms.sum() / self.wall_ms.sum(), 0.0, 1.0))

    @property
    def is_busy(self) -> bool:
        """Whether the machine had so much else to do that a text that took long says little of the student."""
        return self.waiting > CALM_SHARE


@dataclass(frozen=True, slots=True)
class Scored:
    """Probabilities of the labels, and how long they took.

    Attributes:
        probabilities: calibrated, shape (texts, labels).
        texts_per_second: in batches on all cores, in the fastest pass.
        most_texts_per_second: that a calm machine could score at most: all cores doing only what that pass computed.
        timing: of single texts.
        cores: of this machine.
    """

    probabilities: Floats
    texts_per_second: float
    most_texts_per_second: float
    timing: Timing
    cores: int


def score(folder: Path, texts: Sequence[str], latency_texts: int) -> Scored:
    """Score texts with a bundle and measure its speed.

    Args:
        folder: the bundle.
        texts: at least one.
        latency_texts: most texts that are scored one at a time, evenly spread over `texts`.
    """
    bundle = Bundle.open(folder)
    probabilities, seconds, computed_s = _throughput(bundle, texts)
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(latency_texts, len(texts))).astype(int))
    timing = _timing(Bundle.open(folder, threads=1), [texts[index] for index in chosen])
    fastest = len(texts) / min(seconds, computed_s / cores())
    return Scored(probabilities, len(texts) / seconds, fastest, timing, cores())


def _throughput(bundle: Bundle, texts: Sequence[str]) -> tuple[Floats, float, float]:
    """Score all texts, again and again until the time is long enough to be measured; the fastest pass counts.

    Returns:
        probabilities, and of that pass the seconds that it took and those that this process computed, on all cores.
    """
    bundle.score(texts[:WARM_UP_TEXTS])
    passes: list[tuple[float, float]] = []
    while sum(seconds for seconds, _ in passes) < SHORTEST_TIMING_S:
        started, began = time.perf_counter(), time.process_time()
        probabilities = _scored(bundle, texts)
        computed = time.process_time() - began
        passes.append((time.perf_counter() - started, computed))
    return probabilities, *min(passes)


def _scored(bundle: Bundle, texts: Sequence[str]) -> Floats:
    pieces = []
    with track(len(texts), "evaluate: texts scored") as progress:
        for start in range(0, len(texts), PIECE_TEXTS):
            piece = texts[start : start + PIECE_TEXTS]
            pieces.append(bundle.score(piece).probabilities)
            progress.advance(len(piece))
    return np.concatenate(pieces)


def _timing(bundle: Bundle, texts: Sequence[str]) -> Timing:
    """Score texts one at a time, all of them in each round, so that a busy moment does not meet a text in every one."""
    for text in texts[:WARM_UP_TEXTS]:
        bundle.score([text])
    seconds = np.array([[_timed(bundle, text) for text in texts] for _ in range(ROUNDS)])
    return Timing(wall_ms=seconds[:, :, 0] * 1000, processor_ms=seconds[:, :, 1] * 1000)


def _timed(bundle: Bundle, text: str) -> tuple[float, float]:
    """Return the seconds that a text took, and those that this process computed."""
    started, began = time.perf_counter(), time.process_time()
    bundle.score([text])
    computed = time.process_time() - began
    return time.perf_counter() - started, computed


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
