"""A small real bundle for tests: a bag-of-words ONNX graph, a real tokenizer, and the settings that go with them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from understudy.model.cascade import PAIRS, FirstStage
from understudy.store.bundles import BUNDLE_FILE, FIRST_STAGE_FILE, FORMAT, version_of

Weights = Mapping[str, float | Mapping[str, float]]
LABELS = """  - {name: other, definition: Everything else.}
  - {name: tip, definition: Advice that another traveller can act on.}
positive_label: tip"""
CARD = """
name: {name}
unit: sentence
question: Is this sentence a tip for travellers?
labels:
{labels}
rules:
  - A wish to the hotel is no tip.
  - A warning to stay away is a tip.
weak_rules:
  - {{name: ask, pattern: "^ask", label: {hinted}}}
teacher: {{model: rehearsal, input_usd_per_million: 1.0, output_usd_per_million: 4.0}}
budget: {{teacher_usd: 5}}
goals: {{{goals}}}
{more}
"""
NO_RULE = {"label": None, "threshold": None, "costs": None}
WORDS = {"ask": 4.0, "bring": 4.0, "avoid": 4.0, "maybe": 2.0, "nice": -4.0, "stayed": -2.0}


def make_card(name: str = "hotel-tips", more: str = "", labels: Sequence[str] = (), *, is_many: bool = False) -> str:
    """Return a sound card; `more` is YAML put at its end, such as a section of a step.

    With `labels` it has these, and none that is looked for; without, the two of the hotel's tips. With `is_many` a text
    may have several of them.
    """
    if not labels:
        return CARD.format(name=name, more=more, labels=LABELS, hinted="tip", goals="f1: 0.5")
    said = (
        f"  - {{name: {json.dumps(label, ensure_ascii=False)}, definition: Texts of the kind {number}.}}"
        for number, label in enumerate(labels)
    )
    hinted = json.dumps(labels[-1], ensure_ascii=False)
    listed = "\n".join([*said, *(["labels_per_text: many"] if is_many else [])])
    return CARD.format(name=name, more=more, labels=listed, hinted=hinted, goals="macro_f1: 0.5")


def make_bundle(
    folder: Path,
    *,
    name: str = "hotel-tips",
    words: Weights = WORDS,
    bias: float = -2.0,
    threshold: float = 0.5,
    is_rehearsal: bool = True,
    more: str = "",
    labels: Sequence[str] = (),
    is_many: bool = False,
) -> Path:
    """Write a bundle whose log-odds of "tip" are `bias` plus the weight of every word of the text.

    "Ask for a room": -2 + 4 = 2, so the probability of a tip is 0.88; of a text without a known word, 0.12. With
    `labels` it has these, none is looked for, a word's weights are by label, and the bias is 0. With `is_many` too, a
    text may have several, each by log-odds of its own: `bias` and its words' weights; `threshold` is of each.
    """
    names, positive = list(labels) or ["other", "tip"], None if labels else "tip"
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {"[UNK]": 0} | {word: index for index, word in enumerate(sorted(words), start=1)}
    weights = np.zeros((len(vocabulary), len(names)), dtype=np.float32)
    for word, index in vocabulary.items():
        by_label = words.get(word, 0.0)
        for label, weight in (by_label if isinstance(by_label, Mapping) else {"tip": by_label}).items():
            if label in names:
                weights[index, names.index(label)] = weight
    biases = np.array([bias if is_many or name == positive else 0.0 for name in names], dtype=np.float32)
    (folder / "model.onnx").write_bytes(_graph(weights, biases))
    (folder / "tokenizer.json").write_text(_tokenizer(vocabulary), encoding="utf-8")
    (folder / "card.yaml").write_text(make_card(name, more, labels, is_many=is_many), encoding="utf-8")
    files = {file: _sha256(folder / file) for file in ("card.yaml", "model.onnx", "tokenizer.json")}
    settings = {
        "format": FORMAT,
        "labels": names,
        "positive_label": positive,
        "decision": {"label": names.index(positive), "threshold": threshold, "costs": None} if positive else NO_RULE,
        "calibrator": {"form": "none", "slopes": [1.0] * len(names), "biases": [0.0] * len(names)},
        "max_length": 64,
        "pad_id": 0,
        "graph": "fp32",
        "is_rehearsal": is_rehearsal,
        "files": files,
    }
    if is_many:
        settings["labels_per_text"] = "many"
        settings["decision"] = {**NO_RULE, "thresholds": [threshold] * len(names)}
    settings["version"] = version_of(name, settings)
    (folder / BUNDLE_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def add_first_stage(folder: Path, words: Mapping[str, float], *, cut: float = -1.0, shift: float = 0.0) -> Path:
    """Give a bundle a first stage that scores a text by the sum of its words' weights over sqrt(words)."""
    settings = json.loads((folder / BUNDLE_FILE).read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    weights = np.zeros(len(vocabulary) + PAIRS, dtype=np.float32)
    for word, weight in words.items():
        weights[vocabulary[word]] = weight
    FirstStage(weights, 0.0).save(folder)
    threshold = settings["decision"]["threshold"]
    settings["cascade"] = {
        "reason": "settles",
        "cut": cut,
        "intercept": 0.0,
        "label": 0,
        "label_name": settings["labels"][0],
        "slope": 1.0,
        "bias": shift,
        "most": 0.5 if threshold is None else float(np.nextafter(threshold, 0)),
        "rest": [0.0, *[1 / (len(settings["labels"]) - 1)] * (len(settings["labels"]) - 1)],
        "max_missed": 0.005,
    }
    settings["files"][FIRST_STAGE_FILE] = _sha256(folder / FIRST_STAGE_FILE)
    settings["version"] = version_of("hotel-tips", settings)
    (folder / BUNDLE_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def _graph(weights: np.ndarray, biases: np.ndarray) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "weights": weights,
        "bias": biases,
        "last": np.array([2], dtype=np.int64),
        "tokens": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["of_tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_column"]),
        helper.make_node("Mul", ["of_tokens", "mask_column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["summed"], keepdims=0),
        helper.make_node("Add", ["summed", "bias"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", weights.shape[1]])]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "bag-of-words", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _tokenizer(vocabulary: Mapping[str, int]) -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return str(tokenizer.to_str())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
