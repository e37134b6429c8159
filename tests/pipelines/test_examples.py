"""The examples in docstrings of the pipelines' modules."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["demo", "direct", "rerun", "terminal"])
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(f"pipelines.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
