"""Read the images by role from images.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

IMAGES_FILE = Path(__file__).with_name("images.yaml")


@dataclass(frozen=True, slots=True)
class Image:
    """One image.

    Attributes:
        role: the steps that run in it: "analysis", "train", "infer" or "submit".
        name: registry and repository, without a tag.
        tag: the release.
        site_packages_mb: the most that its libraries may hold, in megabytes of 10^6 bytes.
    """

    role: str
    name: str
    tag: str
    site_packages_mb: int

    @property
    def reference(self) -> str:
        """What a pod names: the image by its tag."""
        return f"{self.name}:{self.tag}"


def read_images() -> dict[str, Image]:
    """Return every image by its role."""
    said: dict[str, Any] = yaml.safe_load(IMAGES_FILE.read_text(encoding="utf-8"))
    return {
        role: Image(role, f"{said['registry']}/{role}", said["tag"], limits["site_packages_mb"])
        for role, limits in said["images"].items()
    }


def image_of(role: str) -> str:
    """Return what a pod of a role names: its image by the tag."""
    return read_images()[role].reference
