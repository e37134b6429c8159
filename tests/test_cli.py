"""The command: every step bare, its help, and one sentence instead of a traceback."""

import pytest
from click.testing import CliRunner

from understudy.cli.main import app
from understudy.task.settings import STEPS


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
