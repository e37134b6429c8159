"""Asking the teacher where a text may have several labels: what is drawn, and what is said of its answers."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from understudy.runtime import shell
from understudy.steps.label import rules
from understudy.steps.label.config import LabelConfig
from understudy.store import tables
from understudy.task.labels import LabelSpace
from understudy.task.slices import NO_RULE
from understudy.teacher.simulated import Plan, serve

NAMES = ("praise", "tip", "wish")
SEVERAL: dict[str, Any] = {
    "labels": [{"name": name, "definition": f"Texts with a {name}."} for name in NAMES],
    "labels_per_text": "many",
    "positive_label": None,
    "weak_rules": [
        {"name": "ask", "pattern": "^ask", "label": "tip"},
        {"name": "please", "pattern": "please", "label": "wish"},
    ],
}
# Every wish is asked for, so the rule of the tip matches it too, and first.
WISHES = [f"Ask for it, please, {number}." for number in range(20)]
TIPS = [f"Ask for room {number}." for number in range(180)]
OTHERS = [f"The view from room {number}." for number in range(200)]


def test_a_text_stands_in_the_draw_for_the_scarcest_label_that_rules_give_it() -> None:
    suggested = np.zeros((400, 3), dtype=bool)
    suggested[:200, 1] = suggested[:20, 2] = True
    hints = rules.scarcest(suggested)
    assert Counter(hints.tolist()) == {2: 20, 1: 180, NO_RULE: 200}
    pool = pl.DataFrame({"id": [f"{row:03}" for row in range(400)], "text": [f"Text {row}" for row in range(400)]})
    drawn = rules.draw(pool, hints, LabelConfig(texts=60))
    assert Counter(drawn["stratum"].to_list()) == {2: 15, 1: 15, NO_RULE: 30}


def test_the_pools_shares_are_of_each_label_by_itself() -> None:
    drawn = pl.DataFrame({"id": ["a", "b"], "population": [10, 90], "stratum": [1, -1]})
    answers = pl.DataFrame({"id": ["a", "b"], "label": ['["praise", "tip"]', '["praise"]'], "weight": [1.0, 1.0]})
    space = LabelSpace(NAMES, is_many=True)
    assert rules.label_shares(answers, drawn, space).tolist() == pytest.approx([1.0, 0.1, 0.0])


def test_the_step_keeps_each_texts_set_and_says_how_many_labels_a_text_has(
    tmp_path: Path, make_card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    texts = WISHES + TIPS + OTHERS
    labels = ["tip; wish"] * 20 + ["tip"] * 180 + ["[]"] * 200
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/card.yaml").write_text(make_card(**SEVERAL), encoding="utf-8")
    pl.DataFrame({"text": texts, "label": labels}).write_csv(tmp_path / "answers.csv")
    ids = [f"p{row:03}" for row in range(400)]
    pool = pl.DataFrame({"id": ids, "group": ids, "text": texts}).with_columns(time=pl.lit(None, pl.String))
    tables.write(pool, tables.Texts, tmp_path / "pool")
    for name in ("gold", "test"):
        tables.write(tables.empty(tables.Gold), tables.Gold, tmp_path / name)
    inputs = {name: tmp_path / name for name in ("pool", "gold", "test", "judgements", "test_judgements")}
    with serve(Plan(tmp_path / "answers.csv", card=tmp_path / "snapshot/card.yaml", has_logprobs=True)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = shell.execute(
            "label",
            {"card": tmp_path / "snapshot", **inputs, "store": str(tmp_path / "store"), "overrides": "texts=60"},
        )
    judged = tables.read(tmp_path / "judgements", tables.Judgements)
    assert Counter(judged["label"].to_list()) == {'["tip", "wish"]': 15, '["tip"]': 15, "[]": 30}
    assert "2 of 3 labels given, the commonest 'tip' to about 50% of the pool, 0.6 labels a text" in result.headline
    assert result.metrics["labels_per_text"] == pytest.approx(0.55)
    assert result.metrics["without_probabilities"] == 0
