"""Choose among a run's artifacts, here or on a cluster, the one whose step is run again alone."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from understudy.errors import BadInput


class Made(Protocol):
    """An artifact, wherever it lies."""

    @property
    def step(self) -> str:
        """Name of the step that made it."""

    @property
    def task(self) -> str:
        """Address of the folder of the task that made it."""


Found = TypeVar("Found", bound=Made)


def choose_artifact(step: str, found: Sequence[Found], run: str) -> Found:
    """Choose an artifact that a step has made, which must have run once.

    Args:
        step: name of the step.
        found: all artifacts of the run.
        run: name or folder of the run, for the message.

    Raises:
        BadInput: there is none, or the step ran several times.
    """
    made = [it for it in found if it.step == step]
    if not made:
        ran = ", ".join(sorted({it.step for it in found})) or "none"
        raise BadInput(f"A step that is run again must have run, got '{step}' where {ran} did ({run}, --from).")
    tasks = sorted({it.task for it in made})
    if len(tasks) > 1:
        raise BadInput(
            f"A step that is run again alone must have run once, got {len(tasks)} times ({step}, --from). Add "
            f"--downstream, or give an artifact of one of them: {tasks[0]}/..."
        )
    return made[0]
