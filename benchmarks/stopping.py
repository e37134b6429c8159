"""Simulate learning loops, and ask after each cycle whether to stop: our rule, and rivals' criteria.

A loop has a true learning curve, validation texts with people's labels, and texts without. A text is as hard for one
cycle's student as for the next, but for a part that training draws anew. A rule errs where it ends the loop although
the next cycle's student is expected to be better by more than
the margin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.stats import gains
from understudy.stats.metrics import Bools, Floats, f1

CYCLES, PER_CYCLE = 12, (100, 200, 500)
VALIDATION, UNLABELLED = (200, 400, 800), 1000
SAME = 0.8  # correlation of how hard a text is for two cycles
SAMPLES = 400  # resamples of the validation texts
NOISE = 0.007  # standard deviation of a cycle's F1 about what is expected


@dataclass(frozen=True, slots=True)
class Loop:
    """A simulated loop.

    Attributes:
        labels: that each cycle's student has learned from, shape (cycles,).
        expected: F1 that it is expected to reach, shape (cycles,).
        truth: of the validation texts.
        answers: of each cycle to them, shape (cycles, validation texts).
        unlabelled: its answers to texts without labels, shape (cycles, texts).
    """

    labels: Floats
    expected: Floats
    truth: Bools
    answers: Bools
    unlabelled: Bools

    def next_gain(self, cycle: int) -> float:
        """Return what the cycle after this one is expected to gain."""
        return float(self.expected[cycle + 1] - self.expected[cycle])


def loop(seed: int) -> Loop:
    """Draw a loop."""
    rng = np.random.default_rng(seed)
    each, first = rng.choice(PER_CYCLE), rng.choice((200, 500, 1000))
    labels = first + each * np.arange(CYCLES + 1.0)
    top, lost, bend = rng.uniform(0.7, 0.95), rng.uniform(0.02, 0.35), rng.uniform(0.2, 1.5)
    expected = top - lost * (labels / first) ** -bend
    reached = np.clip(expected + rng.normal(0, NOISE, len(labels)), 0.05, 0.99)
    positive, validation = rng.uniform(0.1, 0.5), rng.choice(VALIDATION)
    truth, answers = _answered(rng, positive, int(validation), reached)
    return Loop(labels, expected, truth, answers, _answered(rng, positive, UNLABELLED, reached)[1])


def _answered(rng: np.random.Generator, positive: float, texts: int, reached: Floats) -> tuple[Bools, Bools]:
    """Draw people's labels, and answers of students whose recall and precision are both their F1."""
    truth = rng.random(texts) < positive
    shared = rng.normal(size=texts)
    own = rng.normal(size=(len(reached), texts))
    ease = _normal_share(SAME**0.5 * shared + (1 - SAME) ** 0.5 * own)
    flagged = (reached * positive * (1 - reached) / reached / (1 - positive))[:, None]
    return truth, np.where(truth, ease < reached[:, None], ease < flagged)


def _normal_share(values: Floats) -> Floats:
    from scipy.stats import norm

    return np.asarray(norm.cdf(values))


def ours(found: Loop) -> int:
    """Return the cycle after which our rule stops, the last where it never does."""
    groups = np.arange(len(found.truth))
    draws = gains.drawn_figures(f1, found.truth, list(found.answers[:-1]), groups, samples=SAMPLES)[1]
    for cycle in range(1, CYCLES - 1):
        more = int(found.labels[cycle + 1] - found.labels[cycle])
        coming = gains.outlook(found.labels[: cycle + 1], draws[:, : cycle + 1], more)
        if coming is not None and coming.is_too_little:
            return cycle
    return CYCLES - 1


def paired_alone(found: Loop) -> int:
    """Return the cycle after which the paired comparison of the last two would stop, without a learning curve."""
    groups = np.arange(len(found.truth))
    values, draws = gains.drawn_figures(f1, found.truth, list(found.answers[:-1]), groups, samples=SAMPLES)
    for cycle in range(1, CYCLES - 1):
        if gains.gain(values[: cycle + 1], draws[:, : cycle + 1], len(groups)).verdict == "no":
            return cycle
    return CYCLES - 1


def judged(loops: Sequence[Loop], stops: Sequence[int]) -> Mapping[str, Floats]:
    """Say of each loop whether it ended too early, and how many cycles it ran after none gained the margin any more."""
    early = [
        stop < CYCLES - 1 and found.next_gain(stop) > gains.MARGIN for found, stop in zip(loops, stops, strict=True)
    ]
    wasted = [max(0, stop - _enough(found)) for found, stop in zip(loops, stops, strict=True)]
    return {"error": np.array(early, dtype=float), "wasted": np.array(wasted, dtype=float)}


def _enough(found: Loop) -> int:
    """Return the first cycle after which no cycle gains the margin."""
    pays = [cycle for cycle in range(CYCLES) if found.next_gain(cycle) > gains.MARGIN]
    return max(pays, default=-1) + 1
