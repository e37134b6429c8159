"""Four small real steps and a training pipeline of them, to try shells and runners on without learning anything.

gather -> double -> decide -> (decision "publish") ship. Each notes in the file named by TOY_LOG that it ran; TOY_SLEEP
and TOY_FAIL name a step that takes long or fails.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def environment(**extra):
    """Environment of a process that finds these steps, and this pipeline in the place of the real one."""
    path = os.pathsep.join([str(HERE / "site"), str(ROOT), str(ROOT / "components")])
    return {**os.environ, "PYTHONPATH": path, **{key: str(value) for key, value in extra.items()}}


def install(monkeypatch):
    """Let this process find these steps beside the real ones."""
    import understudy.steps

    monkeypatch.setattr(understudy.steps, "__path__", [*understudy.steps.__path__, str(HERE / "steps")])
    for name in [
        name for name in sys.modules if name.startswith(("understudy.steps.gather", "understudy.steps.double"))
    ]:
        monkeypatch.delitem(sys.modules, name)


def ran(log):
    """Names of the steps that ran, in order."""
    return log.read_text().split() if log.exists() else []
