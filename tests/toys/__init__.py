"""Four small real steps and a training pipeline of them, to try shells and runners on without learning anything.

gather -> double -> decide -> (decision "publish") ship. Each notes in the file named by TOY_LOG that it ran; TOY_SLEEP,
TOY_FAIL and TOY_CRASH name a step that takes long, finds bad input, or has a defect.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TOYS = ("gather", "double", "decide", "ship")
PIPELINE = "understudy.pipelines.training"


def environment(**extra):
    """Environment of a process that finds these steps, and this pipeline in the place of the real one."""
    path = os.pathsep.join([str(HERE / "site"), str(ROOT), str(ROOT / "components")])
    return {**os.environ, "PYTHONPATH": path, **{key: str(value) for key, value in extra.items()}}


def register():
    """Write the toy steps into the registry: an entry and a folder is all that a step is."""
    from understudy.task.steps import STEPS, Step

    STEPS.update(dict.fromkeys(TOYS, Step("analysis", ("100m", "1"), (64, 128))))


@contextmanager
def installed():
    """Let this process find these steps, and this pipeline in the place of the real one."""
    import understudy.steps
    from understudy import pipelines
    from understudy.task.steps import STEPS

    before = dict(STEPS)
    register()
    real = sys.modules.pop(PIPELINE, None)
    understudy.steps.__path__.append(str(HERE / "steps"))
    pipelines.__path__.insert(0, str(HERE / "pipelines"))
    try:
        yield
    finally:
        STEPS.clear()
        STEPS.update(before)
        understudy.steps.__path__.remove(str(HERE / "steps"))
        pipelines.__path__.remove(str(HERE / "pipelines"))
        sys.modules.pop(PIPELINE, None)
        if real is not None:
            sys.modules[PIPELINE] = real


def ran(log):
    """Names of the steps that ran, in order."""
    return log.read_text().split() if log.exists() else []
