import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CARD, card_yaml
from tests.teachers import Answer, completion, error, teacher_server
from tests.warm import Interpreter
from understudy.errors import BadInput, BadSetting
from understudy.runtime import shell
from understudy.runtime.shell import Result
from understudy.steps.label import rules
from understudy.steps.label.config import LabelConfig
from understudy.store import codecs, layout, tables, tombstones
from understudy.store.storage import Store, open_store, prepare_store
from understudy.task.card import load_card, parse_card
from understudy.task.labels import LabelSpace
from understudy.task.sections import TeacherConfig
from understudy.task.settings import Overrides
from understudy.task.slices import NO_RULE, weak_hints, weak_labels
from understudy.teacher.answers import read_sent, read_spent
from understudy.teacher.injected_errors import Errors
from understudy.teacher.labeller import open_teacher
from understudy.teacher.prompt import prompt_of
from understudy.teacher.response_log import content_key
from understudy.teacher.simulated import Plan, RehearsalServer, serve

POOL_TIPS = [f"Ask for room {number}." for number in range(30)]
POOL_OTHERS = [f"The view from room {number} is nice." for number in range(170)]
HUMAN = [("train", f"Bring {number} towels.", "tip") for number in range(5)]
HUMAN += [("validation", f"We had {number} towels.", "other") for number in range(5)]
TEST = [("test", f"Avoid floor {number}.", "tip") for number in range(10)]


def pool_table(texts: list[str]) -> pl.DataFrame:
    ids = [f"p{number:03}" for number in range(len(texts))]
    return pl.DataFrame({"id": ids, "group": ids, "time": [None] * len(ids), "text": texts})


def gold_table(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    ids = [f"{split}-{number:02}" for number, (split, _, _) in enumerate(rows)]
    splits, texts, labels = zip(*rows, strict=True)
    return pl.DataFrame(
        {"id": ids, "group": ids, "text": texts, "label": labels, "split": splits, "annotators": 1, "origin": "labels"}
    )


@pytest.fixture
def folder(tmp_path: Path, make_card: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write what ingest hands to label: 200 texts in the pool, ten human labels for training and ten for the test."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "card.yaml").write_text(make_card(), encoding="utf-8")
    # A text with a human label stands in the pool too, as ingest has it.
    human = gold_table(HUMAN)
    in_both = human.head(1).select("id", "group", pl.lit(None, pl.String).alias("time"), "text")
    pool = pl.concat([pool_table(POOL_TIPS + POOL_OTHERS), in_both], how="vertical_relaxed")
    tables.write(pool, tables.Texts, tmp_path / "pool")
    tables.write(human, tables.Gold, tmp_path / "gold")
    tables.write(gold_table(TEST), tables.Gold, tmp_path / "test")
    rows = [(text, "tip") for text in POOL_TIPS] + [(text, "other") for text in POOL_OTHERS]
    rows += [(text, label) for _, text, label in HUMAN + TEST]
    lines = [f"{text},{label}" for text, label in rows]
    (tmp_path / "answers.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return tmp_path


def arguments(folder: Path, **more: Any) -> dict[str, Any]:
    inputs = {"card": folder / "snapshot", "pool": folder / "pool", "gold": folder / "gold", "test": folder / "test"}
    outputs = {"judgements": folder / "judgements", "test_judgements": folder / "test_judgements"}
    return {**inputs, **outputs, "store": str(folder / "store"), "overrides": "texts=60", **more}


def label(folder: Path, **more: Any) -> Result:
    return shell.execute("label", arguments(folder, **more))


def judgements(folder: Path, name: str = "judgements") -> pl.DataFrame:
    return tables.read(folder / name, tables.Judgements)


@pytest.fixture
def rehearse(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a rehearsal teacher for the length of the test; its environment variable is set."""
    with serve(Plan(folder / "answers.csv", unknown="refuse", has_logprobs=True)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.mark.usefixtures("rehearse")
def test_nobody_is_asked_about_what_was_forgotten_since_it_was_read(folder: Path) -> None:
    """Neither as a text of pool, gold or test, nor as a turn before another."""
    pool, turn = tables.read(folder / "pool", tables.Texts), tombstones.tombstone("id", "p000")
    hashes = pl.Series([[]] + [[turn]] * (len(pool) - 1), dtype=pl.List(pl.String))
    talk = pool.with_columns(context=pl.lit("Said before."), turn_hashes=hashes)
    tables.write(talk, tables.Texts, folder / "pool")
    for part in ("gold", "test"):
        table = tables.read(folder / part, tables.Gold)
        empty = pl.Series([[]] * len(table), dtype=pl.List(pl.String))
        tables.write(table.with_columns(context=pl.lit(None, pl.String), turn_hashes=empty), tables.Gold, folder / part)
    store = prepare_store(str(folder / "store"))
    tombstones.remember_to_forget(store, "id", ["p000", "train-00", "test-03"], "2026-11-01")
    result = label(folder, overrides="texts=200")
    assert result.metrics["asked"] == 199 + 9 + 9
    answered = {*judgements(folder)["id"], *judgements(folder, "test_judgements")["id"]}
    assert not answered & {"p000", "train-00", "test-03"}
    asked = {row["content"] for row in rows_in(store)}
    assert content_key("Ask for room 1.") in asked, "without its turns"


# The draw

LIKELY = 1  # the column of the positive label
BOOLEANS = st.lists(st.booleans(), min_size=1, max_size=60)


def drawn(is_likely: list[bool], texts: int, seed: int = 0) -> pl.DataFrame:
    pool = pool_table([f"Text {number}." for number in range(len(is_likely))])
    return rules.draw(pool, np.where(is_likely, LIKELY, NO_RULE), LabelConfig(texts=texts, seed=seed))


@settings(deadline=None)
@given(is_likely=BOOLEANS, texts=st.integers(1, 80))
def test_weights_add_up_to_the_strata_that_were_drawn_from(is_likely: list[bool], texts: int) -> None:
    table = drawn(is_likely, texts)
    assert len(table) == min(texts, len(is_likely))
    for stratum, size in ((LIKELY, sum(is_likely)), (NO_RULE, len(is_likely) - sum(is_likely))):
        part = table.filter(pl.col("stratum") == stratum)
        assert part["weight"].sum() == pytest.approx(size if len(part) else 0)


@settings(deadline=None)
@given(is_likely=BOOLEANS, texts=st.integers(1, 60), more=st.integers(0, 20))
def test_a_larger_draw_holds_the_smaller_one(is_likely: list[bool], texts: int, more: int) -> None:
    assert set(drawn(is_likely, texts)["id"]) <= set(drawn(is_likely, texts + more)["id"])


def test_half_of_a_draw_comes_from_the_texts_that_the_weak_rules_call_positive() -> None:
    table = drawn([True] * 100 + [False] * 900, 50)
    assert Counter(table["stratum"]) == {LIKELY: 25, NO_RULE: 25}
    assert set(table.select("stratum", "weight").iter_rows()) == {(LIKELY, 4.0), (NO_RULE, 36.0)}


def test_any_first_part_of_a_draw_is_balanced() -> None:
    table = drawn([True] * 40 + [False] * 960, 100)  # 40 likely, all of them, and 60 of the rest
    likely = (table["stratum"] == LIKELY).cum_sum()
    assert all(abs(likely[row] - 0.4 * (row + 1)) <= 1 for row in range(100))


def test_a_draw_without_weak_rules_is_a_plain_one() -> None:
    table = drawn([False] * 100, 20)
    assert set(table["weight"]) == {5.0}
    assert set(table["id"]) != set(drawn([False] * 100, 20, seed=1)["id"])


def test_a_draw_does_not_depend_on_the_order_of_the_pool() -> None:
    pool = pool_table([f"Text {number}." for number in range(50)])
    config = LabelConfig(texts=10)
    upside_down = rules.draw(pool.reverse(), np.full(50, NO_RULE), config)
    assert upside_down.equals(rules.draw(pool, np.full(50, NO_RULE), config))


def test_answered_texts_stand_for_those_without_an_answer() -> None:
    table = pl.DataFrame(
        {"id": ["a", "b", "c"], "stratum": [NO_RULE, NO_RULE, LIKELY], "population": [10, 10, 4], "weight": [5.0, 5, 4]}
    )
    answered = pl.DataFrame({"id": ["a", "c", "human"], "weight": [5.0, 4.0, 1.0]})
    assert rules.reweighed(answered, table)["weight"].to_list() == [10.0, 4.0, 1.0]


@settings(deadline=None)
@given(
    hints=st.lists(st.integers(NO_RULE, 5), min_size=1, max_size=60), texts=st.integers(1, 60), more=st.integers(0, 9)
)
def test_a_draw_over_many_labels_takes_no_less_of_any_when_it_is_larger(
    hints: list[int], texts: int, more: int
) -> None:
    pool = pool_table([f"Text {number}." for number in range(len(hints))])
    smaller, larger = (rules.draw(pool, np.array(hints), LabelConfig(texts=number)) for number in (texts, texts + more))
    assert len(smaller) == min(texts, len(hints))
    assert set(smaller["id"]) <= set(larger["id"])
    for stratum in set(smaller["stratum"]):
        weight = smaller.filter(pl.col("stratum") == stratum)["weight"].sum()
        assert weight == pytest.approx(hints.count(stratum))


def test_the_half_of_a_draw_that_rules_hint_at_is_spread_over_the_labels() -> None:
    hints = [0] * 500 + [1] * 3 + [2] * 100 + [NO_RULE] * 400
    table = rules.draw(pool_table([f"Text {n}." for n in range(1003)]), np.array(hints), LabelConfig(texts=100))
    assert Counter(table["stratum"]) == {0: 24, 1: 3, 2: 23, NO_RULE: 50}


THREE = {
    "labels": [{"name": name, "definition": f"It is {name}."} for name in ("praise", "tip", 'bla"me, =1')],
    "positive_label": None,
    "weak_rules": [
        {"name": "ask", "pattern": "^ask", "label": "tip"},
        {"name": "room", "pattern": "room", "label": "praise"},
        {"name": "floor", "pattern": "floor", "label": 'bla"me, =1'},
    ],
}


def test_the_first_weak_rule_that_matches_decides_on_the_label(make_card: Callable[..., str]) -> None:
    card = parse_card(make_card(**THREE))
    texts = ["Ask for a room", "The room", "No floor", "Nothing"]
    assert weak_labels(card, texts).tolist() == [1, 0, 2, NO_RULE]
    assert (weak_hints(card, texts) != NO_RULE).tolist() == [True, True, True, False]
    looked_for = parse_card(make_card(**{**THREE, "positive_label": "tip"}))
    assert (weak_hints(looked_for, texts) != NO_RULE).tolist() == [True, False, False, False]


def test_the_pools_shares_of_many_labels_undo_the_draw() -> None:
    space = LabelSpace(tuple(f"label {number}" for number in range(77)))
    table = pl.DataFrame({"id": ["a", "b", "c"], "population": [10, 80, 10], "stratum": [0, NO_RULE, 5]})
    answers = pl.DataFrame({"id": ["a", "b", "c"], "label": ["label 0", "label 9", "label 0"], "weight": [1.0] * 3})
    found = rules.label_shares(answers, table, space)
    assert found[[0, 9]].tolist() == pytest.approx([0.2, 0.8])
    assert found.sum() == pytest.approx(1)


# The step


def test_a_step_with_three_labels_says_the_commonest(
    folder: Path, make_card: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"tip": "tip", "other": "praise"}
    (folder / "snapshot" / "card.yaml").write_text(make_card(**THREE), encoding="utf-8")
    rows = [(text, "tip") for text in POOL_TIPS] + [(text, "praise") for text in POOL_OTHERS]
    rows += [(text, names[label]) for _, text, label in HUMAN + TEST]
    lines = [f"{text},{label}" for text, label in rows]
    (folder / "answers.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    for name, table in (("gold", HUMAN), ("test", TEST)):
        renamed = gold_table([(split, text, names[label]) for split, text, label in table])
        tables.write(renamed, tables.Gold, folder / name)
    with serve(Plan(folder / "answers.csv", card=folder / "snapshot", has_logprobs=True)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = label(folder)
    assert "2 of 3 labels given, the commonest 'praise' to about 85% of the pool" in result.headline
    assert result.metrics["commonest_share"] == pytest.approx(0.85)
    assert result.metrics["labels_given"] == 2
    assert "positive_share" not in result.metrics
    table = judgements(folder)
    assert table["probabilities"].null_count() == 0
    assert set(table["probabilities"].list.len()) == {3}


def test_the_step_judges_draw_and_human_texts_and_the_test_apart(folder: Path, rehearse: Any) -> None:
    result = label(folder)
    table, held_out = judgements(folder), judgements(folder, "test_judgements")
    assert set(held_out["id"]) == {f"test-{number:02}" for number in range(10)}
    assert {row for row in table["id"] if not row.startswith("p")} == set(gold_table(HUMAN)["id"])
    assert len(table) == 60 + 10
    assert table["weight"].sum() == pytest.approx(200 + 10)  # the pool without its human text, and the human texts
    assert (table.filter(pl.col("label") == "tip")["id"].str.starts_with("p")).sum() == 30
    assert result.headline.startswith("80 texts judged (0 from the store), $0.0")
    assert result.headline.endswith(
        " of $5.00, about 15% of the pool (12% to 18%) tip; no text left the house [rehearsal]"
    )
    stayed = {"texts": 80, "left": {}, "unknown": 0, "is_redacted": False}
    assert [read_sent(folder / name) for name in ("judgements", "test_judgements")] == [stayed] * 2
    assert result.metrics["asked"] == result.metrics["texts"] == 80
    assert result.parameters["is_rehearsal"] is True
    assert result.parameters["budget_spent"] is False
    assert table["is_rehearsal"].all()
    assert table["probabilities"].null_count() == 0


def test_the_step_leaves_what_was_paid_and_how_long_answers_took(folder: Path, rehearse: Any) -> None:
    result = label(folder)
    first = read_spent(folder / "test_judgements")
    assert first is not None
    assert (first.human_labels, first.answers, first.is_rehearsal) == (20, 80, True)
    assert first.teacher_usd == pytest.approx(result.metrics["cost_usd"], abs=1e-6)
    assert first.p50_ms is not None and first.p95_ms is not None
    assert 0 < first.p50_ms <= first.p95_ms
    assert label(folder).metrics["cost_usd"] == 0
    assert read_spent(folder / "test_judgements") == first, "answers of the store keep what was paid, and their seconds"


def test_the_step_leaves_how_long_people_take_for_a_label_where_enough_are_timed(folder: Path, rehearse: Any) -> None:
    timed = [
        {"id": f"r{n}", "label": "tip", "annotator": "ann", "split": None, "origin": "queue", "seconds": 10.0 + n}
        for n in range(31)
    ]
    store, name = prepare_store(str(folder / "store")), CARD["name"]
    store.put_if_absent(layout.LABELS.key(card=name, number=1, name="review"), codecs.as_lines(timed[:29]))
    label(folder)
    few = read_spent(folder / "test_judgements")
    store.put_if_absent(layout.LABELS.key(card=name, number=2, name="review"), codecs.as_lines(timed[29:]))
    label(folder)
    enough = read_spent(folder / "test_judgements")
    assert few is not None and enough is not None
    assert (few.timed, few.label_s, enough.timed, enough.label_s) == (29, None, 31, 25.0)


def test_a_prompt_bank_is_weighed_by_the_labels_of_train_and_validation_and_a_rerun_says_the_same(
    folder: Path, make_card: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of three wordings call everything a tip: their vote is wrong, and the weights undo it, on test texts too."""
    said = ("Ask for key {}.", "tip"), ("The key {} was red.", "other")
    for name, split, number in (("gold", "train", 20), ("test", "test", 5)):
        rows = [(split, f"{split}: {text.format(n)}", given) for text, given in said for n in range(number)]
        tables.write(gold_table(rows), tables.Gold, folder / name)
    wordings = [{"name": name, "instructions": f"Be {name}."} for name in ("strict", "plain", "lenient")]
    card = make_card(teacher={**CARD["teacher"], "prompts": wordings})
    (folder / "snapshot" / "card.yaml").write_text(card, encoding="utf-8")

    def respond(request: Any, text: str, _number: int) -> Answer:
        is_tip = "Ask" in text or "Be strict." not in request["messages"][0]["content"]
        return completion(json.dumps({"label": "tip" if is_tip else "other"}))

    def written() -> list[bytes]:
        return [(folder / name / "judgements.parquet").read_bytes() for name in ("judgements", "test_judgements")]

    with teacher_server(respond) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        result = label(folder)
        first = written()
        label(folder)
    assert "wordings weigh strict 4.20, plain 0.03, lenient 0.03" in capsys.readouterr().err
    assert result.parameters["judge"].startswith("rehearsal:bank-")
    assert len(log.texts) == 3 * (60 + 40 + 10), "the second run asks for nothing"
    assert written() == first
    told = judgements(folder, "test_judgements").join(tables.read(folder / "test", tables.Gold), on="id")
    assert told["label"].to_list() == told["label_right"].to_list()


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(folder: Path, rehearse: Any) -> None:
    label(folder)
    first = (folder / "judgements" / "judgements.parquet").read_bytes()
    result = label(folder)
    assert (folder / "judgements" / "judgements.parquet").read_bytes() == first
    assert (result.metrics["asked"], result.metrics["from_store"]) == (0, 80)
    assert set(rehearse.asked.values()) == {1}


def test_answers_in_a_bucket_outlive_the_machine(
    folder: Path, rehearse: Any, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(folder, store=f"{s3_url}/team/store")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(folder / "another-machine"))
    result = label(folder, store=f"{s3_url}/team/store")
    assert (result.metrics["asked"], result.metrics["from_store"]) == (0, 80)
    assert set(rehearse.asked.values()) == {1}


def test_a_dry_run_says_texts_tokens_and_dollars_and_asks_nothing(folder: Path, rehearse: Any) -> None:
    label(folder, overrides="texts=20")
    asked = rehearse.asked.total()
    result = label(folder, dry_run=True)
    assert rehearse.asked.total() == asked == 40
    assert result.headline.startswith("dry run: 40 of 80 texts to ask (40 answered), about ")
    assert result.metrics["estimated_cost_usd"] > 0
    assert len(judgements(folder)) == 30


def test_a_dry_run_shows_ten_texts_without_what_is_taken_out(
    folder: Path, make_card: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = {"model": "m", "input_usd_per_million": 1.0, "output_usd_per_million": 4.0}
    redact = {"patterns": {"number": "room [0-9]+"}}
    (folder / "snapshot" / "card.yaml").write_text(make_card(teacher=teacher | {"redact": redact}), encoding="utf-8")
    label(folder, dry_run=True)
    said = capsys.readouterr().err
    assert "label: number taken out of 60 of 80 texts." in said
    assert said.count("label: sent as: ") == 10
    assert "label: sent as: Ask for [NUMBER]." in said


def test_a_dry_run_needs_neither_server_nor_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    result = label(folder, dry_run=True)
    assert result.headline.startswith("dry run: 80 of 80 texts to ask")
    assert len(judgements(folder)) == 0
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_nobody_is_asked_where_the_student_learns_from_people_alone(folder: Path, rehearse: Any) -> None:
    result = label(folder, overrides="texts=60\ntrain.stages=people")
    assert rehearse.asked.total() == 0
    assert "learns from people alone" in result.headline
    assert [len(tables.read(folder / name, tables.Judgements)) for name in ("judgements", "test_judgements")] == [0, 0]
    assert read_sent(folder / "judgements") == {"texts": 0, "left": {}, "unknown": 0, "is_redacted": False}
    spent = read_spent(folder / "test_judgements")
    assert spent is not None
    assert (spent.teacher_usd, spent.human_labels) == (0, len(HUMAN + TEST))


def test_the_cost_is_told_before_it_is_spent(folder: Path, rehearse: Any, capsys: pytest.CaptureFixture[str]) -> None:
    label(folder)
    assert capsys.readouterr().err.startswith("label: 80 of 80 texts to ask (0 answered), about ")


def test_a_spent_budget_ends_the_step_cleanly_when_enough_was_bought(
    folder: Path, make_card: Callable[..., str], rehearse: Any
) -> None:
    card = folder / "snapshot" / "card.yaml"
    card.write_text(make_card(budget={"teacher_usd": 0.01}), encoding="utf-8")
    result = label(folder, overrides="texts=60\nmin_answers=5")
    assert result.parameters["budget_spent"] is True
    assert "(budget spent)" in result.headline
    table = judgements(folder).filter(pl.col("id").str.starts_with("p"))
    assert 5 <= len(table) < 60
    assert table["weight"].sum() == pytest.approx(200)
    with pytest.raises(BadInput, match=r"human-labelled texts and 100 of the draw.*got \$0\.\d+ left of \$0\.010"):
        label(folder)
    card.write_text(make_card(), encoding="utf-8")
    assert label(folder).metrics["texts"] == 80
    assert set(rehearse.asked.values()) == {1}


def test_failed_texts_are_counted_and_told(folder: Path, rehearse: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tables.write(pool_table([*POOL_TIPS, *POOL_OTHERS, "Not in the file."]), tables.Texts, folder / "pool")
    result = label(folder, overrides="texts=201")
    assert (result.metrics["texts"], result.metrics["failed"]) == (220, 1)
    assert "1 failed" in result.headline
    assert (
        "no answer for 1 text: the teacher refused to answer ('I'm sorry, I can't label a text"
        in capsys.readouterr().err
    )
    assert judgements(folder)["weight"].sum() == pytest.approx(201 + 10)


def test_planted_errors_arrive_in_the_judgements(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Plan(folder / "answers.csv", Errors(bias={"avoid": 1.0}), folder / "snapshot")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        label(folder)
    assert set(judgements(folder, "test_judgements")["label"]) == {"other"}
    assert "tip" in set(judgements(folder)["label"])


def test_nothing_is_written_when_the_server_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(BadInput, match="teacher's server must answer"):
        label(folder)
    assert not (folder / "judgements").exists()


def test_a_store_that_cannot_be_written_is_found_before_anything_is_asked(folder: Path, rehearse: Any) -> None:
    with pytest.raises(BadInput, match="must be writable"):
        label(folder, store="/proc/none")
    assert rehearse.asked.total() == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("texts=0", "texts must be at least 1, got 0"),
        ("teacher.concurrency=-1", "concurrency must be at least 1, got -1"),
        ("teacher.max_failed_share=1.5", r"max_failed_share must be in \[0, 1\], got 1.5"),
        ("teacher.timeout_s=0", "timeout_s must be more than 0"),
        ("tries=3", "A setting must be one of texts, "),
    ],
)
def test_a_setting_that_breaks_its_rule_is_refused(card_text: str, setting: str, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        parse_card(card_text).settings(Overrides.parse(setting, "label"))


# Real processes


def command(folder: Path, *more: str) -> list[str]:
    words = ["-m", "understudy", "label", "--store", str(folder / "store")]
    names = {"card": "snapshot", **{name: name for name in ("pool", "gold", "test", "judgements", "test_judgements")}}
    for option, name in names.items():
        words += [f"--{option.replace('_', '-')}", str(folder / name)]
    return [*words, *more]


def rows_in(store: Store) -> list[dict[str, Any]]:
    keys = [key for key in store.list("judgements/hotel-tips/") if key.endswith(".jsonl")]
    return [json.loads(line) for key in keys for line in store.read(key).splitlines()]


@pytest.fixture(params=["folder", "s3"])
def shared(request: pytest.FixtureRequest, folder: Path) -> Store:
    """Open a store that processes can share."""
    if request.param == "folder":
        return open_store(str(folder / "store"))
    return open_store(f"{request.getfixturevalue('s3_url')}/team")


@pytest.mark.parametrize("is_cache_lost", [False, True])
def test_killed_runs_pay_twice_at_most_for_what_was_in_flight_and_forget_no_money(
    folder: Path, shared: Store, warm: Interpreter, monkeypatch: pytest.MonkeyPatch, is_cache_lost: bool
) -> None:
    settings = ["--store", shared.uri, "--set", "texts=200", "--set", "teacher.concurrency=4"]
    moments, left = random.Random(int(is_cache_lost)), 0  # noqa: S311 - moments to kill at
    with serve(Plan(folder / "answers.csv", latency_s=0.04)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for _ in range(3):
            process = warm.start(command(folder, *settings))
            begun = server.asked.total() + moments.randrange(1, 40)
            while server.asked.total() < begun and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.wait()
            left += len({content_key(text) for text in server.asked} - {row["content"] for row in rows_in(shared)})
            assert left <= 3 * 4
            if is_cache_lost:
                shutil.rmtree(folder / "cache", ignore_errors=True)
            with open_teacher(load_card(folder / "snapshot"), shared, TeacherConfig()) as teacher:
                assert teacher.spent_usd >= sum(cost(server, text) * times for text, times in server.asked.items())
        ended = warm.run(command(folder, *settings), check=True, timeout=60)
        spent = sum(cost(server, text) * times for text, times in server.asked.items())
    assert len(server.asked) == 220
    assert sum(server.asked.values()) - 220 <= left
    assert max(server.asked.values()) <= 4
    assert ended.stdout.startswith("label: 220 texts judged (")
    booked = [row for row in rows_in(shared) if row["id"].endswith(".booked")]
    assert sum(row["cost_usd"] for row in rows_in(shared)) >= spent * (1 - 1e-9)
    assert len(booked) <= 3 * (4 + 4)  # in flight, and ready to be sent
    assert json.loads(shared.read("leases/teacher/hotel-tips.json"))["record"] == {"open": []}


PROMPT = prompt_of(parse_card(card_yaml()))


def cost(server: RehearsalServer, text: str) -> float:
    """Return what the server bills for a text, at the card's prices."""
    request = {"messages": PROMPT.messages(text), "response_format": PROMPT.response_format}
    usage = server.script.completion(request, text)["usage"]
    return (usage["prompt_tokens"] * 1.0 + usage["completion_tokens"] * 4.0) / 1e6


def test_several_runs_at_once_pay_once(
    folder: Path, shared: Store, warm: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 3 if shared.uri.startswith("s3://") else 2
    with serve(Plan(folder / "answers.csv", latency_s=0.02)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        ended = at_once(warm, folder, shared, runs, "--set", "texts=200")
    assert [code for code, _, _ in ended] == [0] * runs, ended
    assert set(server.asked.values()) == {1}
    assert len(server.asked) == 220
    waited = [err for _, _, err in ended if "label: waiting for 'label' on " in err]
    assert len(waited) >= runs - 1
    assert [out for _, out, _ in ended if not out.startswith("label: 220 texts judged (")] == []


def test_several_runs_at_once_never_pass_the_budget(
    folder: Path, shared: Store, make_card: Callable[..., str], warm: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = make_card(budget={"teacher_usd": 0.03})
    (folder / "snapshot" / "card.yaml").write_text(card, encoding="utf-8")
    with serve(Plan(folder / "answers.csv", latency_s=0.02)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        ended = at_once(warm, folder, shared, 3, "--set", "texts=200", "--set", "min_answers=5")
        spent = sum(cost(server, text) * times for text, times in server.asked.items())
    assert 0.02 < spent <= 0.03
    assert set(server.asked.values()) == {1}
    assert len(server.asked) < 220
    assert [told for code, *told in ended if code not in {0, 2}] == []  # who comes late finds too little left


def at_once(warm: Interpreter, folder: Path, store: Store, runs: int, *more: str) -> list[tuple[int | None, str, str]]:
    """Run label several times at once, each with a cache of its own, and return exit codes and outputs."""
    processes = []
    for number in range(runs):
        places = {name: str(folder / f"{name}-{number}") for name in ("judgements", "test_judgements")}
        words = command(folder, "--store", store.uri, *more)
        for name, place in places.items():
            words += [f"--{name.replace('_', '-')}", place]
        environment = {**os.environ, "UNDERSTUDY_CACHE": str(folder / f"cache-{number}")}
        processes.append(warm.start(words, env=environment))
    outputs = [process.communicate(timeout=120) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def test_sigterm_leaves_every_answer_in_the_store(
    folder: Path, warm: Interpreter, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    with serve(Plan(folder / "answers.csv", latency_s=0.02)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        process = warm.start(command(folder, "--set", "teacher.flush_s=1000"))
        while server.asked.total() < 60 and process.poll() is None:
            time.sleep(0.005)
        process.terminate()
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert len(rows_in(store)) == server.asked.total() < 220


def test_a_wrong_key_ends_the_command_with_one_sentence(
    folder: Path, warm: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = error(401, "Incorrect API key provided: sk-wrong")
    with teacher_server(lambda *_: refused, refused) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
        ended = warm.run(command(folder), timeout=60)
    assert (ended.returncode, ended.stdout, len(log.texts)) == (2, "", 1)
    assert ended.stderr.endswith(
        f"The teacher's key must be accepted, got 'Error code: 401 - Incorrect API key provided: ***' ({log.url}). "
        "Set OPENAI_API_KEY to a key of this server with a right to this model.\n"
    )
    assert "sk-wrong" not in ended.stderr
