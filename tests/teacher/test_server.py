"""What a teacher's server may do: be slow, answer errors with 200, send its clients away, echo the key, cut prompts."""

import json
import math
import os
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.teachers import Answer, completion, error, teacher_server
from understudy.errors import BadInput, TeacherError
from understudy.store.storage import Store
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.labeller import open_teacher, probe
from understudy.teacher.logprobs import label_probabilities
from understudy.teacher.prompt import unmarked

TIP = '{"label": "tip"}'
LABELS = ["other", "tip"]
ANSWER_USD = 0.00014


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def judge(store: Store, monkeypatch) -> Callable[..., Any]:
    """Ask a server for some texts, and return what came of it and the money."""

    def judged(url: str, number: int, config: dict[str, Any] | None = None, **changes: Any) -> tuple[Any, float]:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with open_teacher(parse_card(card_yaml(**changes)), store, TeacherConfig(**(config or {}))) as teacher:
            return teacher.judge(texts(number)), teacher.spent_usd

    return judged


def texts(number: int) -> pl.DataFrame:
    said = [f"Text {row}. {'It is so. ' * (3 * row)}" for row in range(number)]
    return pl.DataFrame({"id": [f"t{row:04}" for row in range(number)], "text": said, "weight": [1.0] * number})


def rows(store: Store) -> list[dict[str, Any]]:
    keys = [key for key in store.list("judgements/hotel-tips/") if key.endswith(".jsonl")]
    return [json.loads(line) for key in keys for line in store.read(key).splitlines()]


# A slow server


@contextmanager
def one_at_a_time(
    seconds: float, kind: type[socketserver.TCPServer], protocol: str
) -> Iterator[tuple[str, Counter[str]]]:
    """Run a server with one slot; `kind` decides whether connections or only requests wait for it."""
    slot, asked = threading.Lock(), Counter[str]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_GET(self):
            self.send({"data": [{"id": "paid-1"}]})

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked[unmarked(request["messages"][-1]["content"]) or ""] += 1
            with slot:
                time.sleep(seconds)
            self.send(completion(TIP).body)

        def send(self, body):
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Say nothing."""

    class Server(kind):  # type: ignore[valid-type,misc]
        daemon_threads = True

        def handle_error(self, *_):
            """Say nothing of clients that hang up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [HTTPServer, ThreadingHTTPServer])
@pytest.mark.parametrize(("seconds", "timeout_s"), [(0.1, 0.35), (0.15, 0.1)])
def test_a_server_with_one_slot_answers_all_texts_and_none_is_paid_twice(judge, kind, seconds, timeout_s, capsys):
    with one_at_a_time(seconds, kind, "HTTP/1.0") as (url, asked):
        judged, spent = judge(url, 69, {"concurrency": 8, "timeout_s": timeout_s})
    assert (len(judged.table), judged.failures) == (69, 0)
    assert max(asked.values()) == 1
    assert spent == pytest.approx(69 * ANSWER_USD)
    assert "at once from here on (teacher.timeout_s" in capsys.readouterr().err


def test_a_connection_that_is_kept_alive_by_a_server_with_one_slot_starves_no_text(judge):
    with one_at_a_time(0.02, HTTPServer, "HTTP/1.1") as (url, _):
        judged, _ = judge(url, 30, {"concurrency": 8, "timeout_s": 0.5})
    assert (len(judged.table), judged.failures) == (30, 0)


def test_a_request_that_is_never_answered_is_given_up_booked_and_asked_again(judge, store):
    hung = threading.Event()

    def respond(_: Any, text: str, __: int) -> Answer:
        if text.startswith("Text 3.") and not hung.is_set():
            hung.set()
            time.sleep(20)
        return completion(TIP)

    started = time.monotonic()
    with teacher_server(respond) as log:
        judged, spent = judge(log.url, 60, {"concurrency": 4, "timeout_s": 0.5})
        assert time.monotonic() - started < 15
    assert (len(judged.table), judged.failures) == (60, 0)
    (booked,) = [row for row in rows(store) if row["id"].endswith(".booked")]
    assert booked["failure"] == "sent, but no answer came"
    assert booked["cost_usd"] > ANSWER_USD
    assert spent == pytest.approx(60 * ANSWER_USD + booked["cost_usd"])


def test_a_server_that_falls_silent_ends_the_run(judge, store):
    def respond(*_: Any) -> Answer:
        time.sleep(20)
        return completion(TIP)

    with teacher_server(respond) as log, pytest.raises(TeacherError, match=r"got no answer in time .*kept\."):
        judge(log.url, 60, {"concurrency": 4, "timeout_s": 0.1})
    assert len(log.texts) <= 4 + 4 + 6
    assert len([row for row in rows(store) if row["id"].endswith(".booked")]) == len(log.texts)


def test_a_server_that_hangs_up_is_booked_and_the_budget_is_not_passed(judge, store):
    def respond(*_: Any) -> Answer:
        return Answer(b"{", headers={"Content-Length": "1000", "Connection": "close"})

    with teacher_server(respond) as log, pytest.raises(TeacherError):
        judge(log.url, 60, {"concurrency": 4, "max_tries": 2}, budget={"teacher_usd": 0.02})
    assert 0 < sum(row["cost_usd"] for row in rows(store)) <= 0.02


@pytest.mark.parametrize("said", [error(504, "the upstream is slow"), Answer(b"<html>busy</html>")])
def test_what_a_gateway_lets_time_out_or_answers_with_a_page_is_booked(judge, store, said):
    with teacher_server(lambda *_: said) as log, pytest.raises(TeacherError):
        judge(log.url, 60, {"concurrency": 4, "max_tries": 2}, budget={"teacher_usd": 0.02})
    assert 0 < sum(row["cost_usd"] for row in rows(store)) <= 0.02


# Errors that come with 200


@pytest.mark.parametrize(
    "said",
    [
        {"code": 429, "message": "slow down"},
        {"code": "429", "message": "slow down"},
        {"code": "rate_limit_exceeded", "message": "slow down"},
        {"code": 503, "message": "overloaded"},
        {"type": "overloaded_error", "message": "try later"},
        {"status": 500, "message": "oops"},
        {"type": "server_error", "message": "oops"},
    ],
)
def test_an_error_with_200_that_passes_is_waited_out_at_no_cost(judge, said):
    with teacher_server(lambda _, __, number: completion(TIP) if number else Answer({"error": said})) as log:
        judged, spent = judge(log.url, 1)
    assert (len(judged.table), spent) == (1, pytest.approx(ANSWER_USD))
    assert log.times[1] - log.times[0] >= 0.4


@pytest.mark.parametrize(
    "said", [{"code": 400, "message": "too long for me"}, "too long for me", {"x": "too long for me"}]
)
def test_an_error_with_200_that_stays_is_told_in_the_servers_words_at_no_cost(judge, said, store):
    with (
        teacher_server(lambda *_: Answer({"error": said})) as log,
        pytest.raises(TeacherError, match="too long for me"),
    ):
        judge(log.url, 5)
    assert len(log.texts) == 5
    assert rows(store) == []


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"code": 401, "message": "no such key"}, BadInput, "key must be accepted, got 'no such key'"),
        ({"code": "invalid_api_key", "message": "no such key"}, BadInput, "key must be accepted"),
        ({"code": "model_not_found", "message": "no such model"}, BadInput, r"Mend teacher\.model"),
        ({"code": "insufficient_quota", "message": "pay first"}, TeacherError, "account must have credit"),
    ],
)
def test_an_error_with_200_means_what_its_code_says(judge, said, kind, words):
    with teacher_server(lambda *_: Answer({"error": said})) as log, pytest.raises(kind, match=words):
        judge(log.url, 5, {"concurrency": 1})
    assert len(log.texts) == 1


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("is_probe", [True, False])
def test_neither_text_nor_key_follows_a_redirect_to_another_server(judge, monkeypatch, status, is_probe):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    with teacher_server(lambda *_: completion(TIP)) as thief:
        away = Answer({}, status, {"Location": f"{thief.url}/chat/completions"})
        models = away if is_probe else error(404, "no listing")
        with teacher_server(lambda *_: away, models) as log, pytest.raises(BadInput, match=f"got {status}, a redirect"):
            judge(log.url, 5)
    assert thief.texts == []


# Keys


@pytest.mark.parametrize(
    "url", ["http://me:pass-word@127.0.0.1:9/v1", "me:pass-word@host/v1", "https://me:pa/ss-word@h/v1"]
)
def test_an_address_with_a_password_is_refused_and_not_shown(judge, url):
    with pytest.raises(BadInput) as refused:
        judge(url, 1)
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize("key", ["sk-secret\nsk-other", "sk-sécret"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(judge, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(BadInput, match="OPENAI_API_KEY") as refused:
        judge("http://127.0.0.1:9/v1", 1)
    assert "cret" not in str(refused.value)


def test_a_key_from_a_file_is_stripped_and_used(judge, monkeypatch, tmp_path):
    (tmp_path / "key").write_text(" sk-from-a-file \n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    with teacher_server(lambda *_: completion(TIP)) as log:
        judge(log.url, 1)
    assert log.headers[0]["authorization"] == "Bearer sk-from-a-file"


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_a_server_that_echoes_the_key_does_not_bring_it_to_light(judge, monkeypatch, status, store):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    said = {"error": {"message": "you sent sk-very-secret-key", "code": "sk-very-secret-key"}}
    with teacher_server(lambda *_: Answer(said, status)) as log, pytest.raises((BadInput, TeacherError)) as ended:
        judge(log.url, 5, {"max_tries": 1})
    assert "secret" not in str(ended.value)
    assert all(b"secret" not in store.read(key) for key in store.list())


# What is lost in silence


def token(text: str, **others: float) -> dict[str, Any]:
    return {
        "token": text,
        "logprob": math.log(0.8) if others else 0.0,
        "top_logprobs": [{"token": name, "logprob": math.log(share)} for name, share in others.items()],
    }


ANSWER = [token('{"label": "'), token("tip", tip=0.8, other=0.2), token('"}')]


@pytest.mark.parametrize(
    "tokens",
    [
        ANSWER,
        [*ANSWER, token("<|im_end|>")],
        [*ANSWER, token("\n"), {"token": "</s>", "logprob": None, "top_logprobs": None, "bytes": None}],
        [token("\n"), *ANSWER],
        [token("```"), token("json"), token("\n"), *ANSWER, token("\n"), token("```"), token("<|eot_id|>")],
        [token("<think>"), token(TIP), token("</think>"), *ANSWER],
        [token(" "), *ANSWER, {"token": "", "logprob": 0.0}],
    ],
)
@pytest.mark.parametrize("content", [TIP, f"\n{TIP}\n"])
def test_tokens_that_the_answer_does_not_show_leave_the_probabilities(tokens, content):
    assert label_probabilities(content, tokens, LABELS) == pytest.approx([0.2, 0.8])


def test_answers_without_probabilities_are_counted(judge):
    def respond(_: Any, __: str, number: int) -> Answer:
        body = completion(TIP).body
        body["choices"][0]["logprobs"] = {"content": ANSWER if number % 3 else [token("who knows")]}
        return Answer(body)

    with teacher_server(respond) as log:
        judged, _ = judge(log.url, 30)
    assert judged.without_probabilities == judged.table["probabilities"].null_count() == 10
    assert "10 without probabilities" in judged.remarks()


@pytest.mark.parametrize(
    ("billed", "cut"),
    [
        (lambda length: length // 4, 0),
        (lambda length: min(length // 4, 350), 20),  # the end or the beginning of long prompts is gone
        (lambda _: 64, 40),  # and nearly all of each
    ],
)
def test_prompts_that_the_server_cuts_are_counted(judge, billed, cut):
    def respond(request: dict[str, Any], *_: Any) -> Answer:
        body = completion(TIP).body
        length = sum(len(message["content"]) for message in request["messages"]) + len(
            json.dumps(request["response_format"])
        )
        body["usage"]["prompt_tokens"] = billed(length)
        return Answer(body)

    with teacher_server(respond) as log:
        judged, _ = judge(log.url, 40)
    assert (judged.cut_prompts > 0) == (cut > 0)
    assert judged.cut_prompts >= cut / 2


# A full disk


FULL = """
import resource, sys
import polars as pl
from tests.conftest import card_yaml
from tests.teacher.test_server import texts
from understudy.task.sections import TeacherConfig
from understudy.store.storage import open_store
from understudy.task.card import parse_card
from understudy.teacher.labeller import open_teacher
with open_teacher(parse_card(card_yaml()), open_store(sys.argv[1]), TeacherConfig()) as teacher:
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))
    print(len(teacher.judge(texts(40)).table))
"""


def test_a_cache_whose_disk_is_full_is_left_and_no_answer_is_lost(store, judge, warm):
    with teacher_server(lambda *_: completion(TIP)) as log:
        environment = {**os.environ, "OPENAI_BASE_URL": log.url}
        ended = warm.run(["-c", FULL, store.uri], env=environment, check=True)
        assert ended.stdout == "40\n"
        assert "cache of the teacher's answers cannot be written" in ended.stderr
        judged, spent = judge(log.url, 40)
    assert (judged.from_store, judged.asked, len(log.texts)) == (40, 0, 40)
    assert spent == pytest.approx(40 * ANSWER_USD)


def test_a_probe_asks_for_nothing_that_the_job_does_not_need(monkeypatch):
    with teacher_server(lambda *_: completion(TIP), error(403, "no listing")) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        assert probe(parse_card(card_yaml()), TeacherConfig()) is False
    assert log.texts == []
