"""Write T5's encoder with its classification head as a graph for CPUs.

The bias of each signed distance is looked up once a batch for all layers, and the tokens are averaged before the head
instead of after it: the head is linear.
"""

from typing import Any

import onnx

from understudy.model.onnx.writer import ACTIVATIONS, COLUMNS, ROWS, Writer


def uncovered(config: Any) -> str | None:
    """Say which of the model's options is not covered; None when all are."""
    faults = {
        "layers that are not gated": not config.is_gated_act,
        f"the activation {config.dense_act_fn}": config.dense_act_fn not in ACTIVATIONS,
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)


def write(model: Any, max_length: int) -> onnx.ModelProto:
    """Write the graph of a T5EncoderClassifier in evaluation mode."""
    encoder, config, writer = model.transformer.encoder, model.config, Writer()
    hidden = writer.embedded(encoder.embed_tokens.weight)
    bias = writer.add("Add", _distances(writer, encoder, max_length), writer.mask())
    for index, block in enumerate(encoder.block):
        hidden = _attended(writer, block.layer[0], hidden, bias, config, f"layer{index}")
        hidden = _fed_forward(writer, block.layer[1], hidden, config.dense_act_fn, f"layer{index}")
    averaged = _averaged(writer, _normalized(writer, hidden, encoder.final_layer_norm, "last_norm"))
    return writer.finished(writer.linear(averaged, model.classifier, "classifier"), config.num_labels)


def _distances(writer: Writer, encoder: Any, max_length: int) -> str:
    """Return the bias of each pair of tokens, shape (1, heads, tokens, tokens)."""
    attention = encoder.block[0].layer[0].SelfAttention
    table = writer.constant(attention.compute_bias(max_length, max_length), "distances")
    zeros, tokens = writer.constant([0, 0]), writer.tokens()
    return writer.add("Slice", table, zeros, writer.add("Concat", tokens, tokens, axis=0), writer.constant([2, 3]))


def _attended(writer: Writer, layer: Any, hidden: str, bias: str, config: Any, name: str) -> str:
    attention, heads, size = layer.SelfAttention, config.num_heads, config.d_kv
    normed = _normalized(writer, hidden, layer.layer_norm, f"{name}.attention_norm")
    queries, keys, values = (
        writer.split(writer.linear(normed, linear, f"{name}.{part}"), heads, size, axes)
        for part, linear, axes in (
            ("query", attention.q, ROWS),
            ("key", attention.k, COLUMNS),
            ("value", attention.v, ROWS),
        )
    )
    scores = writer.add("Add", writer.add("MatMul", queries, keys), bias)
    attended = writer.attended(scores, values, heads * size)
    return writer.add("Add", writer.linear(attended, attention.o, f"{name}.output"), hidden)


def _fed_forward(writer: Writer, layer: Any, hidden: str, activation: str, name: str) -> str:
    dense = layer.DenseReluDense
    normed = _normalized(writer, hidden, layer.layer_norm, f"{name}.inner_norm")
    gate = writer.activated(writer.linear(normed, dense.wi_0, f"{name}.gate"), activation)
    gated = writer.add("Mul", gate, writer.linear(normed, dense.wi_1, f"{name}.inner"))
    return writer.add("Add", writer.linear(gated, dense.wo, f"{name}.outer"), hidden)


def _normalized(writer: Writer, hidden: str, norm: Any, name: str) -> str:
    """Divide by the root of the mean square, in the operators that onnxruntime fuses to one."""
    squares = writer.add("Pow", hidden, writer.constant(2.0))
    mean = writer.add("ReduceMean", squares, writer.constant([-1]), keepdims=1)
    root = writer.add("Sqrt", writer.add("Add", mean, writer.constant(norm.variance_epsilon)))
    return writer.add("Mul", writer.add("Div", hidden, root), writer.constant(norm.weight, f"{name}.weight"))


def _averaged(writer: Writer, hidden: str) -> str:
    """Average the tokens that are not padding, shape (1, texts, width)."""
    mask = writer.swapped(writer.add("Cast", "attention_mask", to=onnx.TensorProto.FLOAT), (1, 0))
    column, first = writer.add("Unsqueeze", mask, writer.constant([2])), writer.constant([0])
    total = writer.add("ReduceSum", writer.add("Mul", hidden, column), first, keepdims=1)
    return writer.add("Div", total, writer.add("ReduceSum", column, first, keepdims=1))
