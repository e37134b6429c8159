"""A bundle's folder: its settings file, and the check of its files' hashes; only the standard library is needed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact
from understudy.task import Card

BUNDLE_FILE = "bundle.json"
FORMAT = 1


def read_settings(folder: Path) -> dict[str, Any]:
    """Read bundle.json.

    Raises:
        BadArtifact: it is missing or unreadable, or of another format.
    """
    path = folder / BUNDLE_FILE
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadArtifact(f"A bundle must have a readable {BUNDLE_FILE}, got {error} ({folder}).") from error
    if settings.get("format") != FORMAT:
        raise BadArtifact(
            f"A bundle must be of format {FORMAT}, got {settings.get('format')} ({path}). Export it again."
        )
    return settings


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
