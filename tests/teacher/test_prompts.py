"""A prompt bank on the card: a text is asked in every wording, and its answer is what they say together."""

import json
from contextlib import contextmanager

import polars as pl
import pytest

from tests.conftest import CARD, card_yaml
from tests.teacher.test_server import rows
from tests.teachers import completion, error, teacher_server
from understudy.errors import BadInput, TeacherError
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.labeller import open_teacher
from understudy.teacher.prompt import prompt_of, prompts_of
from understudy.teacher.simulated import Plan, serve

NAMES = ("plain", "strict", "lenient")
WORDINGS = [{"name": name, "instructions": f"Be {name}."} for name in NAMES]
ANSWER_USD = 0.00014  # 100 tokens at $1 and 10 at $4 a million


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def bank(store, monkeypatch):
    """Return a function that opens the teacher of a card with these wordings."""

    @contextmanager
    def opened(url, prompts=WORDINGS, usd=5.0, labels_per_text="one", **config):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with open_teacher(card(prompts, usd, labels_per_text), store, TeacherConfig(**config)) as teacher:
            yield teacher

    return opened


def card(prompts=WORDINGS, usd=5.0, labels_per_text="one"):
    many = {"positive_label": None, "goals": None} if labels_per_text == "many" else {}
    teacher = {**CARD["teacher"], "prompts": prompts}
    return parse_card(card_yaml(teacher=teacher, budget={"teacher_usd": usd}, labels_per_text=labels_per_text, **many))


def texts(number):
    names = [f"t{row:04}" for row in range(number)]
    return pl.DataFrame({"id": names, "text": [f"Text {row}." for row in range(number)], "weight": [1.0] * number})


def number_of(text):
    return int(text.removeprefix("Text ").removesuffix("."))


def wording_of(request):
    """Return which of the wordings a request asks."""
    return next(name for name in NAMES if f"Be {name}." in request["messages"][0]["content"])


def label_of(text):
    """The right label of one of `texts`: every other one is a tip."""
    return ("other", "tip")[number_of(text) % 2]


def erring(request, text, _number):
    """Answer rightly, but for each wording's own third of the texts."""
    label = label_of(text)
    is_wrong = number_of(text) % 3 == NAMES.index(wording_of(request))
    return completion(json.dumps({"label": {"other": "tip", "tip": "other"}[label] if is_wrong else label}))


def test_wordings_that_err_apart_give_soft_labels_and_a_better_vote(bank):
    with teacher_server(erring) as log, bank(log.url) as teacher:
        judged = teacher.judge(texts(30))
    right = [label == label_of(text) for label, text in zip(judged.table["label"], texts(30)["text"], strict=True)]
    assert (judged.without_probabilities, judged.forms) == (30, {"schema": 90})
    assert all(right)  # and each wording alone is wrong on a third
    assert {round(max(each), 6) for each in judged.table["probabilities"].to_list()} == {round(2 / 3, 6)}
    assert judged.table["judge"].unique().to_list() == [teacher.identity.name]
    assert teacher.identity.name.startswith("rehearsal:bank-")


def judges(store):
    return sorted({row["judge"] for row in rows(store)})


def test_each_wording_is_a_judge_of_its_own_and_the_money_is_that_of_all(bank, store):
    with teacher_server(erring) as log, bank(log.url) as teacher:
        alone = [wording.estimate(texts(10)).cost_usd for wording in teacher._wordings]
        forecast = teacher.estimate(texts(10))
        judged = teacher.judge(texts(10))
        assert teacher.estimate(texts(12)).to_ask == 2
        assert teacher.spent_usd == pytest.approx(30 * ANSWER_USD)
    assert len(judges(store)) == 3
    assert len(log.texts) == len(rows(store)) == 30
    assert (forecast.to_ask, judged.asked, judged.from_store, judged.failures) == (10, 10, 0, 0)
    assert forecast.cost_usd == pytest.approx(sum(alone))
    assert judged.cost_usd == pytest.approx(30 * ANSWER_USD)
    assert judged.table["cost_usd"].to_list() == pytest.approx([3 * ANSWER_USD] * 10)


def test_nothing_is_asked_twice_and_a_new_wording_alone_is_bought(bank):
    with teacher_server(erring) as log:
        with bank(log.url, WORDINGS[:2]) as teacher:
            teacher.judge(texts(8))
        with bank(log.url, WORDINGS[:2]) as teacher:
            again = teacher.judge(texts(8))
        assert (again.asked, again.from_store, len(log.texts)) == (0, 8, 16)
        with bank(log.url) as teacher:
            more = teacher.judge(texts(8))
    assert (more.asked, len(log.texts)) == (8, 24)
    assert {wording_of(request) for request in log.requests[16:]} == {"lenient"}


def test_a_budget_that_ends_keeps_what_was_bought_and_more_money_buys_the_rest_alone(bank, store):
    with teacher_server(erring) as log:
        with bank(log.url, usd=0.008, concurrency=1) as teacher:
            short = teacher.judge(texts(20))
            assert teacher.spent_usd <= 0.008
        bought = len(log.texts)
        assert short.is_budget_spent
        assert 20 < bought < 60
        assert len(short.table) == 20
        with bank(log.url) as teacher:
            whole = teacher.judge(texts(20))
    assert len(log.texts) == len(rows(store)) == 60
    assert whole.table["cost_usd"].to_list() == pytest.approx([3 * ANSWER_USD] * 20)


def test_a_call_spends_no_more_than_it_may_over_all_wordings(bank):
    with teacher_server(erring) as log, bank(log.url, concurrency=1) as teacher:
        judged = teacher.judge(texts(20), most_usd=0.008)
    assert judged.is_budget_spent
    assert 20 < len(log.texts) < 60
    assert judged.cost_usd <= 0.008


def test_a_text_that_one_wording_fails_on_is_combined_from_the_others_and_said(bank, capsys):
    def respond(request, text, number):
        is_garbage = text == "Text 3." or (text == "Text 5." and wording_of(request) == "strict")
        return completion("No idea.") if is_garbage else erring(request, text, number)

    with teacher_server(respond) as log, bank(log.url, max_failed_share=0.5) as teacher:
        judged = teacher.judge(texts(10))
    assert judged.failures == 1
    assert judged.table["id"].to_list() == [name for name in texts(10)["id"] if name != texts(10)["id"][3]]
    assert [sum(each) for each in judged.table["probabilities"].to_list()] == pytest.approx([1.0] * 9)
    assert "wording 'strict' has no answer for 2 texts" in capsys.readouterr().err


def test_a_lone_vote_without_probabilities_gets_none(bank):
    respond = lambda request, text, number: (  # noqa: E731
        erring(request, text, number) if wording_of(request) == "plain" else completion("No idea.")
    )
    with teacher_server(respond) as log, bank(log.url, max_failed_share=1.0) as teacher:
        judged = teacher.judge(texts(4))
    assert judged.table["probabilities"].null_count() == 4


def test_a_wording_that_fails_too_often_ends_the_run_by_its_name(bank, store):
    def respond(request, text, number):
        return completion("Never.") if wording_of(request) == "strict" else erring(request, text, number)

    with (
        teacher_server(respond) as log,
        bank(log.url) as teacher,
        pytest.raises(TeacherError, match="wording 'strict'"),
    ):
        teacher.judge(texts(10))
    assert sum(row["label"] is not None for row in rows(store)) == 10


def test_a_server_that_goes_away_between_two_wordings_costs_nothing_twice(bank, store):
    def respond(request, text, number):
        return error(401, "revoked") if number >= 15 else erring(request, text, number)

    with teacher_server(respond) as log, bank(log.url, concurrency=1) as teacher, pytest.raises(BadInput):
        teacher.judge(texts(10))
    assert len(rows(store)) == 15
    with teacher_server(erring) as log, bank(log.url) as teacher:
        teacher.judge(texts(10))
    assert len(log.texts) == 15


def test_human_labels_weigh_the_wordings(bank):
    def respond(request, text, _number):
        right = label_of(text) if wording_of(request) == "strict" else "tip"
        return completion(json.dumps({"label": right}))

    human = texts(60).with_columns(label=pl.Series(map(label_of, texts(60)["text"])))
    with teacher_server(respond) as log, bank(log.url) as teacher:
        plain = teacher.judge(texts(60)).table
        assert teacher.weigh(human.head(20)) == dict.fromkeys(NAMES, 1.0)
        weights = teacher.weigh(human)
        weighed = teacher.stored(texts(60)).table
    assert plain["label"].unique().to_list() == ["tip"]
    assert weights["strict"] > 3
    assert weights["plain"] == weights["lenient"] < 1
    assert weighed["label"].to_list() == human["label"].to_list()


def test_batches_buy_every_wording(bank, tmp_path):
    answers = tmp_path / "answers.csv"
    answers.write_text("text,label\n" + "".join(f"Text {n}.,{label_of(f'Text {n}.')}\n" for n in range(20)))
    with serve(Plan(answers)) as server, bank(server.url, mode="batch") as teacher:
        judged = teacher.judge(texts(6))
        again = teacher.judge(texts(6))
    assert judged.table["label"].to_list() == [label_of(text) for text in texts(6)["text"]]
    assert judged.table["judge"][0].startswith("rehearsal:rehearsal:bank-")
    assert (judged.asked, again.asked, again.from_store) == (6, 0, 6)


def test_where_a_text_may_have_several_labels_more_than_half_of_the_wordings_give_each(bank):
    given = {"plain": ["other", "tip"], "strict": ["tip"], "lenient": []}
    respond = lambda request, *_: completion(json.dumps({"labels": given[wording_of(request)]}))  # noqa: E731
    with teacher_server(respond) as log, bank(log.url, labels_per_text="many") as teacher:
        judged = teacher.judge(texts(2))
    assert judged.table["label"].to_list() == ['["tip"]'] * 2
    assert judged.table["probabilities"][0].to_list() == pytest.approx([1 / 3, 2 / 3])


# The prompts


def test_a_wording_changes_only_what_it_says():
    plain, reasoned, strict = prompts_of(
        card([{"name": "a"}, {"name": "b", "rationale": True}, {"name": "c", "instructions": "Doubt is no tip."}])
    )
    assert plain == prompt_of(card([]))
    assert reasoned.has_rationale
    assert "Doubt is no tip." in strict.system
    assert prompts_of(card([])) == (prompt_of(card([])),)


def test_an_order_shuffles_the_labels_of_the_prompt_and_not_of_the_probabilities():
    shuffled = [prompts_of(card([{"name": "a", "order": seed}]))[0] for seed in range(8)]
    assert {prompt.labels for prompt in shuffled} == {("other", "tip")}
    assert {prompt.system.index("- tip:") < prompt.system.index("- other:") for prompt in shuffled} == {True, False}


def test_wordings_that_ask_the_same_or_share_a_name_are_refused():
    with pytest.raises(BadInput, match="got 'a' and 'b' that ask the same"):
        prompts_of(card([{"name": "a"}, {"name": "b"}]))
    with pytest.raises(BadInput, match="name of its own, got 'a' twice"):
        card([{"name": "a"}, {"name": "a", "order": 1}])


def test_a_card_without_wordings_keeps_its_hash():
    silent, said = parse_card(card_yaml()), card()
    assert silent.hash == card([]).hash != said.hash
