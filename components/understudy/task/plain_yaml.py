"""Parse YAML of cards and settings: bounded in size, depth and aliases, plain values only.

YAML lets a few lines stand for millions of values (aliases, merges), nest without end, hold itself, or make objects by
tags. One border refuses all of that before anything is built, with the line where it begins.
"""

from typing import Any

import yaml

LONGEST = 1 << 18  # characters of a text: a card of a hundred pages
MOST_VALUES = 10_000  # every alias counted as what it stands for
DEEPEST = 32
LARGEST = 2**63 - 1  # what tables and databases hold
MOST_DIGITS = 40
STRING = "tag:yaml.org,2002:str"
ALLOWED_CONTROLS = frozenset("\t\n\r\x85")


class _Loader(yaml.SafeLoader):
    """Compose no more than the border allows, and name the line of every value that cannot be built."""

    depth = values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.depth, self.values = self.depth + 1, self.values + 1
        if self.depth > DEEPEST:
            raise _fault(event.start_mark, f"what is nested too deeply, more than {DEEPEST} levels")
        if self.values > MOST_VALUES:
            raise _fault(event.start_mark, f"more than {MOST_VALUES:,} values")
        if getattr(event, "tag", None) not in {None, STRING}:
            raise _fault(event.start_mark, "a tag (!), which makes another kind of value")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # no date of the calendar, or a number that is none
            raise _fault(node.start_mark, f"a value that cannot be: {error}") from error

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node) if len(node.value) <= MOST_DIGITS else LARGEST + 1
        if abs(value) > LARGEST:
            raise _fault(node.start_mark, "a whole number of more than 64 bits")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def compose(text: str) -> tuple[yaml.Node | None, "_Loader"]:
    """Parse a text into nodes with their lines.

    Returns:
        the root (None when nothing is there), and what `construct` builds values with.

    Raises:
        yaml.YAMLError: it is no YAML, or passes the border.
    """
    if len(text) > LONGEST:
        raise _fault(None, f"more than {LONGEST:,} characters")
    loader = _Loader(text)
    try:
        root: yaml.Node | None = loader.get_single_node()
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, or a version of YAML with 5,000 digits
        raise _fault(loader.get_mark(), f"a sign or number that cannot be: {error}") from error
    if root is not None:
        _require_bounded(root, {})
    return root, loader


def construct(root: yaml.Node | None, loader: "_Loader") -> Any:
    """Build the values of what was composed; merges (<<) are carried out in the nodes too."""
    return None if root is None else loader.construct_document(root)


def load(text: str) -> Any:
    """Read the value of a text.

    >>> load("[1, a, 2.5]")
    [1, 'a', 2.5]

    Raises:
        yaml.YAMLError: it is no YAML, or passes the border.
    """
    return construct(*compose(text))


def _require_bounded(node: yaml.Node, sizes: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Return how many values a node stands for, aliases followed, and how deep; one met again inside holds itself."""
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise _fault(node.start_mark, "an alias inside of what it stands for")
        return size
    sizes[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        _require_text(node)
    inner = [_require_bounded(child, sizes) for child in _children(node)]
    found = 1 + sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    if found[0] > MOST_VALUES or found[1] > DEEPEST:
        raise _fault(node.start_mark, f"aliases that stand for more than {MOST_VALUES:,} values, or {DEEPEST} deep")
    sizes[id(node)] = found
    return found


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _fault(key.start_mark, "a key that is a list or a mapping")
    return [part for pair in node.value for part in pair]


def _require_text(node: yaml.ScalarNode) -> None:
    strange = next((sign for sign in node.value if _is_strange(sign)), None)
    if strange is not None:
        raise _fault(node.start_mark, f"the sign U+{ord(strange):04X}, which no text holds")


def _is_strange(sign: str) -> bool:
    return (sign < " " and sign not in ALLOWED_CONTROLS) or "\ud800" <= sign <= "\udfff"


def _fault(mark: yaml.Mark | None, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
