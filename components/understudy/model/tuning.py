"""Tune the engine to this machine and graph: measure for a few seconds, once, and remember.

They change how fast texts are scored, and not what is said of them.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from understudy.model.engine import BATCH_TOKENS, Graph, Tokens
from understudy.progress import say
from understudy.runtime.machine import cores, cpu_model
from understudy.store.cache import cache_folder, caching

FORMAT = 1
BUDGETS = (256, 512, 1024)  # tokens a batch; 2,048 were slower for every model (docs/log.md)
SMT_BUDGET = 512  # with which half as many threads are tried: two threads of one core may be slower than one
FEWEST_TEXTS = 10_000  # whose scoring takes far longer than the measurement
ROUNDS = 2
LONGEST_S = 8.0
SHORTEST, LONGEST = 8, 64  # tokens of the windows that are measured


@dataclass(frozen=True, slots=True)
class Settings:
    """How a graph is run.

    Attributes:
        threads: that score batches at the same time.
        batch_tokens: most tokens of a batch, padding included.
    """

    threads: int
    batch_tokens: int


def tuned(graph: Graph, model_hash: str, texts: int, threads: int = 0, batch_tokens: int = 0) -> Graph:
    """Return the graph with the settings that are fastest here; what is not given is measured, or remembered.

    Args:
        graph: to be run.
        model_hash: of its file, SHA-256.
        texts: how many are to be scored; few are not worth a measurement.
        threads: as asked for; 0 for what is best.
        batch_tokens: as asked for; 0 for what is best.
    """
    tried = choices(threads, batch_tokens, cores())
    file = cache_folder() / "tuning" / f"{_key(model_hash, tried)}.json"
    settings = tried[0] if len(tried) == 1 else _remembered(file, tried)
    if settings is None:
        usual = Settings(threads or cores(), batch_tokens or BATCH_TOKENS)
        settings = usual if texts < FEWEST_TEXTS else _measured(graph, tried, usual, file)
    return graph.suited(settings.threads, settings.batch_tokens)


def choices(threads: int, batch_tokens: int, most_threads: int) -> list[Settings]:
    """List the settings to try.

    >>> [(one.threads, one.batch_tokens) for one in choices(0, 0, most_threads=4)]
    [(4, 256), (4, 512), (4, 1024), (2, 512)]
    >>> choices(3, 0, most_threads=4)[0]
    Settings(threads=3, batch_tokens=256)
    """
    found = [Settings(threads or most_threads, budget) for budget in ((batch_tokens,) if batch_tokens else BUDGETS)]
    if not threads and most_threads > 1:
        found.append(Settings((most_threads + 1) // 2, batch_tokens or SMT_BUDGET))
    return found


def fastest(seconds: Mapping[Settings, Sequence[float]]) -> Settings:
    """Choose the settings whose quickest turn was the quickest: what else ran on the machine only ever adds time.

    >>> slow, fast = Settings(2, 512), Settings(2, 1024)
    >>> fastest({slow: [2.0, 2.1], fast: [9.0, 1.9]}) == fast
    True
    """
    return min(seconds, key=lambda one: min(seconds[one]))


def measure(graph: Graph, tried: Sequence[Settings]) -> Settings | None:
    """Measure settings by turns for LONGEST_S seconds at most, and what a batch that was begun takes to its end.

    Returns:
        the fastest in the rounds that were finished; None when none was.
    """
    until_s = time.perf_counter() + LONGEST_S
    sample = windows(graph, max(BUDGETS) * max(one.threads for one in tried))
    seconds: dict[Settings, list[float]] = {one: [] for one in tried}
    try:
        graph.logits_of(sample, np.arange(1), until_s)  # the first call prepares the graph
        for one in [*tried] * ROUNDS:
            seconds[one].append(_seconds(graph.suited(one.threads, one.batch_tokens), sample, until_s))
    except TimeoutError:
        pass  # what was measured until then counts
    finished = min(map(len, seconds.values()))
    return fastest({one: took[:finished] for one, took in seconds.items()}) if finished else None


def windows(graph: Graph, tokens: int) -> Tokens:
    """Make windows of evenly spread lengths, about so many tokens in all; always the same ones.

    All tokens are one, which every model knows: which they are changes nothing of the time.
    """
    longest = min(LONGEST, graph.max_length)
    shortest = min(SHORTEST, longest)
    count = max(1, tokens * 2 // (shortest + longest))
    starts = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(shortest, longest + 1, count))])
    return Tokens(np.zeros(starts[-1], dtype=np.int32), starts, np.ones(count, dtype=np.int64))


def _measured(graph: Graph, tried: Sequence[Settings], usual: Settings, file: Path) -> Settings:
    started = time.perf_counter()
    found = measure(graph, tried)
    settings = found or usual
    _remember(file, settings)
    told = f"measured in {time.perf_counter() - started:.1f} s" if found else "not measured, which takes too long here"
    say(f"engine: {settings.threads} threads, batches of {settings.batch_tokens:,} tokens ({told})")
    return settings


def _key(model_hash: str, tried: Sequence[Settings]) -> str:
    import onnxruntime

    facts = [FORMAT, model_hash, cpu_model(), onnxruntime.__version__, *map(asdict, tried)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _remembered(file: Path, tried: Sequence[Settings]) -> Settings | None:
    """Read what was measured before; None when there is nothing, or nothing that makes sense."""
    try:
        found = Settings(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found in tried else None


def _remember(file: Path, settings: Settings) -> None:
    with caching(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(asdict(settings)), encoding="utf-8")
        beside.replace(file)


def _seconds(graph: Graph, sample: Tokens, until_s: float) -> float:
    started = time.perf_counter()
    graph.logits_of(sample, until_s=until_s)
    return time.perf_counter() - started
