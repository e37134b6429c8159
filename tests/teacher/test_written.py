"""Servers as they are: what a model writes around its JSON, what a server refuses, and how it is addressed."""

import json
import math

import pytest

from tests.conftest import card_yaml
from tests.teacher.test_server import texts
from tests.teachers import Answer, completion, error, teacher_server
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.labeller import open_teacher
from understudy.teacher.prompt import Unusable, read_verdict

LABELS = ["other", "tip"]
TIP = '{"label": "tip"}'
NO_PARAMETER = ("max_completion_tokens", "json_schema", "json_object", "top_logprobs", "logprobs", "temperature")


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def ask(store, monkeypatch):
    """Ask a server for some texts, and return what came of it."""

    def asked(url, number=3, **config):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with open_teacher(parse_card(card_yaml()), store, TeacherConfig(**config)) as teacher:
            return teacher.judge(texts(number))

    return asked


@pytest.mark.parametrize(
    "content",
    [
        f"```json\n{TIP}\n```",
        f"```\n{TIP}",
        f'<think>Is it {{"label": "other"}}? No.</think>{TIP}',
        f'It may be {{"label": "other"}}.</think>\n\n{TIP}',
        f"Sure! Here is my answer: {TIP}. I hope that it helps.",
        f"{TIP}\n{TIP}",
        "{'label': 'tip', 'rationale': 'It\\'s advice.'}",
        '{"Label": "Tip"}',
        [{"type": "text", "text": '{"label": '}, {"type": "text", "text": '"tip"}'}],
    ],
)
def test_an_answer_is_read_whatever_the_model_writes_around_it(content, ask):
    with teacher_server(lambda *_: completion(content)) as log:
        judged = ask(log.url)
    assert judged.table["label"].cast(str).to_list() == ["tip"] * 3
    assert len(log.requests) == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f'{TIP} or {{"label": "other"}}', "several answers that differ"),
        (f"<think>It is {TIP}", "not JSON"),
        ("{'label': 'tip'", "not JSON"),
        ("{" * 5000, "not JSON"),
        ('{"label": ' + "[" * 50_000, "not JSON"),
        (f"[{TIP}]", "not a JSON object"),
    ],
)
def test_what_says_no_one_answer_is_not_guessed(content, reason):
    with pytest.raises(Unusable, match=reason):
        read_verdict(content, LABELS)


def test_log_probabilities_are_found_where_the_fence_stands_in_the_content_or_in_the_tokens_alone(ask):
    top = [{"token": "tip", "logprob": math.log(0.75)}, {"token": "other", "logprob": math.log(0.25)}]
    tokens = [
        *({"token": token, "logprob": 0.0} for token in ("```", "json\n", '{"label": "')),
        {**top[0], "top_logprobs": top},
        *({"token": token, "logprob": 0.0} for token in ('"}', "\n```")),
    ]
    contents = [TIP, f"```json\n{TIP}\n```"]

    def respond(_request, _text, number):
        answer = completion(contents[number % 2])
        answer.body["choices"][0]["logprobs"] = {"content": tokens}
        return answer

    with teacher_server(respond) as log:
        judged = ask(log.url, 4)
    assert [sorted(row) for row in judged.table["probabilities"].to_list()] == [pytest.approx([0.25, 0.75])] * 4


def told_as(shape, message):
    shapes = {
        "an object": error(400, message),
        "a list": Answer([{"error": {"message": message}}], 400),
        "detail": Answer({"detail": [{"loc": ["body"], "msg": message, "input": {"temperature": 0}}]}, 422),
    }
    return shapes[shape]


def first_refused(request):
    """Name one parameter of a request that the server does not know; None when it knows them all."""
    known = {*request, request.get("response_format", {}).get("type")}
    return next((name for name in NO_PARAMETER if name in known), None)


@pytest.mark.parametrize("shape", ["an object", "a list", "detail"])
def test_parameters_that_a_server_refuses_are_dropped_one_by_one_and_said_once(shape, ask, capsys):
    def respond(request, _text, _number):
        name = first_refused(request)
        return told_as(shape, f"Unsupported: {name}") if name else completion(TIP)

    with teacher_server(respond) as log:
        judged = ask(log.url, 12, concurrency=4, logprobs=True, max_answer_tokens=77)
    assert (len(judged.table), judged.failures) == (12, 0)
    assert set(log.requests[-1]) == {"model", "messages", "max_tokens"}
    assert log.requests[-1]["max_tokens"] == 77
    said = capsys.readouterr().err
    assert said.count("for it refuses that") == len(NO_PARAMETER)
    assert said.count("in JSON mode in place of a strict schema") == 1


def test_a_server_that_knows_json_mode_alone_is_asked_for_it(ask):
    def respond(request, _text, _number):
        is_strict = request["response_format"]["type"] == "json_schema"
        return error(400, "'json_schema' is not supported") if is_strict else completion(TIP)

    with teacher_server(respond) as log:
        ask(log.url)
    assert json.dumps(log.requests[-1]["response_format"]) == '{"type": "json_object"}'


def test_azures_address_keeps_its_query_and_its_key_goes_into_its_header(ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-azure-key-123456")
    with teacher_server(lambda *_: completion(TIP)) as log:
        ask(f"{log.url}/?api-version=2024-10-21")
        monkeypatch.delenv("OPENAI_API_KEY")
    assert set(log.paths) == {"/v1/chat/completions?api-version=2024-10-21"}
    assert log.headers[0]["api-key"] == "sk-azure-key-123456"
