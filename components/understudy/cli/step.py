"""Build the command of a step from the signature and docstring of its `run`: `understudy <step>`."""

import inspect
from collections.abc import Mapping
from typing import Any

import click

from understudy.cli import columns
from understudy.runtime import docstrings, shell
from understudy.task.settings import Overrides, also_reads, require_read


def step_command(step: str) -> click.Command:
    """Return the command `understudy <step>`: an option for each input, output and parameter, and `--set`.

    Raises:
        ModuleNotFoundError: another image holds the step's libraries.
    """
    run = shell.load_run(step)
    own, others = docstrings.settings(step)
    settings = "\n".join(f"  {it.name}={it.default}  {it.text}" for it in [*own, *others])
    return click.Command(
        step,
        callback=lambda **given: _call(step, given),
        params=_options(step),
        help=f"{docstrings.intro(run)}\n\n\b\nSettings (the card's section '{step}', or --set):\n{settings}",
        short_help=docstrings.first_line(run),
    )


def _call(step: str, given: Mapping[str, Any]) -> None:
    given = dict(given)
    lines = columns.as_settings(given)
    arguments = {name: value for name, value in given.items() if value is not None}
    if "overrides" in arguments:
        arguments["overrides"] = "\n".join([*arguments["overrides"], *lines])
        require_read(Overrides.parse(arguments["overrides"], step), step)
    result = shell.execute(step, arguments)
    click.echo(f"{step}: {result.headline}")


def _options(step: str) -> list[click.Parameter]:
    shape = shell.signature(step)
    described = docstrings.arguments(shell.load_run(step))
    kinds = dict.fromkeys(shape.inputs, "[input] ") | dict.fromkeys(shape.outputs, "[output] ")
    parameters = inspect.signature(shell.load_run(step)).parameters
    own = [_option(it, kinds.get(name), described.get(name, "")) for name, it in parameters.items()]
    return [*own, *(columns.options() if "columns" in also_reads(step) else [])]


def _option(parameter: inspect.Parameter, kind: str | None, text: str) -> click.Option:
    """Make one option; `kind` is None for a parameter."""
    if parameter.name == "overrides":
        return click.Option(
            ["--set", "overrides"], multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable."
        )
    flag = f"--{parameter.name.replace('_', '-')}"
    is_required = parameter.default is inspect.Parameter.empty
    if parameter.annotation is bool:
        return click.Option([flag], is_flag=True, default=parameter.default, help=text)
    # a default of None, when it is given, makes click take a required option for optional
    default = {"required": True} if is_required else {"default": parameter.default}
    kind_type = parameter.annotation if kind is None else click.Path()
    shows = not is_required and bool(parameter.default)
    return click.Option([flag], type=kind_type, help=f"{kind or ''}{text}", show_default=shows, **default)
