"""Write an ONNX graph node by node: what a tracer adds around each operator is never there.

All operators are of ONNX itself: onnxruntime's own MultiHeadAttention, SkipLayerNormalization and BiasGelu were slower
than the plain ones (docs/log.md). Vectors lie as (tokens, texts, width): from there onnxruntime reads the heads of
queries, keys and values where they are, since it fuses just these transpositions into the products.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first with Gelu
IR_VERSION = 9
ROWS = (1, 2, 0, 3)  # (tokens, texts, heads, size) as (texts, heads, tokens, size)
COLUMNS = (1, 2, 3, 0)  # and as (texts, heads, size, tokens)
MASKED = float(np.finfo(np.float32).min)
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}


@dataclass(slots=True)
class Writer:
    """A graph in the making: each method adds nodes and returns the name of what they compute.

    Attributes:
        nodes: in the order in which they run.
        constants: arrays by name.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any, name: str = "") -> str:
        """Add a constant in fp32, or int64 when it is made of integers; without a name equal ones are kept once."""
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        array = np.array(array, np.int64 if array.dtype.kind == "i" else np.float32, order="C")
        name = name or f"{array.dtype}{list(array.shape)}{array.ravel().tolist()}"
        self.constants[name] = array
        return name

    def linear(self, inputs: str, linear: torch.nn.Linear, name: str, scale: float = 1.0) -> str:
        """Multiply by a layer's weight and add its bias, both times `scale`."""
        product = self.add("MatMul", inputs, self.constant(linear.weight.T * scale, f"{name}.weight"))
        if linear.bias is None:
            return product
        return self.add("Add", product, self.constant(linear.bias * scale, f"{name}.bias"))

    def normalized(self, inputs: str, norm: torch.nn.LayerNorm, name: str) -> str:
        """Normalise each token's vector."""
        scale, bias = self.constant(norm.weight, f"{name}.weight"), self.constant(norm.bias, f"{name}.bias")
        return self.add("LayerNormalization", inputs, scale, bias, axis=-1, epsilon=norm.eps)

    def activated(self, inputs: str, name: str) -> str:
        """Apply an activation function by its name in transformers; one of ACTIVATIONS."""
        kind, attributes = ACTIVATIONS[name]
        return self.add(kind, inputs, **attributes)

    def embedded(self, words: torch.Tensor) -> str:
        """Look up each token's vector, shape (tokens, texts, width)."""
        return self.add("Gather", self.constant(words, "words"), self.swapped("input_ids", (1, 0)))

    def tokens(self) -> str:
        """Return the batch's width, shape (1,)."""
        return self.add("Shape", "input_ids", start=1, end=2)

    def mask(self) -> str:
        """Return what hides padding when it is added to attention scores, shape (texts, 1, 1, tokens)."""
        padding = self.add("Equal", "attention_mask", self.constant(0))
        hidden = self.add("Where", padding, self.constant(MASKED), self.constant(0.0))
        return self.add("Unsqueeze", hidden, self.constant([1, 2]))

    def first_token(self, inputs: str) -> str:
        """Take the first token's vector, shape (1, texts, width)."""
        return self.add("Slice", inputs, self.constant([0]), self.constant([1]), self.constant([0]))

    def split(self, inputs: str, heads: int, size: int, axes: Sequence[int] = ROWS) -> str:
        """Split (tokens, texts, heads * size) by heads, and put the four axes into an order."""
        return self.swapped(self.add("Reshape", inputs, self.constant([0, 0, heads, size])), axes)

    def swapped(self, inputs: str, axes: Sequence[int]) -> str:
        """Put the axes into another order."""
        return self.add("Transpose", inputs, perm=list(axes))

    def attended(self, scores: str, values: str, width: int, axes: Sequence[int] = (2, 0, 1, 3)) -> str:
        """Weigh values by the softmax of scores; shape (queries, texts, width).

        Args:
            scores: shape (texts, heads, queries, tokens).
            values: shape (texts, heads, tokens, size).
            width: heads * size.
            axes: that make (queries, texts, heads, size) of the product.
        """
        product = self.add("MatMul", self.add("Softmax", scores, axis=-1), values)
        return self.add("Reshape", self.swapped(product, axes), self.constant([0, 0, width]))

    def finished(self, logits: str, labels: int) -> onnx.ModelProto:
        """Return the model: inputs input_ids and attention_mask (texts, tokens), output logits (texts, labels).

        Args:
            logits: shape (1, texts, labels).
            labels: how many.
        """
        flat = self.add("Squeeze", logits, self.constant([0]))
        self.nodes.append(helper.make_node("Identity", [flat], ["logits"], name="logits"))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", labels])
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "understudy", inputs, [output], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
