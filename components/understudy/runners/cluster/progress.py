"""Tell of a run's steps from the nodes of the workflow engine, a line a step.

The API's tasks are the engine's nodes: each step has a driver and an executor of its own, loops and conditions are
nodes too, and in Argo's stock configuration each of them has a twin for every try, as `infer(0)` beside `infer`.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from understudy.task.steps import STEPS

SUCCEEDED, FAILED = "SUCCEEDED", "FAILED"
TURN = re.compile(r"iteration-iterations\(\d+:\d+\)")  # of a loop; all are there once the loop has begun
DRIVER = "-driver"
TENTHS = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come.

    Attributes:
        step: its name.
        done: how many of its shards have succeeded; 0 or 1 of a step that has none.
        shards: how many it has.
    """

    step: str
    done: int
    shards: int

    @property
    def mark(self) -> tuple[str, int]:
        """What a line stands for: a step, and the tenth of its shards that are done."""
        return self.step, TENTHS * self.done // self.shards

    def __str__(self) -> str:
        if self.shards == 1:
            return f"{self.step:<12} succeeded"
        return f"{self.step:<12} {self.done} of {self.shards}{' succeeded' if self.done == self.shards else ''}"


def progress_of(run: Any) -> Iterator[Progress]:
    """Return the steps of a run of which something has succeeded, in the order of the registry."""
    names = Counter(task.display_name for task in tasks_of(run))
    done = Counter(task.display_name for task in tasks_of(run) if task.state == SUCCEEDED)
    turns = sum(bool(TURN.fullmatch(str(name))) for name in names)
    for step in STEPS:
        if done[step]:
            is_dealt_out = names[step] > 1 or (step == "infer" and turns > 1)
            yield Progress(step, done[step], max(turns, names[step]) if is_dealt_out else 1)


def failed_steps(run: Any) -> list[str]:
    """Return the names of the steps that failed, each once; a driver that failed stands for what it was to start.

    >>> from types import SimpleNamespace as Of
    >>> tasks = [Of(display_name=n, state="FAILED") for n in ("root", "shard", "shard(0)", "executor", "index-driver")]
    >>> failed_steps(Of(run_details=Of(task_details=tasks)))
    ['index', 'shard']
    """
    failed = {str(task.display_name) for task in tasks_of(run) if task.state == FAILED}
    drivers = {name.removesuffix(DRIVER) for name in failed if name.endswith(DRIVER)}
    return sorted((failed & STEPS.keys()) | drivers)


def message_of(run: Any, step: str) -> str:
    """Return what the API says of a step that failed; empty when it says nothing."""
    errors = [task.error for task in tasks_of(run) if task.display_name == step and task.state == FAILED]
    return next((str(error.message) for error in errors if error and error.message), "")


def tasks_of(run: Any) -> list[Any]:
    """Return what the API says of the nodes of a run."""
    return list((run.run_details.task_details if run.run_details else None) or ())
