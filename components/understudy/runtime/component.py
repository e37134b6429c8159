"""Make a KFP component of a step's shell: the image that the registry names, no packages installed at run time."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from understudy.runtime.images import image_of
from understudy.task.steps import STEPS


def component(body: Callable[..., Any]) -> Any:
    """Decorate a component body, named like its step, that only imports and calls."""
    return dsl.component(func=body, base_image=image_of(STEPS[body.__name__].image), install_kfp_package=False)
