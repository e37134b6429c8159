"""Real servers for tests: each is used from the environment when it is named there, else started here, else skipped."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Skip for want of a service; under UNDERSTUDY_REQUIRE_SERVICES=1 that is a failure."""
    if os.environ.get("UNDERSTUDY_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Keep the other workers of a run away, such as from what one of them builds or fetches for all."""
    path = Path(tempfile.gettempdir()) / f"understudy-tests-{os.getuid()}-{what}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
