"""Other models of a card than its teacher: whose address and key they have, and whose money they spend."""

import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.teachers import completion, teacher_server
from understudy.errors import BadCard, BadInput
from understudy.task.card import Card, parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher import access
from understudy.teacher.labeller import open_teacher

TIP = '{"label": "tip"}'
TEXTS = pl.DataFrame({"id": ["a", "b"], "text": ["One.", "Two."], "weight": [1.0] * 2})
PRICES = {"input_usd_per_million": 1000.0, "output_usd_per_million": 0.0}  # 10 cents an answer of `completion`
ORACLE = {"model": "strong", "budget_usd": 9.0, **PRICES}


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    for name in ("BASE_URL", "API_KEY"):
        for whose in ("OPENAI", "UNDERSTUDY_ORACLE", "UNDERSTUDY_EDITOR"):
            monkeypatch.delenv(f"{whose}_{name}", raising=False)


def card(**changes) -> Card:
    teacher = {"model": "cheap", "base_url": "http://127.0.0.1:1/v1", "seconds_per_text": 1.2, **PRICES}
    return parse_card(card_yaml(**{"teacher": teacher, "models": {"oracle": ORACLE}, **changes}))


def test_each_model_spends_its_own_budget_and_the_store_tells_them_apart(store, monkeypatch):
    task = card(budget={"teacher_usd": 9.0})
    with teacher_server(lambda *_: completion(TIP)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with open_teacher(task, store, TeacherConfig()) as teacher:
            teacher.judge(TEXTS)
            assert teacher.spent_usd == pytest.approx(0.2)
        with open_teacher(task.acting("oracle"), store, TeacherConfig()) as oracle:
            assert oracle.spent_usd == 0
            judged = oracle.judge(TEXTS.head(1))
            assert (oracle.spent_usd, oracle.spent_on("")) == (pytest.approx(0.1), pytest.approx(0.2))
            assert judged.table["judge"][0].startswith("strong:")
        with open_teacher(task, store, TeacherConfig()) as teacher:
            assert teacher.spent_usd == pytest.approx(0.2)
        assert [request["model"] for request in server.requests] == ["cheap", "cheap", "strong"]


def test_a_role_never_passes_its_own_budget(store, monkeypatch):
    task = card(models={"oracle": {**ORACLE, "budget_usd": 0.01}})
    with teacher_server(lambda *_: completion(TIP)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with open_teacher(task.acting("oracle"), store, TeacherConfig()) as oracle:
            judged = oracle.judge(TEXTS)
    assert (judged.is_budget_spent, server.texts) == (True, [])


def test_a_card_without_other_models_plays_all_roles_by_its_teacher():
    task = card(models=None)
    assert task.acting("oracle") is task


def test_the_environment_says_where_a_role_is_before_the_card_and_the_teacher_after_it(monkeypatch):
    oracle = card(models={"oracle": {**ORACLE, "base_url": "http://own/v1"}}).acting("oracle").teacher
    assert access.url_of(card().acting("oracle").teacher) == "http://127.0.0.1:1/v1", "where the teacher is"
    assert access.url_of(oracle) == "http://own/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://rehearsal/v1")
    assert access.url_of(oracle) == "http://rehearsal/v1", "a rehearsal is asked by all"
    monkeypatch.setenv("UNDERSTUDY_ORACLE_BASE_URL", "http://other/v1")
    assert access.url_of(oracle) == "http://other/v1"
    assert access.url_of(card().teacher) == "http://rehearsal/v1"


def test_the_teachers_key_is_not_sent_to_an_address_of_a_roles_own(monkeypatch):
    apart = card(models={"oracle": {**ORACLE, "base_url": "https://own.example/v1"}}).acting("oracle").teacher
    beside = card().acting("oracle").teacher
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-teacher")
    assert access.key_of(beside, access.url_of(beside), is_local=False) == "sk-of-the-teacher"
    with pytest.raises(BadInput, match=r"oracle's key must be set, got none \(UNDERSTUDY_ORACLE_API_KEY, for https"):
        access.key_of(apart, access.url_of(apart), is_local=False)
    monkeypatch.setenv("UNDERSTUDY_ORACLE_API_KEY", "sk-of-the-oracle")
    assert access.key_of(apart, access.url_of(apart), is_local=False) == "sk-of-the-oracle"


def test_a_role_stays_in_the_house_and_takes_out_of_texts_what_the_teacher_does():
    teacher = {"model": "cheap", "place": "in-house", "redact": {"kinds": ["email"]}, **PRICES}
    assert card(teacher=teacher).acting("oracle").teacher.is_in_house
    assert card(teacher=teacher).acting("oracle").teacher.redact.kinds == ("email",)
    said = card(teacher=teacher, models={"oracle": {**ORACLE, "redact": {}}})
    assert said.acting("oracle").teacher.redact.kinds == ()


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ({"judge": ORACLE}, "models.judge"),
        ({"oracle": {"model": "m", **PRICES}}, "models.oracle.budget_usd"),
        ({"oracle": {"model": "unknown", "budget_usd": 1.0}}, "must have prices"),
        ({"oracle": {**ORACLE, "concurrency": 4}}, "models.oracle.concurrency"),
        ({"editor": {**ORACLE, "prompts": [{"name": "a"}]}}, "asked in one way"),
    ],
)
def test_a_role_that_cannot_be_played_is_refused(models, told):
    with pytest.raises(BadCard, match=told):
        card(models=models)
