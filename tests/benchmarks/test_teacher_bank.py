"""The benchmark of a prompt bank: its figures on answers whose gains are known."""

from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import teacher_bank


def test_the_figures_of_answers_that_are_known(tmp_path: Path) -> None:
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
    found = teacher_bank.figures(tmp_path, seeds=(0, 1))
    assert list(found) == ["bank_gain", "bank_gain_weighted", "import_paid_again"]
    assert 5 < found["bank_gain"][0] < 15
    assert found["bank_gain_weighted"][1] > 2
    assert found["import_paid_again"][0] == 0
