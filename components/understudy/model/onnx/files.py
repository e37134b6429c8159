"""Check an ONNX file before a library opens it: no outside weights, no loops, no tensor larger than its bytes.

Whoever writes a bundle writes this file. A tensor of a few bytes may say that it holds 160 GB, and external weights may
name any file of the machine; both are seen in the file's structure, which is read here without loading anything. What
only running shows, memory above all, `within_memory` bounds. Time is bounded by what may stand in a graph: no operator
that repeats a graph as often as a number says, so that each node runs once for a text.
"""

import mmap
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from understudy.errors import BadArtifact

MOST_BYTES = 4 << 30  # of a graph; protobuf ends at two gigabytes
MOST_PARTS = 2_000_000  # fields that are looked at; the largest of our graphs has 40,000
MOST_NESTED = 8  # graphs within graphs
MOST_DIMENSIONS = 16  # of a tensor; onnxruntime itself takes fewer
SPARE_BYTES = 256 << 20  # that opening may take beyond a few copies of the weights
COPIES = 4  # of the weights: the parsed graph, folded and packed weights; MiniLM's 91 MB took 143 MB of addresses

# What of onnx.proto holds tensors, by message and field; a scalar is named by what it says.
PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
DIMENSIONS, EXTERNAL_DATA, DATA_LOCATION = 1, 13, 14
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
REFUSED = {"training", "sparse"}
OPERATOR = 4  # of a node: the name of what it does
LOOPS = {
    *(b"Loop", b"Scan", b"SequenceMap"),
    *(b"BeamSearch", b"GreedySearch", b"Sampling", b"WhisperBeamSearch"),  # onnxruntime's own
}


def require_sound(path: Path) -> None:
    """Refuse a graph whose weights are not all in it, or that says it holds more than it does.

    Raises:
        BadArtifact: it is such a graph, too long, or no ONNX file.
    """
    size = path.stat().st_size
    if not 0 < size <= MOST_BYTES:
        raise _unsound(path, f"a file of {size:,} bytes")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _look(data, path)
    except (IndexError, ValueError) as error:
        raise _unsound(path, f"damaged bytes ({error})") from error


@contextmanager
def within_memory(weights_bytes: int) -> Iterator[None]:
    """Bound what may be allocated while a graph is opened and first run, so that it fails and the machine does not.

    Args:
        weights_bytes: length of the graph's file; a few copies of it are needed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + COPIES * weights_bytes + SPARE_BYTES
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _look(data: mmap.mmap, path: Path) -> None:
    seen = 0
    waiting = [("model", 0, len(data), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if kind in REFUSED or depth > MOST_NESTED:
            raise _unsound(path, f"a {kind} part at depth {depth}")
        if kind == "tensor":
            _require_own_bytes(data, start, end, path)
            continue
        for number, wire, _, (first, last) in fields(data, start, end):
            seen += 1
            if seen > MOST_PARTS:
                raise _unsound(path, f"more than {MOST_PARTS:,} parts")
            if kind == "node" and number == OPERATOR and data[first:last] in LOOPS:
                raise _unsound(path, f"the operator {data[first:last].decode()}, which may run without end")
            inner = PARTS[kind].get(number)
            if inner is not None and wire == BYTES:
                waiting.append((inner, first, last, depth + (inner == "graph")))


def _require_own_bytes(data: mmap.mmap, start: int, end: int, path: Path) -> None:
    """Check that a tensor has no more numbers than twice its bytes: the narrowest kind packs two into a byte."""
    dimensions: list[int] = []
    for count, (number, wire, value, place) in enumerate(fields(data, start, end)):
        if number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
            raise _unsound(path, "weights in another file")
        if number == DIMENSIONS and wire == VARINT:
            dimensions.append(value)
        elif number == DIMENSIONS and wire == BYTES:
            at = place[0]
            while at < place[1] and len(dimensions) <= MOST_DIMENSIONS:
                size, at = _varint(data, at)
                dimensions.append(size)
        if count > MOST_PARTS or len(dimensions) > MOST_DIMENSIONS:
            raise _unsound(path, "a tensor of too many parts")
    if dimensions and prod(dimensions) > 2 * (end - start):
        raise _unsound(path, f"a tensor of shape {tuple(dimensions)} in {end - start:,} bytes")


def fields(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[int, int, int, tuple[int, int]]]:
    """Yield each field of a message: its number, wire type, value of a varint, and place of bytes."""
    at = start
    while at < end:
        key, at = _varint(data, at)
        number, wire, value, first = key >> 3, key & 7, 0, at
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire == BYTES:
            size, first = _varint(data, at)
            at = first + size
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"a field of type {wire}")
        if at > end:
            raise ValueError("a field that ends outside of its message")
        yield number, wire, value, (first, at)


def _varint(data: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number of more than ten bytes")


def _unsound(path: Path, found: str) -> BadArtifact:
    return BadArtifact(
        f"A graph must be an ONNX model that holds its own weights and runs each node once, got {found} ({path}). "
        "Export it again, or fetch it from whoever published it."
    )
