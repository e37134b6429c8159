"""What each part of the engine is worth: the whole of it against the whole without that part.

    python -m benchmarks.ablation --shape deberta

The same texts, files and turns as in `benchmarks.speed`; a gain of 1.3 means that the engine is 1.3 times as fast with
the part as without it.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import onnxruntime

from benchmarks import workloads
from benchmarks.figures import Figure, report
from benchmarks.rivals import BATCH, BUDGETS, Way, feeds
from benchmarks.speed import FOLDER, OURS, Contest, measure, our_graphs, plain_graph, ratio
from benchmarks.workloads import SEED, Workload
from understudy.model.engine import Floats, Graph, Integers, Tokens, length_batches, on_threads
from understudy.model.onnx import export
from understudy.runtime.machine import cores


def ways_of(shape: str, folder: Path) -> tuple[dict[str, Way], Graph]:
    """Make the engine, and the engine without each of its parts."""
    model, tokenizer = workloads.model_of(shape), workloads.tokenizer(shape)
    ours, fp32 = our_graphs(model, tokenizer, folder)
    plain_int8 = export.export_int8(plain_graph(model, folder), folder / "plain8", workloads.rows(tokenizer))
    like_ours = {"threads": ours.threads, "batch_tokens": ours.batch_tokens}
    opened = partial(Graph, tokenizer_path=folder / "tokenizer.json", max_length=workloads.MAX_LENGTH, **like_ours)
    ways = {
        OURS: ours.logits,
        "int8": opened(fp32).logits,
        "fast_graph": opened(plain_int8).logits,
        "length_batches": in_order(folder / "int8/model.onnx", ours),
        "second_thread": ours.suited(1, ours.batch_tokens).logits,
        "thread_a_batch": threads_within(folder / "int8/model.onnx", ours),
    }
    ways |= {f"over_{budget}_tokens": ours.suited(ours.threads, budget).logits for budget in BUDGETS}
    return ways, ours


def in_order(file: Path, ours: Graph) -> Way:
    """Score batches of BATCH texts as they come, on our threads."""
    run = runner(file, ours, threads=1)

    def score(texts: Sequence[str]) -> Floats:
        tokens = ours.tokens(texts)
        batches = [np.arange(at, min(at + BATCH, len(texts))) for at in range(0, len(texts), BATCH)]
        return np.concatenate(on_threads(lambda batch: run(tokens, batch), batches, ours.threads))

    return score


def threads_within(file: Path, ours: Graph) -> Way:
    """Score one batch at a time, its products cut among onnxruntime's own threads."""
    run = runner(file, ours, threads=cores())

    def score(texts: Sequence[str]) -> Floats:
        tokens = ours.tokens(texts)
        logits = np.empty((len(texts), 2))
        for batch in length_batches(tokens.lengths.tolist(), ours.batch_tokens):
            logits[batch] = run(tokens, batch)
        return logits

    return score


def runner(file: Path, ours: Graph, threads: int) -> Callable[[Tokens, Integers], Floats]:
    """Open a session of so many threads that scores a batch of texts of one window each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda tokens, batch: session.run(None, feeds(ours, tokens, batch, names))[0]


@click.command()
@click.option("--shape", default="deberta", show_default=True, type=click.Choice(sorted(workloads.SHAPES)))
@click.option("--texts", default="sentences", show_default=True, type=click.Choice(sorted(workloads.MEAN_TOKENS)))
@click.option("--rounds", default=7, show_default=True, help="Turns of each way.")
def main(shape: str, texts: str, rounds: int) -> None:
    """Measure the engine without each of its parts, and report."""
    print(f"{rounds} rounds of 10 ways; about {1 + 0.7 * rounds:.0f} minutes on two cores.", flush=True)
    started = time.monotonic()
    folder = FOLDER / "ablation"
    shutil.rmtree(folder, ignore_errors=True)
    ways, ours = ways_of(shape, folder)
    given = workloads.texts_of(texts)
    contest = Contest(Workload("", shape, texts), given, ours.tokens(given).lengths, ways, {})
    speeds = measure(contest, folder, rounds, np.random.default_rng(SEED))
    gains: dict[str, Figure] = {f"gain_{name}": ratio(speeds[OURS], speeds[name]) for name in ways if name != OURS}
    name = f"ablation-{shape}-{texts}"
    report(name, gains, {"rounds": rounds, "cores": cores()}, [SEED], time.monotonic() - started)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
