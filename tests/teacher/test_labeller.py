import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import card_yaml
from tests.teachers import Answer, completion, error, teacher_server
from understudy.cli.main import app
from understudy.errors import BadInput, BudgetSpent, TeacherError
from understudy.store.storage import Store, open_store
from understudy.task.card import Card, Label, parse_card
from understudy.task.guideline import Guideline
from understudy.task.sections import TeacherConfig
from understudy.teacher import response_log
from understudy.teacher.budget import Spending
from understudy.teacher.client import read_reply, retry_after_s
from understudy.teacher.crew import Crew
from understudy.teacher.injected_errors import Errors
from understudy.teacher.labeller import Judged, Teacher, open_teacher
from understudy.teacher.logprobs import label_probabilities
from understudy.teacher.prompt import Prompt, Unusable, fit_labels, marked, prompt_of, read_verdict, unmarked
from understudy.teacher.response_log import Response, ResponseLog
from understudy.teacher.simulated import Plan, serve

TIP = '{"label": "tip"}'
LABELS = ["other", "tip"]
# One answer of `teachers.completion` at the card's prices: 100 tokens at $1 and 10 at $4 a million.
ANSWER_USD = 0.00014


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda url: monkeypatch.setenv("OPENAI_BASE_URL", url)


@pytest.fixture
def make(make_card: Callable[..., str], store: Store) -> Callable[..., Any]:
    """Return a function that opens the teacher of a card with some keys changed."""

    @contextmanager
    def opened(config: dict[str, Any] | None = None, **changes: Any) -> Iterator[Teacher]:
        card = parse_card(make_card(**changes))
        with open_teacher(card, store, TeacherConfig(**(config or {}))) as teacher:
            yield teacher

    return opened


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.csv"
    path.write_text("text,label\n" + "".join(f"Text {n}.,{LABELS[n % 2]}\n" for n in range(300)), encoding="utf-8")
    return path


def texts(number: int, start: int = 0) -> pl.DataFrame:
    rows = range(start, start + number)
    return pl.DataFrame({"id": [f"t{row:04}" for row in rows], "text": [f"Text {row}." for row in rows]}).with_columns(
        weight=pl.lit(1.0)
    )


def segments(store: Store) -> list[dict[str, Any]]:
    keys = [key for key in store.list("judgements/hotel-tips/") if key.endswith(".jsonl")]
    return [json.loads(line) for key in keys for line in store.read(key).splitlines()]


# The server


def test_a_server_that_is_not_there_is_bad_input_with_its_address(make: Any) -> None:
    with (
        pytest.raises(BadInput, match=r"must answer, got Connection refused \(http://127.0.0.1:9/v1\)\. Start it"),
        make(),
    ):
        pass


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_bad_input_after_one_request(make: Any, use: Any, status: int, store: Store) -> None:
    refused = error(status, "Incorrect API key provided")
    with teacher_server(lambda *_: refused, refused) as log:
        use(log.url)
        with make() as teacher, pytest.raises(BadInput, match=r"Incorrect API key provided.*Set OPENAI_API_KEY"):
            teacher.judge(texts(30))
    assert len(log.texts) == 1
    assert segments(store) == []


def test_a_key_that_is_revoked_on_the_way_ends_the_run_and_keeps_what_was_bought(
    make: Any, use: Any, store: Store
) -> None:
    def respond(_: Any, __: str, number: int) -> Answer:
        return completion(TIP) if number < 5 else error(401, "revoked")

    with teacher_server(respond) as log:
        use(log.url)
        with make({"concurrency": 2}) as teacher, pytest.raises(BadInput, match="revoked"):
            teacher.judge(texts(50))
    assert len(log.texts) <= 7
    assert len(segments(store)) == 5


@pytest.mark.parametrize("url", ["https://llm.example.org/v1", "http://llm.example.org/v1"])
def test_a_missing_key_is_bad_input_unless_the_server_is_on_this_machine(make: Any, use: Any, url: str) -> None:
    use(url)
    with pytest.raises(BadInput, match=f"OPENAI_API_KEY, for {url}"), make():
        pass


@pytest.mark.parametrize("url", ["ftp://x/v1", "example.org", "http://", "http://[x", "http://h:99999999/v1"])
def test_an_address_that_is_none_is_bad_input(make: Any, use: Any, url: str) -> None:
    use(url)
    with pytest.raises(BadInput, match="teacher's address must be http"), make():
        pass


@pytest.mark.parametrize(
    "models",
    [
        *(error(status, "no such path") for status in (400, 401, 403, 404, 405, 429, 500, 501, 503)),
        Answer({"data": None}),
        Answer({"data": [1]}),
        Answer({"error": {"message": "not here", "code": 500}}),
        Answer(["x"]),
        Answer([{"id": "paid-1"}]),
        Answer(None),
        Answer(b"<html>", headers={"Content-Type": "text/html"}),
        Answer(b"{nope"),
        Answer(b""),
    ],
)
def test_a_server_without_a_model_list_is_taken_for_a_paid_one(make: Any, use: Any, models: Answer) -> None:
    with teacher_server(lambda *_: completion(TIP), models) as log:
        use(log.url)
        with make() as teacher:
            assert not teacher.identity.is_rehearsal
            assert teacher.judge(texts(20)).table["label"].to_list() == ["tip"] * 20


def test_a_label_in_another_case_is_the_cards_without_probabilities_and_is_counted(make: Any, use: Any) -> None:
    """Its tokens fit no label, so they would tell that others were likelier."""
    tokens = [
        {"token": '{"label": "', "logprob": 0.0},
        {"token": "Tip", "logprob": -0.1, "top_logprobs": [{"token": "other", "logprob": -3.0}]},
        {"token": '"}', "logprob": 0.0},
    ]
    shouted = completion('{"label": "Tip"}')
    shouted.body["choices"][0]["logprobs"] = {"content": tokens}
    with teacher_server(lambda _, text, __: shouted if text == "Text 0." else completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            judged = teacher.judge(texts(2))
    assert judged.table["label"].to_list() == ["tip", "tip"]
    assert judged.table["probabilities"].to_list() == [None, None]
    assert "1 with a label not in the card's case or with other blanks" in judged.remarks()
    assert read_verdict('{"labels": ["PRAISE", "tip"]}', ["tip", "praise"], is_many=True).label == '["tip", "praise"]'


def test_a_server_that_lists_no_models_is_asked_for_one_text_before_the_others(make: Any, use: Any) -> None:
    def respond(*_: Any) -> Answer:
        time.sleep(0.2)
        return completion(TIP)

    with teacher_server(respond, error(403, "no listing")) as log:
        use(log.url)
        with make() as teacher:
            teacher.judge(texts(20))
    assert log.times[1] - log.times[0] >= 0.2
    assert log.times[2] - log.times[1] < 0.15


def test_a_model_that_the_server_does_not_have_is_bad_input(make: Any, use: Any) -> None:
    with teacher_server(lambda *_: error(404, "The model does not exist")) as log:
        use(log.url)
        with make({"concurrency": 1}) as teacher, pytest.raises(BadInput, match=r"Mend teacher\.model"):
            teacher.judge(texts(30))
    assert len(log.texts) == 1


def test_a_local_server_is_not_asked_through_a_proxy(make: Any, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            assert len(teacher.judge(texts(1)).table) == 1


def test_the_address_on_the_card_serves_when_the_environment_names_none(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    with teacher_server(lambda *_: completion(TIP)) as log:
        prices = {"model": "m", "input_usd_per_million": 1.0, "output_usd_per_million": 4.0}
        with make(teacher={**prices, "base_url": log.url}) as teacher:
            assert len(teacher.judge(texts(1)).table) == 1


# Answers


def test_an_answer_is_a_row_with_its_tokens_and_cost(make: Any, use: Any, store: Store) -> None:
    with teacher_server(lambda *_: completion('{"label": "tip", "rationale": "It says so."}')) as log:
        use(log.url)
        with make({"rationale": True}) as teacher:
            judged = teacher.judge(texts(2).with_columns(weight=pl.lit(2.5)))
            assert len(segments(store)) == 2
    row = judged.table.row(0, named=True)
    assert row == {
        "id": "t0000",
        "judge": teacher.identity.name,
        "kind": "teacher",
        "label": "tip",
        "probabilities": None,
        "rationale": "It says so.",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cost_usd": ANSWER_USD,
        "is_rehearsal": False,
        "weight": 2.5,
    }
    assert (judged.asked, judged.from_store, judged.prompt_tokens) == (2, 0, 200)
    assert judged.cost_usd == pytest.approx(2 * ANSWER_USD)


def test_the_request_is_strict_and_bounded(make: Any, use: Any) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make({"max_answer_tokens": 77}) as teacher:
            teacher.judge(texts(1))
    (request,) = log.requests
    assert request["response_format"]["json_schema"]["strict"] is True
    assert request["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == LABELS
    assert (request["temperature"], request["max_completion_tokens"], request["logprobs"]) == (0, 77, True)


def test_every_answer_is_kept_with_the_guideline_that_it_was_given_by(make: Any, use: Any, store: Store) -> None:
    rules = {"rules": ["A price alone is no tip."]}
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        for changes in ({}, rules):
            with make(**changes) as teacher:
                teacher.judge(texts(2))
    old, now = (Guideline.of(parse_card(card_yaml(**changes))).hash for changes in ({}, rules))
    assert sorted(row["guideline"] for row in segments(store)) == sorted([old, old, now, now])
    with closing(ResponseLog(store, "hotel-tips")) as answers:
        found = answers.labels_by_guideline()
    assert found.keys() == {("rehearsal", old), ("rehearsal", now)}
    assert found["rehearsal", old] == found["rehearsal", now]
    assert set(found["rehearsal", old].values()) == {"tip"}
    said = CliRunner().invoke(app, ["labels", "outdated", "--store", store.uri, "--card", card_file(store, **rules)])
    assert f"the teacher rehearsal labelled 2 texts by {old} and by the card's: the same label for 100%" in said.output


def test_answers_of_before_guidelines_were_known_are_counted_and_compared_to_none(make: Any, store: Store) -> None:
    old = {"id": "1", "judge": "m:0a1b", "content": "abc", "label": "tip", "probabilities": None, "rationale": None}
    old |= {"prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.1, "is_rehearsal": False, "failure": ""}
    store.put_if_absent("judgements/hotel-tips/m-0a1b/1.jsonl", json.dumps(old).encode())
    said = CliRunner().invoke(app, ["labels", "outdated", "--store", store.uri, "--card", card_file(store)])
    assert "1 answer of the teacher m by no known guideline." in said.output


def card_file(store: Store, **changes: Any) -> str:
    path = Path(store.uri).parent / "card.yaml"
    path.write_text(card_yaml(**changes), encoding="utf-8")
    return str(path)


def test_texts_that_are_the_same_are_asked_once(make: Any, use: Any) -> None:
    table = texts(3).with_columns(text=pl.lit("Ask for a quiet room."))
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            judged = teacher.judge(table)
    assert (len(log.texts), len(judged.table), judged.asked) == (1, 3, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (completion("It is a tip."), "the answer is not JSON"),
        (completion('["tip"]'), "the answer is not a JSON object"),
        (completion('{"label": "Tips"}'), "the answer's label is not one of the card's"),
        (completion('{"label": ["tip"]}'), "the answer's label is not one of the card's"),
        (completion(None, refusal="I can't."), "the teacher refused to answer"),
        (completion(None), "the answer is empty"),
        (completion(7), "the answer is empty"),  # type: ignore[arg-type] - what a broken server may send
        (Answer({"model": "paid-1", "choices": []}), "the answer is empty"),
        (Answer({"model": "paid-1", "choices": {"x": 1}, "usage": []}), "the answer is empty"),
        (Answer(b"<html>", headers={"Content-Type": "text/html"}), "the server's answer is not of the chat API"),
        (Answer(b"{nope"), "the server's answer is not JSON"),
        (error(400, "context length exceeded"), r"the server refused the request \(.*context length exceeded"),
    ],
)
def test_a_teacher_that_answers_garbage_is_stopped_after_twenty_texts(
    make: Any, use: Any, answer: Answer, reason: str
) -> None:
    with teacher_server(lambda *_: answer) as log:
        use(log.url)
        with make() as teacher, pytest.raises(TeacherError, match=reason):
            teacher.judge(texts(500))
    assert 20 <= len(set(log.texts)) <= 20 + 3 * 8  # those in flight, and some that end while the first are counted
    assert max(log.texts.count(text) for text in log.texts) <= 2


def test_garbage_is_asked_for_once_more_and_both_answers_are_paid_for(make: Any, use: Any, store: Store) -> None:
    with teacher_server(lambda _, __, number: completion(TIP if number else "tip")) as log:
        use(log.url)
        with make() as teacher:
            judged = teacher.judge(texts(1))
    assert (len(log.texts), judged.failures, judged.prompt_tokens) == (2, 0, 200)
    assert judged.cost_usd == pytest.approx(2 * ANSWER_USD)
    assert sorted(row["failure"] for row in segments(store)) == ["", "the answer is not JSON"]


def test_a_few_failures_are_counted_and_asked_for_again_next_time(make: Any, use: Any) -> None:
    def respond(_: Any, text: str, __: int) -> Answer:
        return completion(None, refusal="no") if text in {"Text 1.", "Text 2."} else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        for asked in (60, 2):
            with make() as teacher:
                judged = teacher.judge(texts(60))
            assert (judged.asked, judged.failed) == (asked, {"the teacher refused to answer": 2})
            assert len(judged.table) == 58


def test_too_many_failures_end_the_step_and_keep_what_was_bought(make: Any, use: Any, store: Store) -> None:
    def respond(_: Any, text: str, __: int) -> Answer:
        return completion("?") if text == "Text 1." else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make() as teacher, pytest.raises(TeacherError, match=r"at least 95% .* 1 of 10 texts .* is not JSON"):
            teacher.judge(texts(10))
    assert sum(row["label"] == "tip" for row in segments(store)) == 9


def test_an_answer_cut_short_says_which_setting_to_raise() -> None:
    reply = read_reply({"choices": [{"message": {"content": '{"la'}, "finish_reason": "length"}]})
    assert reply.failure == "the answer was cut at max_answer_tokens"


def test_tokens_are_estimated_where_the_server_does_not_count(make: Any, use: Any) -> None:
    answer = Answer({"model": "paid-1", "choices": [{"message": {"content": TIP}}]})
    with teacher_server(lambda *_: answer) as log:
        use(log.url)
        with make() as teacher:
            expected = teacher.estimate(texts(1))
            judged = teacher.judge(texts(1))
    assert expected.cost_usd > 0
    assert judged.cost_usd == pytest.approx(expected.cost_usd)


# A busy server


def test_retry_after_is_honoured_by_all(make: Any, use: Any) -> None:
    def respond(_: Any, __: str, number: int) -> Answer:
        return error(429, "slow down", Retry_After="1") if number == 10 else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make({"concurrency": 4}) as teacher:
            judged = teacher.judge(texts(40))
    told = log.times[10]
    early = [at for at in log.times if told + 0.2 < at < told + 0.95]
    assert (len(judged.table), judged.failures, len(log.texts)) == (40, 0, 41)
    assert early == []
    assert log.times[-1] > told + 0.95


def test_a_server_that_stays_busy_fails_the_text_after_some_tries(make: Any, use: Any) -> None:
    def respond(_: Any, text: str, __: int) -> Answer:
        return error(429, "slow down", Retry_After="0") if text == "Text 5." else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make({"max_tries": 3}) as teacher:
            judged = teacher.judge(texts(40))
    assert log.texts.count("Text 5.") == 3
    assert judged.reasons() == ["1 text: no answer after 3 tries ('Error code: 429 - slow down')"]


def test_a_wait_beyond_the_limit_fails_the_text_at_once(make: Any, use: Any) -> None:
    def respond(_: Any, text: str, __: int) -> Answer:
        return error(429, "slow", Retry_After="86400") if text == "Text 5." else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make() as teacher:
            judged = teacher.judge(texts(40))
    assert judged.failed == {"the server asks to wait longer than max_wait_s": 1}


def test_a_passing_failure_of_the_server_is_tried_again(make: Any, use: Any) -> None:
    with teacher_server(lambda _, __, number: completion(TIP) if number else error(500, "oops")) as log:
        use(log.url)
        with make() as teacher:
            assert len(teacher.judge(texts(1)).table) == 1
    assert log.times[1] - log.times[0] >= 0.5


def test_an_account_without_credit_ends_the_run_at_once(make: Any, use: Any) -> None:
    with teacher_server(lambda *_: error(429, "You exceeded your quota", "insufficient_quota")) as log:
        use(log.url)
        with make({"concurrency": 1}) as teacher, pytest.raises(TeacherError, match="must have credit"):
            teacher.judge(texts(30))
    assert len(log.texts) == 1


def test_a_server_that_goes_away_ends_the_run_and_keeps_what_was_bought(
    make: Any, use: Any, store: Store, answers: Path
) -> None:
    command = [sys.executable, "-m", "understudy", "rehearse", "--answers", str(answers), "--latency", "0.02"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        use(server.stdout.readline().strip())
        with make({"max_tries": 2, "concurrency": 2}) as teacher:
            threading.Timer(0.5, server.kill).start()
            with pytest.raises(TeacherError, match=r"refused.* Start it.* run again: what was bought is kept\."):
                teacher.judge(texts(300))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert 5 < len(segments(store)) < 300


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:05 GMT"}, 0.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=10.0) == seconds


# Probabilities


def test_a_server_that_refuses_logprobs_is_asked_without_them(make: Any, use: Any) -> None:
    def respond(request: dict[str, Any], _: str, __: int) -> Answer:
        return error(400, "logprobs are not supported by this model") if "logprobs" in request else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make({"concurrency": 1}) as teacher:
            judged = teacher.judge(texts(10))
    assert len(log.texts) == 11
    assert judged.table["probabilities"].to_list() == [None] * 10


def test_a_model_that_refuses_a_temperature_is_asked_without_it(make: Any, use: Any) -> None:
    def respond(request: dict[str, Any], _: str, __: int) -> Answer:
        return error(400, "Unsupported value: 'temperature'") if "temperature" in request else completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make({"concurrency": 1}) as teacher:
            assert len(teacher.judge(texts(3)).table) == 3


def token(text: str, probability: float = 1.0, **others: float) -> dict[str, Any]:
    top = [{"token": name, "logprob": math.log(share)} for name, share in {text: probability, **others}.items()]
    return {"token": text, "logprob": math.log(probability), "top_logprobs": top}


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        # The label is one token of its own.
        ([token('{"label": "'), token("tip", 0.8, other=0.1), token('"}')], [0.1 / 0.9, 0.8 / 0.9]),
        # Its alternatives are pieces of the names; both pieces of "other" count.
        ([token('{"label": "'), token("ti", 0.6, o=0.2, oth=0.1), token('p"}')], [0.3 / 0.9, 0.6 / 0.9]),
        # The token begins before the name and ends after it.
        ([token('{"label":'), token(' "tip"}', 0.5, **{' "o': 0.25, " x": 0.25})], [1 / 3, 2 / 3]),
        # The other label is not listed: it gets what is left, at most the least that is listed.
        ([token('{"label": "'), token("tip", 0.9, hint=0.02), token('"}')], [0.02 / 0.92, 0.9 / 0.92]),
        ([token('{"label": "'), {"token": "tip", "logprob": math.log(0.9)}, token('"}')], [0.1, 0.9]),
        # Garbage gives no probability at all.
        ([token('{"label": "'), token("tap", 0.9), token('"}')], None),
        ([{"token": TIP}], None),
        ([{"token": TIP, "logprob": "x"}], None),
        ([{"token": TIP, "logprob": float("nan")}], None),
        ("abc", None),
        ([], None),
        (None, None),
    ],
)
def test_probabilities_come_from_the_tokens_of_the_label(tokens: Any, expected: list[float] | None) -> None:
    found = label_probabilities(TIP, tokens, LABELS)
    assert found == (expected and pytest.approx(expected))


def test_labels_that_begin_alike_are_told_apart_where_they_part() -> None:
    tokens = [token('{"label": "'), token("tip", 0.9, x=0.1), token('"', 0.8, off=0.2), token("}")]
    assert label_probabilities(TIP, tokens, ["tip", "tipoff"]) == pytest.approx([0.8, 0.2])


def test_split_letters_are_joined_by_their_bytes() -> None:
    tokens = [
        {"token": '{"label": "', "logprob": 0.0},
        {"token": "\\xc3", "bytes": [0xC3], "logprob": math.log(0.75), "top_logprobs": []},
        {"token": "\\xa9", "bytes": [0xA9], "logprob": 0.0},
        {"token": '"}', "logprob": 0.0},
    ]
    assert label_probabilities('{"label": "é"}', tokens, ["é", "no"]) == pytest.approx([0.75, 0.25])


def test_a_rehearsal_gives_probabilities_that_agree_with_its_answers(make: Any, use: Any, answers: Path) -> None:
    with serve(Plan(answers, has_logprobs=True)) as server:
        use(server.url)
        with make() as teacher:
            table = teacher.judge(texts(100)).table
    for label, probabilities in table.select("label", "probabilities").iter_rows():
        assert sum(probabilities) == pytest.approx(1)
        assert probabilities[LABELS.index(label)] >= 0.5
    assert table["probabilities"].list.max().n_unique() > 50


# Rehearsed and bought answers


def test_a_rehearsal_is_stamped_in_judge_rows_and_keys(make: Any, use: Any, answers: Path, store: Store) -> None:
    with serve(Plan(answers)) as server:
        use(server.url)
        with make() as teacher:
            table = teacher.judge(texts(5)).table
    assert table["judge"][0].startswith("rehearsal:rehearsal:")
    assert table["is_rehearsal"].all()
    assert all(row["is_rehearsal"] for row in segments(store))
    assert all("/rehearsal-" in key for key in store.list("judgements/hotel-tips/"))


def test_rehearsed_answers_and_dollars_are_not_taken_for_bought_ones(make: Any, use: Any, answers: Path) -> None:
    with serve(Plan(answers)) as server:
        use(server.url)
        with make() as teacher:
            teacher.judge(texts(20))
            assert teacher.spent_usd > 0
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            assert teacher.spent_usd == 0
            judged = teacher.judge(texts(20))
    assert (len(log.texts), judged.from_store, judged.table["is_rehearsal"].any()) == (20, 0, False)


def test_two_rehearsals_with_other_errors_do_not_share_answers(make: Any, use: Any, answers: Path) -> None:
    labels = []
    for flip in (0.0, 1.0):
        with serve(Plan(answers, Errors(flip=flip))) as server:
            use(server.url)
            with make() as teacher:
                labels.append(teacher.judge(texts(10)).table["label"].to_list())
    assert labels[0] == LABELS * 5
    assert labels[1] == LABELS[::-1] * 5


@pytest.mark.parametrize(
    ("listed", "answering", "words"),
    [("paid-1", "rehearsal", "a paid teacher, got one from model 'rehearsal'"), ("rehearsal", "paid-1", "a rehearsal")],
)
def test_a_server_that_changes_its_kind_ends_the_run(
    make: Any, use: Any, store: Store, listed: str, answering: str, words: str
) -> None:
    models = Answer({"data": [{"id": listed}]})
    with teacher_server(lambda *_: completion(TIP, answering), models) as log:
        use(log.url)
        with make() as teacher, pytest.raises(TeacherError, match=words):
            teacher.judge(texts(30))
    assert segments(store) == []


# Money


def test_the_budget_is_never_passed_and_the_rest_can_be_bought_later(make: Any, use: Any) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make(budget={"teacher_usd": 0.01}) as teacher:
            judged = teacher.judge(texts(200))
            assert judged.is_budget_spent
            assert 0.01 * 0.6 < teacher.spent_usd <= 0.01
            bought = len(judged.table)
            assert bought == len(log.texts)
            assert judged.cost_usd == pytest.approx(bought * ANSWER_USD)
        with make(budget={"teacher_usd": 0.01}) as teacher:
            assert teacher.judge(texts(200)).asked == 0
        with make(budget={"teacher_usd": 1.0}) as teacher:
            judged = teacher.judge(texts(200))
    assert (len(judged.table), judged.from_store, judged.is_budget_spent) == (200, bought, False)
    assert len(log.texts) == 200


def test_garbage_is_paid_for_too(make: Any, use: Any) -> None:
    with teacher_server(lambda _, text, __: completion("?" if text == "Text 1." else TIP)) as log:
        use(log.url)
        for _ in range(2):
            with make({"max_failed_share": 1.0}) as teacher:
                teacher.judge(texts(5))
        with make() as teacher:
            assert teacher.spent_usd == pytest.approx((4 + 2 + 2) * ANSWER_USD)


@settings(deadline=None)
@given(
    costs=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=30),
    cap=st.floats(0.5, 10),
)
def test_spent_and_promised_never_pass_the_cap(costs: list[tuple[float, float]], cap: float) -> None:
    async def spend() -> None:
        spending = Spending(cap, 0.0)
        for promised, share in costs:
            try:
                await spending.promise(promised)
            except BudgetSpent:
                assert spending.spent_usd + promised > cap
                continue
            spending.settle(promised, promised * share)
            assert spending.spent_usd <= cap * (1 + 1e-9)

    asyncio.run(spend())


def test_a_request_waits_for_the_money_that_others_give_back() -> None:
    async def spend() -> None:
        spending = Spending(1.0, 0.0)
        await spending.promise(0.9)
        asyncio.get_running_loop().call_later(0.1, spending.settle, 0.9, 0.2)
        with pytest.raises(BudgetSpent, match="at most"):
            spending.promise_now(0.7)
        await spending.promise(0.7)
        assert spending.spent_usd == pytest.approx(0.2)
        spending.settle(0.7, 0.7)
        with pytest.raises(BudgetSpent, match="at most"):
            await spending.promise(0.2)

    asyncio.run(spend())


def test_a_server_that_bills_more_than_the_most_is_promised_more_from_then_on() -> None:
    spending = Spending(1.0, 0.0)
    spending.promise_now(spending.most_usd(0.1))
    spending.settle(0.1, 0.3)
    assert spending.most_usd(0.1) == pytest.approx(0.3)


def test_the_estimate_is_near_what_a_rehearsal_counts(make: Any, use: Any, answers: Path) -> None:
    with serve(Plan(answers)) as server:
        use(server.url)
        with make() as teacher:
            estimate = teacher.estimate(texts(50))
            judged = teacher.judge(texts(50))
            assert teacher.estimate(texts(60)).answered == 50
    assert (estimate.texts, estimate.answered) == (50, 0)
    assert estimate.prompt_tokens == pytest.approx(judged.prompt_tokens, rel=0.35)


# What is kept


def test_nothing_stored_is_asked_again_even_when_the_cache_is_lost(
    make: Any, use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            first = teacher.judge(texts(30)).table
        monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "another"))
        with make() as teacher:
            again = teacher.judge(texts(40))
            assert teacher.spent_usd == pytest.approx(40 * ANSWER_USD)
    assert (again.from_store, again.asked, len(log.texts)) == (30, 10, 40)
    assert again.table.head(30).equals(first)


def test_another_prompt_is_another_judge(make: Any, use: Any) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            teacher.judge(texts(3))
        with make(rules=["Another rule."]) as teacher:
            assert teacher.judge(texts(3)).from_store == 0
    assert len(log.texts) == 6


def test_a_store_that_was_made_anew_does_not_meet_old_answers(
    make: Any, use: Any, store: Store, tmp_path: Path
) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            teacher.judge(texts(3))
        for key in store.list():
            store.delete(key)
        with make() as teacher:
            assert teacher.judge(texts(3)).from_store == 0


def test_two_stores_never_share_answers_through_the_cache(store: Store, tmp_path: Path) -> None:
    book = ResponseLog(store, "hotel-tips")
    book.keep(Response("1", "m:x", "c", "tip", None, None, 100, 10, ANSWER_USD, is_rehearsal=False))
    with closing(ResponseLog(open_store(str(tmp_path / "other")), "hotel-tips")) as other:
        assert other.answers("m:x") == {}
    with closing(ResponseLog(store, "hotel-tips")) as again:  # as after a kill: the first book was never closed
        assert [*again.answers("m:x")] == ["c"]
        assert len(segments(store)) == 1
    book.close()
    assert len(segments(store)) == 1


def test_answers_deleted_from_the_store_are_forgotten_by_the_cache(make: Any, use: Any, store: Store) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            teacher.judge(texts(3))
        for key in store.list("judgements/hotel-tips/"):
            store.delete(key)
        with make() as teacher:
            assert teacher.spent_usd == 0
            assert teacher.stored(texts(3)).from_store == 0


def test_a_damaged_cache_is_filled_again_from_the_store(make: Any, use: Any, tmp_path: Path) -> None:
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with make() as teacher:
            teacher.judge(texts(3))
        (cache,) = (tmp_path / "cache").glob("*.sqlite")
        cache.write_bytes(b"no database" * 1000)
        with make() as teacher:
            assert teacher.judge(texts(3)).from_store == 3
    assert len(log.texts) == 3


def test_segments_arrive_in_the_store_while_the_asking_goes_on(make: Any, use: Any, store: Store) -> None:
    seen: list[int] = []

    def respond(_: Any, __: str, number: int) -> Answer:
        """Hold the last answer back until what was asked before it has arrived."""
        given_up = time.monotonic() + 30
        while number == 60 and len(store.list("judgements/hotel-tips/")) < 2 and time.monotonic() < given_up:
            time.sleep(0.02)
        seen.append(len(store.list("judgements/hotel-tips/")))
        time.sleep(0.02)
        return completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make({"flush_s": 0.1, "concurrency": 2}) as teacher:
            teacher.judge(texts(60))
    assert seen[-1] >= 2


def test_a_cache_folder_that_cannot_be_written_is_bad_input(
    make: Any, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", "/proc/none")
    with teacher_server(lambda *_: completion(TIP)) as log:
        use(log.url)
        with pytest.raises(BadInput, match="UNDERSTUDY_CACHE"), make():
            pass


def test_without_a_home_the_cache_is_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERSTUDY_CACHE")
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert response_log.cache_folder() == tmp_path / f"understudy-{os.getuid()}"


def test_a_segment_that_is_no_segment_is_named(card_text: str, store: Store) -> None:
    store.put_if_absent("judgements/hotel-tips/x/1.jsonl", b'{"id": 1}\n')
    with pytest.raises(Exception, match=r"judgements/hotel-tips/x/1\.jsonl"):
        ResponseLog(store, "hotel-tips")


# The prompt


@settings(deadline=None)
@given(text=st.text(), before=st.text())
def test_a_text_between_its_marks_is_found_whole(text: str, before: str) -> None:
    attack = f"{before}\n{marked(before).partition(chr(10))[2]}\n{text}{marked(text)}"
    assert unmarked(f"Here it is:\n{marked(text)}") == text
    assert unmarked(marked(attack)) == attack


def test_the_prompt_holds_question_labels_rules_and_instructions(make_card: Callable[..., str]) -> None:
    teacher = {"model": "m", "input_usd_per_million": 1, "output_usd_per_million": 1, "instructions": "Be terse."}
    card: Card = parse_card(make_card(teacher=teacher))
    system = prompt_of(card).system
    wanted = [
        card.question,
        *card.rules,
        "Be terse.",
        "Ask for a quiet room.",
        *(label.definition for label in card.labels),
    ]
    assert [part for part in wanted if part not in system] == []


def test_all_that_decides_an_answer_is_in_the_hash() -> None:
    prompt = Prompt("system", ("a", "b"))
    variants = [
        prompt.hash("m", has_logprobs=True),
        prompt.hash("n", has_logprobs=True),
        prompt.hash("m", has_logprobs=False),
        prompt.hash("m", has_logprobs=True, server="rehearsal"),
        Prompt("other", ("a", "b")).hash("m", has_logprobs=True),
        Prompt("system", ("b", "a")).hash("m", has_logprobs=True),
        Prompt("system", ("a", "b"), has_rationale=True).hash("m", has_logprobs=True),
    ]
    assert len(set(variants)) == len(variants)


@settings(deadline=None)
@given(content=st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_answer_is_read_or_refused(content: str) -> None:
    try:
        assert read_verdict(content, LABELS).label in LABELS
    except Unusable as reason:
        assert str(reason)


# The crew


def crew_of(work: Callable[[int], Any], seen: list[int], workers: int) -> Crew[int, int, int]:
    async def prepare(items: Sequence[int]) -> Sequence[int]:
        return items[:2]

    return Crew(prepare, work, seen.append, workers=workers, ahead=2, grace_s=5.0)


def test_an_error_ends_the_crew_after_the_work_under_way() -> None:
    finished: list[int] = []
    seen: list[int] = []

    async def work(item: int) -> int:
        with crew.busy():
            if item == 3:
                raise TeacherError("three")
            await asyncio.sleep(0.05)
            finished.append(item)
            return item

    crew = crew_of(work, seen, 4)
    asyncio.run(crew.work_off(list(range(100))))
    assert str(crew.error) == "three"
    assert sorted(seen) == sorted(finished)
    assert 0 < len(finished) < 10


def test_a_stop_wakes_those_who_wait() -> None:
    async def work(item: int) -> int:
        if item:
            await asyncio.sleep(30)
        crew.end(TeacherError("enough"))
        return item

    seen: list[int] = []
    crew = crew_of(work, seen, 3)
    started = time.monotonic()
    asyncio.run(crew.work_off([0, 1, 2, 3, 4, 5]))
    assert (seen, str(crew.error)) == ([0], "enough")
    assert time.monotonic() - started < 3


def test_sigterm_ends_the_asking_and_what_was_bought_is_in_the_store(make: Any, use: Any, store: Store) -> None:
    def respond(_: Any, __: str, number: int) -> Answer:
        if number == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        return completion(TIP)

    with teacher_server(respond) as log:
        use(log.url)
        with make({"flush_s": 1000.0}) as teacher, pytest.raises(SystemExit) as ended:
            teacher.judge(texts(500))
    assert ended.value.code == 128 + signal.SIGTERM
    assert 20 <= len(log.texts) < 60
    assert len(segments(store)) == len(log.texts)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_judged_figures_add_up() -> None:
    empty = texts(0)
    both = Judged(empty, asked=3, failed={"x": 1}) + Judged(
        empty, asked=4, failed={"x": 1, "y": 2}, is_budget_spent=True
    )
    assert (both.asked, both.failed, both.failures, both.is_budget_spent) == (7, {"x": 2, "y": 2}, 4, True)


def many_labels(number: int, words: int, examples: int) -> list[Label]:
    definition = " ".join(["long"] * words)
    return [
        Label(
            name=f"intent {n}", definition=f"{n} {definition}", examples=[f"Example {n} {e}" for e in range(examples)]
        )
        for n in range(number)
    ]


def test_a_prompt_that_fits_its_budget_says_everything() -> None:
    labels = many_labels(77, 20, 2)
    described = fit_labels(labels)
    assert described.sentence == ""
    assert all(label.definition in line for label, line in zip(labels, described.lines, strict=True))
    assert all(
        example in line for label, line in zip(labels, described.lines, strict=True) for example in label.examples
    )


def test_examples_are_left_out_before_definitions_are_cut() -> None:
    described = fit_labels(many_labels(77, 30, 5))
    assert described.sentence == (
        "the labels' descriptions keep 4,000 tokens of the prompt: 308 examples left out, 0 definitions cut."
    )
    assert all(line.count("Example:") == 1 for line in described.lines)


@pytest.mark.parametrize("number", [77, 500])
def test_long_definitions_are_cut_and_names_never(number: int) -> None:
    labels = many_labels(number, 200, 1)
    described = fit_labels(labels)
    assert len("\n".join(described.lines)) <= 16_000
    assert (described.examples_left_out, described.definitions_cut) == (number, number)
    assert all(line.startswith(f"- {label.name}: ") for label, line in zip(labels, described.lines, strict=True))
    assert all(line.endswith("…") for line in described.lines)
    short = Label(name="short", definition="Short one.")
    assert fit_labels([*labels, short]).lines[-1] == "- short: Short one."


def test_names_stay_whole_where_they_alone_pass_the_budget() -> None:
    labels = [Label(name=f"{n} {'x' * 190}", definition="A definition.") for n in range(500)]
    assert all(line == f"- {label.name}: …" for label, line in zip(labels, fit_labels(labels).lines, strict=True))


def test_names_that_a_list_would_cut_are_written_as_the_answer_has_them(make_card: Callable[..., str]) -> None:
    labels = [{"name": name, "definition": "One."} for name in ("a, b", 'say "c"', "=d")]
    system = prompt_of(parse_card(make_card(labels=labels, positive_label="=d", weak_rules=[]))).system
    assert system.endswith('where the label is one of: "a, b", "say \\"c\\"", "=d".')
