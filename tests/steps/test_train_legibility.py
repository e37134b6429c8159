"""A student that cannot read the texts is found before it learns, and one that was asked to use a GPU must have it."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.languages import CHINESE, ENGLISH, make_named
from understudy.errors import BadSetting
from understudy.model import student
from understudy.model.vocabulary import Legibility
from understudy.runtime.machine import ACCELERATOR
from understudy.runtime.shell import execute
from understudy.steps.train import device, legibility
from understudy.steps.train.config import TrainConfig
from understudy.steps.train.forecast import forecast
from understudy.store import hashing, tables
from understudy.task.card import parse_card

NOTHING_PROVEN = {"labels": ["other", "tip"], "matrix": [[45, 5], [2, 8]], "slices": []}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A student whose WordPiece vocabulary was made for English."""
    return make_named(tmp_path_factory.mktemp("english") / "student", "minilm", ENGLISH)


@pytest.fixture
def lesson(tmp_path, make_card, source):
    """Return a function that writes the inputs of train for some texts, every other one a tip, labelled by people."""

    def make(texts, source=source):
        rows = pl.DataFrame({"id": [str(at) for at in range(len(texts))], "text": texts}).with_columns(
            pl.col("id").alias("group"), pl.lit(None, pl.String).alias("time")
        )
        label = pl.Series("label", ["tip" if at % 2 else "other" for at in range(len(texts))])
        split = pl.Series("split", ["validation" if at % 5 == 0 else "train" for at in range(len(texts))])
        gold = rows.with_columns(label, split, pl.lit(1).alias("annotators"), pl.lit("labels").alias("origin"))
        tables.write(rows.head(0), tables.Texts, tmp_path / "pool")
        tables.write(gold, tables.Gold, tmp_path / "gold")
        tables.write(pl.DataFrame({"id": ["t"], "content": ["x"]}), tables.LeakageGuard, tmp_path / "gold")
        tables.write(tables.empty(tables.Judgements), tables.Judgements, tmp_path / "judgements")
        card = make_card(student=str(source), train={"epochs": 1})
        written = {"audit/audit.json": json.dumps(NOTHING_PROVEN), "card/card.yaml": card}
        for name, content in written.items():
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_text(content, encoding="utf-8")
        paths = {name: tmp_path / name for name in ("card", "pool", "gold", "judgements", "audit")}
        return {**paths, "store": str(tmp_path / "store"), "student": tmp_path / "student"}

    return make


def test_texts_that_are_mostly_unread_are_refused_before_anything_is_learned(lesson, source):
    given = lesson([f"{text} {at}" for at in range(10) for text in CHINESE])
    with pytest.raises(BadSetting) as caught:
        execute("train", given)
    (fault,) = caught.value.faults
    assert fault.startswith("A student must read the texts: at most 25% of their letters and signs may be unknown")
    assert f"with '{source}': '" in fault
    assert "' is read as '[UNK] [UNK]" in fault
    assert "multilingual-minilm, mmbert-small, mmbert-base" in fault
    assert not Path(given["store"]).exists() or not list(Path(given["store"]).rglob("checkpoints"))


def test_a_setting_lets_it_go_on_and_the_texts_are_told(lesson, capsys):
    result = execute("train", {**lesson(CHINESE * 10), "overrides": "max_unread_share=1"})
    assert result.metrics["unread_share"] == 1.0
    told = capsys.readouterr().err
    assert "does not know, or breaks up, 100% (100% unknown, 0% broken up) of the texts' letters and signs" in told


def test_a_few_texts_of_another_language_and_lost_emoji_are_told_with_an_example(lesson, capsys):
    texts = [f"{text} {word}" for text in ENGLISH for word in ("the view", "the bar", "the room 😂", "the house")]
    result = execute("train", lesson([*texts, *CHINESE[:2]]))
    assert 0.03 < result.metrics["unread_share"] < 0.1
    told = capsys.readouterr().err
    assert "lose an emoji, which" in told
    assert "[UNK]'. ettin-32m, modernbert and mmbert-small read them." in told


@pytest.mark.parametrize("name", ["multilingual-minilm", "modernbert", "mmbert"])
def test_a_student_for_many_languages_reads_chinese_and_learns_of_it(lesson, tmp_path, capsys, name):
    chinese = [f"{one} {at}" for at in range(10) for one in (CHINESE[0], CHINESE[2])]  # every other one is a tip
    source = make_named(tmp_path / "source", name, [*ENGLISH, *CHINESE, *map(str, range(10))] * 2)
    given = {**lesson(chinese, source), "overrides": "epochs=20\nlearning_rate=0.003\npatience=20"}
    result = execute("train", given)
    assert result.metrics["unread_share"] < 0.05
    assert result.metrics["average_precision"] == 1.0
    assert "vocabulary" not in capsys.readouterr().err
    model, tokenizer, about = student.open_student(tmp_path / "student")
    rows = student.tokens_of(tokenizer, [CHINESE[0], CHINESE[2]], about["max_length"])
    other, tip = student.logits(model, rows, tokenizer.pad_token_id) @ [-1.0, 1.0]
    assert tip > other


def test_english_is_read_without_a_word(lesson, capsys):
    result = execute("train", lesson(ENGLISH * 4))
    assert result.metrics["unread_share"] == 0
    assert "vocabulary" not in capsys.readouterr().err


def test_measuring_changes_nothing_of_what_is_trained(lesson, tmp_path):
    given = lesson(ENGLISH * 4)
    execute("train", given)
    others = {"store": str(tmp_path / "other"), "student": tmp_path / "second", "overrides": "max_unread_share=0.9"}
    execute("train", {**given, **others})
    assert hashing.hash_tree(tmp_path / "student") == hashing.hash_tree(tmp_path / "second")


NOBODY = pl.DataFrame(schema={"text": pl.String, "label": pl.String})


def test_the_forecast_refuses_what_train_would_and_tells_the_rest(make_card, source):
    card = parse_card(make_card(student=str(source)))
    with pytest.raises(BadSetting, match="A student must read the texts"):
        forecast(card, TrainConfig(), pl.Series("text", CHINESE), NOBODY)
    told = forecast(card, TrainConfig(max_unread_share=1.0), pl.Series("text", CHINESE), NOBODY)
    assert len(told.notes) == 1
    assert forecast(card, TrainConfig(), pl.Series("text", ENGLISH), NOBODY).notes == ()


@pytest.mark.parametrize(("unread", "emoji", "sentences"), [(5, 1, 0), (6, 1, 1), (5, 2, 1), (6, 2, 2)])
def test_what_is_told_lies_above_the_settings(unread, emoji, sentences):
    found = Legibility(100, 100, unread, 0, 50, emoji, None, None)
    assert len(legibility.notes(found, "minilm", TrainConfig())) == sentences


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(("asked", "given"), [("gpu", None), ("gpu", "nvidia.com/gpu"), ("auto", "amd.com/gpu")])
def test_an_accelerator_that_was_asked_for_or_given_and_is_not_there_is_refused(asked, given):
    with pytest.raises(BadSetting) as caught:
        device.chosen(asked, given)
    (fault,) = caught.value.faults
    assert fault.startswith("A training must run on the accelerator that was ")
    assert (given or "train.device=gpu") in fault
    assert "train.device=cpu" in fault


def test_a_cpu_is_taken_where_it_was_asked_for_and_an_idle_accelerator_is_told(capsys):
    assert device.chosen("cpu", None).type == "cpu"
    assert capsys.readouterr().err == ""
    assert device.chosen("cpu", "nvidia.com/gpu").type == "cpu"
    assert "nvidia.com/gpu, which stays idle" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_step_refuses_at_its_start_when_the_pod_lacks_its_accelerator(lesson, monkeypatch):
    monkeypatch.setenv(ACCELERATOR, "nvidia.com/gpu")
    with pytest.raises(BadSetting, match=r"given to the pod as nvidia\.com/gpu"):
        execute("train", lesson(ENGLISH * 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("asked", ["auto", "gpu"])
def test_a_gpu_that_is_there_is_taken_and_named(asked, capsys):
    assert device.chosen(asked, None).type == "cuda"
    assert "train: on " in capsys.readouterr().err
