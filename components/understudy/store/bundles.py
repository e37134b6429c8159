"""Read and check a bundle's folder: settings, names and hashes; without numpy, so that submit can publish."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from understudy.errors import BadArtifact
from understudy.store import codecs
from understudy.store.hashing import hash_file, hash_json
from understudy.store.names import Digest, FilePath, Version, inside
from understudy.task.card import CARD_FILE, MOST_LABELS, Card
from understudy.text.numbers import clip

BUNDLE_FILE = "bundle.json"
FORMAT = 2
TOKENIZER_FILE = "tokenizer.json"
SERVED = ("model.onnx", TOKENIZER_FILE, CARD_FILE)
FIRST_STAGE_FILE = "first_stage.npy"
MOST_FILES = 64  # of a bundle; ours have five
MOST_FILE_BYTES = 4 << 30  # of one file; the largest graph of a small student has half a gigabyte
MOST_SETTINGS_BYTES = 8 << 20  # of bundle.json; costs of 500 labels take four megabytes
LONGEST_LIST = 300  # signs of the labels that a message lists
MOST_TOKENS = 8192  # of a window; small encoders read 512, and attention takes memory by its square
MOST_PAD_ID = 2**31 - 1  # token ids are 32 bits wide


Probability = Annotated[float, Field(ge=0, le=1)]
Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CalibratorSettings(BaseModel):
    """What the calibrator is called, and a slope and a bias for each label (model/calibration.py)."""

    model_config = ConfigDict(extra="forbid")
    form: str
    slopes: list[FiniteFloat]
    biases: list[FiniteFloat]


class DecisionSettings(BaseModel):
    """How a text gets its label (model/decision.py): columns and rows stand for labels."""

    model_config = ConfigDict(extra="forbid")
    label: Annotated[int, Field(ge=0)] | None
    threshold: Probability | None
    thresholds: list[Probability] | None = None
    costs: list[list[Cost]] | None


class CascadeSettings(BaseModel):
    """The first stage's cut on the scale of its scores, with what it says of settled texts, or why there is none."""

    reason: str
    cut: FiniteFloat | None = None
    intercept: FiniteFloat = 0.0
    label: Annotated[int, Field(ge=0)] = 0
    slope: FiniteFloat = 1.0
    bias: FiniteFloat = 0.0
    most: Probability = 0.0
    rest: list[Probability] = []
    max_missed: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _is_whole(self) -> "CascadeSettings":
        needed = {"intercept", "label", "slope", "bias", "most", "rest"}
        if self.cut is not None and (missing := sorted(needed - self.model_fields_set)):
            raise ValueError(f"a cut needs {missing[0]}")
        return self


class Settings(BaseModel):
    """What bundle.json must hold for a bundle to serve."""

    format: Literal[2]
    version: Version
    labels: Annotated[list[str], Field(min_length=2, max_length=MOST_LABELS)]
    positive_label: str | None
    labels_per_text: Literal["one", "many"] = "one"
    calibrator: CalibratorSettings
    decision: DecisionSettings
    max_length: Annotated[int, Field(ge=1, le=MOST_TOKENS)]
    pad_id: Annotated[int, Field(ge=0, le=MOST_PAD_ID)]
    graph: str
    is_rehearsal: bool
    cascade: CascadeSettings | None = None
    files: Annotated[dict[FilePath, Digest], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _names_its_labels(self) -> "Settings":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("the labels must differ")
        if self.positive_label is not None and self.positive_label not in self.labels:
            raise ValueError("the positive label must be one of the labels")
        return self

    @model_validator(mode="after")
    def _has_a_number_for_each_label(self) -> "Settings":
        number, decision = len(self.labels), self.decision
        rows = [self.calibrator.slopes, self.calibrator.biases]
        rows += [] if decision.thresholds is None else [decision.thresholds]
        if decision.costs is not None:
            rows += [*decision.costs, [0.0] * len(decision.costs)]
        columns = [] if decision.label is None else [decision.label]
        if self.cascade is not None and self.cascade.cut is not None:
            rows.append(self.cascade.rest)
            columns.append(self.cascade.label)
        if any(len(row) != number for row in rows) or any(column >= number for column in columns):
            raise ValueError("slopes, biases, costs and shares must be as many as the labels")
        if (decision.label is None) != (decision.threshold is None):
            raise ValueError("a threshold must be that of a label")
        if (decision.thresholds is not None) != (self.labels_per_text == "many"):
            raise ValueError("each label must have a threshold where a text may have several, and else none")
        return self


def read_settings(folder: Path) -> dict[str, Any]:
    """Read bundle.json.

    Raises:
        BadArtifact: it is missing or unreadable, or `parse_settings` refuses it.
    """
    path = inside(folder, BUNDLE_FILE, str(folder))
    return parse_settings(codecs.read_file(path, MOST_SETTINGS_BYTES), str(path))


def parse_settings(data: bytes, where: str) -> dict[str, Any]:
    """Read the content of bundle.json, whose version is a hash of all that it says.

    Raises:
        BadArtifact: it is damaged, altered, or of another format.
    """
    settings = codecs.read_mapping(data, where, most_bytes=MOST_SETTINGS_BYTES)
    if (found := settings.get("format")) != FORMAT:
        said = found if isinstance(found, (int, type(None))) else type(found).__name__
        raise BadArtifact(f"A bundle must be of format {FORMAT}, got {said} ({where}). Export it again.")
    codecs.read_as(Settings, data, where, MOST_SETTINGS_BYTES)
    _require_unaltered(settings, where)
    return settings


def version_of(name: str, settings: Mapping[str, Any]) -> str:
    """Name a bundle by its card and the hash of its settings, in which the hashes of its files stand."""
    content = {key: value for key, value in settings.items() if key != "version"}
    return f"{name}-{hash_json(content)[:12]}"


def require_vouched(files: Mapping[str, str], where: str) -> None:
    """Refuse a list of a bundle's files that lacks one without which it does not serve.

    Raises:
        BadArtifact: one is missing.
    """
    if missing := [name for name in (*SERVED, BUNDLE_FILE) if name not in files]:
        raise BadArtifact(f"A bundle must have {', '.join((*SERVED, BUNDLE_FILE))}, got no {missing[0]} ({where}).")


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
        BadArtifact: its labels, their order, the positive one or how many a text may have are not the card's.
    """
    of_bundle, of_card = (
        (tuple(settings["labels"]), settings["positive_label"], settings.get("labels_per_text", "one")),
        (card.label_names, card.positive_label, card.labels_per_text),
    )
    if of_bundle != of_card:
        wanted, got = (
            clip(f"{', '.join(names)} (positive: {positive or 'none'}; {per_text} a text)", LONGEST_LIST)
            for names, positive, per_text in (of_card, of_bundle)
        )
        raise BadArtifact(
            f"A bundle must have the card's labels in its order, and its positive label, {wanted}, got {got} "
            f"({settings['version']}). Give the card that it was trained with."
        )


def check_files(folder: Path, hashes: Mapping[str, str]) -> None:
    """Compare the files of a bundle with their recorded SHA-256.

    Raises:
        BadArtifact: with one sentence for each file that is missing or differs.
    """
    faults = []
    for name, expected in hashes.items():
        path = inside(folder, name, str(folder))
        found = hash_file(path) if path.is_file() else "no file"
        if found != expected:
            faults.append(
                f"A bundle's file must have the hash {expected[:12]}, got {found[:12]} ({path}). Fetch it again."
            )
    if faults:
        raise BadArtifact(faults)
