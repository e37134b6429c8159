"""Pin images by the digests that manifests/ records."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadInput
from understudy.runtime.images import read_images

ROOT = Path(__file__).resolve().parents[1] / "manifests"
IMAGES = "components/images/generated"
PINS = f"{IMAGES}/images.json"
PINNED = re.compile(r"sha256:[0-9a-f]{64}")

Pins = Mapping[str, str]


def recorded_pins(root: Path) -> dict[str, str]:
    """Read the digests that the generated files were made with; none when they go by tags.

    Raises:
        BadInput: the file was edited by hand into something else.
    """
    file = root / PINS
    if not file.exists():
        return {}
    try:
        pins = TypeAdapter(dict[str, str]).validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadInput(f"Recorded digests must be text by role, got {error} ({file}). Run `make manifests`.") from error
    return require_digests(pins, file)


def require_digests(pins: dict[str, str], file: Path) -> dict[str, str]:
    """Check that digests are digests.

    Raises:
        BadInput: one is not.
    """
    if wrong := [f"{role}: {digest}" for role, digest in pins.items() if not PINNED.fullmatch(digest)]:
        raise BadInput(f"A digest must be sha256: and 64 hexadecimal digits, got {wrong[0]} ({file}). Build again.")
    return pins


def pin(spec: Mapping[str, Any], pins: Pins) -> None:
    """Replace the tags in a compiled pipeline by digests, where there are any."""
    images = read_images()
    references = {images[role].reference: f"{images[role].name}@{digest}" for role, digest in pins.items()}
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor["container"]
        container["image"] = references.get(container["image"], container["image"])
