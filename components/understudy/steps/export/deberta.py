"""DeBERTa-v2 and v3 for CPUs: the same function, with the work that depends on weights alone done at export.

Each layer adds to q.k two terms that look up the signed distance of two tokens: c2p, the query against the distance's
projected key, and p2c, the key against its projected query. The model projects the table of distances anew for every
batch and gathers with an index as large as the scores. Here the projected tables are constants, one column for each
signed distance, and the gather is a reshape: where a row starts one column further left than the row above, reading
the matrix with rows one element shorter puts each row's window below the other's.

Source: He et al., "DeBERTa: decoding-enhanced BERT with disentangled attention", 2021, equation 4.
"""

import math
from typing import Any

import onnx
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from understudy.steps.export.writer import ACTIVATIONS, Writer


def uncovered(config: Any) -> str | None:
    """Say which of the model's options the rewriting does not cover; None when it covers them all."""
    faults = {
        "no relative attention": not config.relative_attention,
        "attention other than c2p with p2c": sorted(config.pos_att_type or []) != ["c2p", "p2c"],
        "relative keys of their own": not getattr(config, "share_att_key", False),
        "no distance buckets": getattr(config, "position_buckets", -1) < 1,
        "a convolution": getattr(config, "conv_kernel_size", 0) > 0,
        "embeddings of another width": getattr(config, "embedding_size", config.hidden_size) != config.hidden_size,
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
    writer = Writer()
    hidden = _embedded(writer, model.deberta.embeddings)
    window, relative = _Window(writer, max_length), _table(model, max_length)
    mask = writer.masked()
    for index, layer in enumerate(model.deberta.encoder.layer):
        name = f"layer{index}"
        attended = _attended(writer, layer.attention.self, hidden, mask, window, relative, name)
        attended = writer.linear(
            attended, layer.attention.output.dense.weight, layer.attention.output.dense.bias, f"{name}.output"
        )
        hidden = writer.normalized(
            writer.add("Add", attended, hidden), layer.attention.output.LayerNorm, f"{name}.norm1"
        )
        hidden = _fed_forward(writer, layer, hidden, model.config.hidden_act, name)
    pooled = writer.linear(writer.first_token(hidden), model.pooler.dense.weight, model.pooler.dense.bias, "pooler")
    pooled = writer.activated(pooled, model.config.pooler_hidden_act)
    return writer.finished(
        writer.linear(pooled, model.classifier.weight, model.classifier.bias, "classifier"), model.config.num_labels
    )


class _Window:
    """What depends on a batch's length alone: which columns of the tables it needs, and where the reshape cuts.

    Attributes:
        start, end: the columns of the distances from -(tokens - 1) to tokens.
        flat, skewed: shapes that read (tokens, 2 * tokens) as one row, and as rows one element shorter.
        head, tail, tokens: bounds of the two cuts.
    """

    def __init__(self, writer: Writer, max_length: int) -> None:
        one = writer.constant([1])
        self.tokens = writer.add("Shape", "input_ids", start=1, end=2)
        self.head = writer.add("Sub", self.tokens, one)
        self.start = writer.add("Sub", writer.constant([max_length + 1]), self.tokens)
        self.end = writer.add("Add", writer.constant([max_length + 1]), self.tokens)
        columns = writer.add("Add", self.tokens, self.head)
        self.tail = writer.add("Add", self.head, writer.add("Mul", self.tokens, columns))
        heads = writer.constant([0, 0])
        self.flat = writer.constant([0, 0, -1])
        self.skewed = writer.add("Concat", heads, self.tokens, columns, axis=0)


def _embedded(writer: Writer, embeddings: Any) -> str:
    words = writer.add("Gather", writer.constant(embeddings.word_embeddings.weight, "words"), "input_ids")
    return writer.normalized(words, embeddings.LayerNorm, "embeddings")


def _attended(
    writer: Writer, attention: Any, hidden: str, mask: str, window: _Window, relative: torch.Tensor, name: str
) -> str:
    """Write one layer's attention; the query is scaled in its weights."""
    heads, size = attention.num_attention_heads, attention.attention_head_size
    scale = 1 / math.sqrt(3 * size)  # three terms are summed: q.k, c2p and p2c
    query, key, value = attention.query_proj, attention.key_proj, attention.value_proj
    weight = torch.cat([query.weight * scale, key.weight, value.weight])
    bias = torch.cat([query.bias * scale, key.bias, value.bias])
    fused = writer.linear(hidden, weight, bias, f"{name}.qkv")
    split = writer.add("Reshape", fused, writer.constant([0, 0, 3, heads, size]))
    swapped = writer.add("Transpose", split, perm=[2, 0, 3, 1, 4])
    queries, keys, values = (writer.add("Gather", swapped, writer.constant(index), axis=0) for index in range(3))
    of_keys = _split(key(relative).flip(0), heads)
    of_queries = _split(query(relative) * scale, heads)
    scores = writer.add("MatMul", queries, writer.add("Transpose", keys, perm=[0, 1, 3, 2]))
    c2p = _skewed(writer, queries, writer.constant(of_keys, f"{name}.c2p"), window)
    p2c = _skewed(writer, keys, writer.constant(of_queries, f"{name}.p2c"), window)
    scores = writer.add("Add", scores, c2p)
    scores = writer.add("Add", scores, writer.add("Transpose", p2c, perm=[0, 1, 3, 2]))
    weights = writer.add("Softmax", writer.add("Add", scores, mask), axis=-1)
    return writer.joined(writer.add("MatMul", weights, values), heads * size)


def _skewed(writer: Writer, rows: str, table: str, window: _Window) -> str:
    """Look up each pair's distance: shape (texts, heads, tokens, tokens), one row for each of `rows`."""
    last, second = writer.constant([-1]), writer.constant([2])
    columns = writer.add("Slice", table, window.start, window.end, last)
    found = writer.add("Reshape", writer.add("MatMul", rows, columns), window.flat)
    cut = writer.add("Reshape", writer.add("Slice", found, window.head, window.tail, second), window.skewed)
    return writer.add("Slice", cut, writer.constant([0]), window.tokens, last)


def _fed_forward(writer: Writer, layer: Any, hidden: str, act: str, name: str) -> str:
    inner = layer.intermediate.dense
    wide = writer.linear(hidden, inner.weight, inner.bias, f"{name}.inner")
    wide = writer.activated(wide, act)
    outer = layer.output.dense
    narrow = writer.linear(wide, outer.weight, outer.bias, f"{name}.outer")
    return writer.normalized(writer.add("Add", narrow, hidden), layer.output.LayerNorm, f"{name}.norm2")


def _table(model: Any, max_length: int) -> torch.Tensor:
    """Embedding of each signed distance from -max_length to max_length, shape (2 * max_length + 1, hidden)."""
    config, encoder = model.config, model.deberta.encoder
    span = config.position_buckets
    distances = torch.arange(-max_length, max_length + 1)
    buckets = make_log_bucket_position(distances, span, encoder.max_relative_positions).long()
    embeddings: torch.Tensor = encoder.get_rel_embedding()
    return embeddings[torch.clamp(buckets + span, 0, 2 * span - 1)]


def _split(projected: torch.Tensor, heads: int) -> torch.Tensor:
    """Shape (distances, heads * size) into (heads, size, distances)."""
    return projected.view(len(projected), heads, -1).permute(1, 2, 0)
