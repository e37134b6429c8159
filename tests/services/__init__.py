"""Real servers for tests: each is used from the environment when it is named there, else started here, else skipped."""

import os
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Skip for want of a service; under UNDERSTUDY_REQUIRE_SERVICES=1 that is a failure."""
    if os.environ.get("UNDERSTUDY_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
