"""The examples in docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"understudy": "components/understudy", "understudy.pipelines": "pipelines"} | {
    name: name for name in ("tools", "benchmarks")
}


def sources() -> dict[str, Path]:
    """Find every module of the product, its tools and its benchmarks, by its dotted name."""
    return {
        ".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for package, folder in PACKAGES.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def modules_with_examples() -> list[str]:
    """Find the modules that have an example, by their text: importing all of them takes long."""
    return [name for name, path in sources().items() if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
