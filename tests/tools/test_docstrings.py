"""What a docstring names is there: a dotted name in backticks is something to import, a file.py one of the tree."""

import ast
import builtins
import importlib
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.test_doctests import sources
from understudy.task.settings import config_of, field_names, sections

SOURCES = sources()
DOTTED = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)[`(]")
FILE = re.compile(r"[\w/-]*\w\.py\b")
OTHER_FILES = {"json", "html", "prom", "max"}  # ends of names that are no Python's


def named(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Find the names of a kind in docstrings, each with the module that says it."""
    for module, path in SOURCES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from ((module, name) for name in pattern.findall(ast.get_docstring(node) or ""))


def is_there(name: str, module: str) -> bool:
    """Whether a name means something in a module, in a room, in a library, or as a setting of the card."""
    first, *rest = name.split(".")
    if first in sections() and rest[0] in field_names(config_of(first)):
        return True
    said_in = importlib.import_module(module)
    starts = [vars(place)[first] for place in (said_in, builtins) if first in vars(place)]
    return any(has(start, rest) for start in starts) or is_in_a_room(name.split(".")) or is_of_a_library(first, rest)


def is_in_a_room(parts: list[str]) -> bool:
    """Whether a name is a module's, by as much of its path as is said, or of what a module holds."""
    for length in range(len(parts), 0, -1):
        end = "." + ".".join(parts[:length])
        modules = [known for known in SOURCES if f".{known}".endswith(end)]
        if any(has(importlib.import_module(known), parts[length:]) for known in modules):
            return True
    return False


def is_of_a_library(first: str, rest: list[str]) -> bool:
    return importlib.util.find_spec(first) is not None and has(importlib.import_module(first), rest)


def has(start: Any, names: list[str]) -> bool:
    """Whether names lead on from an object; a field that has no default is no attribute of its class."""
    for name in names:
        if not hasattr(start, name):
            return name in getattr(start, "__annotations__", {})
        start = getattr(start, name)
    return True


def dotted_names() -> list[tuple[str, str]]:
    ends = tuple(f".{end}" for end in (*OTHER_FILES, "py"))
    return sorted({(module, name) for module, name in named(DOTTED) if not name.endswith(ends)})


@pytest.mark.parametrize(("module", "name"), dotted_names())
def test_a_name_in_a_docstring_is_there(module: str, name: str) -> None:
    assert is_there(name, module)


def test_a_file_that_a_docstring_names_is_there() -> None:
    files = {f"/{path.as_posix()}" for path in SOURCES.values()}
    lacking = [(module, name) for module, name in named(FILE) if not any(it.endswith(f"/{name}") for it in files)]
    assert lacking == []
