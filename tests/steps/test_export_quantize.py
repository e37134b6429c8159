"""Integer products are the same on every CPU, near the fp32 ones, and do not depend on the batch."""

import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from understudy.model.onnx import quantize
from understudy.model.onnx.quantize import LARGEST, LEVELS, integer_columns, integer_rows

WEIGHTS = arrays(
    np.float32,
    st.tuples(st.integers(1, 13), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e3, width=32),
)
INT16 = np.iinfo(np.int16)


def without_vnni(activations, weights, pairs):
    """Multiply as `vpmaddubsw` and `vpmaddwd` do: neighbours are summed in 16 bits that saturate, those in 32."""
    rows = len(weights) + -len(weights) % 4
    weights = np.pad(weights.astype(np.int64), ((0, rows - len(weights)), (0, 0))).reshape(-1, 4, weights.shape[1])
    activations = np.pad(activations.astype(np.int64), (0, rows - len(activations))).reshape(-1, 4, 1)
    products = activations * weights
    sums = [np.clip(products[:, list(pair)].sum(axis=1), INT16.min, INT16.max) for pair in pairs]
    return np.sum(sums, axis=(0, 1))


def exact(activations, weights):
    return activations.astype(np.int64) @ weights.astype(np.int64)


ALL_PAIRINGS = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]


@settings(deadline=None)
@given(weight=WEIGHTS, data=st.data())
def test_no_sum_of_two_neighbours_saturates_16_bits(weight, data):
    integers, _ = integer_columns(weight)
    activations = data.draw(arrays(np.uint8, len(weight), elements=st.sampled_from([0, 1, 254, 255])))
    for pairs in ALL_PAIRINGS:
        assert (without_vnni(activations, integers, pairs) == exact(activations, integers)).all()


def test_weights_that_use_all_8_bits_would_saturate():
    activations, weights = np.full(8, 255, np.uint8), np.full((8, 1), 127, np.int8)
    assert exact(activations, weights)[0] == 8 * 255 * 127 == 259_080
    assert without_vnni(activations, weights, ALL_PAIRINGS[0])[0] == 4 * 32_767
    ours, _ = integer_columns(weights.astype(np.float32))
    assert without_vnni(activations, ours, ALL_PAIRINGS[0])[0] == exact(activations, ours)[0]


@settings(deadline=None)
@given(weight=WEIGHTS)
def test_a_weight_is_off_by_half_a_step_at_most(weight):
    integers, scales = integer_columns(weight)
    assert np.abs(integers).max() <= LARGEST
    assert (np.abs(integers * scales - weight) <= scales * 0.501 + 1e-30).all()
    rows, row_scales = integer_rows(weight)
    assert (np.abs(rows * row_scales - weight) <= row_scales * 0.501 + 1e-30).all()


def test_scales_lose_less_than_a_bit_would_on_weights_like_a_models():
    weight = np.random.default_rng(0).normal(size=(768, 64)).astype(np.float32)
    whole_range = np.abs(weight).max(axis=0) / 127
    _, scales = integer_columns(weight)
    assert (scales / whole_range).mean() < 1.5  # 7 bits for every weight would be 2


@settings(deadline=None)
@given(low=st.floats(-50, 0, width=32), high=st.floats(0, 50, width=32))
def test_zero_keeps_a_level_of_its_own_and_the_range_is_covered(low, high):
    scale, zero = quantize.scale_and_zero(low, high)
    levels = (np.array([low, 0.0, high]) / np.float64(scale)).round() + zero
    assert levels[1] == zero
    assert (levels >= -1).all()
    assert (levels <= LEVELS + 1).all()


def product_graph(weight, bias):
    """input_ids are looked up as numbers, and multiplied by a weight: logits of shape (texts, out)."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["floats", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", weight.shape[1]])]
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")]
    graph = helper.make_graph(nodes, "product", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def logits(model, ids):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids})[0]


@pytest.mark.parametrize("texts", [1, 2, 7, 64])  # one row and many are multiplied by different kernels
@pytest.mark.parametrize("tokens", [4, 64, 771, 3072])
def test_this_machine_multiplies_the_worst_case_exactly(texts, tokens):
    weight, bias = np.full((tokens, 48), 1.0, np.float32), np.full(48, 0.5, np.float32)
    ids = np.full((texts, tokens), 255)
    model = product_graph(weight, bias)
    integers, scales = integer_columns(weight)
    found = logits(quantize.quantized(model, quantize.ranges_of(model, ids.tolist())), ids)
    expected = exact(np.full(tokens, 255), integers) * scales.astype(np.float64) + bias
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-6)


def test_weights_that_are_kept_stay_in_fp32():
    weight, bias = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32), np.zeros(2, np.float32)
    model, ids = product_graph(weight, bias), np.arange(16).reshape(2, 8)
    ranges = quantize.ranges_of(model, ids.tolist())
    assert quantize.weights_of(model) == ["weight"]
    kept = quantize.quantized(model, ranges, keep=["weight"])
    assert [node.op_type for node in kept.graph.node] == ["Cast", "MatMul", "Add"]
    np.testing.assert_array_equal(logits(kept, ids), logits(model, ids))


def test_a_value_beyond_the_range_is_cut_to_it_and_moves_no_other_text():
    model = product_graph(np.eye(4, dtype=np.float32), np.zeros(4, np.float32))
    integers = quantize.quantized(model, quantize.ranges_of(model, [[10, 20, 30, 40]]))
    alone = logits(integers, np.array([[10, 20, 30, 40]]))
    together = logits(integers, np.array([[10, 20, 30, 40], [4000, 0, 0, 0]]))
    np.testing.assert_array_equal(together[0], alone[0])
    assert together[1, 0] == pytest.approx(40, rel=0.02)


def test_an_int8_graph_is_a_valid_onnx_model():
    model = product_graph(np.eye(4, dtype=np.float32), np.zeros(4, np.float32))
    onnx.checker.check_model(quantize.quantized(model, {"floats": (0.0, 1.0)}))


ON_ANOTHER_CPU = """
import os
import shutil
import subprocess
import sys

import numpy as np
from tests.steps import test_export_quantize as it

weight, ids = np.full((64, 48), 127, np.float32), np.full((7, 64), 255)
model = it.product_graph(weight, np.zeros(48, np.float32))
safe, scales = it.integer_columns(weight)
integers = it.quantize.quantized(model, {"floats": (0.0, 255.0)})
print(np.abs(it.logits(integers, ids) - it.exact(ids, safe) * scales).max() < 0.1)
it.quantize.integer_columns = lambda weight: (weight.astype(np.int8), np.ones(48, np.float32))
whole = it.quantize.quantized(model, {"floats": (0.0, 255.0)})
print(np.abs(it.logits(whole, ids) - it.exact(ids, weight)).max() < 0.1)
"""


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64 (Debian: qemu-user)")
def test_an_emulated_cpu_without_vnni_multiplies_exactly():
    command = ["qemu-x86_64", "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", ON_ANOTHER_CPU]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["True", "False"]  # weights that use all 8 bits do saturate there
