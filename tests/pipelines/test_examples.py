"""The examples in docstrings of modules that test_doctests.py leaves out."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["tools.demo", "understudy.runners.local.direct"])
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
