"""Write BERT and DistilBERT as graphs for CPUs, and what encoders with a first token for the text share.

A classifier reads the last layer's first token alone. So in that layer every token still gives a key and a value, but
the first alone asks, and goes through the layers that follow: of six layers the last costs a sixth of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from understudy.model.onnx.writer import ACTIVATIONS, COLUMNS, Writer


@dataclass(frozen=True, slots=True)
class Layer:
    """The parts of a layer, whatever its architecture calls them."""

    name: str
    query: torch.nn.Linear
    key: torch.nn.Linear
    value: torch.nn.Linear
    output: torch.nn.Linear
    output_norm: torch.nn.LayerNorm
    inner: torch.nn.Linear
    outer: torch.nn.Linear
    outer_norm: torch.nn.LayerNorm


def after_attention(writer: Writer, layer: Layer, attended: str, hidden: str, activation: str) -> str:
    """Write what follows a layer's attention: both additions with their norms, and the two wide products."""
    name = layer.name
    output = writer.linear(attended, layer.output, f"{name}.output")
    hidden = writer.normalized(writer.add("Add", output, hidden), layer.output_norm, f"{name}.output_norm")
    wide = writer.activated(writer.linear(hidden, layer.inner, f"{name}.inner"), activation)
    narrow = writer.linear(wide, layer.outer, f"{name}.outer")
    return writer.normalized(writer.add("Add", narrow, hidden), layer.outer_norm, f"{name}.outer_norm")


def uncovered_bert(config: Any) -> str | None:
    """Say which of a BERT's options is not covered; None when all are."""
    faults = {
        f"positions of the kind {config.position_embedding_type}": config.position_embedding_type != "absolute",
        "a decoder": config.is_decoder,
        "pruned heads": bool(config.pruned_heads),
        f"the activation {config.hidden_act}": config.hidden_act not in ACTIVATIONS,
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)


def uncovered_distilbert(config: Any) -> str | None:
    """Say which of a DistilBERT's options is not covered; None when all are."""
    if config.pruned_heads:
        return "pruned heads"
    return None if config.activation in ACTIVATIONS else f"the activation {config.activation}"


def write_bert(model: Any, max_length: int) -> onnx.ModelProto:
    """Write the graph of a BertForSequenceClassification in evaluation mode."""
    embeddings, config = model.bert.embeddings, model.config
    positions = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
    writer = Writer()
    hidden = _embedded(writer, embeddings, positions[:max_length])
    layers = [_of_bert(f"layer{index}", layer) for index, layer in enumerate(model.bert.encoder.layer)]
    hidden = _encoded(writer, layers, hidden, config.num_attention_heads, config.hidden_act)
    pooled = writer.activated(writer.linear(hidden, model.bert.pooler.dense, "pooler"), "tanh")
    return writer.finished(writer.linear(pooled, model.classifier, "classifier"), config.num_labels)


def write_distilbert(model: Any, max_length: int) -> onnx.ModelProto:
    """Write the graph of a DistilBertForSequenceClassification in evaluation mode."""
    embeddings, config = model.distilbert.embeddings, model.config
    writer = Writer()
    hidden = _embedded(writer, embeddings, embeddings.position_embeddings.weight[:max_length])
    layers = [_of_distilbert(f"layer{index}", it) for index, it in enumerate(model.distilbert.transformer.layer)]
    hidden = _encoded(writer, layers, hidden, config.n_heads, config.activation)
    pooled = writer.activated(writer.linear(hidden, model.pre_classifier, "pooler"), "relu")
    return writer.finished(writer.linear(pooled, model.classifier, "classifier"), config.num_labels)


def _of_bert(name: str, layer: Any) -> Layer:
    attention = layer.attention.self
    return Layer(
        name,
        query=attention.query,
        key=attention.key,
        value=attention.value,
        output=layer.attention.output.dense,
        output_norm=layer.attention.output.LayerNorm,
        inner=layer.intermediate.dense,
        outer=layer.output.dense,
        outer_norm=layer.output.LayerNorm,
    )


def _of_distilbert(name: str, layer: Any) -> Layer:
    attention = layer.attention
    return Layer(
        name,
        query=attention.q_lin,
        key=attention.k_lin,
        value=attention.v_lin,
        output=attention.out_lin,
        output_norm=layer.sa_layer_norm,
        inner=layer.ffn.lin1,
        outer=layer.ffn.lin2,
        outer_norm=layer.output_layer_norm,
    )


def _embedded(writer: Writer, embeddings: Any, positions: torch.Tensor) -> str:
    table = writer.constant(positions, "positions")
    placed = writer.add("Slice", table, writer.constant([0]), writer.tokens(), writer.constant([0]))
    words = writer.embedded(embeddings.word_embeddings.weight)
    placed = writer.add("Unsqueeze", placed, writer.constant([1]))
    return writer.normalized(writer.add("Add", words, placed), embeddings.LayerNorm, "embeddings")


def _encoded(writer: Writer, layers: Sequence[Layer], hidden: str, heads: int, activation: str) -> str:
    """Write the layers; shape (1, texts, width)."""
    mask = writer.mask()
    for layer in layers:
        asking = writer.first_token(hidden) if layer is layers[-1] else hidden
        attended = _attended(writer, layer, asking, hidden, mask, heads)
        hidden = after_attention(writer, layer, attended, asking, activation)
    return hidden


def _attended(writer: Writer, layer: Layer, asking: str, hidden: str, mask: str, heads: int) -> str:
    width = layer.query.out_features
    size = width // heads
    queries = writer.split(writer.linear(asking, layer.query, f"{layer.name}.query", size**-0.5), heads, size)
    keys = writer.split(writer.linear(hidden, layer.key, f"{layer.name}.key"), heads, size, COLUMNS)
    values = writer.split(writer.linear(hidden, layer.value, f"{layer.name}.value"), heads, size)
    scores = writer.add("MatMul", queries, keys)
    return writer.attended(writer.add("Add", scores, mask), values, width)
