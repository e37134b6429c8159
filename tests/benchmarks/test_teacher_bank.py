"""The benchmark of a prompt bank: its figures on answers whose gains are known."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import figures, teacher_bank, teacher_depth


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Lay out answers to 1,500 texts in five styles, two of which are right more often."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 1_500)
    columns = {}
    for style, accuracy in enumerate([0.9, 0.9, 0.6, 0.6, 0.6]):
        codes = np.where(rng.random(len(truth)) < accuracy, truth, 1 - truth)
        columns[f"gpt_4/{style}-shot"] = [str(code) if n % 100 else "?" for n, code in enumerate(codes)]
    columns["gpt_4/8-shot"] = columns.pop("gpt_4/0-shot")
    texts = {"id": [f"t{n}" for n in range(len(truth))], "text": [f"Text {n}." for n in range(len(truth))]}
    (tmp_path / "llm-answers").mkdir()
    table = pl.DataFrame({**texts, "label": truth.astype(str), **columns})
    table.write_parquet(tmp_path / "llm-answers" / "judged.parquet")
    return tmp_path


def test_the_figures_of_answers_that_are_known(data: Path) -> None:
    found = teacher_bank.figures(data, seeds=(0, 1))
    assert list(found) == ["bank_gain", "bank_gain_weighted", "import_paid_again"]
    assert 5 < found["bank_gain"][0] < 15
    assert found["bank_gain_weighted"][1] > 2
    assert found["import_paid_again"][0] == 0


def test_the_figures_go_into_the_report_of_the_teachers_depth(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(teacher_bank.figures, "__defaults__", ((0, 1),))
    monkeypatch.setattr(figures, "BUILD", tmp_path / "build")
    file = figures.report("teacher", teacher_depth.bank(str(data)), {}, [0], 1.0)
    gain = json.loads(file.read_text())["figures"]["bank_gain"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert "import_paid_again 0 0 0" in capsys.readouterr().out
    assert teacher_depth.bank(None) == {}
