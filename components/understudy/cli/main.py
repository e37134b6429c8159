"""The command `understudy`: one command a step, made from its `run`, and one a module of this folder.

Each is imported when it is asked for, so that the list of them comes at once and an image needs the libraries of its
own commands alone. A module's command is called `command`.
"""

import ast
import importlib
import importlib.util
from pathlib import Path

import click

import understudy
from understudy.errors import BadInput
from understudy.runners.terminal import front_door
from understudy.task.steps import STEPS

COMMANDS = (
    "card",
    "read",
    "design",
    "run",
    "submit",
    "rerun",
    "runs",
    "status",
    "compile",
    "predict",
    "search",
    "reindex",
    "review",
    "labels",
    "answers",
    "rollback",
    "trace",
    "forget",
    "teacher",
    "rehearse",
    "exporter",
)


class FrontDoor(click.Group):
    """The root command: the steps in the order in which they run, then the rest."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """List the steps, then the rest."""
        return [*STEPS, *COMMANDS]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command, or make one that says which library it lacks here."""
        if name not in {*STEPS, *COMMANDS}:
            return None
        try:
            return load(name)
        except ModuleNotFoundError as error:
            return command_elsewhere(name, error)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with the first line of its help, which is read and not imported."""
        rows = [(name, summary_of(name)) for name in self.list_commands(context)]
        for title, part in (("Steps", rows[: len(STEPS)]), ("Commands", rows[len(STEPS) :])):
            with formatter.section(title):
                formatter.write_dl(part)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Let `publish --rollback` be `rollback`, `index --from-store` or `--replay` be `reindex`, and so on."""
        if args[0] == "publish" and "--rollback" in args:
            args = ["rollback", *(word for word in args[1:] if word != "--rollback")]
        if args[0] == "index" and {"--from-store", "--replay"} & set(args):
            args = ["reindex", *args[1:]]
        if args[0] == "label" and any(word.partition("=")[0] == "--import" for word in args):
            args = ["answers", *args[1:]]
        return super().resolve_command(context, args)


def load(name: str) -> click.Command:
    """Import a step's or a module's command.

    Raises:
        ModuleNotFoundError: this image does not hold its libraries.
    """
    if name in STEPS:
        from understudy.cli.step import step_command

        return step_command(name)
    command: click.Command = importlib.import_module(f"understudy.cli.{name}").command
    return command


def summary_of(name: str) -> str:
    """Read the first line of a command's help from its source, without the libraries that it would import."""
    module, function = (f"steps.{name}.step", "run") if name in STEPS else (f"cli.{name}", "command")
    spec = importlib.util.find_spec(f"understudy.{module}")
    source = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
    defined = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == function)
    return (ast.get_docstring(next(defined)) or "").partition("\n")[0]


def command_elsewhere(name: str, error: ModuleNotFoundError) -> click.Command:
    """Return the command in whose place stands what it lacks, because another image holds its libraries."""

    def refuse() -> None:
        kind = "step" if name in STEPS else "command"
        raise BadInput(
            f"The libraries of the {kind} '{name}' must be installed, got none named '{error.name}'. "
            "Run it in its own image, or install them (pyproject.toml names them by image)."
        ) from error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=refuse, context_settings=anything)


@click.group(cls=FrontDoor)
@click.version_option(understudy.__version__, package_name="understudy")
def app() -> None:
    """Learns the part of the LLM that labels your texts, and goes on every night in its place."""


def main() -> None:
    """Run the command; an error raised on purpose is one sentence a fault on standard error, and an exit code."""
    front_door(app)
