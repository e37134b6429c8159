"""Read what Google-style docstrings say, so that commands and pages repeat nothing by hand."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

from docstring_parser import google

from understudy.task.settings import config_of, field_types, reads, sections


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a config record, in words."""

    name: str
    type: str
    default: str
    text: str


def first_line(documented: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def intro(documented: Any) -> str:
    """Return a docstring up to its `Args:`."""
    return (inspect.getdoc(documented) or "").partition("\nArgs:")[0].strip()


def arguments(run: Callable[..., Any]) -> dict[str, str]:
    """Read the section `Args:`: name -> text."""
    return _section(inspect.getdoc(run) or "", "param")


def attributes(record: type[Any]) -> dict[str, str]:
    """Read the section `Attributes:`: name -> text."""
    return _section(inspect.getdoc(record) or "", "attribute")


def settings(step: str) -> tuple[list[Setting], list[Setting]]:
    """Describe every setting that a step reads: its own, and those of other sections, named with their section."""
    others = (it for section in sections() if section != step for it in _described(config_of(section), f"{section}."))
    return _described(config_of(step)), [it for it in others if reads(step, it.name)]


def _described(config: type[Any], prefix: str = "") -> list[Setting]:
    texts, types = attributes(config), field_types(config)
    return [
        Setting(
            f"{prefix}{field.name}",
            types[field.name],
            "required" if field.default is MISSING else str(field.default),
            texts.get(field.name, ""),
        )
        for field in fields(config)
    ]


def _section(docstring: str, kind: str) -> dict[str, str]:
    r"""Read one section of a docstring: name -> text, lines joined.

    >>> _section("Do it.\n\nArgs:\n    speed: how fast,\n        at most 9.\n    name: whose.\n", "param")
    {'speed': 'how fast, at most 9.', 'name': 'whose.'}
    """
    entries = (entry for entry in google.parse(docstring).params if entry.args[0] == kind)
    return {entry.arg_name: " ".join((entry.description or "").split()) for entry in entries}
