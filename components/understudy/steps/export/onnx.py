"""Make ONNX graphs of a student: optimum where it knows the architecture, torch.onnx where it does not."""

import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch


def export_fp32(model: Any, folder: Path, opset: int) -> Path:
    """Write `folder/model.onnx`: inputs of shape (texts, tokens), both dynamic; output the logits (texts, labels)."""
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about every constant they trace
        if model.config.model_type == "t5":
            _export_by_torch(model, folder / "model.onnx", opset)
        else:
            _export_by_optimum(model, folder, opset)
    return folder / "model.onnx"


def export_int8(fp32: Path, folder: Path) -> Path:
    """Write `folder/model.onnx`: weights in int8 by channel, activations quantised as they come."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    with TemporaryDirectory(dir=folder.parent) as temporary:
        quantizer = ORTQuantizer.from_pretrained(fp32.parent, file_name=fp32.name)
        quantizer.quantize(save_dir=temporary, quantization_config=settings, file_suffix=None)
        folder.mkdir()
        shutil.move(Path(temporary) / fp32.name, folder / "model.onnx")
    return folder / "model.onnx"


def _export_by_optimum(model: Any, folder: Path, opset: int) -> None:
    from optimum.exporters.onnx import onnx_export_from_model

    with TemporaryDirectory(dir=folder.parent) as temporary:
        onnx_export_from_model(model, temporary, task="text-classification", opset=opset, do_validation=False)
        for name in ("model.onnx", "config.json"):
            shutil.move(Path(temporary) / name, folder / name)


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
    model.config.save_pretrained(path.parent)
