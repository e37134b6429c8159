"""Define what a runner reports while a pipeline runs: a task started, was kept, or ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.errors import UnderstudyError
from understudy.runtime import provenance


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a task.

    Attributes:
        task: name of the task.
        state: what happened.
        folder: where the task's outputs lie, one path an output.
        provenance: that of the task; empty while it runs.
    """

    task: str
    state: Literal["started", "kept", "ended"]
    folder: Path
    provenance: Mapping[str, Any] = field(default_factory=dict)


class StepFailed(UnderstudyError):
    """A step that ran in another process failed; `exit_code` is what it would have ended with there."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def provenance_of(folder: Path) -> dict[str, Any]:
    """Read the provenance of a task, which each of its outputs carries.

    Raises:
        StepFailed: no output has one.
    """
    files = provenance.files_in(folder)
    if not files:
        raise StepFailed(f"A step must leave its outputs with their provenance, got none ({folder}).")
    return provenance.read_file(files[0])
