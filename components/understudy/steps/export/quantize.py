"""Weights in 8-bit integers, one scale a column; activations are quantised as they come.

CPUs without VNNI sum the products of two neighbours in 16 bits that saturate (`vpmaddubsw`): an activation is at most
255, so two weights of one sign must not sum to more than 128. The scale of a column is chosen so that none do, and the
integer product is the same on every CPU (docs/decisions/0007-int8-overflow.md).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = 127  # of a weight, and of two neighbours of one sign with room for their rounding
NEIGHBOURS = 4  # weights of a column that one instruction reads, and may sum in twos

Array = np.ndarray[Any, Any]


def quantized(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Return the graph with its products by constants in int8, and the rows of its embeddings too.

    Args:
        model: an fp32 graph.
        keep: names of weights that stay in fp32.
    """
    source = _Source.of(model.graph, keep)
    nodes = [node for old in model.graph.node for node in source.rewritten(old)]
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in (*model.graph.initializer, *source.made) if tensor.name in used]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def weights_of(model: onnx.ModelProto) -> list[str]:
    """Name the weights that `quantized` would turn into integers, in the order in which the graph uses them."""
    source = _Source.of(model.graph, ())
    return [node.input[1] for node in model.graph.node if source.is_product(node)]


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


@dataclass(slots=True)
class _Source:
    """The graph being read.

    Attributes:
        weights: its constants by name.
        keep: those that stay.
        sums: the addition of a constant that alone reads a product, by the product's output.
        made: new constants.
        integers: outputs of DynamicQuantizeLinear by what they quantise.
    """

    weights: Mapping[str, onnx.TensorProto]
    keep: Collection[str]
    made: list[onnx.TensorProto]
    integers: dict[str, list[str]]

    @classmethod
    def of(cls, graph: onnx.GraphProto, keep: Collection[str]) -> "_Source":
        return cls({tensor.name: tensor for tensor in graph.initializer}, keep, [], {})

    def is_product(self, node: onnx.NodeProto) -> bool:
        """Whether the node multiplies by a constant matrix that is to be quantised."""
        weight = self.weights.get(node.input[1]) if node.op_type == "MatMul" else None
        return weight is not None and len(weight.dims) == 2 and weight.name not in self.keep

    def is_embedding(self, node: onnx.NodeProto) -> bool:
        """Whether the node looks up rows of a constant table."""
        table = self.weights.get(node.input[0]) if node.op_type == "Gather" else None
        is_by_row = not any(attribute.name == "axis" and attribute.i for attribute in node.attribute)
        is_table = table is not None and len(table.dims) == 2 and table.data_type == TensorProto.FLOAT
        return is_table and is_by_row and node.input[0] not in self.keep

    def rewritten(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield what stands for a node in the integer graph."""
        if self.is_product(node):
            yield from self._product(node)
        elif self.is_embedding(node):
            yield from self._embedding(node)
        else:
            yield node

    def _product(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        inputs, weight, output = node.input[0], node.input[1], node.output[0]
        if inputs not in self.integers:
            self.integers[inputs] = [f"{inputs}.{part}" for part in ("integers", "scale", "zero")]
            yield helper.make_node("DynamicQuantizeLinear", [inputs], self.integers[inputs])
        integers, scale, zero = self.integers[inputs]
        of_weight = self._constants(weight, *integer_columns(self._array(weight)))
        parts = [f"{output}.{part}" for part in ("sums", "floats", "scales")]
        yield helper.make_node("MatMulInteger", [integers, of_weight[0], zero], parts[:1])
        yield helper.make_node("Cast", parts[:1], parts[1:2], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [scale, of_weight[1]], parts[2:])
        yield helper.make_node("Mul", parts[1:], [output])

    def _embedding(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        table, rows, output = node.input[0], node.input[1], node.output[0]
        integers, scales = self._constants(table, *integer_rows(self._array(table)))
        parts = [f"{output}.{part}" for part in ("rows", "row_scales", "floats")]
        yield helper.make_node("Gather", [integers, rows], parts[:1])
        yield helper.make_node("Gather", [scales, rows], parts[1:2])
        yield helper.make_node("Cast", parts[:1], parts[2:], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", parts[2:] + parts[1:2], [output])

    def _array(self, name: str) -> Array:
        return np.asarray(numpy_helper.to_array(self.weights[name]))

    def _constants(self, name: str, integers: Array, scales: Array) -> list[str]:
        names = [f"{name}.{part}" for part in ("integers", "scales")]
        new = zip(names, (integers, scales), strict=True)
        self.made.extend(numpy_helper.from_array(array, name) for name, array in new)
        return names
