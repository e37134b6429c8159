"""Training: targets worked by hand, early stopping, the leakage guard, and a kill in the middle."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig

from tests.students import SHAPES, make_student, random_model
from understudy.errors import BadArtifact, BadSetting, TooFewLabels
from understudy.model import student
from understudy.runtime.shell import execute
from understudy.stats.trust import trust
from understudy.steps.train import checkpoints, rules
from understudy.steps.train.learn import Learner, Validation, validation_score
from understudy.store import hashing, tables
from understudy.store.folder import FolderStore
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace
from understudy.text.normalise import content_hash

MATRIX = [[45, 5], [2, 8]]  # 8 tips found, 2 missed, 5 false alarms
NOTHING_PROVEN = {"labels": ["other", "tip"], "matrix": MATRIX, "slices": []}


def judged(*rows):
    return pl.DataFrame(
        [
            {"id": str(index), "text": text, "kind": "teacher", "label": label, "probabilities": given}
            for index, (text, label, given) in enumerate(rows)
        ],
        schema_overrides={"probabilities": pl.List(pl.Float64)},
    )


def test_an_answer_with_probabilities_is_taken_at_them(make_card):
    table = judged(("ask for room 5", "tip", [0.2, 0.8]), ("nice", "other", [0.9, 0.1]))
    targets = rules.teacher_targets(table, parse_card(make_card()), NOTHING_PROVEN)
    np.testing.assert_allclose(targets, [[0.2, 0.8], [0.9, 0.1]])


def test_an_answer_without_probabilities_is_taken_at_what_the_audit_measured(make_card):
    # when it says tip, 8 of 13 are, (8 + .5) / 14; when it does not, 2 of 47 are all the same, (2 + .5) / 48
    table = judged(("ask for room 5", "tip", None), ("nice", "other", None))
    targets = rules.teacher_targets(table, parse_card(make_card()), NOTHING_PROVEN)
    np.testing.assert_allclose(targets[:, 1], [8.5 / 14, 2.5 / 48])


def test_a_proven_bias_is_undone_in_that_slice_only(make_card):
    audit = {**NOTHING_PROVEN, "slices": [{"name": "avoid", "is_biased": True, "matrix": [[2, 0], [9, 3]]}]}
    table = judged(
        ("Avoid the bar", "other", [0.99, 0.01]),
        ("avoid room 3", "tip", [0.1, 0.9]),
        ("nice", "other", [0.99, 0.01]),
        ("quiet", "other", None),
    )
    targets = rules.teacher_targets(table, parse_card(make_card()), audit)
    # inside: 9 of 11 that it rejected are tips; outside, with the slice's counts taken off, none of 43 are
    np.testing.assert_allclose(targets[:, 1], [9.5 / 12, 3.5 / 4, 0.01, 0.5 / 44])


@given(st.lists(st.integers(0, 300), min_size=4, max_size=4))
def test_with_two_labels_trust_is_jeffreys_half_counts_exactly(counts):
    true_negative, false_positive, false_negative, true_positive = counts
    found = trust(np.array(counts, dtype=float).reshape(2, 2))
    assert found[1, 1] == (true_positive + 0.5) / (true_positive + 0.5 + (false_positive + 0.5))
    assert found[0, 1] == (false_negative + 0.5) / (false_negative + 0.5 + (true_negative + 0.5))
    assert (found > 0).all()
    assert (found < 1).all()


@settings(deadline=None)
@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.floats(0, 20))
def test_trust_is_a_distribution_over_the_labels_that_rules_none_out(labels, seed, size):
    matrix = np.random.default_rng(seed).poisson(np.eye(labels) * size + size / 9).astype(float)
    found = trust(matrix)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found > 0).all()


def test_a_label_that_is_seldom_said_is_taken_at_the_mean_and_its_errors_where_people_put_most_texts():
    matrix = np.zeros((77, 77))
    matrix[np.arange(76), np.arange(76)] = 17
    matrix[np.arange(76), (np.arange(76) + 1) % 76] = 3  # the teacher is right in 85%
    found = trust(matrix)
    assert found[76, 76] == pytest.approx(0.85, abs=0.01)  # never said
    assert found[0, 0] == pytest.approx(0.85, abs=0.01)
    assert found[0, 75] > 0.1
    assert 0.01 > found[0, 5] > found[0, 76] > 0


def test_labels_that_the_teacher_is_right_on_differently_keep_their_own_share():
    matrix = np.zeros((4, 4))
    matrix[np.arange(4), np.arange(4)] = [95, 50, 95, 50]
    matrix[(np.arange(4) + 1) % 4, np.arange(4)] = [5, 50, 5, 50]
    np.testing.assert_allclose(np.diag(trust(matrix)), [0.95, 0.5, 0.95, 0.5], atol=0.02)


def test_an_audit_of_other_labels_is_refused(make_card):
    with pytest.raises(BadArtifact, match="2 labels in their order, got 2 that differ"):
        rules.teacher_targets(
            judged(("nice", "tip", None)), parse_card(make_card()), {**NOTHING_PROVEN, "labels": ["tip", "other"]}
        )


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(0, 5))
def test_every_text_is_learned_once_an_epoch(lengths, epoch):
    batches = rules.epoch_batches(lengths, 128, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))


def test_epochs_differ_in_their_order_and_repeat_with_the_seed():
    first, again, second = (
        [batch.tolist() for batch in rules.epoch_batches([5] * 100, 50, seed=1, epoch=epoch)] for epoch in (0, 0, 1)
    )
    assert first == again
    assert first != second


def table_of(**columns):
    return pl.DataFrame(columns)


def test_a_human_label_stands_above_the_teachers(make_card):
    texts = [f"text {index}" for index in range(12)]
    ids = [str(index) for index in range(12)]
    pool = table_of(id=ids, group=ids, text=texts)
    judgements = judged(
        *[
            (text, "tip" if index < 6 else "other", [0.1, 0.9] if index < 6 else [0.9, 0.1])
            for index, text in enumerate(texts)
        ]
    )
    gold = table_of(id=["0"], group=["0"], text=["text 0"], label=["other"], split=["train"])
    table = rules.training_table(pool, gold, judgements, NOTHING_PROVEN, parse_card(make_card()), human_weight=3.0)
    assert table.filter(pl.col("id") == "0").rows() == [("0", "0", "text 0", [1.0, 0.0], 3.0, True)]
    assert len(table) == 12


def test_one_class_only_cannot_be_learned(make_card):
    texts = [f"text {index}" for index in range(12)]
    ids = [str(index) for index in range(12)]
    pool = table_of(id=ids, group=ids, text=texts)
    gold = pl.DataFrame(
        schema={"id": pl.String, "group": pl.String, "text": pl.String, "label": pl.String, "split": pl.String}
    )
    judgements = judged(*[(text, "other", [0.9, 0.1]) for text in texts])
    with pytest.raises(TooFewLabels, match="two labels or more, got 12 with 12 likely 'other'"):
        rules.training_table(pool, gold, judgements, NOTHING_PROVEN, parse_card(make_card()), human_weight=3.0)


def test_a_copy_of_a_test_text_is_refused():
    table = table_of(id=["a"], text=["Ask for  ROOM 5!"])
    guard = table_of(id=["t1"], content=[content_hash("ask for room 5")])
    with pytest.raises(BadArtifact, match="must not stand in the test split, got 1, first a"):
        rules.require_no_leakage(table, guard)


@pytest.fixture
def inputs(tmp_path, make_card):
    """Artifacts of a small task that a tiny student learns: "ask" makes a tip."""
    source = make_student(tmp_path / "tiny")
    rows = [
        (f"{index}", f"ask for number {index}" if index % 2 else f"number {index} was nice") for index in range(120)
    ]
    texts = pl.DataFrame(rows, schema=["id", "text"], orient="row").with_columns(
        pl.col("id").alias("group"), pl.lit(None, pl.String).alias("time")
    )
    label = pl.when(pl.col("text").str.starts_with("ask")).then(pl.lit("tip")).otherwise(pl.lit("other")).alias("label")
    gold = texts.tail(40).with_columns(
        label, pl.lit("validation").alias("split"), pl.lit(1).alias("annotators"), pl.lit("labels").alias("origin")
    )
    answers = {
        "judge": "rehearsal:r:0", "kind": "teacher", "rationale": None, "probabilities": None, "prompt_tokens": 1,
        "completion_tokens": 1, "cost_usd": 0.0, "is_rehearsal": True, "weight": 1.0,
    }  # fmt: skip
    judgements = texts.head(80).with_columns(label, **{name: pl.lit(value) for name, value in answers.items()})
    tables.write(texts.head(80), tables.Texts, tmp_path / "pool")
    tables.write(gold, tables.Gold, tmp_path / "gold")
    tables.write(pl.DataFrame({"id": ["t"], "content": ["x"]}), tables.LeakageGuard, tmp_path / "gold")
    tables.write(judgements, tables.Judgements, tmp_path / "judgements")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/audit.json").write_text(json.dumps(NOTHING_PROVEN))
    (tmp_path / "card").mkdir()
    (tmp_path / "card/card.yaml").write_text(
        make_card(student=str(source), train={"epochs": 6, "learning_rate": 0.003, "batch_tokens": 256})
    )
    return {name: tmp_path / name for name in ("card", "pool", "gold", "judgements", "audit")} | {
        "store": str(tmp_path / "store")
    }


def test_the_same_inputs_give_the_same_weights(tmp_path, inputs):
    first = execute("train", {**inputs, "student": tmp_path / "first"})
    execute("train", {**inputs, "store": str(tmp_path / "other-store"), "student": tmp_path / "second"})
    assert first.metrics["average_precision"] > 0.95
    assert hashing.hash_tree(tmp_path / "first") == hashing.hash_tree(tmp_path / "second")


def test_training_stops_when_validation_gains_no_more(tmp_path, inputs):
    result = execute("train", {**inputs, "student": tmp_path / "student", "overrides": "epochs=50\npatience=1"})
    per_epoch = result.metrics["updates"] / (result.metrics["best_epoch"] + 1)
    assert result.metrics["updates"] < 50 * per_epoch
    assert json.loads((tmp_path / "student/student.json").read_text())["is_rehearsal"] is True


def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_with_the_same_weights(tmp_path, inputs):
    longer = "epochs=15\npatience=15"
    settings = f"{longer}\ncheckpoint_s=0"
    elsewhere = {**inputs, "store": str(tmp_path / "other-store")}
    whole = execute("train", {**elsewhere, "student": tmp_path / "whole", "overrides": longer})
    command = [sys.executable, "-m", "understudy", "train"]
    command += [part for line in settings.splitlines() for part in ("--set", line)]
    command += [part for name, value in inputs.items() for part in (f"--{name}", str(value))]
    command += ["--student", str(tmp_path / "resumed")]
    kill_after_checkpoint(command, Path(inputs["store"]) / "checkpoints")
    assert not (tmp_path / "resumed").exists()
    resumed = execute("train", {**inputs, "student": tmp_path / "resumed", "overrides": settings})
    assert 0 < resumed.metrics["resumed_at"] < whole.metrics["updates"]
    assert hashing.hash_tree(tmp_path / "whole") == hashing.hash_tree(tmp_path / "resumed")
    assert kept_in(inputs["store"]) == ["ended.json", "ended.safetensors"]


def test_pairs_within_a_session_come_first_and_texts_without_sessions_are_refused(tmp_path, inputs, capsys):
    asked = {**inputs, "overrides": "pairs=session\nepochs=1\npair_epochs=1"}
    with pytest.raises(TooFewLabels, match="got 0 pairs of 80 texts in 80 sessions"):
        execute("train", {**asked, "student": tmp_path / "refused"})
    pool = tables.read(inputs["pool"], tables.Texts)
    tables.write(pool.with_columns(group=pl.col("id").str.head(-1) + "-thread"), tables.Texts, inputs["pool"])
    result = execute("train", {**asked, "student": tmp_path / "student"})
    assert "train: 400 pairs of the teacher's texts" in capsys.readouterr().err  # 8 threads, 5 by 5 texts, 2 labels
    assert result.metrics["best_epoch"] == 2  # after the one of pairs, which validation does not rank


def kept_in(store: str) -> list[str]:
    return sorted(path.name for path in (Path(store) / "checkpoints").rglob("*.*") if path.is_file())


def test_a_training_whose_student_was_lost_on_its_way_gives_it_again_without_training(tmp_path, inputs, monkeypatch):
    first = execute("train", {**inputs, "student": tmp_path / "lost"})
    lost = hashing.hash_tree(tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost")
    monkeypatch.setattr(Learner, "_learn", lambda *_: pytest.fail("it trained again"))
    again = execute("train", {**inputs, "student": tmp_path / "again"})
    assert hashing.hash_tree(tmp_path / "again") == lost
    assert again.metrics["resumed_at"] == again.metrics["updates"] == first.metrics["updates"]
    assert again.metrics["average_precision"] == first.metrics["average_precision"]


def test_the_cards_next_training_removes_what_ended_and_nothing_that_may_go_on(tmp_path, inputs):
    store = FolderStore(Path(inputs["store"]))
    execute("train", {**inputs, "student": tmp_path / "first"})
    (first,) = {key.split("/")[1] for key in store.list("checkpoints/")}
    card_name = first.rpartition("-")[0]
    others = [
        f"checkpoints/{card_name}-{'0' * 16}/00000003.json",
        f"checkpoints/{card_name}-more-{'0' * 16}/ended.json",
    ]
    for key in others:
        store.put_if_absent(key, b"{}")
    execute("train", {**inputs, "student": tmp_path / "second", "overrides": "epochs=2"})
    assert not store.list(f"checkpoints/{first}/")
    assert set(others) < set(store.list("checkpoints/"))
    assert len(store.list("checkpoints/")) == 4


@pytest.mark.parametrize("name", ["00000001.json", "00000001.safetensors"])
def test_a_damaged_checkpoint_says_to_delete_it_and_is_passed_over_then(tmp_path, name):
    store = FolderStore(tmp_path)
    training = checkpoints.Training("a", "0" * 16)
    folder = f"checkpoints/a-{training.training}"
    checkpoints.write(store, training, checkpoints.Checkpoint(checkpoints.Position(update=1), {"a": torch.ones(1)}))
    (tmp_path / folder / name).write_bytes(b"damaged")
    with pytest.raises(BadArtifact, match=rf"{folder}/{name}\)\. Delete it.*is made again"):
        checkpoints.read_latest(store, training)
    store.delete(f"{folder}/{name}")
    assert checkpoints.read_latest(store, training) is None


def kill_after_checkpoint(command: list[str], folder: Path) -> None:
    """Start a training, kill -9 it once it has kept some checkpoints."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(int(path.stem) >= 3 for path in folder.rglob("*.json")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_real_minilm_weights_load_with_a_fresh_head():
    model, tokenizer = student.load("minilm", ("other", "tip"))
    assert model.config.id2label == {0: "other", 1: "tip"}
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(22.7e6, rel=0.01)
    # the encoder knows English before it learns anything: a paraphrase lies nearer than another topic
    ids = student.tokens_of(tokenizer, ["the hotel was lovely", "a wonderful hotel", "compile the kernel"], 64)
    with torch.inference_mode():
        hidden = [model.bert(**student.padded([row], 0)).last_hidden_state.mean(1)[0] for row in ids]
    near, far = (torch.cosine_similarity(hidden[0], hidden[other], dim=0) for other in (1, 2))
    assert near > far + 0.3


def test_an_unknown_student_is_refused_in_one_sentence():
    with pytest.raises(BadSetting, match=r"must be one of minilm, distilbert.*got 'no-such-model'"):
        student.load("no-such-model", ("other", "tip"))


def test_weights_that_exist_only_as_bin_are_read_as_plain_tensors(tmp_path):
    folder = make_student(tmp_path / "bin")
    model, _ = student.load(str(folder), ("other", "tip"))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    again, tokenizer = student.load(str(folder), ("other", "tip"))
    assert torch.equal(again.bert.encoder.layer[0].output.dense.weight, model.bert.encoder.layer[0].output.dense.weight)
    student.save(again, tokenizer, {}, tmp_path / "converted")
    assert (tmp_path / "converted/model.safetensors").exists()


class Evil:
    """A pickle that would run a command when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_that_would_run_code_are_refused_and_nothing_runs(tmp_path):
    folder = make_student(tmp_path / "evil")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(BadSetting, match="safetensors weights"):
        student.load(str(folder), ("other", "tip"))
    assert not (tmp_path / "ran").exists()


# Many labels

INTENTS = [f"intent {number}" for number in range(77)]


@pytest.fixture
def intents_card(make_card):
    labels = [{"name": name, "definition": name} for name in INTENTS]
    return parse_card(make_card(labels=labels, positive_label=None, weak_rules=[]))


def test_targets_of_many_labels_are_the_teachers_or_the_measured_ones(intents_card):
    matrix = np.eye(77) * 17 + np.roll(np.eye(77), 1, axis=1) * 3  # intent n is called n + 1 in 15%
    audit = {"labels": INTENTS, "matrix": matrix.tolist(), "slices": []}
    given = [0.02] * 77
    table = judged(("a", "intent 5", None), ("b", "intent 6", given), ("c", "intent 5", [0.5, 0.5]))
    targets = rules.teacher_targets(table, intents_card, audit)
    assert targets.shape == (3, 77)
    np.testing.assert_allclose(targets[0].sum(), 1)
    assert targets[0, 5] == pytest.approx(0.85, abs=0.01)
    assert targets[0, 4] > 0.1
    assert targets[1].tolist() == given
    assert targets[2].tolist() == targets[0].tolist()  # not one a label: as if none were given


def test_labels_without_a_likely_text_are_told_and_do_not_stop(intents_card, capsys):
    texts = [f"text {index}" for index in range(20)]
    ids = [str(index) for index in range(20)]
    gold = table_of(id=ids, group=ids, text=texts, label=INTENTS[:20], split=["train"] * 20)
    empty = judged(("x", "intent 1", None)).clear()
    audit = {"labels": INTENTS, "matrix": np.eye(77).tolist(), "slices": []}
    table = rules.training_table(gold.select("id", "group", "text"), gold, empty, audit, intents_card, human_weight=3.0)
    np.testing.assert_array_equal(rules.targets_of(table).sum(axis=1), 1)
    told = capsys.readouterr().err
    assert told.startswith("train: 57 labels of 77 without a text that likely has it: 'intent 20', 'intent 21', ")
    assert "and 52 more" in told


def test_validation_is_scored_by_the_labels_that_are_looked_at():
    logits = np.random.default_rng(0).normal(size=(50, 3))
    codes = np.random.default_rng(1).integers(0, 2, 50)  # label 2 does not occur

    def score(positive):
        return validation_score(logits, Validation([], codes, LabelSpace(("a", "b", "c"), positive)))

    assert score(None) == pytest.approx((score("a") + score("b")) / 2)
    assert score("c") == 0.0


def test_three_labels_are_learned_from_start_to_end(tmp_path, inputs, make_card):
    labels = [{"name": name, "definition": name} for name in ("praise", 'a "tip", =1', "plea")]
    names = [label["name"] for label in labels]
    card = make_card(
        labels=labels, positive_label=None, weak_rules=[], slices=[], student=str(tmp_path / "tiny"),
        train={"epochs": 6, "learning_rate": 0.003, "batch_tokens": 256},
    )  # fmt: skip
    three = BertConfig.from_dict({**SHAPES["bert"].to_dict(), "id2label": dict(enumerate(names))})
    random_model(three).save_pretrained(tmp_path / "tiny", safe_serialization=True)
    (tmp_path / "card/card.yaml").write_text(card)
    words = ["was nice", "ask for", "we want"]
    texts = [f"{words[index % 3]} {index}" for index in range(120)]
    codes = [index % 3 for index in range(120)]
    for folder, schema, rows in (("pool", tables.Texts, slice(0, 80)), ("gold", tables.Gold, slice(80, 120))):
        table = tables.read(tmp_path / folder, schema).with_columns(text=pl.Series(texts[rows]))
        if schema is tables.Gold:
            table = table.with_columns(label=pl.Series([names[code] for code in codes[rows]]))
        tables.write(table, schema, tmp_path / folder)
    answers = tables.read(tmp_path / "judgements", tables.Judgements).sort(pl.col("id").cast(pl.Int64))
    said = answers.with_columns(label=pl.Series([names[code] for code in codes[:80]]))
    tables.write(said, tables.Judgements, tmp_path / "judgements")
    audit = {"labels": names, "matrix": (np.eye(3) * 20 + 1).tolist(), "slices": []}
    (tmp_path / "audit/audit.json").write_text(json.dumps(audit))
    result = execute("train", {**inputs, "student": tmp_path / "student"})
    assert result.metrics["average_precision"] > 0.95
    about = json.loads((tmp_path / "student/student.json").read_text())
    assert (about["labels"], about["positive_label"]) == (names, None)


def test_a_student_that_was_trained_on_other_labels_gets_a_fresh_head_and_one_of_the_same_keeps_its_own(tmp_path):
    first, tokenizer = student.load(str(make_student(tmp_path / "plain")), ("other", "tip"))
    first.save_pretrained(tmp_path / "tips", safe_serialization=True)
    tokenizer.save_pretrained(tmp_path / "tips")
    head = first.classifier.weight
    same, _ = student.load(str(tmp_path / "tips"), ("other", "tip"))
    assert torch.equal(same.classifier.weight, head)
    renamed, _ = student.load(str(tmp_path / "tips"), ("blame", "praise"))
    assert not torch.equal(renamed.classifier.weight, head)
    many, _ = student.load(str(tmp_path / "tips"), tuple(f"kind {number}" for number in range(77)))
    assert many.classifier.weight.shape == (77, head.shape[1])
    for other in (same, renamed, many):
        assert torch.equal(
            other.bert.encoder.layer[0].output.dense.weight, first.bert.encoder.layer[0].output.dense.weight
        )
