"""Choose the precision of the graph by how it ranks the validation texts, and how fast it is."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import onnx

from understudy.model.calibration import odds_of
from understudy.model.engine import Floats, Graph
from understudy.model.onnx.export import MODEL_FILE
from understudy.model.onnx.quantize import Ranges, Rows, quantized, ranges_of, runner, weights_of
from understudy.progress import track
from understudy.steps.export import rules
from understudy.steps.export.config import ExportConfig
from understudy.task.labels import LabelSpace

KEPT_SHARES = (0.125, 0.25, 0.5)  # of the weights that stay in fp32: the first that is as good is taken
PROBED_TEXTS = 32
TIMED_TEXTS = 256
TIMED_S = 2.0
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Tried:
    """A graph, its log-odds of the validation texts, shape (texts, labels looked at), and their average precision."""

    graph: Graph
    log_odds: Floats
    quality: float


def rows_of(graph: Graph, texts: Sequence[str]) -> Rows:
    """Turn texts into rows of token ids, a window each."""
    tokens = graph.tokens(texts)
    return [row.tolist() for row in np.split(tokens.ids, tokens.starts[1:-1])]


def first_window_logits(graph: Graph, texts: Sequence[str]) -> Floats:
    """Score texts by their first windows alone, the tokens that a student that cuts them reads; (texts, labels)."""
    scored = []
    for tokens in graph.pieces_of(texts):
        of_windows = replace(tokens, windows=np.ones_like(tokens.lengths))  # each window as a text of its own
        scored.append(graph.logits_of(of_windows, tokens.first_windows[:-1]))
    return np.concatenate(scored)


def integer_graphs(
    graphs: Path, exact: Tried, texts: tuple[Sequence[str], Sequence[str]], trial: Callable[[str], Tried],
    config: ExportConfig, *, is_many: bool,
) -> dict[str, Tried]:  # fmt: skip
    """Write int8/model.onnx, and mixed/model.onnx where int8 ranks the validation texts worse than may be.

    Args:
        graphs: has fp32/model.onnx.
        exact: what it scores.
        texts: of validation, and others like those to come; both show which values activations take.
        trial: scores the validation texts by the graph of a name.
        config: how much quality may be lost.
        is_many: a text may have several labels.
    """
    model = onnx.load(graphs / "fp32" / MODEL_FILE)
    rows = rows_of(exact.graph, texts[0])
    ranges = ranges_of(model, [*rows, *rows_of(exact.graph, texts[1])])
    _save(graphs / "int8", quantized(model, ranges))
    tried = {"int8": trial("int8")}
    if rules.is_as_good(exact.quality, tried["int8"].quality, config):
        return tried
    ranked = by_movement(movements(model, ranges, rows[:PROBED_TEXTS], is_many=is_many))
    for share in KEPT_SHARES:
        _save(graphs / "mixed", quantized(model, ranges, ranked[: max(1, round(share * len(ranked)))]))
        tried["mixed"] = trial("mixed")
        if rules.is_as_good(exact.quality, tried["mixed"].quality, config):
            break
    return tried


def movements(model: onnx.ModelProto, ranges: Ranges, rows: Rows, *, is_many: bool = False) -> dict[str, float]:
    """Measure how far each weight moves the logits when it alone is in integers: the mean over texts.

    What all logits of a text share moves no odds, unless each label has odds of its own, where a text may have several.
    """
    names, constants = weights_of(model), {tensor.name for tensor in model.graph.initializer}
    expected, found = _logits(model, rows), {}
    with track(len(names), "weights probed") as bar:
        for name in names:
            moved = _logits(quantized(model, ranges, constants - {name}), rows) - expected
            furthest = np.abs(moved).max(axis=1) if is_many else np.ptp(moved, axis=1)
            found[name] = float(furthest.mean())
            bar.advance()
    return found


def by_movement(moved: Mapping[str, float]) -> list[str]:
    """Order weights, those that move the logits most first.

    >>> by_movement({"layer0.key.weight": 0.01, "layer0.outer.weight": 0.4})
    ['layer0.outer.weight', 'layer0.key.weight']
    """
    return sorted(moved, key=lambda name: -moved[name])


def speeds(opened: Mapping[str, Graph], texts: Sequence[str]) -> dict[str, float]:
    """Measure texts per second of each graph on this machine, in turns: the best of three and of two seconds."""
    texts = list(islice(cycle(texts), TIMED_TEXTS))
    seconds: dict[str, list[float]] = {name: [] for name in opened}
    until = time.perf_counter() + TIMED_S
    while len(next(iter(seconds.values()))) < ROUNDS or time.perf_counter() < until:
        for name, graph in opened.items():
            started = time.perf_counter()
            graph.logits(texts)
            seconds[name].append(time.perf_counter() - started)
    return {name: len(texts) / min(took) for name, took in seconds.items()}


def batch_gap(graph: Graph, texts: Sequence[str], space: LabelSpace) -> float:
    """Measure how far log-odds depend on the batch: the largest gap between texts scored alone and together."""
    texts = texts[:TIMED_TEXTS]
    alone = np.concatenate([graph.logits([text]) for text in texts])
    return rules.largest_gap(odds_of(alone, space), odds_of(graph.logits(texts), space))


def _logits(model: onnx.ModelProto, rows: Rows) -> Floats:
    run = runner(model)
    return np.concatenate([run(np.array([row], np.int64))[0] for row in rows]).astype(np.float64)


def _save(folder: Path, model: onnx.ModelProto) -> None:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / MODEL_FILE)
