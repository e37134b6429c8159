"""The command: every step bare, its help, and one sentence instead of a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from understudy.cli.main import COMMANDS, app, load, summary_of
from understudy.task.steps import STEPS


@pytest.mark.parametrize("step", STEPS)
def test_a_step_without_its_arguments_says_which_is_missing(step):
    done = CliRunner().invoke(app, [step])
    assert done.exit_code == 2
    assert "Missing option '--" in done.output


@pytest.mark.parametrize("step", STEPS)
def test_the_help_of_a_step_names_every_argument_and_setting(step):
    from understudy.runtime import shell
    from understudy.task.settings import config_of, field_types

    text = CliRunner().invoke(app, [step, "--help"]).output
    shape = shell.signature(step)
    names = [*shape.inputs, *shape.outputs, *(name for name in shape.parameters if name != "overrides")]
    assert [name for name in names if f"--{name.replace('_', '-')}" not in text] == []
    assert [name for name in field_types(config_of(step)) if f"{name}=" not in text] == []


def test_the_root_lists_every_step_in_the_order_in_which_they_run():
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    listed = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in STEPS]
    assert listed == list(STEPS)


def test_the_list_of_commands_comes_without_the_libraries_of_any():
    heavy = ("polars", "numpy", "kfp", "onnxruntime", "torch", "openai", "boto3", "pydantic")
    code = f"""
import sys
from click.testing import CliRunner
from understudy.cli.main import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_first_line_of_its_help(name):
    command = load(name)
    assert command.name == name
    assert summary_of(name) == (command.help or "").partition("\n")[0]
    assert summary_of(name).endswith((".", ":"))


def test_every_module_of_commands_is_listed():
    from understudy import cli

    modules = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "main", "step", "columns", "labels_people"} == {*COMMANDS}
