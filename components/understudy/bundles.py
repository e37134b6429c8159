"""A bundle's folder: its settings file, and the check of its files' hashes; only the standard library is needed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact

BUNDLE_FILE = "bundle.json"
FORMAT = 1


def read_settings(folder: Path) -> dict[str, Any]:
    """Read bundle.json.

    Raises:
        BadArtifact: it is missing or unreadable, or of another format.
    """
    path = folder / BUNDLE_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadArtifact(f"A bundle must have a readable {BUNDLE_FILE}, got {error} ({folder}).") from error
    return parse_settings(data, str(path))


def parse_settings(data: bytes, where: str) -> dict[str, Any]:
    """Read the content of bundle.json.

    Raises:
        BadArtifact: it is damaged, or of another format.
    """
    try:
        settings: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise BadArtifact(f"A bundle must have a readable {BUNDLE_FILE}, got {error} ({where}).") from error
    if settings.get("format") != FORMAT:
        raise BadArtifact(
            f"A bundle must be of format {FORMAT}, got {settings.get('format')} ({where}). Export it again."
        )
    return settings


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
