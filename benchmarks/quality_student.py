"""Train a student by the product's own steps audit and train, score texts by it, and keep the scores.

Scores are kept under build/benchmark-quality by the hash of all that decides them: the tables, the card, the texts, and
the code of the steps. So a benchmark that was stopped goes on where it was.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.figures import BUILD
from understudy.model import student
from understudy.model.engine import Floats
from understudy.runtime.shell import execute
from understudy.store import tables
from understudy.task.card import parse_card

FOLDER = BUILD / "benchmark-quality"
CODE = Path(__file__).parents[1] / "components/understudy"
DECIDE = ("steps/train", "steps/audit", "model/student.py", "stats/trust.py")  # what a student comes from
NOBODY = pl.DataFrame(schema={"id": pl.String, "label": pl.String})


@dataclass(frozen=True, slots=True)
class Lesson:
    """All that a student learns from.

    Attributes:
        card: the task, as it is written; its student may be a folder.
        pool: columns id, group and text.
        human: labels of people, columns id, group, text, label and split (train and validation).
        judged: the teacher's answers, columns id and label.
    """

    card: str
    pool: pl.DataFrame
    human: pl.DataFrame
    judged: pl.DataFrame = field(default_factory=NOBODY.clone)


def scores(lesson: Lesson, texts: Sequence[str], overrides: str = "", base: Path | None = None) -> Floats:
    """Return the trained student's logits of texts, shape (texts, labels)."""
    folder = trained(lesson, overrides, base)
    file = folder / f"{digest([json.dumps(list(texts))])}.npy"
    if not file.is_file():
        model, tokenizer, about = student.open_student(folder / "student")
        tokens = student.tokens_of(tokenizer, texts, about["max_length"])
        np.save(file, student.logits(model, tokens, tokenizer.pad_token_id), allow_pickle=False)
    return np.asarray(np.load(file, allow_pickle=False))


def trained(lesson: Lesson, overrides: str = "", base: Path | None = None) -> Path:
    """Train, unless it was done; the folder has student/ and metrics.json.

    Args:
        lesson: what is learned.
        overrides: of the step's settings, key=value lines.
        base: folder of `trained` whose student is learned on from; none for MiniLM's own weights.
    """
    parts = [lesson.card, *(table.write_json() for table in (lesson.pool, lesson.human, lesson.judged)), overrides]
    folder = FOLDER / digest([*parts, base.name if base else "", code()])
    if (folder / "metrics.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    inputs = _written(lesson, folder / "in", base)
    execute("audit", {**inputs, "audit": folder / "in/audit"})
    store = {"store": str(folder / "store"), "overrides": overrides}
    result = execute("train", {**inputs, "audit": folder / "in/audit", "student": folder / "student", **store})
    shutil.rmtree(folder / "in")
    shutil.rmtree(folder / "store")
    (folder / "metrics.json").write_text(json.dumps(dict(result.metrics)), encoding="utf-8")
    return folder


def digest(parts: Sequence[str]) -> str:
    """Name inputs by a hash."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def code() -> str:
    """Return the code that decides a student."""
    files = [file for part in DECIDE for file in (CODE / part, *sorted((CODE / part).rglob("*.py"))) if file.is_file()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _written(lesson: Lesson, folder: Path, base: Path | None) -> dict[str, Path]:
    card = lesson.card if base is None else lesson.card.replace("student: minilm", f"student: {base / 'student'}")
    parse_card(card)
    (folder / "card").mkdir(parents=True)
    (folder / "card/card.yaml").write_text(card, encoding="utf-8")
    gold = lesson.human.select("id", "group", "text", "label", "split", annotators=pl.lit(1), origin=pl.lit("labels"))
    answered = lesson.judged.select(
        "id", "label", judge=pl.lit("simulated"), kind=pl.lit("teacher"), rationale=pl.lit(None, pl.String),
        probabilities=pl.lit(None, pl.List(pl.Float64)), prompt_tokens=0, completion_tokens=0, cost_usd=0.0,
        is_rehearsal=True, weight=1.0,
    )  # fmt: skip
    pool = lesson.pool.select("id", "group", "text", time=pl.lit(None, pl.String))
    tables.write(pool, tables.Texts, folder / "pool")
    tables.write(gold, tables.Gold, folder / "gold")
    tables.write(pl.DataFrame(schema={"id": pl.String, "content": pl.String}), tables.LeakageGuard, folder / "gold")
    tables.write(answered, tables.Judgements, folder / "judgements")
    return {name: folder / name for name in ("card", "pool", "gold", "judgements")}
