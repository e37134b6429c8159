"""Bundles by an evil author: hashes that fit, and content that must be refused before it costs memory or time."""

import hashlib
import json
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.bundles import add_first_stage, make_bundle
from understudy.errors import BadArtifact, BadInput
from understudy.model.cascade import PAIRS
from understudy.model.onnx.files import require_sound
from understudy.model.scoring import Bundle
from understudy.store import registry
from understudy.store.bundles import BUNDLE_FILE, version_of
from understudy.store.folder import FolderStore

MOST_MB, MOST_S = 200, 10  # beyond what a good bundle takes


def seal(folder, **changes):
    """Give an altered bundle the hashes and the version that go with it."""
    settings = {**json.loads((folder / BUNDLE_FILE).read_text()), **changes}
    settings["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in settings["files"]}
    settings["version"] = version_of("hotel-tips", settings)
    (folder / BUNDLE_FILE).write_text(json.dumps(settings))
    return folder


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


def graph_of(nodes, constants, *, outputs=("texts", 2), inputs=("input_ids", "attention_mask")):
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "length"]) for name in inputs]
    made = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(outputs))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "evil", given, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def logits_by(*nodes, **constants):
    """A graph whose logits are a mean over the token ids, twice, with more nodes before the last Add."""
    base = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["ids"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["mean", "mean"], ["two"], axis=1),
        *nodes,
        helper.make_node("Add", ["two", "more"], ["logits"]),
    ]
    return graph_of(base, constants)


def opened(folder):
    """Open a bundle in a process of its own, and score with it; return its error, seconds and peak in MB."""
    code = (
        "import sys, pathlib\nfrom understudy.errors import UnderstudyError\nfrom understudy.model.scoring import Bundle\n"  # noqa: E501
        "try:\n    print(Bundle.open(pathlib.Path(sys.argv[1])).score(['Ask for a room', 'a' * 1000]).probabilities)\n"
        "except UnderstudyError as error:\n    print('REFUSED', error)\n"
        "import re\nprint('PEAK', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, time.monotonic() - started, int(done.stdout.rpartition("PEAK")[2]) / 1024


def bomb(kind):
    size = np.array([40_000_000_000], np.int64)
    if kind == "filled":  # 160 GB that are made when constants are folded
        return logits_by(
            helper.make_node("ConstantOfShape", ["size"], ["large"]),
            helper.make_node("ReduceMax", ["large"], ["more"], keepdims=1),
            size=size,
        )
    if kind == "repeated":
        return logits_by(
            helper.make_node("Tile", ["one", "size"], ["large"]),
            helper.make_node("ReduceMax", ["large"], ["more"], keepdims=1),
            one=np.ones(1, np.float32),
            size=size,
        )
    return logits_by(  # it depends on the text, so nothing is folded
        helper.make_node("Expand", ["mean", "size"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["more"], keepdims=1),
        size=np.array([1, 40_000_000_000], np.int64),
    )


@pytest.mark.parametrize("kind", ["filled", "repeated", "expanded"])
def test_a_graph_that_makes_160_gigabytes_is_refused_and_takes_none(bundle, kind):
    _, good_s, good_mb = opened(bundle)
    (bundle / "model.onnx").write_bytes(bomb(kind).SerializeToString())
    told, seconds, peak_mb = opened(seal(bundle))
    assert "REFUSED A graph must" in told
    assert seconds < good_s + MOST_S
    assert peak_mb < good_mb + MOST_MB


def claims_too_much(model):
    model.graph.initializer[0].dims[0] = 40_000_000_000


def weights_elsewhere(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def weights_elsewhere_in_a_branch(model):
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "value")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


@pytest.mark.parametrize("change", [claims_too_much, weights_elsewhere, weights_elsewhere_in_a_branch])
def test_weights_that_are_not_in_the_file_are_refused_before_it_is_opened(bundle, change):
    model = onnx.load(bundle / "model.onnx")
    change(model)
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadArtifact, match="must be an ONNX model that holds its own weights"):
        Bundle.open(seal(bundle))


def endless(kind):
    """A graph with a node of this kind, that goes round 2**62 times, as its author wants it to."""
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Add", ["so_far", "so_far"], ["further"]),
        ],
        "body",
        [scalar("at", TensorProto.INT64, []), scalar("going", TensorProto.BOOL, []), _mean_info("so_far")],
        [scalar("still", TensorProto.BOOL, []), _mean_info("further")],
    )
    loop = helper.make_node("Loop", ["times", "", "mean"], ["more"], body=body)
    if kind == "Scan":
        loop = helper.make_node("Scan", ["mean"], ["more"], num_scan_inputs=1, body=body)
    if kind == "in a branch":
        branch = helper.make_graph([loop], "branch", [], [_mean_info("more")])
        loop = helper.make_node("If", ["yes"], ["more"], then_branch=branch, else_branch=branch)
    model = logits_by(loop, times=np.array(2**62, np.int64), yes=np.array(True))
    if kind == "in a function":
        opset = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", "turn", ["mean", "times"], ["more"], [loop], opset))
        (place,) = (at for at, node in enumerate(model.graph.node) if node.op_type == "Loop")
        model.graph.node[place].CopyFrom(helper.make_node("turn", ["mean", "times"], ["more"], domain="own"))
        model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def _mean_info(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["texts", 1])


@pytest.mark.parametrize("kind", ["Loop", "Scan", "in a branch", "in a function"])
def test_a_graph_that_may_run_without_end_is_refused_before_it_is_opened(bundle, kind):
    (bundle / "model.onnx").write_bytes(endless(kind).SerializeToString())
    with pytest.raises(BadArtifact, match=r"runs each node once, got the operator (Loop|Scan)"):
        require_sound(bundle / "model.onnx")
    with pytest.raises(BadArtifact, match="runs each node once"):
        Bundle.open(seal(bundle))


@pytest.mark.parametrize("outputs", [("texts", 3), ("texts", 1), ("texts", "more", 2)])
def test_an_output_of_another_shape_is_refused(bundle, outputs):
    model = onnx.load(bundle / "model.onnx")
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(outputs)))
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadArtifact, match=r"A graph must"):
        Bundle.open(seal(bundle))


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(bundle, odd):
    model = logits_by(more=np.array([[0.0, odd]], np.float32))
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadArtifact, match="finite logits"):
        Bundle.open(seal(bundle))


def test_logits_that_become_no_numbers_with_a_text_are_refused(bundle):
    model = onnx.load(bundle / "model.onnx")
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[-1] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    served = Bundle.open(seal(bundle))
    with pytest.raises(BadArtifact, match="finite logits"):
        served.score(["We stayed"])


def test_a_tokenizer_of_more_tokens_than_the_graph_is_told_in_a_sentence(bundle):
    path = bundle / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["zebra"] = 5_000
    path.write_text(json.dumps(content))
    served = Bundle.open(seal(bundle))
    with pytest.raises(BadArtifact, match="must read every token id"):
        served.score(["zebra"])


def growing(times):
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    return {"type": "Sequence", "normalizers": [step] * times}


def nested(depth):
    step = {"type": "Lowercase"}
    for _ in range(depth):
        step = {"type": "Sequence", "normalizers": [step]}
    return step


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", growing(30)),
        ("normalizer", {"type": "Sequence", "normalizers": [growing(4), growing(4)]}),
        ("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 5_000}),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}),
        ("normalizer", {"type": "Replace", "pattern": {"String": ""}, "content": "bb"}),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAAAGFhYWE" + "YWFh" * 100}),
        ("normalizer", nested(100_000)),
        ("normalizer", nested(20)),
        ("normalizer", {"type": "Unheard"}),
        ("normalizer", [1]),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}),
        ("post_processor", {"type": "TemplateProcessing", "single": [{}] * 10_000, "pair": [], "special_tokens": {}}),
        ("model", {"type": "Unheard"}),
        ("model", None),
    ],
)
def test_a_tokenizer_that_makes_texts_grow_or_backtracks_is_refused(bundle, part, value):
    path = bundle / "tokenizer.json"
    text = json.dumps({**json.loads(path.read_text()), part: None})
    written = "" if value is None else _dumped(value)
    path.write_text(text.replace(f'"{part}": null', f'"{part}": {written or "null"}'))
    started = time.monotonic()
    with pytest.raises(BadArtifact):
        Bundle.open(seal(bundle))
    assert time.monotonic() - started < MOST_S


def _dumped(value):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        return json.dumps(value)
    except RecursionError:  # nested deeper than Python writes
        return '{"type": "Sequence", "normalizers": [' * 100_000 + "]}" * 100_000
    finally:
        sys.setrecursionlimit(limit)


def test_a_first_stage_whose_header_asks_for_terabytes_is_refused(bundle):
    add_first_stage(bundle, {"ask": 4.0})
    path = bundle / "first_stage.npy"
    header = {"descr": "<f4", "fortran_order": False, "shape": (1_000_000_000_000,)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 4096)
    with pytest.raises(BadArtifact, match="must have more than 262144 weights of float32"):
        Bundle.open(seal(bundle))


@pytest.mark.parametrize("weights", [np.full(PAIRS + 7, np.nan, np.float32), np.zeros(PAIRS + 2, np.float32)])
def test_a_first_stage_of_no_numbers_or_of_too_few_tokens_is_refused(bundle, weights):
    add_first_stage(bundle, {"ask": 4.0})
    np.save(bundle / "first_stage.npy", weights)
    with pytest.raises(BadArtifact, match="A first stage must have"):
        Bundle.open(seal(bundle))


@pytest.mark.parametrize(
    "changes",
    [
        {"positive_label": "nothing"},
        {"labels": ["tip", "tip"]},
        {"labels": [["tip"], "other"]},
        {"max_length": 10**9},
        {"max_length": True},
        {"pad_id": 2**40},
        {"decision": {"label": 1, "threshold": "0.5", "costs": None}},
        {"decision": {"label": 1, "threshold": None, "costs": None}},
        {"decision": {"label": None, "threshold": None, "costs": [[0.0, 1.0]] * 3}},
        {"decision": {"label": None, "threshold": None, "costs": [[0.0, -1.0], [1.0, 0.0]]}},
        {"calibrator": {"form": "", "slopes": [1.0, 1.0], "biases": [0.0, 0.0], "more": 1}},
        {"calibrator": {"form": "", "slopes": [1.0], "biases": [0.0, 0.0]}},
        {"labels": ["only"]},
        {"cascade": {"reason": "", "cut": 0.5}},
        {"is_rehearsal": "no"},
    ],
)
def test_settings_that_cannot_serve_are_refused_in_a_sentence(bundle, changes):
    with pytest.raises(BadArtifact, match="got"):
        Bundle.open(seal(bundle, **changes))


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", ".ssh/id", "a/../b", "a\0b", "x" * 600])
def test_no_file_of_a_bundle_is_named_outside_of_it(bundle, name):
    settings = json.loads((bundle / BUNDLE_FILE).read_text())
    settings["files"][name] = "0" * 64
    settings["version"] = version_of("hotel-tips", settings)
    (bundle / BUNDLE_FILE).write_text(json.dumps(settings))
    with pytest.raises(BadArtifact, match=r"no name of its kind|at most"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", ["model.onnx", BUNDLE_FILE])
def test_a_link_that_leads_out_of_a_bundle_is_refused(bundle, tmp_path, name):
    outside = tmp_path / "outside"
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    with pytest.raises(BadArtifact, match="must lie in its folder"):
        Bundle.open(bundle)


def test_a_device_in_the_place_of_a_file_is_refused(bundle):
    (bundle / BUNDLE_FILE).unlink()
    (bundle / BUNDLE_FILE).symlink_to("/dev/zero")
    with pytest.raises(BadArtifact, match="must lie in its folder"):
        Bundle.open(bundle)


EVIL = ["../../../.ssh", "/etc/evil", "..", ".", "", "a/b", "A", "a\0", "x" * 200, "a/../../b"]


@pytest.mark.parametrize("version", EVIL)
def test_a_manifest_that_says_another_version_writes_and_removes_nothing(tmp_path, bundle, version):
    store = FolderStore(tmp_path / "store")
    current = registry.publish_bundle(store, bundle, {"report.html": b"<p>"})
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("a key")
    path = tmp_path / "store" / "bundles" / current.version / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    with pytest.raises((BadArtifact, BadInput), match="got"):
        registry.fetch_bundle(store, cache=home / "a" / "b" / "cache")
    assert (home / ".ssh" / "id").read_text() == "a key"
    assert sorted(file.name for file in home.rglob("*") if file.is_file()) == ["id"]


@pytest.mark.parametrize("version", EVIL)
@pytest.mark.parametrize("key", ["version", "previous", "report"])
def test_a_pointer_names_only_versions(tmp_path, bundle, key, version):
    store = FolderStore(tmp_path / "store")
    registry.publish_bundle(store, bundle, {"report.html": b"<p>"})
    path = tmp_path / "store" / "current.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: version}))
    with pytest.raises(BadArtifact, match="What is read from a store"):
        registry.read_current(store)


def test_another_versions_manifest_is_refused(tmp_path):
    store = FolderStore(tmp_path / "store")
    first, second = (
        registry.publish_bundle(store, make_bundle(tmp_path / str(bias), bias=bias), {"report.html": b"<p>"}).version
        for bias in (-1.0, -2.0)
    )
    manifest = tmp_path / "store" / "bundles" / first / "manifest.json"
    manifest.write_bytes((tmp_path / "store" / "bundles" / second / "manifest.json").read_bytes())
    with pytest.raises(BadArtifact, match=f"the manifest of '{first}'"):
        registry.fetch_bundle(store, first, tmp_path / "cache")


def test_a_link_in_the_cache_is_neither_followed_nor_emptied(tmp_path, bundle):
    store = FolderStore(tmp_path / "store")
    version = registry.publish_bundle(store, bundle, {"report.html": b"<p>"}).version
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "photo").write_text("mine")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / version).symlink_to(precious)
    folder = registry.fetch_bundle(store, version, cache)
    assert not folder.is_symlink()
    assert (precious / "photo").read_text() == "mine"
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(bundle / "model.onnx")
    assert not (registry.fetch_bundle(store, version, cache) / "model.onnx").is_symlink()
