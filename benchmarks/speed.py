"""How much faster the engine is than other ways to run the same classifier on this CPU.

    make benchmark-speed

Each workload is a model of a true shape with random weights, and real hotel texts. Every way reads texts from Parquet,
tokenises, scores and writes Parquet, on all cores; the ways take turns in an order drawn anew each round, and a ratio
is taken within a round. docs/speed.md says how to read the figures.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import transformers
from scipy import stats

from benchmarks import rivals, workloads
from benchmarks.figures import BUILD, Figure, report
from benchmarks.rivals import Way, by_budget
from benchmarks.workloads import SEED, WORKLOADS, Workload
from understudy.model.calibration import log_odds
from understudy.model.engine import Graph, Integers, on_threads
from understudy.model.onnx import export
from understudy.model.tuning import FEWEST_TEXTS, tuned
from understudy.runtime.machine import cores
from understudy.steps.evaluate.costs import per_1k_usd
from understudy.steps.evaluate.speed import percentile
from understudy.store.hashing import hash_file
from understudy.task.card import Prices

OURS = "ours"
IN_BATCHES = ("naive", "pipeline", "optimum_int8")  # of rivals.BATCH texts as they come
RIVALS = (*IN_BATCHES, "optimum_int8_sorted", "openvino_int8")
TARGETS = {
    "vs_naive": 80,
    "vs_pipeline": 20,
    "vs_optimum_int8": 5,
    "vs_optimum_int8_sorted": 1.8,
    "vs_openvino_int8": 1.0,
}
FOLDER = BUILD / "benchmark-speed"
MOST_TEXTS = 2048
TURN_S = 3.0  # how long a turn should last at least; the slowest ways get one batch, which lasts longer
ALIKE = 0.01  # most that the mean length of a turn's texts is from that of all texts, as a share
CHOICE_TOKENS = 12_000  # by which a rival's graph and budget are chosen
LATENCY_TEXTS = {"sentences": 400, "reviews": 100}
TRAVELLER_TIPS_COST_USD = 0.03
TRAVELLER_TIPS_P95_MS = 22
EXACT = ("naive", "pipeline")  # ways that compute in fp32
LARGEST_GAP = 1e-3


@dataclass(frozen=True, slots=True)
class Contest:
    """The ways to score one workload.

    Attributes:
        workload: what is scored.
        texts: in an order that was drawn once.
        lengths: tokens of each text, shape (texts,).
        ways: by name.
        setup: what was chosen for a way before the rounds, by name.
    """

    workload: Workload
    texts: list[str]
    lengths: Integers
    ways: dict[str, Way]
    setup: dict[str, str]


def contest_of(workload: Workload, folder: Path, names: Sequence[str]) -> Contest:
    """Make the model, its graphs, and the ways to run it that are named, each as it is fastest."""
    model, tokenizer = workloads.model_of(workload.shape), workloads.tokenizer(workload.shape)
    texts = workloads.texts_of(workload.texts)
    ours, fp32 = our_graphs(model, tokenizer, folder)
    made = makers(model, tokenizer, folder, ours, fp32, texts)
    ways, setup = {OURS: ours.logits}, {OURS: f"{ours.threads} threads, {ours.batch_tokens:,} tokens"}
    for name in names:
        variants = made[name]()
        trial = texts[: CHOICE_TOKENS // workloads.MEAN_TOKENS[workload.texts]]
        setup[name] = rivals.quickest(variants, trial) if len(variants) > 1 else ""
        ways[name] = variants[setup[name]]
    exact = Graph(fp32, folder / "tokenizer.json", workloads.MAX_LENGTH)
    require_same({name: ways[name] for name in EXACT if name in ways}, exact.logits, texts[: rivals.BATCH])
    return Contest(workload, texts, ours.tokens(texts).lengths, ways, setup)


def makers(
    model: Any, tokenizer: Any, folder: Path, ours: Graph, fp32: Path, texts: Sequence[str]
) -> dict[str, Callable[[], dict[str, Way]]]:
    """Return what makes each rival, in all of its variants."""
    plain = plain_graph(model, folder)
    openvino = partial(rivals.openvino_int8, ours=ours, calibration=texts[-rivals.CALIBRATION_TEXTS :])
    optimum = partial(rivals.optimum_model, folder=folder / "optimum")
    by_length = rivals.optimum_int8_sorted
    return {
        "naive": lambda: {"": rivals.naive(model, tokenizer)},
        "pipeline": lambda: {"": rivals.pipeline(model, tokenizer)},
        "optimum_int8": lambda: {"": rivals.optimum_int8(optimum(plain), tokenizer)},
        "optimum_int8_sorted": lambda: by_budget(partial(by_length, optimum(plain), ours), "exporter's graph"),
        "openvino_int8": lambda: (
            ({} if rivals.branches(plain) else by_budget(openvino(plain), "exporter's graph"))
            | by_budget(openvino(fp32), "our graph")
        ),
    }


def plain_graph(model: Any, folder: Path) -> Path:
    """Make the graph as its exporter makes it."""
    made = folder / "plain"
    made.mkdir()
    model.config.save_pretrained(made)
    export.export_plain(model, made, export.OPSET)
    return made / export.MODEL_FILE


def our_graphs(model: Any, tokenizer: Any, folder: Path) -> tuple[Graph, Path]:
    """Export a model as the step export does; return the engine of the int8 graph, and the fp32 file.

    The engine has the settings that the step infer would measure for a night of many texts; it does so anew here.
    """
    folder.mkdir(parents=True)
    fp32 = export.export_fp32(model, folder / "fp32")
    int8 = export.export_int8(fp32, folder / "int8", workloads.rows(tokenizer))
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    graph = Graph(int8, folder / "tokenizer.json", workloads.MAX_LENGTH)
    os.environ["UNDERSTUDY_CACHE"] = str(folder)
    return tuned(graph, hash_file(int8), FEWEST_TEXTS), fp32


def require_same(ways: Mapping[str, Way], exact: Way, texts: Sequence[str]) -> None:
    """Stop when a way that computes in fp32 gives other log-odds than our fp32 graph: it would be another model."""
    expected = log_odds(exact(texts), 1)
    for name, way in ways.items():
        gap = float(np.abs(log_odds(way(texts), 1) - expected).max())
        if not gap <= LARGEST_GAP:
            raise SystemExit(f"Log-odds must stay within {LARGEST_GAP} of our fp32 graph's, got {gap} ({name}).")


def whole_way(way: Way, texts: Path, out: Path) -> float:
    """Label the texts of a Parquet file into another one; return texts per second."""
    started = time.perf_counter()
    table = pl.read_parquet(texts)
    probability = 1 / (1 + np.exp(-log_odds(way(table["text"].to_list()), 1)))
    table.select("id").with_columns(pl.Series("probability", probability)).write_parquet(out)
    return len(table) / (time.perf_counter() - started)


def drawn(lengths: Integers, number: int, rng: np.random.Generator) -> Integers:
    """Draw texts whose mean length is that of all texts, within ALIKE of it; positions in a random order.

    >>> drawn(np.array([1, 2, 3]), 1, np.random.default_rng(0)).tolist()
    [1]
    """
    while True:
        chosen = rng.choice(len(lengths), number, replace=False)
        if abs(lengths[chosen].mean() / lengths.mean() - 1) <= ALIKE:
            return np.asarray(chosen)


def turn(contest: Contest, name: str, number: int, folder: Path, round_number: int) -> float:
    """Let a way label so many texts, the same ones as every way with this number in this round; texts per second."""
    chosen = drawn(contest.lengths, number, np.random.default_rng([SEED, round_number]))
    table = pl.DataFrame({"id": chosen, "text": [contest.texts[index] for index in chosen]})
    table.write_parquet(folder / "texts.parquet")
    return whole_way(contest.ways[name], folder / "texts.parquet", folder / "labelled.parquet")


def numbers(contest: Contest, folder: Path) -> dict[str, int]:
    """Count the texts of each way's turn, by what it makes of one batch.

    A way in batches of rivals.BATCH gets as many as fill its turn. All others gain by more texts, and get the same
    ones: as many as the slowest of them scores in two turns' time.
    """
    rates = {name: turn(contest, name, rivals.BATCH, folder, 0) for name in contest.ways}
    slowest = min(rate for name, rate in rates.items() if name not in IN_BATCHES)
    wanted = {name: rates[name] * TURN_S if name in IN_BATCHES else slowest * 2 * TURN_S for name in rates}
    most = min(MOST_TEXTS, len(contest.texts) // rivals.BATCH * rivals.BATCH)
    return {
        name: int(np.clip(texts // rivals.BATCH * rivals.BATCH, rivals.BATCH, most)) for name, texts in wanted.items()
    }


def measure(contest: Contest, folder: Path, rounds: int, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """Measure every way's texts per second in each round, and the machine's integer operations per second."""
    calls = {name: partial(turn, contest, name, number, folder) for name, number in numbers(contest, folder).items()}
    peak = integer_peak(folder)
    found: dict[str, list[float]] = {name: [] for name in (*calls, "peak")}
    for round_number in range(rounds):
        for name in rng.permutation(list(found)):
            found[name].append(peak() if name == "peak" else calls[name](round_number))
    return {name: np.array(values) for name, values in found.items()}


def ratio(above: np.ndarray[Any, Any], below: np.ndarray[Any, Any]) -> Figure:
    """Geometric mean of the rounds' ratios, with Student's interval of their logarithms."""
    logs = np.log(above / below)
    if len(logs) < 2:
        return Figure(float(np.exp(logs.mean())))
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), max(stats.sem(logs), 1e-12))
    return Figure(*(float(np.exp(value)) for value in (logs.mean(), low, high)))


def figures_of(contest: Contest, speeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Figure]:
    """Compare our speed with each rival's, and with what the machine's integer units could do."""
    suffix, ours = contest.workload.suffix, speeds[OURS]
    found = {f"vs_{name}{suffix}": ratio(ours, speeds[name]) for name in contest.ways if name != OURS}
    needed = workloads.operations(workloads.SHAPES[contest.workload.shape], contest.lengths) / len(contest.lengths)
    found[f"ceiling_share{suffix}"] = ratio(ours * needed, speeds["peak"])
    rate = ratio(ours, np.ones_like(ours))
    hourly = Prices().instance_usd_per_hour
    prices = [per_1k_usd(hourly, speed) for speed in (rate.value, rate.high, rate.low) if speed is not None]
    return found | {f"texts_per_second{suffix}": rate, f"cost_per_1k_usd{suffix}": Figure(*prices)}


def latencies(contest: Contest, folder: Path) -> Figure:
    """Score texts one at a time on one thread; the 95th percentile, with its bootstrap interval."""
    graph = Graph(folder / "int8/model.onnx", folder / "tokenizer.json", workloads.MAX_LENGTH, threads=1)
    taken = []
    for text in contest.texts[: LATENCY_TEXTS[contest.workload.texts]]:
        started = time.perf_counter()
        graph.logits([text])
        taken.append((time.perf_counter() - started) * 1000)
    found, _ = percentile(np.array(taken[5:]), 0.95, 2000, SEED)  # the first ones fill caches
    return Figure.of(found)


def integer_peak(folder: Path) -> Callable[[], float]:
    """Measure the machine's products of 8-bit integer matrices, each core its own, of a size that stays in its cache.

    Of fifteen sizes this was among the fastest; one of 1,024 rows by 768 by 3,072 is a sixth slower.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper, save

    rows, inner, columns, times = 256, 768, 768, 2000
    weight = numpy_helper.from_array(np.ones((inner, columns), dtype=np.int8), "weight")
    node = helper.make_node("MatMulInteger", ["rows", "weight"], ["sums"])
    given = helper.make_tensor_value_info("rows", TensorProto.UINT8, [rows, inner])
    made = helper.make_tensor_value_info("sums", TensorProto.INT32, [rows, columns])
    graph = helper.make_graph([node], "peak", [given], [made], [weight])
    file = folder / "peak.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    rows_of = {"rows": np.ones((rows, inner), dtype=np.uint8)}

    def multiply(times: int) -> None:
        for _ in range(times):
            session.run(None, rows_of)

    def operations_per_second() -> float:
        started = time.perf_counter()
        on_threads(multiply, [times] * cores(), cores())
        return 2 * rows * inner * columns * times * cores() / (time.perf_counter() - started)

    return operations_per_second


def told(contest: Contest, speeds: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[str]:
    """Say what each way came to, in texts per second; medians."""
    yield f"{contest.workload.shape}, {contest.workload.texts}, texts a second (median of rounds):"
    for name in contest.ways:
        yield f"  {name:<24}{np.median(speeds[name]):10.1f}  {contest.setup[name]}"
    yield f"  integer peak {np.median(speeds['peak']) / 1e9:.0f} GOPS"


def missed(found: Mapping[str, Figure]) -> Iterator[str]:
    """Name each target that was not reached."""
    for name, target in TARGETS.items():
        if name in found and found[name].value < target:
            yield f"Not reached: {name} is {found[name].value:.3g}, the target is {target}."


def run(
    chosen: Sequence[Workload], names: Sequence[str], rounds: int
) -> tuple[dict[str, Figure], dict[str, dict[str, str]]]:
    """Measure some workloads, one after another; return the figures, and what each way was set up with."""
    rng = np.random.default_rng(SEED)
    found: dict[str, Figure] = {}
    setups: dict[str, dict[str, str]] = {}
    for workload in chosen:
        folder = FOLDER / f"{workload.shape}_{workload.texts}"
        contest = contest_of(workload, folder, names)
        setups[folder.name] = contest.setup
        speeds = measure(contest, folder, rounds, rng)
        print("\n".join(told(contest, speeds)), flush=True)
        found |= figures_of(contest, speeds)
        if workload.shape == "deberta":
            unit = "_review" if workload.texts == "reviews" else ""
            found[f"p95_latency_ms{unit}"] = latencies(contest, folder)
        shutil.rmtree(folder)
    return found, setups


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Turns of each way; 2 for a quick try.")
@click.option("--against", multiple=True, type=click.Choice(RIVALS), default=RIVALS, help="A rival; all are usual.")
@click.option("--only", multiple=True, help="Suffix of a workload to measure alone; 'deberta' for the one without.")
def main(rounds: int, against: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Measure, and report."""
    chosen = [one for one in WORKLOADS if not only or (one.suffix.lstrip("_") or "deberta") in only]
    minutes = len(chosen) * (1.8 + 0.08 * rounds * len(against))
    print(
        f"{len(chosen)} workloads, {rounds} rounds of every way; about {minutes:.0f} minutes on two cores.", flush=True
    )
    transformers.logging.set_verbosity(logging.CRITICAL)  # its pipeline complains of a class that it does not list
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    found, setups = run(chosen, against, rounds)
    settings: dict[str, Any] = {
        "rounds": rounds,
        "turn_s": TURN_S,
        "max_length": workloads.MAX_LENGTH,
        "cores": cores(),
    }
    settings |= {"batch": rivals.BATCH, "instance_usd_per_hour": Prices().instance_usd_per_hour, "setups": setups}
    file = report("speed", found, settings, [SEED], time.monotonic() - started)
    print(f"Traveller tips: P95 {TRAVELLER_TIPS_P95_MS} ms, ${TRAVELLER_TIPS_COST_USD} per 1,000. Written: {file}")
    for line in missed(found):
        print(line)


if __name__ == "__main__":
    main()
