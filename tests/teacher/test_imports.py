"""Answers that were paid for elsewhere: taken in once, said to be imported, and never asked for again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from tests.conftest import card_yaml
from tests.teachers import completion, teacher_server
from understudy.cli.main import app
from understudy.data.rows import id_of
from understudy.store import tombstones
from understudy.store.storage import Store
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.injected_errors import Errors
from understudy.teacher.labeller import Judged, open_teacher
from understudy.teacher.prompt import marked
from understudy.teacher.simulated import Plan, serve

TIP = '{"label": "tip"}'
Import = Callable[..., Result]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def take_in(tmp_path: Path, card_text: str) -> Import:
    """Return a function that imports a file by the command."""

    def imported(file: Path, *words: str, card: str = card_text) -> Result:
        path = tmp_path / "card.yaml"
        path.write_text(card, encoding="utf-8")
        where = ["--card", str(path), "--store", str(tmp_path / "store")]
        return CliRunner().invoke(app, ["label", "--import", str(file), *where, *words])

    return imported


def texts(number: int) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"t{n}" for n in range(number)], "text": [f"Text {n}." for n in range(number)]}).select(
        "id", "text", weight=pl.lit(1.0)
    )


def table(tmp_path: Path, *rows: tuple[str, str | None], name: str = "judged.parquet") -> Path:
    path = tmp_path / name
    frame = pl.DataFrame(rows, schema={"text": pl.String, "gpt_4/8-shot": pl.String}, orient="row")
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def answers_in(store: Store) -> list[dict[str, Any]]:
    keys = [key for key in store.list("judgements/hotel-tips/") if key.endswith(".jsonl")]
    return [json.loads(line) for key in keys for line in store.read(key).splitlines()]


def judge(store: Store, number: int, **changes: Any) -> Judged:
    with open_teacher(parse_card(card_yaml(**changes)), store, TeacherConfig()) as teacher:
        return teacher.judge(texts(number))


@pytest.mark.parametrize("name", ["judged.parquet", "judged.csv"])
def test_a_teachers_imported_texts_are_asked_zero_times(
    take_in: Import, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = table(tmp_path, *((f"Text {n}.", "tip") for n in range(6)), name=name)
    assert take_in(file, "--column", "gpt_4/8-shot", "--usd-per-1000", "4.2", "--as-teacher").exit_code == 0
    with teacher_server(lambda *_: completion('{"label": "other"}')) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        judged = judge(store, 10)
    assert sorted(server.texts) == [f"Text {n}." for n in range(6, 10)]
    assert dict(judged.table.select("id", "label").iter_rows())["t0"] == "tip"
    assert judged.from_store == 6
    judges = set(judged.table.filter(pl.col("label") == "tip")["judge"])
    assert {one.rpartition(":")[0] for one in judges} == {"import:gpt_4/8-shot"}


def test_what_was_imported_says_so_and_is_no_money_of_this_budget(
    take_in: Import, tmp_path: Path, store: Store
) -> None:
    file = table(tmp_path, ("Text 0.", "tip"))
    said = take_in(file, "--column", "gpt_4/8-shot", "--usd-per-1000", "4.2", "--as-teacher").output
    (answer,) = answers_in(store)
    assert (answer["cost_usd"], answer["stands_for"], answer["is_rehearsal"]) == (
        pytest.approx(0.0042),
        "rehearsal",
        False,
    )
    assert answer["imported"][:12] in said
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(), is_dry_run=True) as teacher:
        assert teacher.spent_usd == 0.0
        assert teacher.estimate(texts(3)).answered == 1


def test_imported_answers_say_nothing_of_what_others_will_take(take_in: Import, tmp_path: Path, store: Store) -> None:
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(), is_dry_run=True) as teacher:
        before = teacher.estimate(texts(1))
    take_in(table(tmp_path, *((f"Text {n}.", "tip") for n in range(1, 9))), "--column", "gpt_4/8-shot", "--as-teacher")
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(), is_dry_run=True) as teacher:
        assert teacher.estimate(texts(1)) == before
        assert teacher.stored(texts(9)).table["cost_usd"].to_list() == [None] * 8


def test_importing_twice_adds_nothing(take_in: Import, tmp_path: Path, store: Store) -> None:
    file = table(tmp_path, ("Text 0.", "tip"), ("Text 1.", "other"))
    assert "2 answers of 'gpt_4/8-shot' imported (their price unknown), 0 known" in (
        take_in(file, "--column", "gpt_4/8-shot").output
    )
    before = answers_in(store)
    assert "0 answers of 'gpt_4/8-shot' imported" in (again := take_in(file, "--column", "gpt_4/8-shot").output)
    assert "2 known already" in again
    assert answers_in(store) == before


def test_rows_that_say_nothing_of_use_are_counted_and_said(take_in: Import, tmp_path: Path, store: Store) -> None:
    rows = [
        ("Text 0.", "TIP "),
        ("Text 1.", "?"),
        ("Text 2.", None),
        ("", "tip"),
        ("Text 3.", "tip"),
        ("Text 3.", "other"),
    ]
    said = take_in(table(tmp_path, *rows), "--column", "gpt_4/8-shot").output
    assert [one["label"] for one in answers_in(store)] == ["tip"]
    assert "1 answer of 'gpt_4/8-shot' imported" in said
    assert "of 6 rows" in said
    assert "1 label not in the card's case" in said
    assert "2 rows unusable: 1 times: '?' is no label of the card; 1 times: no answer." in said
    assert "3 rows refused: 2 times: another answer for the same text; 1 times:" in said


def test_an_answer_that_contradicts_an_earlier_import_is_refused(take_in: Import, tmp_path: Path, store: Store) -> None:
    take_in(table(tmp_path, ("Text 0.", "tip")), "--column", "gpt_4/8-shot")
    said = take_in(table(tmp_path, ("Text 0.", "other")), "--column", "gpt_4/8-shot").output
    assert "1 row refused: 1 times: the store has another answer of this judge for the text." in said
    assert [one["label"] for one in answers_in(store)] == ["tip"]


def test_one_judge_with_and_without_standing_for_the_teacher_is_kept_both_ways_once(
    take_in: Import, tmp_path: Path, store: Store
) -> None:
    file, column = table(tmp_path, ("Text 0.", "tip")), ("--column", "gpt_4/8-shot")
    for more in ([], ["--as-teacher"]):
        assert "1 answer of 'gpt_4/8-shot' imported" in take_in(file, *column, *more).output
    for more in ([], ["--as-teacher"]):
        assert "1 known already" in take_in(file, *column, *more).output
    assert len(answers_in(store)) == 2
    other = table(tmp_path, ("Text 0.", "other"))
    for more in ([], ["--as-teacher"]):
        said = take_in(other, *column, *more).output
        assert "1 row refused: 1 times: the store has another answer of this judge for the text." in said
    assert [one["label"] for one in answers_in(store)] == ["tip", "tip"]


def test_two_judges_cannot_both_be_the_teacher_with_opposite_labels(
    take_in: Import, tmp_path: Path, store: Store
) -> None:
    take_in(table(tmp_path, ("Text 0.", "tip"), ("Text 1.", "tip")), "--column", "gpt_4/8-shot", "--as-teacher")
    other = table(tmp_path, ("Text 0.", "other"), ("Text 1.", "tip"))
    said = take_in(other, "--column", "gpt_4/8-shot", "--judge", "another", "--as-teacher").output
    assert "1 row refused: 1 times: the store has another answer of the card's teacher for the text" in said
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(), is_dry_run=True) as teacher:
        assert teacher.stored(texts(2)).table["label"].to_list() == ["tip", "tip"]
    plain = take_in(other, "--column", "gpt_4/8-shot", "--judge", "another").output
    assert "2 answers of 'another' imported" in plain  # as nobody's teacher it may say otherwise


def test_answers_of_another_judge_do_not_stand_for_the_teachers(
    take_in: Import, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(table(tmp_path, ("Text 0.", "tip")), "--column", "gpt_4/8-shot")
    with teacher_server(lambda *_: completion(TIP)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        judge(store, 1)
    assert server.texts == ["Text 0."]


@pytest.mark.parametrize("changes", [{"rules": ["Another rule."]}, {"teacher": None}])
def test_another_guideline_or_model_asks_again(
    take_in: Import, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    take_in(table(tmp_path, ("Text 0.", "tip")), "--column", "gpt_4/8-shot", "--as-teacher")
    if "teacher" in changes:
        changes = {"teacher": {"model": "paid-1", "input_usd_per_million": 1.0, "output_usd_per_million": 4.0}}
    with teacher_server(lambda *_: completion(TIP)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        judge(store, 1, **changes)
    assert server.texts == ["Text 0."]


def test_a_rehearsal_never_takes_imported_answers(
    take_in: Import, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(table(tmp_path, ("Text 0.", "tip")), "--column", "gpt_4/8-shot", "--as-teacher")
    labels = tmp_path / "answers.csv"
    labels.write_text("text,label\nText 0.,other\n", encoding="utf-8")
    with serve(Plan(labels, Errors())) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert judge(store, 1).table["label"].to_list() == ["other"]


def request(text: str) -> dict[str, Any]:
    return {"model": "gpt-4", "messages": [{"role": "user", "content": text}]}


def test_logs_of_requests_and_answers_are_read(take_in: Import, tmp_path: Path, store: Store) -> None:
    body = completion(TIP).body
    log = lines(
        tmp_path / "log.jsonl",
        {"request": request(marked("Text 0.")), "response": body},
        {"messages": [*request("Text 1.")["messages"], {"role": "assistant", "content": "Other"}]},
        {"request": request("Text 2."), "response": {"error": {"message": "busy"}}},
        {"response": body},
    )
    said = take_in(log, "--judge", "gpt-4", "--as-teacher").output
    found = {one["label"]: one["prompt_tokens"] for one in answers_in(store)}
    assert found == {"tip": 100, "other": 0}
    assert "1 row unusable: 1 times: the answer is empty." in said
    assert "1 row refused: 1 times: no text." in said
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(), is_dry_run=True) as teacher:
        assert teacher.estimate(texts(3)).answered == 2


def test_the_output_of_a_batch_is_read_beside_its_input(take_in: Import, tmp_path: Path, store: Store) -> None:
    asked = lines(tmp_path / "input.jsonl", {"custom_id": "a", "method": "POST", "body": request("Tip? Text 0.")})
    body = {"status_code": 200, "body": completion(TIP).body}
    output = lines(
        tmp_path / "output.jsonl", {"custom_id": "a", "response": body}, {"custom_id": "b", "response": body}
    )
    said = take_in(output, "--judge", "m", "--requests", str(asked), "--text-pattern", r"Tip\? (.*)", "--as-teacher")
    assert "1 row refused: 1 times: no text." in said.output
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(), is_dry_run=True) as teacher:
        assert teacher.estimate(texts(1)).answered == 1


@pytest.mark.parametrize("is_log", [True, False])
def test_what_somebody_asked_to_forget_is_not_taken_in(
    take_in: Import, tmp_path: Path, store: Store, is_log: bool
) -> None:
    tombstones.remember_to_forget(store, "id", ["a"], "2026-12-01")
    if is_log:
        record = {"request": request("Text 0."), "response": completion(TIP).body}
        file = lines(tmp_path / "log.jsonl", {"custom_id": "a", **record}, {"custom_id": "b", **record})
        said = take_in(file, "--judge", "m").output
    else:
        file = tmp_path / "judged.csv"
        file.write_text("id,text,m\na,Text 0.,tip\nb,Text 1.,tip\n", encoding="utf-8")
        said = take_in(file, "--column", "m").output
    assert "1 row refused: 1 times: somebody asked to forget the text." in said
    assert len(answers_in(store)) == 1


@pytest.mark.parametrize("is_log", [True, False])
def test_a_text_that_was_forgotten_by_what_it_says_is_not_taken_in_either(
    take_in: Import, tmp_path: Path, store: Store, is_log: bool
) -> None:
    tombstones.remember_to_forget(store, "id", [id_of("Text 0.")], "2026-12-01")
    if is_log:
        answered = completion(TIP).body
        logged = [{"request": request(text), "response": answered} for text in ("Text 0.", "Text 1.")]
        said = take_in(lines(tmp_path / "log.jsonl", *logged), "--judge", "m").output
    else:
        said = take_in(table(tmp_path, ("Text 0.", "tip"), ("Text 1.", "tip")), "--column", "gpt_4/8-shot").output
    assert "1 row refused: 1 times: somebody asked to forget the text." in said
    assert len(answers_in(store)) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--judge", "m", "--text-pattern", "("], "must be a regular expression with a group"),
        (["--judge", "m", "--text-pattern", "x"], "it has no group"),
        ([], "A judge's name must be one line of 1 to 100 signs"),
        (["--judge", "m"], "A log must hold one JSON object a line"),
        (["--column", "gpt_4/8-shot", "--usd-per-1000", "nan"], "must be a number of dollars from 0 on, got nan"),
        (["--column", "gpt_4/8-shot", "--usd-per-1000", "inf"], "must be a number of dollars from 0 on, got inf"),
        (["--column", "nobody"], "A file must have the columns"),
    ],
)
def test_what_cannot_be_imported_is_refused(
    take_in: Import, tmp_path: Path, words: list[str], sentence: str, store: Store
) -> None:
    file = (
        lines(tmp_path / "log.jsonl", request("Text 0."))
        if not words
        else table(tmp_path, ("Text 0.", "tip"), name="judged.csv")
    )
    result = take_in(file, *words)
    assert sentence in str(result.exception)
    assert answers_in(store) == []


def test_a_card_with_context_takes_no_answers_to_texts_alone(take_in: Import, tmp_path: Path) -> None:
    file = table(tmp_path, ("Text 0.", "tip"))
    result = take_in(file, "--column", "gpt_4/8-shot", card=card_yaml(context={"turns": 2}))
    assert "Answers must be to texts alone" in str(result.exception)
