"""Keys of the store are made and taken apart by the layout alone: no other module writes or reads one by hand."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import understudy
from understudy.store import layout

ROOT = Path(understudy.__path__[0])
BELOW = {  # they know keys, and no family
    "store/layout.py",
    "store/address.py",
    "store/folder.py",
    "store/s3.py",
    "data/listing.py",
}
HEADS = tuple({family.pattern.partition("{")[0] for family in layout.FAMILIES} | set(layout.folders(*layout.FAMILIES)))
SIGNS = {"/", *(f".{family.pattern.rpartition('.')[2]}" for family in layout.FAMILIES if "." in family.pattern)}
APART = {"split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix"}
NAMED = {"key", "segment"}


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).as_posix() not in BELOW]


def faults(source: str) -> list[str]:
    """Return where a module handles a key by hand, a line each."""
    tree = ast.parse(source)
    heads = {name for node in tree.body for name in _heads_named_by(node)}
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"line {node.lineno}: {ast.unparse(node)[:80]}"
        for node in ast.walk(tree)
        if (_is_literal(node) and id(node) not in docs) or _is_joined(node, heads) or _is_taken_apart(node, heads)
    ]


def _heads_named_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign) and _is_head(node.value, set()):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _is_head(node: ast.AST, heads: set[str]) -> bool:
    """Whether it is the beginning of keys: a family's folder, prefix or key, or a name for one."""
    if isinstance(node, ast.Name):
        return node.id in heads
    node = node.func if isinstance(node, ast.Call) else node
    return (
        isinstance(node, ast.Attribute)
        and node.attr in {"folder", "prefix", "key"}
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "layout"
    )


def _is_literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(HEADS)


def _is_joined(node: ast.AST, heads: set[str]) -> bool:
    """Whether something is put behind the beginning of keys."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and _is_head(node.left, heads)
    first = node.values[0] if isinstance(node, ast.JoinedStr) and len(node.values) > 1 else None
    return isinstance(first, ast.FormattedValue) and _is_head(first.value, heads)


def _is_taken_apart(node: ast.AST, heads: set[str]) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    given = [part for argument in node.args for part in ast.walk(argument)]
    if node.func.attr in {*APART, "startswith"} and any(_is_head(part, heads) for part in given):
        return True
    said = "".join(part.value for part in given if isinstance(part, ast.Constant) and isinstance(part.value, str))
    is_apart = any(sign in said for sign in SIGNS) if node.func.attr in APART else "/" in said
    of = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    return of in NAMED and node.func.attr in {*APART, "startswith", "endswith"} and is_apart


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_but_the_layout_makes_a_key_or_takes_one_apart(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        'store.put_if_absent(f"predictions/date={day}/x.parquet", b"")',
        'store.read("watch/page.html")',
        'f"{layout.DEAD_LETTERS.folder}{index}/"',
        'PREFIX = layout.SAMPLE_TABLES.folder\nkey = f"{PREFIX}{day}/queue.csv"',
        "ROOT = layout.RUNS.prefix()\nname = found.removeprefix(ROOT)",
        "name = key.split('/')[1]",
        'key.endswith("/manifest.json")',
        'layout.BUNDLES.prefix(version=version) + "manifest.json"',
        "report.startswith(layout.BUNDLES.prefix(version=version))",
    ],
)
def test_a_key_that_is_handled_by_hand_is_found(line):
    assert faults(line)


def test_what_asks_the_layout_is_no_fault():
    assert faults('"""predictions/date=<night>/"""\nstore.list(layout.SEGMENTS.prefix(day=day))') == []
