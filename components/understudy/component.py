"""Make a KFP component of a step's shell: its image by role, no packages installed at run time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kfp import dsl

IMAGES_FILE = Path(__file__).parents[2] / "images" / "images.yaml"


def image_of(role: str) -> str:
    """Return the image of a role ("analysis", "train", "infer" or "submit"), named once in images/images.yaml."""
    names = yaml.safe_load(IMAGES_FILE.read_text(encoding="utf-8"))
    if role not in names["images"]:
        raise KeyError(f"An image must be one of {names['images']}, got '{role}' ({IMAGES_FILE}).")
    return f"{names['registry']}/{role}:{names['tag']}"


def component(role: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a component body that only imports and calls; `role` names its image."""

    def make(body: Callable[..., Any]) -> Any:
        return dsl.component(func=body, base_image=image_of(role), install_kfp_package=False)

    return make
