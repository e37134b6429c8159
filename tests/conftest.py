"""What tests in several folders share: a small valid card, an empty store, and real servers."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.warm import Interpreter
from understudy.store.storage import Store, open_store

os.environ.setdefault("AWS_MAX_ATTEMPTS", "3")  # a server that is away on purpose is not waited for so long
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a model hub; set before transformers is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the step train has it; set before a test imports torch

pytest_plugins = [
    "tests.services.s3",
    "tests.services.elasticsearch",
    "tests.services.label_studio",
    "tests.services.chromium",
    "tests.services.language_model",
]

CARD: dict[str, Any] = {
    "name": "hotel-tips",
    "unit": "sentence",
    "question": "Is this sentence a tip for other travellers?",
    "labels": [
        {"name": "other", "definition": "Everything that is no tip."},
        {
            "name": "tip",
            "definition": "Advice that another traveller can act on.",
            "examples": ["Ask for a quiet room."],
        },
    ],
    "positive_label": "tip",
    "rules": ["A wish to the hotel is no tip.", "A warning to stay away from something is a tip."],
    "weak_rules": [{"name": "ask", "pattern": r"^(ask|bring|avoid)\b", "label": "tip"}],
    "slices": [{"name": "avoid", "pattern": r"\bavoid"}, {"name": "short", "max_words": 6}],
    "teacher": {"model": "rehearsal", "input_usd_per_million": 1.0, "output_usd_per_million": 4.0},
    "budget": {"teacher_usd": 5.0},
}


# of a value in a test's name, in characters
LONGEST_NAME = 60

# what only one worker starts
SERVERS = {"secured_es": "secured", "es_server": "elasticsearch", "registry": "registry", "warm": "warm"}


@pytest.hookimpl(tryfirst=True)  # before xdist's own, which writes the groups into the tests' names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that share what is dear to make to one worker of `make test`: a server, or what a file makes once."""
    for item in items:
        group = group_of(item)
        if group and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its parameter: its content may differ between workers, as the time in a zip file does."""
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_NAME else None


def group_of(item: pytest.Item) -> str:
    """Name what a test shares; "" for one that any worker may run."""
    if not isinstance(item, pytest.Function):
        return ""
    for name, group in SERVERS.items():
        if name in item.fixturenames:
            return group
    made = [found[-1].scope for found in item._fixtureinfo.name2fixturedefs.values()]
    return item.nodeid.partition("::")[0] if "module" in made else ""


def card_yaml(**changes: Any) -> str:
    """Write the card with some of its top keys changed; a key set to None is left out."""
    content = {key: value for key, value in {**CARD, **changes}.items() if value is not None}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """Start an interpreter that has imported the steps, for tests that start many programs."""
    interpreter = Interpreter(tmp_path_factory.mktemp("warm"))
    yield interpreter
    interpreter.end()


@pytest.fixture
def make_card() -> Callable[..., str]:
    """Return `card_yaml`."""
    return card_yaml


@pytest.fixture
def card_text() -> str:
    """Return the card as it is."""
    return card_yaml()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Open an empty store in a folder."""
    return open_store(str(tmp_path / "store"))


def invoke(*words):
    """Run the command `understudy` in this process: it ends with an exit code, and errors are sentences."""
    from understudy.cli.main import app
    from understudy.errors import UnderstudyError
    from understudy.runners.terminal import tell

    try:
        app.main(list(words))
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)
