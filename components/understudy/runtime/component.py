"""Make a KFP component of a step's shell: its image by role, no packages installed at run time."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from understudy.runtime.images import image_of


def component(role: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a component body that only imports and calls; `role` names its image."""

    def make(body: Callable[..., Any]) -> Any:
        return dsl.component(func=body, base_image=image_of(role), install_kfp_package=False)

    return make
