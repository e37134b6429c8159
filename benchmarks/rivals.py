"""Other ways to run the same classifier on a CPU, each set up as its own guide says, on all cores.

A way takes texts and gives raw logits, shape (texts, labels). Those that are given our batches come with every budget
of tokens a batch, and OpenVINO with the exporter's graph and ours: the benchmark takes what is fastest.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.workloads import MAX_LENGTH
from understudy.model.engine import Floats, Graph, Integers, length_batches, padded
from understudy.runtime.machine import cores

Way = Callable[[Sequence[str]], Floats]
BATCH = 32
BUDGETS = (256, 512, 1024, 2048)  # tokens a batch, padding included
TRIALS = 2
CALIBRATION_TEXTS = 200


def quickest(ways: Mapping[str, Way], texts: Sequence[str]) -> str:
    """Name the way whose quickest turn was the quickest, once a batch has filled each way's caches."""
    for way in ways.values():
        way(texts[:BATCH])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in [*ways] * TRIALS:
        started = time.perf_counter()
        ways[name](texts)
        seconds[name].append(time.perf_counter() - started)
    return min(seconds, key=lambda name: min(seconds[name]))


def by_budget(way: Callable[[int], Way], graph: str) -> dict[str, Way]:
    """Make a way for each budget of tokens a batch, by what it is made of."""
    return {f"{graph}, {budget:,} tokens": way(budget) for budget in BUDGETS}


def naive(model: Any, tokenizer: Any) -> Way:
    """Torch, every text padded to the longest that the model is given."""
    torch.set_num_threads(cores())
    return batched(torch_logits(model, tokenizer, padding="max_length"))


def torch_logits(model: Any, tokenizer: Any, padding: str) -> Way:
    """Score one batch by torch."""

    def score(texts: Sequence[str]) -> Floats:
        inputs = tokenizer(list(texts), padding=padding, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        with torch.inference_mode():
            logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        return np.asarray(logits.double().numpy())

    return score


def pipeline(model: Any, tokenizer: Any) -> Way:
    """The pipeline of transformers, as its guide batches it.

    Source: huggingface.co/docs/transformers, "Pipelines", "Batch inference".
    """
    from transformers import TextClassificationPipeline

    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    torch.set_num_threads(cores())
    pipe = TextClassificationPipeline(model=model, tokenizer=tokenizer, device="cpu", batch_size=BATCH)

    def score(texts: Sequence[str]) -> Floats:
        given = pipe(list(texts), top_k=None, function_to_apply="none", truncation=True, max_length=MAX_LENGTH)
        rows = [{one["label"]: one["score"] for one in found} for found in given]
        return np.array([[row[name] for name in names] for row in rows])

    return score


def optimum_model(graph: Path, folder: Path) -> Any:
    """Quantise a graph dynamically, and open it, by optimum.

    Args:
        graph: an fp32 ONNX file, config.json beside it.
        folder: gets a folder for each graph, unless it is there.

    Source: huggingface.co/docs/optimum-onnx, "Quantization", "Dynamic quantization example".
    """
    from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    made = folder / graph.parent.name
    if not made.exists():
        quantizer = ORTQuantizer.from_pretrained(graph.parent, file_name=graph.name)
        quantizer.quantize(save_dir=made, quantization_config=settings)
    return ORTModelForSequenceClassification.from_pretrained(made, file_name="model_quantized.onnx")


def optimum_int8(model: Any, tokenizer: Any) -> Way:
    """ONNX Runtime by optimum, in batches of BATCH as the texts come."""

    def score(texts: Sequence[str]) -> Floats:
        inputs = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="np")
        return np.asarray(model(**inputs).logits, dtype=np.float64)

    return batched(score)


def optimum_int8_sorted(model: Any, ours: Graph, budget: int) -> Way:
    """ONNX Runtime by optimum, given our tokens and our batches of like length."""
    names = list(model.input_names)

    def score(texts: Sequence[str]) -> Floats:
        tokens = ours.tokens(texts)
        logits = np.empty((len(texts), model.config.num_labels))
        for batch in length_batches(tokens.lengths.tolist(), budget):
            logits[batch] = model(**feeds(ours, tokens, batch, names)).logits
        return logits

    return score


def branches(graph: Path) -> bool:
    """Whether a graph chooses between two ways as it runs, as DeBERTa's does that optimum makes; NNCF fails on it."""
    return any(node.op_type == "If" for node in onnx.load(graph).graph.node)


def openvino_int8(graph: Path, ours: Graph, calibration: Sequence[str]) -> Callable[[int], Way]:
    """OpenVINO, a graph quantised by NNCF as a transformer, our batches, a stream a core.

    Args:
        graph: an fp32 ONNX file.
        ours: gives its tokens.
        calibration: texts from which NNCF learns the ranges of activations.

    Returns:
        the way for a budget of tokens a batch.

    Source: docs.openvino.ai, "Basic Quantization Flow" and "Optimizing for Throughput".
    """
    import nncf
    import openvino

    names = [node.any_name for node in openvino.Core().read_model(graph).inputs]
    tokens = ours.tokens(calibration)
    batches = [feeds(ours, tokens, batch, names) for batch in length_batches(tokens.lengths.tolist(), MAX_LENGTH)]
    quantized = nncf.quantize(
        openvino.Core().read_model(graph),
        nncf.Dataset(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(cores()), "INFERENCE_NUM_THREADS": cores()}
    compiled = openvino.Core().compile_model(quantized, "CPU", settings)
    return lambda budget: openvino_way(compiled, ours, names, budget)


def openvino_way(compiled: Any, ours: Graph, names: Sequence[str], budget: int) -> Way:
    """Score by a compiled OpenVINO model, a request a core at a time."""
    import openvino

    queue = openvino.AsyncInferQueue(compiled, cores())

    def score(texts: Sequence[str]) -> Floats:
        logits = np.empty((len(texts), compiled.outputs[0].partial_shape[1].get_length()))

        def keep(request: Any, batch: Integers) -> None:
            logits[batch] = request.get_output_tensor().data

        queue.set_callback(keep)
        tokens = ours.tokens(texts)
        for batch in list(length_batches(tokens.lengths.tolist(), budget))[::-1]:
            queue.start_async(feeds(ours, tokens, batch, names), batch)
        queue.wait_all()
        return logits

    return score


def feeds(ours: Graph, tokens: Any, batch: Integers, names: Sequence[str]) -> dict[str, Any]:
    """Lay a batch out as a graph's inputs."""
    ids, is_token = padded(tokens, batch, ours.pad_id)
    given = {"input_ids": ids, "attention_mask": is_token, "token_type_ids": np.zeros_like(ids)}
    return {name: given[name].astype(np.int64) for name in names}


def batched(score: Way) -> Way:
    """Score texts in batches of BATCH, in the order in which they come."""
    return lambda texts: np.concatenate([score(part) for part in parts(texts)])


def parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts into batches in the order in which they come."""
    for start in range(0, len(texts), BATCH):
        yield texts[start : start + BATCH]
