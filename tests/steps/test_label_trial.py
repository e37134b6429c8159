"""A teacher is tried on test texts first, and a hopeless one is stopped before it is asked for training texts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.steps.test_label import gold_table, judgements, pool_table
from tests.teachers import Answer, completion, teacher_server
from understudy.errors import HopelessTeacher
from understudy.runtime import shell
from understudy.runtime.shell import Result
from understudy.steps.label import rules
from understudy.store import tables

# Of 300 test texts 75 are tips; the card's weak rule finds each that begins with "Ask".
TIPS = [f"Ask for room {number}." for number in range(75)]
OTHERS = [f"The view from room {number} is nice." for number in range(225)]
TRUTH = dict.fromkeys(TIPS, "tip") | dict.fromkeys(OTHERS, "other")
MANY: dict[str, Any] = {
    "labels": [{"name": name, "definition": f"Texts with a {name}."} for name in ("tip", "view")],
    "labels_per_text": "many",
    "positive_label": None,
    "weak_rules": [],
    "goals": {},
}


def number_of(text: str) -> int:
    return int("".join(sign for sign in text if sign.isdigit()))


def by_parity(text: str) -> str:
    """Answer without regard to what the text says."""
    return "tip" if number_of(text) % 3 == 0 else "other"


def fairly(text: str) -> str:
    """Get one text in ten wrong: F1 about 0.8, below that of the weak rules."""
    truth = TRUTH.get(text, "other")
    return truth if number_of(text) % 10 else {"tip": "other", "other": "tip"}[truth]


@pytest.fixture
def folder(tmp_path: Path, make_card: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write what ingest hands to label: 100 texts in the pool, and a test split of 300."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    write_card(tmp_path, make_card(weak_rules=[]))
    tables.write(pool_table([f"Pool text {number}." for number in range(100)]), tables.Texts, tmp_path / "pool")
    tables.write(tables.empty(tables.Gold), tables.Gold, tmp_path / "gold")
    test = gold_table([("test", text, label) for text, label in TRUTH.items()])
    tables.write(test, tables.Gold, tmp_path / "test")
    return tmp_path


def write_card(folder: Path, card: str) -> None:
    (folder / "snapshot").mkdir(exist_ok=True)
    (folder / "snapshot/card.yaml").write_text(card, encoding="utf-8")


@dataclass
class Run:
    """What a run of the step asked for, and how it ended."""

    texts: list[str]
    result: Result | None = None
    stopped: HopelessTeacher | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Of a run that was not stopped."""
        assert self.result is not None
        return dict(self.result.metrics)


def label(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str], overrides: str = "") -> Run:
    """Run the step with a teacher that answers so."""

    def respond(_: dict[str, Any], text: str, __: int) -> Answer:
        said = answer(text)
        return completion(f'{{"labels": {said}}}' if said.startswith("[") else f'{{"label": "{said}"}}')

    inputs = {"card": folder / "snapshot", **{name: folder / name for name in ("pool", "gold", "test")}}
    outputs = {name: folder / name for name in ("judgements", "test_judgements")}
    lines = "\n".join(line for line in ("label.texts=100", "label.min_answers=1", overrides) if line)
    given = {**inputs, **outputs, "store": str(folder / "store"), "overrides": lines}
    with teacher_server(respond) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        try:
            return Run(log.texts, shell.execute("label", given))
        except HopelessTeacher as error:
            return Run(log.texts, stopped=error)


def test_a_hopeless_teacher_is_stopped_after_the_trial(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = label(folder, monkeypatch, by_parity)
    assert len(run.texts) == 200
    assert set(run.texts) < set(TRUTH)
    said = str(run.stopped)
    assert said.startswith(
        "The teacher must agree with people by a kappa of at least 0.2 and be no worse than what costs "
    )
    assert "one and the same label for every text is right in 7" in said
    assert "label.stop_hopeless=false goes on" in said
    assert HopelessTeacher.exit_code == 3
    assert not (folder / "judgements").exists()


def test_a_run_that_is_told_to_go_on_pays_for_nothing_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label(folder, monkeypatch, by_parity)
    second = label(folder, monkeypatch, by_parity, "label.stop_hopeless=false")
    assert set(first.texts).isdisjoint(second.texts)
    assert len(first.texts) + len(second.texts) == 300 + 100
    metrics = second.metrics
    assert (metrics["texts"], metrics["asked"], metrics["from_store"]) == (400, 200, 200)
    assert len(judgements(folder)) == 100


def test_weak_rules_that_are_certainly_better_stop_a_fair_teacher(
    folder: Path, make_card: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(folder, make_card(weak_rules=[{"name": "ask", "pattern": "^Ask", "label": "tip"}]))
    run = label(folder, monkeypatch, fairly)
    assert "the card's weak rules are right in 100% and have F1 1.00" in str(run.stopped)


def test_a_fair_teacher_without_such_rules_is_asked_for_everything_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = label(folder, monkeypatch, fairly)
    assert len(run.texts) == len(set(run.texts)) == 400
    assert not set(run.texts[:200]) - set(TRUTH), "the trial comes first"
    metrics = run.metrics
    assert (metrics["asked"], metrics["from_store"], metrics["failed"]) == (400, 0, 0)
    assert metrics["prompt_tokens"] == 400 * 100


def test_a_text_that_fails_in_the_trial_is_not_asked_and_paid_again_when_all_are_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = label(folder, monkeypatch, lambda text: "neither" if number_of(text) == 7 else fairly(text))
    wrong = [text for text in TRUTH if number_of(text) == 7]
    once = 2  # an answer that cannot be read is asked for a second time at once
    assert {text: run.texts.count(text) for text in wrong} == dict.fromkeys(wrong, once)
    assert run.metrics["failed"] == len(wrong) + 1  # and the one of the pool
    assert run.metrics["asked"] == len(TRUTH) + 100


def test_a_teacher_of_several_labels_is_tried_by_all_of_them(
    folder: Path, make_card: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(folder, make_card(**MANY))
    sets = [("test", text, '["tip"]' if label == "tip" else '["view"]') for text, label in TRUTH.items()]
    tables.write(gold_table(sets), tables.Gold, folder / "test")
    run = label(folder, monkeypatch, lambda text: '["tip"]' if by_parity(text) == "tip" else '["view"]')
    assert len(run.texts) == 200
    assert "it has all labels right in" in str(run.stopped)


def test_the_draw_of_a_trial_is_by_lot_and_a_larger_one_holds_the_smaller() -> None:
    held_out = pl.DataFrame({"id": [f"t{number:03}" for number in range(300)]})
    small, large = (rules.tried(held_out, number, seed=0)["id"].to_list() for number in (50, 200))
    assert large[:50] == small
    assert rules.tried(held_out.reverse(), 50, seed=0)["id"].to_list() == small
    assert rules.tried(held_out, 50, seed=1)["id"].to_list() != small
