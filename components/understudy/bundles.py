"""A bundle's folder: its settings, and the check of its files' hashes; needs no numpy, so that submit can publish."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from understudy.errors import BadArtifact
from understudy.provenance import hash_json
from understudy.task import CARD_FILE, Card

BUNDLE_FILE = "bundle.json"
FORMAT = 1
SERVED = ("model.onnx", "tokenizer.json", CARD_FILE)
FIRST_STAGE_FILE = "first_stage.npy"


class Calibrator(BaseModel):
    """Slope and bias of Platt's sigmoid."""

    slope: FiniteFloat
    bias: FiniteFloat


class CascadeSettings(BaseModel):
    """The first stage's cut on the scale of its scores, or why there is none."""

    reason: str
    cut: FiniteFloat | None = None
    intercept: FiniteFloat = 0.0
    shift: FiniteFloat = 0.0
    max_missed: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Settings(BaseModel):
    """What bundle.json must hold for a bundle to serve."""

    format: Literal[1]
    version: str
    labels: Annotated[list[str], Field(min_length=2, max_length=2)]
    positive_label: str
    threshold: Annotated[float, Field(ge=0, le=1)]
    calibrator: Calibrator
    max_length: Annotated[int, Field(ge=1)]
    pad_id: Annotated[int, Field(ge=0)]
    graph: str
    is_rehearsal: bool
    cascade: CascadeSettings | None = None
    files: dict[str, str]


def read_settings(folder: Path) -> dict[str, Any]:
    """Read bundle.json.

    Raises:
        BadArtifact: it is missing or unreadable, or `parse_settings` refuses it.
    """
    path = folder / BUNDLE_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadArtifact(f"A bundle must have a readable {BUNDLE_FILE}, got {error}. Calibrate again.") from error
    return parse_settings(data, str(path))


def parse_settings(data: bytes, where: str) -> dict[str, Any]:
    """Read the content of bundle.json, whose version is a hash of all that it says.

    Raises:
        BadArtifact: it is damaged, altered, or of another format.
    """
    try:
        settings = json.loads(data)
        found = settings.get("format")
    except (ValueError, AttributeError) as error:
        raise BadArtifact(
            f"A bundle's settings must be a JSON mapping, got {error} ({where}). Fetch it again."
        ) from error
    if found != FORMAT:
        raise BadArtifact(f"A bundle must be of format {FORMAT}, got {found} ({where}). Export it again.")
    try:
        Settings.model_validate(settings, strict=True)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BadArtifact(
            [f"A bundle's settings must be whole, got {it} ({where}). Fetch it again." for it in faults]
        ) from error
    _require_unaltered(settings, where)
    return dict(settings)


def version_of(name: str, settings: Mapping[str, Any]) -> str:
    """Name a bundle by its card and the hash of its settings, in which the hashes of its files stand."""
    content = {key: value for key, value in settings.items() if key != "version"}
    return f"{name}-{hash_json(content)[:12]}"


def _require_unaltered(settings: Mapping[str, Any], where: str) -> None:
    has_cut = (settings.get("cascade") or {}).get("cut") is not None
    served = (*SERVED, FIRST_STAGE_FILE) if has_cut else SERVED
    missing = [name for name in served if name not in settings["files"]]
    if missing:
        raise BadArtifact(f"A bundle must vouch for {', '.join(served)}, got none for {', '.join(missing)} ({where}).")
    name = settings["version"].rpartition("-")[0]
    if settings["version"] != (expected := version_of(name, settings)):
        raise BadArtifact(
            f"A bundle's version must be the hash of its settings, got '{settings['version']}' where they give "
            f"'{expected}' ({where}). They were altered: fetch it again."
        )


def require_labels(settings: Mapping[str, Any], card: Card) -> None:
    """Refuse a bundle of another card.

    Raises:
        BadArtifact: its labels, their order or the positive one are not the card's.
    """
    of_bundle = (*settings["labels"], settings["positive_label"])
    of_card = (*card.label_names, card.positive_label)
    if of_bundle != of_card:
        raise BadArtifact(
            f"A bundle must have the card's labels and positive label, {', '.join(of_card)}, got "
            f"{', '.join(of_bundle)} ({settings['version']}). Give the card that it was trained with."
        )


def check_files(folder: Path, hashes: Mapping[str, str]) -> None:
    """Compare the files of a bundle with their recorded SHA-256.

    Raises:
        BadArtifact: with one sentence for each file that is missing or differs.
    """
    faults = []
    for name, expected in hashes.items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if found != expected:
            faults.append(
                f"A bundle's file must have the hash {expected[:12]}, got {found[:12]} ({path}). Fetch it again."
            )
    if faults:
        raise BadArtifact(faults)
