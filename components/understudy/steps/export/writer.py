"""Write an ONNX graph node by node: what a tracer would add around each operator is never there."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first that has Gelu; onnxruntime fuses it with the bias before it
IR_VERSION = 9
MASKED = float(np.finfo(np.float32).min)


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
        """Add an operator with one output."""
        return self.add_many(kind, 1, *inputs, **attributes)[0]

    def add_many(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add an operator with several outputs."""
        names = [f"{kind}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attributes))
        return names

    def constant(self, value: Any, name: str = "") -> str:
        """Add a constant; integers become int64, and equal small ones are kept once."""
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        array = np.ascontiguousarray(array, np.int64 if array.dtype.kind == "i" else np.float32).reshape(array.shape)
        name = name or f"{array.dtype}{list(array.shape)}{array.ravel().tolist()}"
        self.constants[name] = array
        return name

    def linear(self, inputs: str, weight: torch.Tensor, bias: torch.Tensor | None, name: str) -> str:
        """Multiply by a weight as torch keeps it, shape (out, in), and add a bias, shape (out,)."""
        product = self.add("MatMul", inputs, self.constant(weight.T, f"{name}.weight"))
        return product if bias is None else self.add("Add", product, self.constant(bias, f"{name}.bias"))

    def normalized(self, inputs: str, norm: torch.nn.LayerNorm, name: str) -> str:
        """Normalise each token's vector."""
        scale, bias = self.constant(norm.weight, f"{name}.weight"), self.constant(norm.bias, f"{name}.bias")
        return self.add("LayerNormalization", inputs, scale, bias, axis=-1, epsilon=norm.eps)

    def activated(self, inputs: str, name: str) -> str:
        """Apply an activation function by its name in transformers; one of ACTIVATIONS."""
        kind, attributes = ACTIVATIONS[name]
        return self.add(kind, inputs, **attributes)

    def masked(self) -> str:
        """Return what to add to attention scores so that padding is not attended to, shape (texts, 1, 1, tokens)."""
        padding = self.add("Equal", "attention_mask", self.constant(0))
        bias = self.add("Where", padding, self.constant(MASKED), self.constant(0.0))
        return self.add("Unsqueeze", bias, self.constant([1, 2]))

    def heads(self, inputs: str, heads: int, size: int, *, swapped: bool = False) -> str:
        """Split (texts, tokens, heads * size) into (texts, heads, tokens, size), or swapped into (.., size, tokens)."""
        split = self.add("Reshape", inputs, self.constant([0, 0, heads, size]))
        return self.add("Transpose", split, perm=[0, 2, 3, 1] if swapped else [0, 2, 1, 3])

    def joined(self, inputs: str, width: int) -> str:
        """Join (texts, heads, tokens, size) to (texts, tokens, width)."""
        swapped = self.add("Transpose", inputs, perm=[0, 2, 1, 3])
        return self.add("Reshape", swapped, self.constant([0, 0, width]))

    def first_token(self, inputs: str) -> str:
        """Take the first token's vector, shape (texts, width)."""
        return self.add("Gather", inputs, self.constant(0), axis=1)

    def finished(self, logits: str, labels: int) -> onnx.ModelProto:
        """Return the model: inputs input_ids and attention_mask (texts, tokens), output logits (texts, labels)."""
        self.nodes.append(helper.make_node("Identity", [logits], ["logits"], name="logits"))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", labels])
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "understudy", inputs, [output], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}
