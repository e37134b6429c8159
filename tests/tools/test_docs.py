"""The generated parts of the docs say what the code says."""

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import understudy
from tools.docs import ROOMS_PAGE, STEPS_PAGE, STORE_PAGE, refreshed, rooms_page, steps_page, store_page
from understudy.cli.main import app
from understudy.task.steps import STEPS

STEPS_DIR = Path(understudy.__file__).parent / "steps"
ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^    (?:\$ )?(understudy (?:.*\\\n)*.*)$", re.MULTILINE)  # with the lines that it goes on over
ABBREVIATED = re.compile(r" \.\.\. ")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize("step", STEPS)
def test_the_readme_of_a_step_is_up_to_date(step):
    text = (STEPS_DIR / step / "README.md").read_text(encoding="utf-8")
    assert text == refreshed(step, text), "run `make docs`"


def test_the_list_of_the_steps_is_up_to_date():
    assert STEPS_PAGE.read_text(encoding="utf-8") == steps_page(), "run `make docs`"


def test_the_list_of_files_is_up_to_date_and_no_file_is_without_a_line():
    assert ROOMS_PAGE.read_text(encoding="utf-8") == rooms_page(), "run `make docs`"
    assert not [line for line in rooms_page().splitlines() if line.endswith("`: ")]


def test_the_list_of_the_stores_keys_is_up_to_date():
    assert STORE_PAGE.read_text(encoding="utf-8") == store_page(), "run `make docs`"


@pytest.mark.parametrize("step", STEPS)
def test_every_argument_and_setting_of_a_step_is_described(step):
    rows = [line for line in refreshed(step, "").splitlines() if line.startswith("| `")]
    assert rows
    assert [line for line in rows if line.endswith("|  |")] == []


@pytest.mark.parametrize("page", ["promises.md", "security.md"])
def test_every_test_that_proves_a_promise_is_there(page):
    named = NAMED.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(named) >= 20
    assert [f"{file}::{name}" for file, name in named if name not in functions_of(file)] == []


def test_every_promise_names_a_test():
    rows = [line for line in (ROOT / "docs/promises.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert {row for row in rows if not NAMED.search(row)} == {"| promise | test |"}


def functions_of(file):
    """Return the names of a file's functions."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def commands():
    """Return the words of each command of the tutorial that is written out, without `understudy`."""
    found = (match.replace("\\\n", " ") for match in COMMAND.findall(TUTORIAL))
    return [shlex.split(command)[1:] for command in found if not ABBREVIATED.search(command)]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_of_the_tutorial_is_one(words):
    command, name = app, "understudy"
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(click.Context(command), words)
    command.make_context(name, list(words))
    named = [word for word in words if word.startswith("pipelines/") and "{" not in word]
    assert [word for word in named if not (ROOT / word).exists()] == []


@pytest.mark.parametrize("words", [words for words in commands() if words[:2] == ["card", "check"]], ids=" ".join)
def test_what_the_tutorial_says_of_a_card_is_true(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert f"    $ understudy {' '.join(words)}\n    {done.output}" in TUTORIAL


def test_the_tutorial_has_commands():
    assert len(commands()) >= 10
