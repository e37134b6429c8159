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
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "components/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
    *sorted(STEPS_DIR.glob("*/README.md")),
]
HISTORY = {"log.md"}  # holds commands as they were
COMMAND = re.compile(r"^    (?:\$ )?(understudy (?:.*\\\n)*.*)$", re.MULTILINE)  # with the lines that it goes on over
INLINE = re.compile(r"`(understudy\s[^`]+)`")
MADE = re.compile(r"(?:`|^    )make ([a-z-]+)", re.MULTILINE)
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


def commands(text):
    """Return the words of each command of a page that is written out, without `understudy`."""
    found = (match.replace("\\\n", " ") for match in COMMAND.findall(text))
    return [shlex.split(command, comments=True)[1:] for command in found if not ABBREVIATED.search(command)]


def pages():
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if page.name not in HISTORY]


def found_by(words):
    """Return the command that words name, its name, and what is left of them."""
    command, name = app, "understudy"
    while isinstance(command, click.Group) and words:
        name, command, words = command.resolve_command(click.Context(command), list(words))
    return command, name, words


@pytest.mark.parametrize("page", pages())
def test_every_command_of_a_page_is_one_and_has_its_options(page):
    """Those that stand on lines of their own are parsed whole; of those within a sentence the name and the options."""
    text = page.read_text(encoding="utf-8")
    for words in commands(re.sub(r"[][]", "", text)):  # brackets around what may be left out
        end = next((place for place, word in enumerate(words) if word in {">", "|", "&"}), len(words))
        command, name, left = found_by(words[:end])
        command.make_context(name, list(left))
        named = [word for word in words[:end] if word.startswith("pipelines/") and "{" not in word]
        assert [word for word in named if not (ROOT / word).exists()] == []
    for said in INLINE.findall(text):
        words = re.sub(r"\s+", " ", said).split(" ")[1:]
        if words[0] in {"STEP", "<step>"}:
            continue
        command, _, left = found_by([word for word in words if not word.startswith("-")][:2])
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
        asked = [word.partition("=")[0] for word in words if word.startswith("--")]
        moved = {("publish", "--rollback"), ("index", "--from-store"), ("index", "--replay"), ("label", "--import")}
        assert [option for option in asked if option not in known and (words[0], option) not in moved] == [], said


@pytest.mark.parametrize("page", pages())
def test_every_target_of_make_that_a_page_names_is_there(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    planned = {"seeds"} if "which\nis not built yet" in page.read_text(encoding="utf-8") else set()
    assert set(MADE.findall(page.read_text(encoding="utf-8"))) - targets - planned == set()


@pytest.mark.parametrize(
    "words", [words for words in commands(TUTORIAL) if words[:2] == ["card", "check"]], ids=" ".join
)
def test_what_the_tutorial_says_of_a_card_is_true(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert f"    $ understudy {' '.join(words)}\n    {done.output}" in TUTORIAL


def test_the_tutorial_has_commands():
    assert len(commands(TUTORIAL)) >= 10
