"""Load a student from safetensors with a fresh classification head, and save it."""

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict

# OpenMP reads this when torch is loaded. Threads that spin while they wait made training 4 to 15 times slower on a
# machine that anything else uses too (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, T5ForTokenClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.errors import BadArtifact
from understudy.model import hub, student_files
from understudy.model.architectures import STUDENTS, locate, unknown_student
from understudy.model.engine import Floats, encodable, length_batches
from understudy.store import codecs
from understudy.store.bundles import MOST_TOKENS
from understudy.store.hashing import hash_file

STUDENT_FILE = "student.json"
LEARNED_FILE = "learned.parquet"  # ids of the texts that it was trained on
OTHER_LEARNING_RATE = 3e-5
SCORING_TOKENS = 4096
MANY = "multi_label_classification"  # as transformers calls a head with a yes or no for each label
HEAD = "classifier."  # names of its weights, in every architecture that is known here
UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
UNREADABLE += (ArithmeticError, SafetensorError, pickle.UnpicklingError, EOFError, ImportError)
REFUSED: tuple[type[Exception], ...] = (*UNREADABLE, BadArtifact)


class About(TypedDict, total=False):
    """What student.json must say for the steps that follow."""

    max_length: Required[Annotated[int, Field(ge=1, le=MOST_TOKENS)]]
    is_rehearsal: bool


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


def load(name: str, labels: Sequence[str], *, is_many: bool = False) -> tuple[Any, Any]:
    """Load a student with a head for these labels, and its fast tokenizer.

    The head is a fresh one, unless the student has one of the very same labels in the same order, and as many a text.

    Args:
        name: a key of `architectures.STUDENTS`, a folder, or a hub name.
        labels: names in the card's order, which becomes the order of the logits.
        is_many: a text may have several of them, so that each logit is the log-odds of its label.

    Raises:
        BadSetting: nothing is found under that name, or the weights are no plain tensors.
    """
    numbered = dict(enumerate(labels))
    changes: dict[str, Any] = {"id2label": numbered, "label2id": {label: i for i, label in numbered.items()}}
    changes["problem_type"] = MANY if is_many else None
    try:
        with student_files.staged(folder_of(name)) as stage:
            had = _config(stage, {})
            names = [had.id2label[index] for index in sorted(had.id2label)]
            is_fresh = names != list(labels) or (had.problem_type == MANY) != is_many
            return _open_staged(stage, changes, name, is_fresh=is_fresh)
    except REFUSED as error:
        raise unknown_student(name, _first_sentence(error)) from error


def folder_of(name: str) -> Path:
    """Return the folder of a student's files: its own, a package's, or that of the hub's cache."""
    source = locate(name)
    return Path(source) if Path(source).is_dir() else hub.fetched(source)


def weights_hash(name: str) -> str:
    """SHA-256 of the file of weights that a student begins with, as the hub shows it."""
    folder = folder_of(name)
    found = (folder / file for file in (student_files.SAFE_WEIGHTS, student_files.PLAIN_WEIGHTS))
    return hash_file(next(file for file in found if file.exists()))


def tokenizer_of(source: str) -> Any:
    """Load the fast tokenizer of a folder or hub name."""
    with student_files.staged(folder_of(source)) as stage:
        return _tokenizer(stage, _config(stage, {}), source)


def save(model: Any, tokenizer: Any, about: dict[str, Any], folder: Path) -> None:
    """Write a student: safetensors, tokenizer, and what it was trained on."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    codecs.write_document(folder / STUDENT_FILE, about)


def open_student(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Open a trained student: model in evaluation mode, tokenizer, and what it was trained on.

    Raises:
        BadArtifact: the folder holds no student.
    """
    try:
        about = codecs.read_mapping(codecs.read_file(folder / STUDENT_FILE), str(folder / STUDENT_FILE), About)
        with student_files.staged(folder) as stage:
            if not (stage / student_files.SAFE_WEIGHTS).exists():
                raise OSError(f"no {student_files.SAFE_WEIGHTS}")
            model, tokenizer = _open_staged(stage, {}, str(folder))
    except UNREADABLE as error:
        found = f"{_first_sentence(error)} ({folder})"
        raise BadArtifact(f"A student must be a folder that train wrote, got {found}. Run train again.") from error
    return model.eval(), tokenizer, about


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


def _open_staged(stage: Path, changes: Mapping[str, Any], name: str, *, is_fresh: bool = False) -> tuple[Any, Any]:
    """Load model and tokenizer of a staged folder: safetensors, or .bin as plain tensors only.

    Args:
        stage: the folder.
        changes: of the config.
        name: of the student.
        is_fresh: make the head anew: what the folder has is of other labels, and maybe of another number.
    """
    config = _config(stage, changes)
    is_safe = (stage / student_files.SAFE_WEIGHTS).exists()
    weights = {"use_safetensors": True} if is_safe else {"use_safetensors": False, "weights_only": True}
    model, told = _model_class(config).from_pretrained(
        stage,
        config=config,
        local_files_only=True,
        ignore_mismatched_sizes=is_fresh,
        output_loading_info=True,
        **weights,
    )
    if is_fresh and not any(key.startswith(HEAD) for key in told["missing_keys"]) and not told["mismatched_keys"]:
        for part in (model, *model.classifier.modules()):  # ModernBERT makes its head where it makes the whole model
            model._init_weights(part)
    model.config._name_or_path = model.name_or_path = name
    return model, _tokenizer(stage, config, name)


def _config(stage: Path, changes: Mapping[str, Any]) -> Any:
    said = {**codecs.read_mapping((stage / student_files.CONFIG_FILE).read_bytes(), str(stage)), **changes}
    return AutoConfig.for_model(**said)


def _tokenizer(stage: Path, config: Any, name: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(
        stage, config=config, use_fast=True, local_files_only=True, trust_remote_code=False
    )
    tokenizer.name_or_path = name
    return tokenizer


def _first_sentence(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
