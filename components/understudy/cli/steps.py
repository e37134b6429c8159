"""Build the command of a step from the signature and docstring of its `run`."""

import inspect
from collections.abc import Mapping
from typing import Any

import click

from tools.docs import settings_lines
from understudy.errors import BadInput
from understudy.runtime import docstrings, shell
from understudy.task.settings import Overrides, require_read


def step_command(step: str) -> click.Command:
    """Return the command `understudy <step>`: an option for each input, output and parameter, and `--set`."""
    try:
        run = shell.load_run(step)
    except ModuleNotFoundError as error:
        return _command_elsewhere(step, error)
    settings = "\n".join(settings_lines(step))
    return click.Command(
        step,
        callback=lambda **given: _call(step, given),
        params=_options(step),
        help=f"{docstrings.intro(run)}\n\n\b\nSettings (the card's section '{step}', or --set):\n{settings}",
        short_help=docstrings.first_line(run),
    )


def _command_elsewhere(step: str, error: ModuleNotFoundError) -> click.Command:
    """Return the command of a step whose libraries another image holds: it says so."""

    def refuse() -> None:
        raise BadInput(
            f"The libraries of the step '{step}' must be installed, got none named '{error.name}'. "
            "Run the step in its own image, or install them (pyproject.toml names them by image)."
        ) from error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    short = f"Not here: it needs {error.name}."
    return click.Command(step, callback=refuse, short_help=short, context_settings=anything)


def _call(step: str, given: Mapping[str, Any]) -> None:
    arguments = {name: value for name, value in given.items() if value is not None}
    if "overrides" in arguments:
        arguments["overrides"] = "\n".join(arguments["overrides"])
        require_read(Overrides.parse(arguments["overrides"], step), step)
    result = shell.execute(step, arguments)
    click.echo(f"{step}: {result.headline}")


def _options(step: str) -> list[click.Parameter]:
    shape = shell.signature(step)
    described = docstrings.arguments(shell.load_run(step))
    kinds = dict.fromkeys(shape.inputs, "[input] ") | dict.fromkeys(shape.outputs, "[output] ")
    parameters = inspect.signature(shell.load_run(step)).parameters
    return [_option(it, kinds.get(name), described.get(name, "")) for name, it in parameters.items()]


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
