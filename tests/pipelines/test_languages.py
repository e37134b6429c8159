"""A run whose student cannot read the texts ends before the teacher is asked for any of them."""

import os
import subprocess
import sys

import pytest

from tests.bundles import make_card
from tests.languages import CHINESE
from tests.teachers import completion, teacher_server


@pytest.fixture
def desk(tmp_path):
    """A folder with a card for `minilm`, and texts in Chinese, most of them labelled."""
    (tmp_path / "card.yaml").write_text(make_card(name="prizes"), encoding="utf-8")
    texts = [f"{first} {second} {at} {at * 7919 % 10_007}" for at, (first, second) in
             enumerate((one, other) for _ in range(20) for one in CHINESE for other in CHINESE)]  # fmt: skip
    rows = [(f"t{at}", text, "tip" if "奖" in text else "other") for at, text in enumerate(texts)]
    written = {"texts": ["id,text", *(f"{name},{text}" for name, text, _ in rows)]}
    written["labels"] = ["id,label", *(f"{name},{label}" for name, _, label in rows[:240])]
    for name, lines in written.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("options", [("--dry-run",), ()])
def test_a_student_that_cannot_read_the_texts_ends_the_run_before_the_teacher_is_paid(desk, options):
    files = ["--card", "card.yaml", "--texts", "texts.csv", "--labels", "labels.csv"]
    files += ["--store", "store", "--work", "runs"]
    with teacher_server(lambda *_: completion("tip")) as log:
        done = subprocess.run(
            [sys.executable, "-m", "understudy", "run", "training", *files, *options],
            cwd=desk,
            env={**os.environ, "OPENAI_BASE_URL": log.url, "OPENAI_API_KEY": "sk-right"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "A student must read the texts: at most 25% of their letters and signs" in done.stderr
        assert "' is read as '[UNK]" in done.stderr
        assert log.texts == []
