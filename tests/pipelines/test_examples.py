"""The examples in docstrings of the pipelines' modules."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "tools.demo",
        "understudy.runners.cut",
        "understudy.runners.local.direct",
        "understudy.runners.names",
        "understudy.runners.outcome",
        "understudy.runners.overrides",
        "understudy.runners.terminal",
    ],
)
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
