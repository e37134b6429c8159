"""A teacher that gives a text several labels or none: what it is asked, what is read, what a simulated one answers."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.teachers import completion, teacher_server
from understudy.errors import BadInput
from understudy.store.storage import Store
from understudy.task import label_sets
from understudy.task.card import Card, parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.injected_errors import Errors, InjectedAnswer, inject
from understudy.teacher.labeller import open_teacher
from understudy.teacher.logprobs import set_probabilities
from understudy.teacher.prompt import Unusable, estimate_completion_tokens, prompt_of, read_verdict
from understudy.teacher.simulated import Plan, serve
from understudy.teacher.simulated_sets import chances, tokens_of

NAMES = ("praise", "tip", "wish")
SEVERAL: dict[str, Any] = {
    "labels": [{"name": name, "definition": f"Texts with a {name}."} for name in NAMES],
    "labels_per_text": "many",
    "positive_label": None,
}
MANY = tuple(f"kind {number}" for number in range(77))


@pytest.fixture
def card_yaml(make_card: Callable[..., str]) -> str:
    return make_card(**SEVERAL)


@pytest.fixture
def card(card_yaml: str) -> Card:
    return parse_card(card_yaml)


# The question and the answer


def test_the_prompt_asks_for_every_label_that_applies_and_for_an_empty_list_where_none_does(card: Card) -> None:
    prompt = prompt_of(card)
    assert prompt.system.endswith(
        'Answer with JSON alone: {"labels": ["...", "..."]}, where the list names every label that applies to the '
        "sentence, each once and in the order given here, and is empty, [], where none does. The labels: praise, tip, "
        "wish."
    )
    schema = prompt.response_format["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"] == {
        "labels": {"type": "array", "items": {"type": "string", "enum": list(NAMES)}}
    }
    assert schema["schema"]["required"] == ["labels"]
    assert '{"labels": ["...", "..."], "rationale": "one short sentence"}' in prompt_of(card, has_rationale=True).system


def test_an_answer_of_several_labels_is_estimated_longer_than_one_of_one(card: Card, make_card: Any) -> None:
    one = parse_card(make_card(labels=SEVERAL["labels"], positive_label=None))
    assert estimate_completion_tokens(prompt_of(card)) > estimate_completion_tokens(prompt_of(one))


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ('{"labels": ["wish", "praise"]}', '["praise", "wish"]'),
        ('{"labels": []}', "[]"),
        ('{"labels": ["tip", "tip"], "rationale": "advice"}', '["tip"]'),
    ],
)
def test_a_list_of_labels_is_written_in_the_cards_order_each_once(content: str, label: str) -> None:
    assert read_verdict(content, NAMES, is_many=True).label == label


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"labels": ["tip", "blame"]}', "one of the answer's labels is not one of the card's"),
        ('{"labels": ["Tips"]}', "one of the answer's labels is not one of the card's"),
        ('{"labels": [["tip"]]}', "one of the answer's labels is not one of the card's"),
        ('{"labels": "tip"}', "has no list of labels"),
        ('{"label": "tip"}', "has no list of labels"),
        ('["tip"]', "not a JSON object"),
        ('```json\n"labels": []\n```', "not JSON"),
    ],
)
def test_what_is_no_list_of_the_cards_labels_cannot_be_used(content: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        read_verdict(content, NAMES, is_many=True)


# Probabilities


def token(text: str, share: float = 1.0, **others: float) -> dict[str, Any]:
    top = {text: share, **others}
    listed = [{"token": name, "logprob": math.log(chance)} for name, chance in top.items()]
    return {**listed[0], "top_logprobs": listed}


def listed(text: str, share: float, others: dict[str, float]) -> dict[str, Any]:
    return token(text, share, **others)


def test_each_label_is_told_where_the_list_comes_to_it() -> None:
    tokens = [
        token('{"labels": '), token("["),
        listed('"', 0.9, {"]": 0.1}), listed("tip", 0.6, {"praise": 0.3, "wish": 0.1}),
        listed('"]', 0.8, {'",': 0.2}), token("}"),
    ]  # fmt: skip
    found = set_probabilities('{"labels": ["tip"]}', tokens, NAMES)
    # praise would come first, in .27 of all; tip in .54 of the .73 that are left; wish after tip, in .2
    assert found == pytest.approx([0.27, 0.54 / 0.73, 0.2])


def test_an_empty_list_tells_of_all_labels_at_once() -> None:
    tokens = [token('{"labels":'), listed(" []", 0.75, {' ["': 0.25}), token("}")]
    found = set_probabilities('{"labels": []}', tokens, NAMES)
    each = 0.25 / 3  # which of them it might have been is not told: it is shared evenly
    assert found == pytest.approx([each, each / (1 - each), each / (1 - 2 * each)])
    unsure = [token('{"labels":'), listed(" []", 0.45, {' ["': 0.55}), token("}")]
    assert set_probabilities('{"labels": []}', unsure, NAMES) is None


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        ('{"labels":["praise","wish"]}', ['{"labels":["', "praise", '","', "wish", '"]}']),
        ('{"labels": ["praise", "wish"]}',
         ['{"', "labels", '":', ' ["', "pra", "ise", '",', ' "', "wish", '"', "]", "}"]),
        ('{\n "labels": [\n  "praise",\n  "wish"\n ]\n}',
         ['{\n "labels": [', "\n", '  "', "praise", '",\n  "', "wish", '"\n', " ]", "\n}"]),
    ],
)  # fmt: skip
def test_a_list_that_is_written_otherwise_is_read_alike(content: str, pieces: list[str]) -> None:
    tokens = [token(piece) for piece in pieces]
    assert set_probabilities(content, tokens, NAMES) == pytest.approx([1, 0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ('{"labels": ["wish", "praise"]}', [token('{"labels": ["wish", "praise"]}')]),  # not in the card's order
        ('{"labels": ["tip", "tip"]}', [token('{"labels": ["tip", "tip"]}')]),
        ('{"labels": ["tip"]}', None),
        ('{"labels": ["tip"]}', [{"token": '{"labels": ["tip"]}'}]),
    ],
)
def test_a_list_that_tells_nothing_gives_no_probabilities(content: str, tokens: Any) -> None:
    assert set_probabilities(content, tokens, NAMES) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.02, 0.98), st.booleans()), min_size=2, max_size=12))
def test_what_a_simulated_teacher_writes_of_its_chances_is_read_again(drawn: list[tuple[float, bool]]) -> None:
    labels = [f'a "{number}"' for number in range(len(drawn))]
    truth = [chance for chance, _ in drawn]
    said = label_sets.written([name for name, (_, is_given) in zip(labels, drawn, strict=True) if is_given])
    written = tokens_of(said, dict(zip(labels, truth, strict=True)), most=20)
    pieces = [token('{"labels": ['), *(token(text, dict(top)[text], **dict(top)) for text, top in written), token("}")]
    content = "".join(piece["token"] for piece in pieces)
    assert set_probabilities(content, pieces, labels) == pytest.approx(truth, abs=1e-6)


# A simulated teacher


def sets_of(number: int) -> pl.DataFrame:
    cells = ["praise; tip", '["wish", "tip"]', "praise", "[]"]
    rows = [(f"Avoid {row}" if row % 2 else f"See {row}", cells[row // 2 % 4]) for row in range(number)]
    return pl.DataFrame(rows, schema=["text", "label"], orient="row")


def changed(errors: Errors, card: Card) -> list[InjectedAnswer]:
    return [answer for answer in inject(sets_of(800), errors, card).values() if answer.answered != answer.true]


def test_the_files_cells_are_read_as_sets(card: Card) -> None:
    found = inject(sets_of(8), Errors(), card).values()
    assert [answer.answered for answer in found][::2] == ['["praise", "tip"]', '["tip", "wish"]', '["praise"]', "[]"]
    with pytest.raises(BadInput, match=r"must be the card's \(praise, tip, wish\), got 'tip; blame'"):
        inject(pl.DataFrame({"text": ["a"], "label": ["tip; blame"]}), Errors(), card)


def test_a_flip_drops_a_label_or_adds_one(card: Card) -> None:
    wrong = changed(Errors(flip=0.5), card)
    assert len(wrong) == pytest.approx(400, rel=0.1)
    steps = Counter(len(label_sets.read(one.answered)) - len(label_sets.read(one.true)) for one in wrong)
    assert set(steps) == {-1, 1}
    assert steps[-1] == pytest.approx(len(wrong) * 3 / 8, rel=0.2)  # half of those that have a label
    assert {len({*label_sets.read(one.answered)} ^ {*label_sets.read(one.true)}) for one in wrong} == {1}


def test_a_label_is_taken_for_the_one_that_is_like_it(card: Card) -> None:
    taken = changed(Errors(flip=1.0, like=[("praise", "wish")], like_share=1.0), card)
    of = {one.true: one.answered for one in taken}
    assert of['["praise", "tip"]'] == '["tip", "wish"]'
    assert of['["tip", "wish"]'] == '["praise", "tip"]'
    assert of['["praise"]'] == '["wish"]'


def test_a_bias_drops_a_label_of_the_slices_texts(card: Card) -> None:
    wrong = changed(Errors(bias={"avoid": 1.0}), card)
    assert {one.why for one in wrong} == {"bias:avoid"}
    assert len(wrong) == 300  # half of the texts, but a quarter of those that have no label to lose
    for one in wrong:
        assert set(label_sets.read(one.answered)) < set(label_sets.read(one.true))


def test_it_is_less_sure_of_what_it_gets_wrong() -> None:
    known = InjectedAnswer("a", '["praise", "tip"]', '["praise", "wish"]', "flip")
    each = np.array([chances(str(seed), 0, known.answered, known, NAMES) for seed in range(300)]).mean(axis=0)
    praise, tip, wish = each
    assert praise > wish + 0.1 > 0.6
    assert 0.2 < tip < 0.4
    right = InjectedAnswer("a", '["kind 3"]', '["kind 3"]')
    assert sum(chances("a", 0, right.answered, right, MANY)) < 1.5


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.csv"
    sets_of(100).write_csv(path)
    return path


def test_judgements_hold_the_set_of_each_text_with_the_chance_of_each_label(
    tmp_path: Path, card: Card, card_yaml: str, answers: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "card.yaml").write_text(card_yaml, encoding="utf-8")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    wanted = sets_of(100).with_columns(id=pl.format("t{}", pl.int_range(pl.len())), weight=pl.lit(1.0))
    with serve(Plan(answers, card=tmp_path / "card.yaml", has_logprobs=True)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with open_teacher(card, store, TeacherConfig(rationale=True)) as teacher:
            judged = teacher.judge(wanted)
    assert (judged.failures, judged.without_probabilities) == (0, 0)
    table = judged.table.join(wanted.select("id", given="label"), on="id")
    for label, given_in_file, probabilities in table.select("label", "given", "probabilities").iter_rows():
        assert label == label_sets.of_cell(given_in_file, NAMES)
        assert [chance >= 0.5 for chance in probabilities] == [name in label_sets.read(label) for name in NAMES]
    assert table["rationale"].null_count() == 0


def test_a_rehearsal_that_does_not_know_that_a_text_may_have_several_labels_says_so(
    tmp_path: Path, card: Card, answers: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    wanted = sets_of(4).with_columns(id=pl.format("t{}", pl.int_range(pl.len())), weight=pl.lit(1.0))
    with serve(Plan(answers)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with (
            open_teacher(card, store, TeacherConfig()) as teacher,
            pytest.raises(Exception, match="several labels is said by the rehearsal's own --card"),
        ):
            teacher.judge(wanted)


def test_an_unknown_text_gets_a_guess_of_one_label(tmp_path: Path, card: Card, card_yaml: str, answers: Path) -> None:
    (tmp_path / "card.yaml").write_text(card_yaml, encoding="utf-8")
    prompt = prompt_of(card)
    with serve(Plan(answers, card=tmp_path / "card.yaml")) as server:
        request = {"response_format": prompt.response_format, "messages": prompt.messages("Never seen.")}
        reply = server.script.completion(request, "Never seen.")
    assert len(json.loads(reply["choices"][0]["message"]["content"])["labels"]) == 1


def test_garbage_of_a_bought_teacher_is_asked_for_once_more(
    tmp_path: Path, card: Card, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    wanted = pl.DataFrame({"id": ["a"], "text": ["Ask."], "weight": [1.0]})
    with teacher_server(
        lambda _, __, number: completion('{"labels": ["tip"]}' if number else '{"label": "tip"}')
    ) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        with open_teacher(card, store, TeacherConfig()) as teacher:
            table = teacher.judge(wanted).table
    assert len(log.texts) == 2
    assert table["label"].to_list() == ['["tip"]']
    assert table["probabilities"].to_list() == [None]
