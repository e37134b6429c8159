"""How answers were asked for and came, what they cost, and what is quoted of those that cannot be used."""

import json

import pytest

from tests.conftest import card_yaml
from tests.teacher.test_server import rows, texts
from tests.teachers import Answer, completion, error, teacher_server
from understudy.errors import TeacherError
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.client import read_reply
from understudy.teacher.labeller import open_teacher

TIP = '{"label": "tip"}'


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def ask(store, monkeypatch):
    """Ask a server for some texts, and return what came of it and what five texts more would take."""

    def asked(url, number=6, **config):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with open_teacher(parse_card(card_yaml()), store, TeacherConfig(**config)) as teacher:
            judged = teacher.judge(texts(number))
            return judged, teacher.estimate(texts(number + 5))

    return asked


def refusing(*kinds):
    """Answer well, once none of these formats is asked for."""

    def respond(request, _text, _number):
        kind = request.get("response_format", {}).get("type")
        return error(400, f"'{kind}' is not supported") if kind in kinds else completion(TIP)

    return respond


@pytest.mark.parametrize(
    ("respond", "form", "words"),
    [
        (refusing(), "schema", []),
        (refusing("json_schema"), "json", ["6 in JSON mode"]),
        (refusing("json_schema", "json_object"), "plain", ["6 read out of plain text"]),
        (lambda *_: completion(f"I think that it is {TIP}."), "plain", ["6 read out of plain text"]),
    ],
)
def test_how_answers_were_asked_for_and_came_is_kept_beside_them_and_said(respond, form, words, ask, store):
    with teacher_server(respond) as log:
        judged, _ = ask(log.url)
        again, _ = ask(log.url)
    assert judged.forms == again.forms == {form: 6}
    assert [remark for remark in again.remarks() if "without" not in remark and "cut" not in remark] == words
    assert {row["form"] for row in rows(store)} == {form}


def test_a_server_that_takes_another_format_later_is_not_asked_again(ask):
    with teacher_server(refusing("json_schema", "json_object")) as log:
        ask(log.url)
    with teacher_server(refusing()) as log:
        judged, _ = ask(log.url)
    assert (judged.from_store, log.texts) == (6, [])


@pytest.mark.parametrize(
    ("refusal", "left_out"),
    [
        ({"message": "Unsupported value.", "param": "temperature", "code": "unsupported_value"}, "temperature"),
        ({"message": "Max_Tokens must be given"}, "max_completion_tokens"),
        ({"message": "Log probabilities are not supported"}, "logprobs"),
        ({"message": "This model does not support structured outputs"}, "response_format"),
        ({"message": {"detail": [{"loc": ["body", "top_logprobs"], "msg": "Extra input"}]}}, "top_logprobs"),
    ],
)
@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_refusal_is_understood_in_whatever_words_it_comes(refusal, left_out, status, ask):
    def respond(request, _text, _number):
        form = request.get("response_format", {}).get("type")
        is_refused = form is not None if left_out == "response_format" else left_out in request
        return Answer({"error": refusal}, status) if is_refused else completion(TIP)

    with teacher_server(respond) as log:
        judged, _ = ask(log.url)
    assert (len(judged.table), judged.failures) == (6, 0)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            completion("It is\x1b[31m a tip, I should say, " + "and again " * 20),
            r"the answer is not JSON ('It is\x1b[31m a",
        ),
        (completion(None, refusal="I would rather not."), "the teacher refused to answer ('I would rather not.')"),
        (completion(None, reasoning_content="Hm, a room"), "all that the model wrote are thoughts ('Hm, a room')"),
        (error(400, "It is too long"), "the server refused the request ('Error code: 400 - It is too long')"),
        (
            error(400, "Filtered due to our content management policy", "content_filter"),
            "the server's content filter stopped the text ('Error code: 400 - Filtered due to",
        ),
        (Answer(b"{out of order}"), "the server's answer is not JSON ('{out of order}')"),
    ],
)
def test_a_reason_quotes_the_begin_of_one_answer(said, reason, ask):
    with teacher_server(lambda _, __, number: said if number == 3 else completion(TIP)) as log:
        judged, _ = ask(log.url, 30, concurrency=1)
    judged_reasons = judged.reasons() if judged.failures else []
    with teacher_server(lambda *_: said) as log, pytest.raises(TeacherError) as ended:
        ask(log.url, 90)
    assert reason in str(ended.value)
    assert all(len(found) < 200 and reason in found for found in judged_reasons)


def test_no_quote_shows_a_key(ask, monkeypatch, store):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    said = f"{'x' * 66} sk-very-secret-key"
    with teacher_server(lambda *_: completion(said)) as log, pytest.raises(TeacherError) as ended:
        ask(log.url)
    assert "xxx" in str(ended.value)
    assert "secret" not in str(ended.value)
    assert all(b"secret" not in store.read(key) for key in store.list())


# What is billed


def usage(counted):
    answer = completion(TIP)
    answer.body["usage"] = counted
    return answer


@pytest.mark.parametrize("counted", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_tokens_that_the_server_does_not_count_are_estimated_and_said_to_be(counted, ask, store):
    with teacher_server(lambda *_: usage(counted)) as log:
        judged, _ = ask(log.url)
    assert judged.estimated == 6
    assert "6 with tokens and cost estimated, for the server counts none" in judged.remarks()
    assert judged.cut_prompts == 0
    assert all(row["prompt_tokens"] > 100 and row["is_estimated"] for row in rows(store))


@pytest.mark.parametrize(
    ("counted", "billed"),
    [
        ({"completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 80}}, 90),
        ({"completion_tokens": 10, "total_tokens": 190}, 90),
        ({"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 80}}, 90),
        ({"completion_tokens": 10, "completion_tokens_details": None, "total_tokens": "?"}, 10),
    ],
)
def test_hidden_thoughts_are_priced_whether_they_stand_inside_of_the_completion_or_not(counted, billed):
    body = usage({"prompt_tokens": 100, **counted}).body
    assert read_reply(body).completion_tokens == billed


def test_a_forecast_goes_by_the_length_of_answers_once_there_are_some(ask):
    thinking = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 600}
    with teacher_server(lambda *_: usage(thinking)) as log:
        _, few = ask(log.url, 4)
        _, some = ask(log.url, 5)
    assert few.completion_tokens == 5 * -(-len(json.dumps({"label": "other"})) // 4)
    assert some.completion_tokens == 5 * 500
