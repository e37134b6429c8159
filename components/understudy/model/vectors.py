"""Read a student's own vectors of texts: what the last product of its graph, the classifier's, takes in.

A graph gives logits alone. One more output is appended to its bytes, which protobuf reads as part of it: the file and
its hash stay, and no library beyond onnxruntime is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from understudy.model.engine import TYPES, Bools, Floats, Graph, Tokens, joined, length_batches, padded
from understudy.model.onnx.files import BYTES, fields

PRODUCTS = {"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
INTEGERS = {"DynamicQuantizeLinear", "QuantizeLinear", "Cast"}  # turn a product's input into integers
BATCH_TOKENS = 4096
GRAPH, NODE, OUTPUT, NAME = 7, 1, 12, 1  # fields of ModelProto, GraphProto and ValueInfoProto in onnx.proto
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR = 1, 2, 4  # of NodeProto


class Node(NamedTuple):
    """A node of a graph."""

    operator: str
    inputs: list[str]
    outputs: list[str]


def vectors(graph: Graph, model: Path, texts: Sequence[str]) -> Floats:
    """Return the student's vectors, each of length 1; its logits where its graph has no product.

    Args:
        graph: cuts texts into tokens.
        model: the ONNX file that `graph` has opened.
        texts: to be read.

    Returns:
        shape (texts, the student's width).
    """
    import onnxruntime

    data = model.read_bytes()
    name = _read_last(data)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data + _output(name), options, providers=["CPUExecutionProvider"])
    parts = [_of_tokens(session, name, graph, tokens) for tokens in graph.pieces_of(texts)]
    found: Floats = np.concatenate(parts) if parts else np.empty((0, 1))
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def _of_tokens(session: Any, name: str, graph: Graph, tokens: Tokens) -> Floats:
    kinds = {node.name: TYPES[node.type] for node in session.get_inputs()}
    batches = list(length_batches(tokens.lengths.tolist(), BATCH_TOKENS))
    parts = []
    for batch in batches:
        ids, is_token = padded(tokens, batch, graph.pad_id)
        feeds = {"input_ids": ids, "attention_mask": is_token, "token_type_ids": np.zeros_like(ids)}
        typed = {key: feeds[key].astype(kind, copy=False) for key, kind in kinds.items()}
        parts.append(_of_windows(np.asarray(session.run([name], typed)[0], dtype=np.float64), is_token))
    rows = np.concatenate(parts)[np.argsort(np.concatenate(batches))]
    return joined(rows, tokens.lengths, tokens.windows)


def _of_windows(given: Floats, is_token: Bools) -> Floats:
    """Return one vector a window, shape (windows, width).

    Args:
        given: of that shape; (1, windows, width), as our own graphs hold it; or one a token, of which it is the mean.
        is_token: of the text, shape (windows, tokens).
    """
    if given.shape[-2] == len(is_token) and given.size == len(is_token) * given.shape[-1]:
        return given.reshape(len(is_token), -1)
    mask = is_token[:, :, None].astype(float)
    return np.asarray((given * mask).sum(axis=1) / mask.sum(axis=1))


def _read_last(data: bytes) -> str:
    """Name the tensor that the last product before the logits reads, before it is turned into integers."""
    nodes, logits = _nodes(data)
    makers = {name: node for node in nodes for name in node.outputs}
    waiting, seen = [logits], {logits}
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is None:
            continue
        if node.operator in PRODUCTS:
            return _before_integers(node.inputs[0], makers)
        fresh = [name for name in node.inputs if name and name not in seen]
        seen.update(fresh)
        waiting += fresh
    return logits


def _before_integers(name: str, makers: Mapping[str, Node]) -> str:
    maker = makers.get(name)
    return maker.inputs[0] if maker is not None and maker.operator in INTEGERS else name


def _nodes(data: bytes) -> tuple[list[Node], str]:
    """Read a graph's nodes, and the name of its first output."""
    start, end = next(place for number, _, _, place in fields(data, 0, len(data)) if number == GRAPH)
    nodes: list[Node] = []
    outputs: list[str] = []
    for number, wire, _, place in fields(data, start, end):
        if wire == BYTES and number == NODE:
            nodes.append(_node(data, *place))
        elif wire == BYTES and number == OUTPUT:
            outputs += [_text(data, at) for kind, _, _, at in fields(data, *place) if kind == NAME]
    return nodes, outputs[0]


def _node(data: bytes, start: int, end: int) -> Node:
    found: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OPERATOR: []}
    for number, _, _, place in fields(data, start, end):
        if number in found:
            found[number].append(_text(data, place))
    return Node(found[NODE_OPERATOR][0], found[NODE_INPUT], found[NODE_OUTPUT])


def _text(data: bytes, place: tuple[int, int]) -> str:
    return data[place[0] : place[1]].decode()


def _output(name: str) -> bytes:
    """Write a ModelProto that has but a graph with one more output."""
    return _field(GRAPH, _field(OUTPUT, _field(NAME, name.encode())))


def _field(number: int, content: bytes) -> bytes:
    r"""Write a field of bytes of a protobuf message.

    >>> _field(1, b"ab")
    b'\n\x02ab'
    """
    size, length = len(content), bytearray()
    while size > 0x7F:  # seven bits a byte
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | BYTES]) + bytes([*length, size]) + content
