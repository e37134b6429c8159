"""What the tree must keep: the hall is empty, tests lie in the rooms they test, and a function fits on a screen."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "components" / "understudy"
MOST_LINES = 40  # of code in a function: a screen
HALL = {"__init__.py", "__main__.py", "errors.py", "progress.py"}
OUTSIDE = {"attack", "cluster", "cluster_parts", "manifests", "services", "toys"}  # rooms that only tests have
TOP = {"pipelines", "tools", "benchmarks"}


def test_nothing_stands_in_the_hall() -> None:
    assert {path.name for path in PRODUCT.glob("*.py")} == HALL


def test_every_test_lies_in_the_room_that_it_tests() -> None:
    rooms = {path.parent.name for path in PRODUCT.glob("*/__init__.py")} | TOP
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert folders - OUTSIDE <= rooms
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} == {
        "test_first_day.py",
        "test_progress.py",
        "test_wheel.py",
    }


def test_no_function_is_longer_than_a_screen() -> None:
    folders = [PRODUCT, *(ROOT / name for name in TOP - {"pipelines"})]  # a pipeline is a table of its tasks
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    too_long = [f"{path.relative_to(ROOT)}: {name} ({lines})" for path in sources for name, lines in lengths(path)]
    assert too_long == []


def lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Find the functions of a file that have more lines of code than a screen shows, docstrings not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = isinstance(node.body[0], ast.Expr) and ast.get_docstring(node) is not None
            first = node.body[1].lineno if told and len(node.body) > 1 else node.body[0].lineno
            lines = (node.end_lineno or first) - first + 1
            if lines > MOST_LINES:
                yield node.name, lines
