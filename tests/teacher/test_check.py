"""`understudy teacher check`: five texts, raw answers, what the server can do, and what follows for the card."""

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import CARD
from tests.teachers import Answer, completion, error, teacher_server
from understudy.cli.main import app
from understudy.data.rows import id_of
from understudy.errors import BadData, BadInput, TeacherError
from understudy.store import tombstones
from understudy.store.storage import prepare_store
from understudy.teacher.injected_errors import Columns
from understudy.teacher.misbehaviours import parse
from understudy.teacher.simulated import Plan, serve

TIP = '{"label": "tip"}'


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(CARD))
    return path


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.csv"
    rows = {"body": [f"Take room {number}." for number in range(12)], "label": ["tip"] * 12}
    pl.DataFrame(rows).write_csv(path)
    return path


@pytest.fixture
def check(card, monkeypatch):
    """Run the command against a server, and return what it printed."""

    def checked(url, *more):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        result = CliRunner().invoke(app, ["teacher", "check", "--card", str(card), *map(str, more)])
        if result.exception:
            raise result.exception
        return result.output

    return checked


def test_the_cards_own_examples_are_asked_and_the_server_is_described(check):
    with teacher_server(lambda *_: completion(f"Well: {TIP}")) as log:
        said = check(log.url)
    assert log.texts[0] == "Ask for a quiet room."
    assert "3 of 3 texts to ask (0 answered), about $0.0" in said
    assert f"1. Ask for a quiet room.\n   Well: {TIP}\n" in said
    assert "answers: 3 usable, 3 read out of plain text" in said
    assert "log-probabilities: read from 0 of 3 answers" in said
    assert "tokens: counted by the server" in said
    assert "asked with every parameter" in said
    assert "dollars a text: $0.000140, $0.14 for 1,000" in said
    assert "logprobs: false  # it gives none" in said


def test_a_file_is_asked_five_texts_at_a_time_and_a_store_keeps_what_was_paid(check, texts, tmp_path):
    with teacher_server(lambda *_: completion(TIP)) as log:
        for number in (5, 10, 12):
            said = check(log.url, "--texts", texts, "--text-column", "body", "--store", tmp_path / "store")
            assert len(log.texts) == len(set(log.texts)) == number
        assert "$0.0014 of $5.00 spent so far" in said
        with pytest.raises(BadData, match="12 answered"):
            check(log.url, "--texts", texts, "--text-column", "body", "--store", tmp_path / "store")


def test_what_somebody_asked_to_forget_is_not_sent(check, tmp_path, capsys):
    path, store = tmp_path / "named.csv", tmp_path / "store"
    path.write_text("id,group,text\n" + "".join(f"r{n},g{n},Take room {n}.\n" for n in range(4)))
    keep = prepare_store(str(store))
    tombstones.remember_to_forget(keep, "id", ["r0", id_of("Take room 2.")], "2026-12-01")
    tombstones.remember_to_forget(keep, "group", ["g1"], "2026-12-01")
    with teacher_server(lambda *_: completion(TIP)) as log:
        said = check(log.url, "--texts", path, "--store", store)
    assert log.texts == ["Take room 3."]
    assert "3 texts left out: somebody asked to forget the text" in said


def test_what_a_server_refuses_lacks_and_cuts_is_said_with_the_settings_that_follow(check, texts):
    faults = parse(["no-schema", "refuse:logprobs", "no-usage", "length=0.4"])
    with serve(Plan(texts, columns=Columns("body"), misbehave=faults)) as server:
        said = check(server.url, "--texts", texts, "--text-column", "body")
    assert "a rehearsal," in said
    assert "in JSON mode\n" in said
    assert "asked without logprobs; in JSON mode in place of a strict schema" in said
    assert "tokens: not counted in" in said
    assert "max_answer_tokens: 800  # answers were cut" in said
    assert "of the texts have no answer: a run stops beyond 5%" in said


def test_answers_that_cannot_be_used_are_shown_and_no_error(check):
    with teacher_server(lambda *_: completion("It\x1b[31m depends.")) as log:
        said = check(log.url)
    assert "   It\\x1b[31m depends.\n" in said
    assert "No answer for 3 texts: the answer is not JSON" in said


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(error(401, "no such key"), BadInput), (error(404, "no such model"), BadInput), (Answer(b"<html>"), TeacherError)],
)
def test_a_server_that_answers_nothing_ends_the_check_as_a_run(check, answer, kind):
    with teacher_server(lambda *_: answer) as log, pytest.raises(kind):
        check(log.url)


def test_a_parameter_that_is_refused_as_a_failure_of_the_server_is_left_out(check):
    """As llama-cpp-python's server answers: HTTP 500, a sentence of Python in it."""
    words = "1 validation error: {'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'json_object'\"}"

    def respond(request, _text, _number):
        is_strict = request.get("response_format", {}).get("type") == "json_schema"
        return error(500, words) if is_strict else completion(TIP)

    with teacher_server(respond) as log:
        assert "3 in JSON mode" in check(log.url)
    assert len(log.texts) == 4
