"""The generated parts of the docs say what the code says."""

from pathlib import Path

import pytest

import understudy
from understudy.config import STEPS
from understudy.docs import refreshed

STEPS_DIR = Path(understudy.__file__).parent / "steps"


@pytest.mark.parametrize("step", STEPS)
def test_the_readme_of_a_step_is_up_to_date(step):
    text = (STEPS_DIR / step / "README.md").read_text(encoding="utf-8")
    assert text == refreshed(step, text), "run `make docs`"


@pytest.mark.parametrize("step", STEPS)
def test_every_argument_and_setting_of_a_step_is_described(step):
    rows = [line for line in refreshed(step, "").splitlines() if line.startswith("| `")]
    assert rows
    assert [line for line in rows if line.endswith("|  |")] == []
