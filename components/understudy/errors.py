"""Define every error that Understudy raises on purpose; catch `UnderstudyError` for all of them.

    UnderstudyError               exit 1: something failed that is not the user's input
    ├── BadInput                  exit 2: a file, a card or a setting must be changed
    │   ├── BadCard               the task card breaks a rule
    │   ├── BadSetting            a `--set` or command-line value breaks a rule
    │   ├── BadData               a file of texts or labels cannot serve
    │   │   └── TooFewLabels      a split holds too few human labels to do its job
    │   └── BadArtifact           a folder given to a step is not what the step reads, or was altered
    ├── GateRefused               exit 3: what was measured does not allow to go on
    │   └── HopelessTeacher       the teacher is not worth asking further
    ├── StorageError              the store cannot be reached, read or written
    │   └── Conflict              somebody else moved the pointer first
    ├── IndexFailed               the search index cannot be reached, read or written
    └── TeacherError              the teacher's server refused, failed or answered garbage
        └── BudgetSpent           the next request would pass the budget

A message reads: "<what> must <rule>, got <value> (<where>). <what to do>."
"""

import signal
from collections.abc import Callable, Sequence
from typing import Any


class UnderstudyError(Exception):
    """Base of every error raised on purpose; `exit_code` is what a command ends with."""

    exit_code = 1


class BadInput(UnderstudyError):
    """The user's input breaks a rule; nothing was spent or written.

    Args:
        faults: one sentence, or one a fault when several were found together.
    """

    exit_code = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class BadCard(BadInput):
    """The task card breaks a rule."""


class BadSetting(BadInput):
    """A `--set` or command-line value breaks a rule."""


class BadData(BadInput):
    """A file of texts or labels cannot serve."""


class TooFewLabels(BadData):
    """A split holds too few human labels to do its job."""


class BadArtifact(BadInput):
    """A folder given to a step is not what the step reads, or was altered since it was written."""


class GateRefused(UnderstudyError):
    """The evaluation decided against publishing, or a step against going on; the reason is in the message."""

    exit_code = 3


class HopelessTeacher(GateRefused):
    """The teacher is certainly no better than chance, or worse than what costs nothing; what was bought is kept."""


class StorageError(UnderstudyError):
    """The store cannot be reached, read or written."""


class Conflict(StorageError):
    """Somebody else moved the pointer first; read it again and retry."""


class IndexFailed(UnderstudyError):
    """The search index cannot be reached, read or written; the store holds all that it would."""


class TeacherError(UnderstudyError):
    """The teacher's server refused, failed or answered garbage."""


class BudgetSpent(TeacherError):
    """The next request would pass the budget; what was bought is kept."""


def may_pass(status: int) -> bool:
    """Whether the same HTTP request may succeed later: the server is busy, out of order, or in another's hands.

    >>> [status for status in (400, 404, 408, 409, 425, 429, 500, 501, 503) if may_pass(status)]
    [408, 409, 425, 429, 500, 503]
    """
    return status in {408, 409, 425, 429} or (status >= 500 and status != 501)


def together(*checks: Callable[[], Any]) -> list[Any]:
    """Run every check and return what they return.

    Raises:
        BadInput: the faults of all of them together; the error of the first when all are of its kind.
    """
    results, errors = [], []
    for check in checks:
        try:
            results.append(check())
        except BadInput as error:
            errors.append(error)
    if errors:
        kind = type(errors[0]) if len({type(error) for error in errors}) == 1 else BadInput
        raise kind([fault for error in errors for fault in error.faults])
    return results


class Stopped(SystemExit):
    """SIGINT or SIGTERM ended the command; its exit code is 128 and the signal's number, as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name
