"""Quantise products to 8-bit integers: one scale a column for weights, one range a tensor for activations.

A range found at export instead of in every batch makes a text's score the same whatever it is batched with; it was as
accurate and as fast (docs/log.md). Values beyond the range are cut to it.

CPUs without VNNI sum the products of two neighbours in 16 bits that saturate (`vpmaddubsw`): an activation is at most
255, so two weights of one sign must not sum to more than 128. The scale of a column is chosen so that none do, and the
integer product is the same on every CPU (docs/decisions/0007-int8-overflow.md).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = 127  # of a weight, and of two neighbours of one sign with room for their rounding
NEIGHBOURS = 4  # weights of a column that one instruction reads, and may sum in twos
BATCH = 32  # texts that are run together to measure ranges
LEVELS = 255  # of an activation
ONNXRUNTIME = "com.microsoft"

Array = np.ndarray[Any, Any]
Ranges = Mapping[str, tuple[float, float]]
Rows = Sequence[Sequence[int]]


def weights_of(model: onnx.ModelProto) -> list[str]:
    """Name the weights that `quantized` turns into integers: tables of embeddings, then what is multiplied by."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    tables = [node.input[0] for node in model.graph.node if _is_embedding(node, weights)]
    return list(dict.fromkeys([*tables, *(node.input[1] for node in _products(model))]))


def ranges_of(model: onnx.ModelProto, rows: Rows) -> Ranges:
    """Measure the smallest and largest value of each product's activations, zero included.

    Args:
        model: an fp32 graph.
        rows: token ids of texts; those of one length are run together, so that there is no padding.
    """
    names = list(dict.fromkeys(node.input[0] for node in _products(model)))
    found = np.zeros((len(names), 2))
    run = runner(_watched(model, names))
    for batch in _by_length(rows):
        lowest, highest = np.reshape(run(batch)[1:], (len(names), 2)).T
        found = np.stack([np.minimum(found[:, 0], lowest), np.maximum(found[:, 1], highest)], axis=1)
    return {name: (float(low), float(high)) for name, (low, high) in zip(names, found, strict=True)}


def runner(model: onnx.ModelProto) -> Callable[[Array], list[Array]]:
    """Return what runs a graph on token ids without padding, shape (texts, tokens), and gives all of its outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = [node.name for node in session.get_inputs()]

    def run(ids: Array) -> list[Array]:
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        outputs: list[Array] = session.run(None, {name: feeds[name] for name in inputs})
        return outputs

    return run


def quantized(model: onnx.ModelProto, ranges: Ranges, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Return the graph with its products by constants in int8, and the rows of its embeddings too.

    Args:
        model: an fp32 graph.
        ranges: of the activations, from `ranges_of`.
        keep: names of weights that stay in fp32.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    rewriting = _Rewriting(weights, _added(model.graph, weights), ranges, keep)
    nodes = list(rewriting.nodes(model.graph.node))
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in (*model.graph.initializer, *rewriting.made) if tensor.name in used]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, constants)
    opsets = [*model.opset_import, helper.make_opsetid(ONNXRUNTIME, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)


def integer_columns(weight: Array) -> tuple[Array, Array]:
    """Quantise a weight by column so that no CPU's 16-bit sums of two products saturate.

    Args:
        weight: shape (in, out).

    Returns:
        integers, shape (in, out), and scales, shape (out,): weight is about integers * scales.

    >>> integer_columns(np.array([[1.0, 1.0], [0.5, -1.0]], dtype=np.float32))[0].tolist()
    [[85, 127], [42, -127]]
    """
    short = -len(weight) % NEIGHBOURS
    fours = np.pad(weight, ((0, short), (0, 0))).reshape(-1, NEIGHBOURS, weight.shape[1])
    largest = [np.sort(np.maximum(side, 0), axis=1)[:, -2:].sum(axis=1).max(axis=0) for side in (fours, -fours)]
    scales = np.maximum(np.maximum(*largest) / LARGEST, np.finfo(np.float32).tiny).astype(np.float32)
    return np.clip(np.rint(weight / scales), -LARGEST, LARGEST).astype(np.int8), scales


def integer_rows(table: Array) -> tuple[Array, Array]:
    """Quantise a table of embeddings by row. Returns integers of its shape (rows, width) and scales (rows, 1)."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / LARGEST, np.finfo(np.float32).tiny)
    return np.rint(table / scales).astype(np.int8), scales.astype(np.float32)


def scale_and_zero(low: float, high: float) -> tuple[Array, Array]:
    """Spread the 256 levels over a range that includes zero, which keeps a level of its own.

    >>> scale_and_zero(-1.0, 1.55)
    (array(0.01, dtype=float32), array(100, dtype=uint8))
    """
    scale = max((high - low) / LEVELS, float(np.finfo(np.float32).tiny))
    return np.array(scale, np.float32), np.array(np.clip(np.rint(-low / scale), 0, LEVELS), np.uint8)


def _products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return [node for node in model.graph.node if _is_product(node, weights)]


def _is_product(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether the node multiplies by a constant matrix."""
    return node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2


def _is_embedding(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether the node looks up rows of a constant table."""
    table = weights.get(node.input[0]) if node.op_type == "Gather" else None
    if table is None or len(table.dims) != 2 or table.data_type != TensorProto.FLOAT:
        return False
    return not any(attribute.name == "axis" and attribute.i for attribute in node.attribute)


def _added(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> dict[str, tuple[str, str]]:
    """Find the vectors that are added to what nothing else reads: (vector, sum) by the name of what it is added to."""
    read = Counter(name for node in graph.node for name in node.input)
    found = {}
    for node in graph.node:
        vectors = [name for name in node.input if name in weights and len(weights[name].dims) == 1]
        others = [name for name in node.input if name not in weights and read[name] == 1]
        if node.op_type == "Add" and vectors and others:
            found[others[0]] = (vectors[0], node.output[0])
    return found


def _by_length(rows: Rows) -> Iterator[Array]:
    """Yield batches of rows of one length, shape (texts, tokens)."""
    by_length: dict[int, list[Sequence[int]]] = {}
    for row in rows:
        by_length.setdefault(len(row), []).append(row)
    for alike in by_length.values():
        yield from (np.array(alike[start : start + BATCH], np.int64) for start in range(0, len(alike), BATCH))


def _watched(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return the graph with the smallest and largest value of each of these tensors as its last outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in names:
        for kind in ("ReduceMin", "ReduceMax"):
            output = f"{name}.{kind}"
            watched.graph.node.append(helper.make_node(kind, [name], [output], keepdims=0))
            watched.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    return watched


@dataclass(slots=True)
class _Rewriting:
    """One graph on its way to integers.

    Attributes:
        weights: its constants by name.
        added: see `_added`.
        ranges: of activations.
        keep: names of weights that stay.
        made: new constants.
        absorbed: sums that an integer product computes itself.
        ready: activations that are in integers already.
    """

    weights: Mapping[str, onnx.TensorProto]
    added: Mapping[str, tuple[str, str]]
    ranges: Ranges
    keep: Collection[str]
    made: list[onnx.TensorProto] = field(default_factory=list)
    absorbed: set[str] = field(default_factory=set)
    ready: set[str] = field(default_factory=set)

    def nodes(self, old: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Yield what stands for each node in the integer graph."""
        for node in old:
            if _is_product(node, self.weights) and node.input[1] not in self.keep:
                yield from self._product(node)
            elif _is_embedding(node, self.weights) and node.input[0] not in self.keep:
                yield from self._embedding(node)
            elif node.output[0] not in self.absorbed:
                yield node

    def _product(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        inputs, weight, output = node.input[0], node.input[1], node.output[0]
        integers, scale, zero = (f"{inputs}.{part}" for part in ("integers", "scale", "zero"))
        if inputs not in self.ready:
            self.ready.add(inputs)
            self._make([scale, zero], scale_and_zero(*self.ranges[inputs]))
            yield helper.make_node("QuantizeLinear", [inputs, scale, zero], [integers])
        columns, scales = self._make([f"{weight}.integers", f"{weight}.scales"], integer_columns(self._array(weight)))
        bias, total = self.added.get(output, ("", output))
        self.absorbed.add(total)
        yield helper.make_node(
            "MatMulIntegerToFloat", [integers, columns, scale, scales, zero, "", bias], [total], domain=ONNXRUNTIME
        )

    def _embedding(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        table, rows, output = node.input[0], node.input[1], node.output[0]
        names = self._make([f"{table}.integers", f"{table}.scales"], integer_rows(self._array(table)))
        integers, scales, floats = (f"{output}.{part}" for part in ("rows", "row_scales", "floats"))
        yield helper.make_node("Gather", [names[0], rows], [integers])
        yield helper.make_node("Gather", [names[1], rows], [scales])
        yield helper.make_node("Cast", [integers], [floats], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [floats, scales], [output])

    def _array(self, name: str) -> Array:
        return np.asarray(numpy_helper.to_array(self.weights[name]))

    def _make(self, names: list[str], arrays: Iterable[Array]) -> list[str]:
        self.made.extend(numpy_helper.from_array(array, name) for name, array in zip(names, arrays, strict=True))
        return names
