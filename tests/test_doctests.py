"""The examples in docstrings, of every module that can be imported without a heavy library."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import understudy

HEAVY = ("torch", "transformers", "matplotlib", "onnxruntime", "kfp")


def _imports_heavily(source: Path) -> bool:
    lines = source.read_text(encoding="utf-8").splitlines()
    return any(line.startswith((f"import {name}", f"from {name}")) for line in lines for name in HEAVY)


def _light_modules() -> list[str]:
    found = pkgutil.walk_packages(understudy.__path__, "understudy.")
    return [
        module.name
        for module in found
        if not _imports_heavily(Path(module.module_finder.find_spec(module.name).origin))
    ]


@pytest.mark.parametrize("name", _light_modules())
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_the_examples_are_found():
    metrics = doctest.DocTestFinder().find(importlib.import_module("understudy.stats.metrics"))
    assert sum(bool(found.examples) for found in metrics) >= 12
