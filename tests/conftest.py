"""What tests in several folders share: a small valid card, an empty store, and real servers."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from understudy.store.storage import Store, open_store

os.environ.setdefault("AWS_MAX_ATTEMPTS", "3")  # a server that is away on purpose is not waited for so long
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a model hub; set before transformers is imported

pytest_plugins = ["tests.services.s3", "tests.services.elasticsearch"]

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


def card_yaml(**changes: Any) -> str:
    """Write the card with some of its top keys changed; a key set to None is left out."""
    content = {key: value for key, value in {**CARD, **changes}.items() if value is not None}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


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
