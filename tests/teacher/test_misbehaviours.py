"""What a user gets from a teacher that does as real servers do: every misbehaviour, through HTTP, by our client."""

from pathlib import Path

import polars as pl
import pytest

from tests.conftest import card_yaml
from understudy.errors import BadData, BadInput
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.injected_errors import Columns
from understudy.teacher.labeller import open_teacher
from understudy.teacher.misbehaviours import MISBEHAVIOURS, parse
from understudy.teacher.simulated import Plan, serve

TEXTS = [f"Room {number} is {'so ' * number}loud." for number in range(24)]
LABELS = ["tip" if number % 3 else "other" for number in range(24)]

# misbehaviour: the form of the answers, and a part of what is said of them
READ = {
    "fence": ("plain", "read out of plain text"),
    "think": ("plain", "read out of plain text"),
    "sentence": ("plain", "read out of plain text"),
    "case": ("schema", "with a label not in the card's case"),
    "single-quotes": ("plain", "read out of plain text"),
    "parts": ("schema", ""),
    "thoughts": ("schema", ""),
    "no-logprobs": ("schema", "24 without probabilities"),
    "no-usage": ("schema", "tokens and cost estimated"),
    "cut-prompts": ("schema", "prompt that the server seems to have cut"),
    "slow": ("schema", ""),
    "http-200-error": ("schema", ""),
    "no-schema": ("json", "24 in JSON mode"),
    "no-json-mode": ("schema", ""),
    "refuse:seed": ("schema", ""),
    "refuse:logprobs": ("schema", "24 without probabilities"),
    "refuse:top_logprobs": ("schema", ""),
    "refuse:temperature": ("schema", ""),
    "refuse-list:max_completion_tokens": ("schema", ""),
    "refuse-detail:response_format": ("plain", "read out of plain text"),
}
# misbehaviour: why there is no answer
FAILED = {
    "prose": "the answer is not JSON ('It is hard to say",
    "length": "the answer was cut at max_answer_tokens ('{\"label",
    "refusal": "the teacher refused to answer ('I'd rather not say.')",
    "filter": "the server's content filter stopped the answer",
    "filter-text": "the server's content filter stopped the text ('Error code: 400 - The text was filtered",
    "null": "the answer is empty",
    "thoughts-alone": "all that the model wrote are thoughts ('Could it be this: {",
}


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.csv"
    pl.DataFrame({"text": TEXTS, "label": LABELS}).write_csv(path)
    return path


@pytest.fixture
def ask(store, tmp_path, monkeypatch):
    """Ask a simulated teacher for all texts."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))

    def asked(plan, **config):
        texts = pl.DataFrame({"id": [f"t{row:02}" for row in range(24)], "text": TEXTS, "weight": [1.0] * 24})
        with serve(plan) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            with open_teacher(parse_card(card_yaml()), store, TeacherConfig(**config)) as teacher:
                return teacher.judge(texts)

    return asked


def test_every_misbehaviour_has_a_test():
    assert {name.partition(":")[0] for name in {**READ, **FAILED}} == set(MISBEHAVIOURS)


@pytest.mark.parametrize("name", READ)
def test_labels_are_read_right_whatever_the_server_does_and_it_is_said(name, answers, ask):
    judged = ask(Plan(answers, has_logprobs=True, misbehave=parse([name])), concurrency=12)
    form, words = READ[name]
    assert judged.table["label"].cast(str).to_list() == LABELS
    assert judged.forms == {form: 24}
    assert words in "; ".join(judged.remarks())
    assert bool(judged.remarks()) == bool(words)


@pytest.mark.parametrize("name", FAILED)
def test_what_cannot_be_used_is_counted_by_a_reason_that_quotes_it(name, answers, ask):
    judged = ask(Plan(answers, misbehave=parse([f"{name}=0.3"])), max_failed_share=1.0)
    assert 1 <= judged.failures <= 14
    assert len(judged.table) == 24 - judged.failures
    (reason,) = judged.reasons()
    assert FAILED[name] in reason


def test_hidden_thoughts_are_paid_for(answers, ask):
    assert ask(Plan(answers, misbehave=parse(["thoughts"]))).completion_tokens > 24 * 300


def test_several_misbehave_at_once(answers, ask):
    asked = ["no-schema", "no-json-mode", "refuse:logprobs", "single-quotes", "fence", "no-usage"]
    judged = ask(Plan(answers, has_logprobs=True, misbehave=parse(asked)))
    assert judged.table["label"].cast(str).to_list() == LABELS
    assert (judged.forms, judged.estimated, judged.without_probabilities) == ({"plain": 24}, 24, 24)


@pytest.mark.parametrize("item", ["fences", "refuse", "fence:x", "length=2", "length=x", ""])
def test_a_misbehaviour_that_is_none_is_refused(item):
    with pytest.raises(BadInput, match="A misbehaviour must be one of fence"):
        parse([item])


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_real_answers_are_replayed_and_those_that_were_unusable_come_as_prose(suffix, ask, tmp_path):
    path = tmp_path / f"judged.{suffix}"
    given = ["?" if number == 4 else label for number, label in enumerate(LABELS)]
    table = pl.DataFrame({"body": TEXTS, "text": ["-"] * 24, "label": ["tip"] * 24, "gpt_4/8-shot": given})
    {"parquet": table.write_parquet, "jsonl": table.write_ndjson, "csv": table.write_csv}[suffix](path)
    judged = ask(Plan(path, columns=Columns("body", "gpt_4/8-shot")))
    assert judged.table["label"].cast(str).to_list() == [label for label in given if label != "?"]
    assert judged.reasons() == [
        "1 text: the answer is not JSON ('It is hard to say, for much depends on how one reads it.')"
    ]


def test_a_column_that_the_file_lacks_is_named_with_the_option(answers):
    with (
        pytest.raises(BadData, match=r"got no 'gpt'.*--label-column"),
        serve(Plan(answers, columns=Columns(label="gpt"))),
    ):
        pass


def test_the_page_on_teachers_names_every_misbehaviour():
    page = (Path(__file__).parents[2] / "docs/teachers.md").read_text(encoding="utf-8")
    assert [kind for kind in MISBEHAVIOURS if f"| `{kind}` | " not in page] == []
