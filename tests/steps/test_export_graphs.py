"""The fast graphs are the model itself, whatever the lengths, the padding and the architecture; others are named."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from transformers import DebertaV2Config

from tests.students import SHAPES, VOCABULARY, random_model
from understudy.model.calibration import log_odds
from understudy.model.onnx import export
from understudy.model.onnx.files import require_sound
from understudy.model.onnx.quantize import quantized, ranges_of, weights_of
from understudy.steps.export import rules
from understudy.steps.export.config import ExportConfig
from understudy.steps.export.precision import by_movement, movements

MAX_LENGTH = 70  # more than the 32 buckets of the small DeBERTa, so that distances share one
LENGTHS = st.lists(st.sampled_from([1, 2, 3, 5, 16, 33, MAX_LENGTH - 1, MAX_LENGTH]), min_size=1, max_size=6)


@pytest.fixture(scope="module", params=SHAPES)
def both(request, tmp_path_factory):
    model = random_model(SHAPES[request.param])
    path = export.export_fp32(model, tmp_path_factory.mktemp("graphs") / "fp32", max_length=MAX_LENGTH)
    return model, path, opened(path.read_bytes())


def opened(data):
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def batch_of(lengths, seed):
    generator = np.random.default_rng(seed)
    ids = generator.integers(1000, VOCABULARY, (len(lengths), max(lengths)))
    return {"input_ids": ids, "attention_mask": (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)}


def of_model(model, batch):
    with torch.inference_mode():
        return model(**{name: torch.tensor(value) for name, value in batch.items()}).logits.double().numpy()


def log_odds_of(session, batch):
    return log_odds(session.run(None, batch)[0].astype(np.float64), 1)


def test_no_graph_of_ours_holds_what_a_bundle_may_not(both):
    require_sound(both[1])


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_log_odds_are_the_models_own(both, lengths, seed):
    model, _, graph = both
    batch = batch_of(lengths, seed)
    np.testing.assert_allclose(log_odds_of(graph, batch), log_odds(of_model(model, batch), 1), atol=1e-4)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_what_padding_holds_changes_nothing(both, lengths, seed):
    _, _, graph = both
    batch = batch_of(lengths, seed)
    other = batch | {"input_ids": np.where(batch["attention_mask"] == 1, batch["input_ids"], 7)}
    np.testing.assert_allclose(log_odds_of(graph, other), log_odds_of(graph, batch), atol=1e-5)


def test_the_graph_is_valid_and_of_standard_operators(both):
    _, path, _ = both
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.domain for opset in model.opset_import] == [""]


def test_integers_score_a_text_the_same_in_any_batch(both):
    _, path, _ = both
    exact = onnx.load(path)
    batch = batch_of([3, 20, 20, MAX_LENGTH], seed=1)
    rows = [row[:length].tolist() for row, length in zip(batch["input_ids"], (3, 20, 20, MAX_LENGTH), strict=True)]
    integers = opened(quantized(exact, ranges_of(exact, rows)).SerializeToString())
    alone = [log_odds_of(integers, {"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)})
             for row in rows]  # fmt: skip
    np.testing.assert_allclose(log_odds_of(integers, batch), np.concatenate(alone), atol=1e-3)


def test_every_product_by_a_weight_and_every_table_is_in_integers(both):
    _, path, _ = both
    exact = onnx.load(path)
    names = weights_of(exact)
    multiplied = {name for name in constants(exact) if name.endswith(".weight") and constants(exact)[name] == 2}
    assert set(names) == {"words"} | multiplied
    integers = quantized(exact, ranges_of(exact, [[1000, 1001]]))
    assert sum(node.op_type == "MatMulIntegerToFloat" for node in integers.graph.node) == len(names) - 1
    assert names[0] == "words"
    assert not constants(integers).keys() & set(names)


def constants(model):
    return {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}


@pytest.mark.parametrize("part", ["layer0.p2c", "layer1.c2p", "layer0.query.bias", "pooler.weight"])
def test_a_graph_that_was_altered_is_refused(tmp_path, part):
    model = random_model(SHAPES["deberta-v2"])
    path = export.export_fp32(model, tmp_path / "fp32", max_length=MAX_LENGTH)
    batch = batch_of([5, 9, 20], seed=0)
    trained = log_odds(of_model(model, batch), 1)
    altered = onnx.load(path)
    tensor = next(tensor for tensor in altered.graph.initializer if tensor.name == part)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[..., ::-1].copy(), part))
    rules.require_parity(trained, log_odds_of(opened(path.read_bytes()), batch), ExportConfig())
    with pytest.raises(rules.NotTheSame, match=r"must stay within 0\.0001"):
        rules.require_parity(trained, log_odds_of(opened(altered.SerializeToString()), batch), ExportConfig())


@pytest.mark.parametrize(
    ("architecture", "options", "reason"),
    [
        ("deberta-v2", {"pos_att_type": ["c2p"]}, "attention other than c2p with p2c"),
        ("deberta-v2", {"share_att_key": False}, "relative keys of their own"),
        ("deberta-v2", {"position_buckets": -1}, "no buckets of distances"),
        ("deberta-v2", {"position_biased_input": True}, "positions or types in the embeddings"),
        ("deberta-v2", {"type_vocab_size": 2}, "positions or types in the embeddings"),
        ("deberta-v2", {"conv_kernel_size": 3}, "a convolution"),
        ("deberta-v2", {"relative_attention": False}, "no relative attention"),
        ("deberta-v2", {"hidden_act": "silu"}, "the activation silu"),
        ("bert", {"position_embedding_type": "relative_key"}, "positions of the kind relative_key"),
        ("bert", {"hidden_act": "silu"}, "the activation silu"),
        ("distilbert", {"activation": "silu"}, "the activation silu"),
        ("t5", {"is_gated_act": False}, "layers that are not gated"),
    ],
)
def test_an_option_that_is_not_covered_is_named(architecture, options, reason):
    config = copy.deepcopy(SHAPES[architecture])
    config.update(options)
    fault = export.ARCHITECTURES[config.model_type].uncovered(config)
    assert fault == reason


def test_what_is_not_covered_is_traced_and_still_the_model(tmp_path):
    config = DebertaV2Config.from_dict({**SHAPES["deberta-v2"].to_dict(), "share_att_key": False})
    model = random_model(config)
    assert export.why_plain(model) == "the fast graph of deberta-v2 does not cover relative keys of their own"
    graph = opened(export.export_fp32(model, tmp_path / "fp32").read_bytes())
    batch = batch_of([5, 9, 20], seed=0)
    named = {node.name for node in graph.get_inputs()}
    feeds = {
        name: value for name, value in (batch | {"token_type_ids": 0 * batch["input_ids"]}).items() if name in named
    }
    np.testing.assert_allclose(log_odds_of(graph, feeds), log_odds(of_model(model, batch), 1), atol=1e-4)


def test_an_older_opset_is_traced():
    model = random_model(SHAPES["bert"])
    assert export.why_plain(model, opset=18) == "the fast graph needs opset 20, export.opset asks for 18"


def test_the_weight_that_integers_move_most_is_found(tmp_path):
    model = random_model(SHAPES["bert"])
    with torch.no_grad():
        outer = model.bert.encoder.layer[0].output.dense.weight
        outer[:, 0] = 100.0  # read by one input that is 0 here, and the scale of all its columns
        model.bert.encoder.layer[0].intermediate.dense.weight[0] = 0.0
        model.bert.encoder.layer[0].intermediate.dense.bias[0] = 0.0
    exact = onnx.load(export.export_fp32(model, tmp_path / "fp32", max_length=MAX_LENGTH))
    rows = [[1000 + step, 2000 + step, 3000] for step in range(8)]
    ranked = by_movement(movements(exact, ranges_of(exact, rows), rows))
    assert ranked[0] == "layer0.outer.weight"
    assert sorted(ranked) == sorted(weights_of(exact))


def test_the_table_of_embeddings_may_be_what_integers_move_most_and_stays_then(tmp_path):
    model = random_model(SHAPES["bert"])
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[:, 0] += 100.0  # the scale of every row; the next line undoes it
        model.bert.embeddings.position_embeddings.weight[:, 0] -= 100.0
    exact = onnx.load(export.export_fp32(model, tmp_path / "fp32", max_length=MAX_LENGTH))
    rows = [[1000 + step, 2000 + step, 3000] for step in range(8)]
    ranges = ranges_of(exact, rows)
    ranked = by_movement(movements(exact, ranges, rows))
    assert ranked[0] == "words"
    assert constants(quantized(exact, ranges, keep=ranked[:1])).get("words") == 2
