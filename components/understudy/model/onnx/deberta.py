"""Write DeBERTa-v2 and v3 as a graph for CPUs, with what depends on weights alone computed at export.

Each layer adds to q.k two terms that look up the signed distance of two tokens: c2p, the query against the distance's
projected key, and p2c, the key against its projected query. The model projects the table of distances anew for every
batch and gathers with an index as large as the scores. Here the projected tables are constants, one column for each
signed distance, and the gather is a reshape: the row of each token needs a window of columns that starts one further
left than the row above, and that is how a matrix looks when it is read in rows one element shorter. Scores lie as
(heads, texts, tokens, tokens), so that a head multiplies its table once a batch instead of once a text.

Source: He et al., "DeBERTa: decoding-enhanced BERT with disentangled attention", 2021, equation 4.
"""

from dataclasses import dataclass
from typing import Any

import onnx
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from understudy.model.onnx.encoders import Layer, after_attention
from understudy.model.onnx.writer import ACTIVATIONS, Writer

BY_HEAD = (2, 1, 0, 3)  # (tokens, texts, heads, size) as (heads, texts, tokens, size), and back


def uncovered(config: Any) -> str | None:
    """Say which of the model's options is not covered; None when all are."""
    faults = {
        "no relative attention": not config.relative_attention,
        "attention other than c2p with p2c": sorted(config.pos_att_type or []) != ["c2p", "p2c"],
        "relative keys of their own": not getattr(config, "share_att_key", False),
        "no buckets of distances": getattr(config, "position_buckets", -1) < 1,
        "positions or types in the embeddings": config.position_biased_input or config.type_vocab_size > 0,
        "embeddings of another width": getattr(config, "embedding_size", config.hidden_size) != config.hidden_size,
        "heads of another width": hasattr(config, "attention_head_size"),
        "a convolution": getattr(config, "conv_kernel_size", 0) > 0,
        f"the activation {config.hidden_act}": config.hidden_act not in ACTIVATIONS,
        f"the activation {config.pooler_hidden_act}": config.pooler_hidden_act not in ACTIVATIONS,
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)


def write(model: Any, max_length: int) -> onnx.ModelProto:
    """Write the graph of a DebertaV2ForSequenceClassification.

    Args:
        model: in evaluation mode, with a configuration that `uncovered` finds nothing in.
        max_length: most tokens of a text; the tables of distances end there.
    """
    writer, config, embeddings = Writer(), model.config, model.deberta.embeddings
    hidden = writer.embedded(embeddings.LayerNorm(embeddings.word_embeddings.weight))  # a word's place changes nothing
    heads, table = config.num_attention_heads, _table(model, max_length)
    window = _Window.of(writer, max_length, heads, config.hidden_size // heads)
    mask = writer.swapped(writer.mask(), (1, 0, 2, 3))
    layers = [_layer(f"layer{index}", layer) for index, layer in enumerate(model.deberta.encoder.layer)]
    for layer in layers[:-1]:
        attended = _attended(writer, layer, hidden, _Relative(layer, table, heads), mask, window)
        hidden = after_attention(writer, layer, attended, hidden, config.hidden_act)
    relative, first = _Relative(layers[-1], table, heads), writer.first_token(hidden)
    attended = _attended_first(writer, layers[-1], (first, hidden), relative, mask, window)
    hidden = after_attention(writer, layers[-1], attended, first, config.hidden_act)
    pooled = writer.activated(writer.linear(hidden, model.pooler.dense, "pooler"), config.pooler_hidden_act)
    return writer.finished(writer.linear(pooled, model.classifier, "classifier"), config.num_labels)


@dataclass(frozen=True, slots=True)
class _Window:
    """What depends on a batch's width alone.

    Attributes:
        tokens: the width.
        start, end: columns of the tables for the distances that the batch has.
        zero, last: columns of the distances of the first token to all, from the table's middle on.
        rows: shape that puts all texts' tokens of a head below one another.
        heads: shape that takes them apart again.
        flat: shape that reads a text's (tokens, 2 * tokens) as one row.
        head, tail: the part of that row that holds each pair's distance.
        shape: that reads this part in rows one element shorter.
    """

    tokens: str
    start: str
    end: str
    zero: str
    last: str
    rows: str
    heads: str
    flat: str
    head: str
    tail: str
    shape: str

    @classmethod
    def of(cls, writer: Writer, max_length: int, heads: int, size: int) -> "_Window":
        tokens, zero, every_head = writer.tokens(), writer.constant([max_length]), writer.constant([heads])
        texts = writer.add("Shape", "input_ids", end=1)
        head = writer.add("Sub", tokens, writer.constant([1]))
        columns = writer.add("Add", tokens, head)
        return cls(
            tokens,
            start=writer.add("Sub", zero, head),
            end=writer.add("Add", writer.add("Add", zero, tokens), writer.constant([1])),
            zero=zero,
            last=writer.add("Add", zero, tokens),
            rows=writer.constant([heads, -1, size]),
            heads=writer.add("Concat", every_head, texts, tokens, writer.constant([size]), axis=0),
            flat=writer.add("Concat", every_head, texts, writer.constant([-1]), axis=0),
            head=head,
            tail=writer.add("Add", head, writer.add("Mul", tokens, columns)),
            shape=writer.add("Concat", every_head, texts, tokens, columns, axis=0),
        )


class _Relative:
    """One layer's projected distances, shape (distances, heads, size), from -max_length to max_length.

    Attributes:
        scale: of the query; three terms are summed: q.k, c2p and p2c.
        keys: of c2p, from max_length downwards, so that a row's window moves as in p2c's transpose.
        queries: of p2c, scaled.
    """

    def __init__(self, layer: Layer, table: torch.Tensor, heads: int) -> None:
        self.heads, self.size = heads, layer.query.out_features // heads
        self.scale = (3 * self.size) ** -0.5
        self.keys = layer.key(table).view(len(table), heads, self.size).flip(0)
        self.queries = layer.query(table).view(len(table), heads, self.size) * self.scale


def _attended(writer: Writer, layer: Layer, hidden: str, relative: _Relative, mask: str, window: _Window) -> str:
    name, heads, size = layer.name, relative.heads, relative.size
    queries = writer.split(writer.linear(hidden, layer.query, f"{name}.query", relative.scale), heads, size, BY_HEAD)
    keys = writer.split(writer.linear(hidden, layer.key, f"{name}.key"), heads, size, BY_HEAD)
    values = writer.split(writer.linear(hidden, layer.value, f"{name}.value"), heads, size, BY_HEAD)
    all_queries, all_keys = (writer.add("Reshape", rows, window.rows) for rows in (queries, keys))
    c2p = _looked_up(writer, all_queries, writer.constant(relative.keys.permute(1, 2, 0), f"{name}.c2p"), window)
    p2c = _looked_up(writer, all_keys, writer.constant(relative.queries.permute(1, 2, 0), f"{name}.p2c"), window)
    turned = writer.swapped(writer.add("Reshape", all_keys, window.heads), (0, 1, 3, 2))  # fused into the product
    scores = writer.add("MatMul", queries, turned)
    scores = writer.add("Add", writer.add("Add", scores, c2p), writer.swapped(p2c, (0, 1, 3, 2)))
    return writer.attended(writer.add("Add", scores, mask), values, heads * size, BY_HEAD)


def _looked_up(writer: Writer, rows: str, table: str, window: _Window) -> str:
    """Multiply each token by its distances' columns, shape (heads, texts, tokens, tokens): a product for each head."""
    last = writer.constant([-1])
    columns = writer.add("Slice", table, window.start, window.end, last)
    flat = writer.add("Reshape", writer.add("MatMul", rows, columns), window.flat)
    part = writer.add("Slice", flat, window.head, window.tail, last)
    shifted = writer.add("Reshape", part, window.shape)
    return writer.add("Slice", shifted, writer.constant([0]), window.tokens, last)


def _attended_first(
    writer: Writer, layer: Layer, hidden: tuple[str, str], relative: _Relative, mask: str, window: _Window
) -> str:
    """Write the first token's attention, hidden being (its vector, all tokens'): each token has one distance to it.

    Of token j at distance -j the score is k_j.(q + p2c_j) + q.c2p_j.
    """
    name, heads, size, last = layer.name, relative.heads, relative.size, writer.constant([-1])
    query = writer.linear(hidden[0], layer.query, f"{name}.query", relative.scale)
    query = writer.split(query, heads, size, BY_HEAD)
    keys = writer.split(writer.linear(hidden[1], layer.key, f"{name}.key"), heads, size, BY_HEAD)
    values = writer.split(writer.linear(hidden[1], layer.value, f"{name}.value"), heads, size, BY_HEAD)
    c2p = writer.constant(relative.keys.permute(1, 2, 0), f"{name}.c2p")
    p2c = writer.constant(relative.queries.flip(0).permute(1, 0, 2)[:, None], f"{name}.p2c")
    asked = writer.add("Slice", p2c, window.zero, window.last, writer.constant([2]))
    of_both = writer.add("ReduceSum", writer.add("Mul", keys, writer.add("Add", query, asked)), last, keepdims=0)
    together = writer.add("Reshape", query, window.rows)
    of_query = writer.add("MatMul", together, writer.add("Slice", c2p, window.zero, window.last, last))
    scores = writer.add("Unsqueeze", writer.add("Add", of_both, of_query), writer.constant([2]))
    return writer.attended(writer.add("Add", scores, mask), values, heads * size, BY_HEAD)


def _layer(name: str, layer: Any) -> Layer:
    attention = layer.attention.self
    return Layer(
        name,
        query=attention.query_proj,
        key=attention.key_proj,
        value=attention.value_proj,
        output=layer.attention.output.dense,
        output_norm=layer.attention.output.LayerNorm,
        inner=layer.intermediate.dense,
        outer=layer.output.dense,
        outer_norm=layer.output.LayerNorm,
    )


def _table(model: Any, max_length: int) -> torch.Tensor:
    """Embedding of each signed distance from -max_length to max_length, shape (distances, width)."""
    span, encoder = model.config.position_buckets, model.deberta.encoder
    distances = torch.arange(-max_length, max_length + 1)
    buckets = make_log_bucket_position(distances, span, encoder.max_relative_positions).long()
    embeddings: torch.Tensor = encoder.get_rel_embedding()
    return embeddings[torch.clamp(buckets + span, 0, 2 * span - 1)]
