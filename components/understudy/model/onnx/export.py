"""Export a student to ONNX graphs: written by hand where its architecture is covered, else by its exporter."""

import shutil
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch

from understudy.model.onnx import deberta, encoders, t5
from understudy.model.onnx.quantize import Rows, quantized, ranges_of
from understudy.model.onnx.writer import OPSET

MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a kind of model is written by hand.

    Attributes:
        uncovered: says which option of a model's configuration is not covered; None when all are.
        write: writes the graph of a model for texts of up to so many tokens.
    """

    uncovered: Callable[[Any], str | None]
    write: Callable[[Any, int], onnx.ModelProto]


ARCHITECTURES = {
    "bert": Architecture(encoders.uncovered_bert, encoders.write_bert),
    "distilbert": Architecture(encoders.uncovered_distilbert, encoders.write_distilbert),
    "deberta-v2": Architecture(deberta.uncovered, deberta.write),
    "t5": Architecture(t5.uncovered, t5.write),
}


def why_plain(model: Any, opset: int = OPSET) -> str | None:
    """Say why a model's graph cannot be written by hand; None when it can."""
    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        return f"no fast graph is known of {kind}"
    if opset < OPSET:
        return f"the fast graph needs opset {OPSET}, export.opset asks for {opset}"
    fault = ARCHITECTURES[kind].uncovered(model.config)
    return None if fault is None else f"the fast graph of {kind} does not cover {fault}"


def export_fp32(model: Any, folder: Path, opset: int = OPSET, max_length: int = 512) -> Path:
    """Write `folder/model.onnx`: inputs of shape (texts, tokens), both dynamic; output the logits (texts, labels).

    Args:
        model: a student in evaluation mode.
        folder: made here.
        opset: ONNX operator set; below 20 the plain graph is written.
        max_length: most tokens of a text.
    """
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    if why_plain(model, opset) is None:
        with torch.no_grad():
            written = ARCHITECTURES[model.config.model_type].write(model, max_length)
        onnx.save(written, folder / MODEL_FILE)
    else:
        export_plain(model, folder, opset)
    return folder / MODEL_FILE


def export_int8(fp32: Path, folder: Path, rows: Rows, keep: Collection[str] = ()) -> Path:
    """Write `folder/model.onnx`: weights in int8 by column, activations in the ranges that they have on `rows`.

    Args:
        fp32: the graph.
        folder: made here.
        rows: token ids of texts like those to come.
        keep: names of weights that stay in fp32 (`quantize.weights_of` lists them all).
    """
    folder.mkdir(parents=True)
    model = onnx.load(fp32)
    onnx.save(quantized(model, ranges_of(model, rows), keep), folder / MODEL_FILE)
    return folder / MODEL_FILE


def export_plain(model: Any, folder: Path, opset: int) -> None:
    """Write `folder/model.onnx` as the exporters of optimum and torch trace it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about every constant they trace
        if model.config.model_type == "t5":
            _export_by_torch(model, folder / MODEL_FILE, opset)
        else:
            _export_by_optimum(model, folder, opset)


def _export_by_optimum(model: Any, folder: Path, opset: int) -> None:
    from optimum.exporters.onnx import onnx_export_from_model

    with TemporaryDirectory(dir=folder.parent) as temporary:
        onnx_export_from_model(model, temporary, task="text-classification", opset=opset, do_validation=False)
        shutil.move(Path(temporary) / MODEL_FILE, folder / MODEL_FILE)


class _Logits(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _export_by_torch(model: Any, path: Path, opset: int) -> None:
    ids = torch.ones((2, 8), dtype=torch.long)
    torch.onnx.export(
        _Logits(model).eval(),
        (ids, ids),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in ("input_ids", "attention_mask")}
        | {"logits": {0: "texts"}},
        opset_version=opset,
        dynamo=False,
    )
