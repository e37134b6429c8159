"""Say on the command line what files call their columns: short for `--set columns.<name>=<column>`."""

import json
from collections.abc import Callable
from typing import Any

import click

NAMES = {"id": "each text's name", "text": "the texts", "label": "people's labels"}


def options() -> list[click.Option]:
    """Return --id-column, --text-column and --label-column."""
    return [
        click.Option([f"--{name}-column"], metavar="NAME", help=f"Column with {what}, where it is not called {name}.")
        for name, what in NAMES.items()
    ]


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options to a command."""
    for option in reversed(options()):
        command = click.option(*option.opts, metavar=option.metavar, help=option.help)(command)
    return command


def as_settings(given: dict[str, Any]) -> list[str]:
    """Take these options out of what a command was given, as lines of `--set`.

    >>> as_settings({"text_column": "Body: all", "id_column": None, "label_column": None})
    ['columns.text="Body: all"']
    """
    said = {name: given.pop(f"{name}_column", None) for name in NAMES}
    return [f"columns.{name}={json.dumps(column)}" for name, column in said.items() if column is not None]
