"""The students: small transformers by name, loaded from safetensors with a fresh classification head."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# OpenMP reads this when torch is loaded. Threads that spin while they wait made training 4 to 15 times slower on a
# machine that anything else uses too (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, T5ForTokenClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.documents import read_json, write_json
from understudy.engine import Floats, encodable, length_batches
from understudy.errors import BadArtifact
from understudy.students import STUDENTS, locate, unknown_student

STUDENT_FILE = "student.json"
LEARNED_FILE = "learned.parquet"  # ids of the texts that it was trained on
OTHER_LEARNING_RATE = 3e-5
SCORING_TOKENS = 4096


class T5EncoderClassifier(T5ForTokenClassification):  # type: ignore[misc]
    """T5's encoder with one linear head on the mean of its tokens: half the work of the encoder-decoder."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SequenceClassifierOutput:
        """Return logits of shape (texts, labels): the mean over each text's tokens."""
        logits = super().forward(input_ids=input_ids, attention_mask=attention_mask).logits
        mask = attention_mask.unsqueeze(-1).to(logits.dtype)
        return SequenceClassifierOutput(logits=(logits * mask).sum(1) / mask.sum(1))


def learning_rate_of(name: str) -> float:
    """Return the learning rate that suits a student."""
    return STUDENTS[name].learning_rate if name in STUDENTS else OTHER_LEARNING_RATE


def load(name: str, labels: Sequence[str]) -> tuple[Any, Any]:
    """Load a student with a fresh head for these labels, and its fast tokenizer.

    Args:
        name: a key of `students.STUDENTS`, a folder, or a hub name.
        labels: names in the card's order, which becomes the order of the logits.

    Raises:
        BadSetting: nothing is found under that name, or the weights are no plain tensors.
    """
    source = locate(name)
    numbered = dict(enumerate(labels))
    try:
        config = AutoConfig.from_pretrained(
            source, num_labels=len(labels), id2label=numbered, label2id={label: i for i, label in numbered.items()}
        )
        return _model_class(config).from_pretrained(source, config=config, **_weights(source)), tokenizer_of(source)
    except (OSError, ValueError, RuntimeError) as error:
        raise unknown_student(name, _first_sentence(error)) from error


def tokenizer_of(source: str) -> Any:
    """Load the fast tokenizer of a folder or hub name."""
    return AutoTokenizer.from_pretrained(source, use_fast=True)


def save(model: Any, tokenizer: Any, about: dict[str, Any], folder: Path) -> None:
    """Write a student: safetensors, tokenizer, and what it was trained on."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    write_json(folder / STUDENT_FILE, about)


def open_student(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Open a trained student: model in evaluation mode, tokenizer, and what it was trained on.

    Raises:
        BadArtifact: the folder holds no student.
    """
    try:
        about = read_json(folder / STUDENT_FILE, "train")
        config = AutoConfig.from_pretrained(folder)
        model = _model_class(config).from_pretrained(folder, config=config, use_safetensors=True)
        return model.eval(), tokenizer_of(str(folder)), about
    except (OSError, ValueError) as error:
        raise BadArtifact(f"A student must be a folder that train wrote, got {error} ({folder}).") from error


def padded(rows: Sequence[Sequence[int]], pad_id: int, device: Any = "cpu") -> dict[str, torch.Tensor]:
    """Pad token ids to one width. Returns input_ids and attention_mask, each of shape (texts, tokens)."""
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad_id)
    mask = pad([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def logits(model: Any, tokens: Sequence[Sequence[int]], pad_id: int) -> Floats:
    """Score tokenised texts in evaluation mode, in batches of like length. Returns shape (texts, labels)."""
    model.eval()
    scored = np.empty((len(tokens), model.config.num_labels))
    with torch.inference_mode():
        for batch in length_batches([len(row) for row in tokens], SCORING_TOKENS):
            inputs = padded([tokens[index] for index in batch], pad_id, model.device)
            scored[batch] = model(**inputs).logits.double().cpu().numpy()
    return scored


def tokens_of(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Tokenise texts, each cut to `max_length` tokens."""
    ids: list[list[int]] = tokenizer([encodable(text) for text in texts], truncation=True, max_length=max_length)[
        "input_ids"
    ]
    return ids


def _model_class(config: Any) -> Any:
    return T5EncoderClassifier if config.model_type == "t5" else AutoModelForSequenceClassification


def _weights(source: str) -> dict[str, Any]:
    """Safetensors where there are any; a folder or hub repository with .bin alone is read as plain tensors only."""
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

    missing = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    found = any(cached_file(source, name, **missing) for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
    return {"use_safetensors": True} if found else {"use_safetensors": False, "weights_only": True}


def _first_sentence(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
