"""Training on texts with several labels: targets worked by hand, and a student that learns what stands together."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from tests.students import make_student
from understudy.errors import TooFewLabels
from understudy.model import student
from understudy.runtime.shell import execute
from understudy.stats.trust import trust_each
from understudy.steps.train import rules
from understudy.steps.train.learn import Validation, losses, validation_score
from understudy.store import tables
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip")
SEVERAL = {
    "labels": [{"name": name, "definition": f"Texts with {name} in them."} for name in NAMES],
    "labels_per_text": "many",
    "positive_label": None,
    "weak_rules": [{"name": "ask", "pattern": r"\bask\b", "label": "tip"}],
}
BOTH, PRAISE, TIP, NONE = '["praise", "tip"]', '["praise"]', '["tip"]', "[]"
# of 60 texts 20 are praised, 18 of which the teacher finds, with 4 false alarms; 10 are tips, of which it finds 8
COUNTS = [[[36, 4], [2, 18]], [[50, 0], [2, 8]]]
AUDIT = {"labels": list(NAMES), "labels_per_text": "many", "counts": COUNTS, "slices": []}


@pytest.fixture
def card(make_card):
    return parse_card(make_card(**SEVERAL))


def judged(*rows):
    return pl.DataFrame(
        [
            {"id": str(index), "text": text, "kind": "teacher", "label": label, "probabilities": given}
            for index, (text, label, given) in enumerate(rows)
        ],
        schema_overrides={"probabilities": pl.List(pl.Float64)},
    )


def test_each_label_is_taken_at_how_often_people_give_it_to_texts_that_the_teacher_answers_so(card):
    table = judged(("a", BOTH, None), ("b", NONE, None), ("c", TIP, [0.2, 0.9]))
    targets = rules.teacher_targets(table, card, AUDIT)
    # praise: 18 of 22 that it said, 2 of 38 that it did not; tip: 8 of 8, and 2 of 52; two labels have no mean
    np.testing.assert_allclose(targets, [[18.5 / 23, 8.5 / 9], [2.5 / 39, 2.5 / 53], [0.2, 0.9]])


def test_a_bias_of_a_slice_is_undone_label_by_label_in_that_slice_only(card):
    avoid = {"name": "avoid", "is_biased": True, "counts": [[[9, 0], [0, 3]], [[4, 0], [2, 6]]]}
    table = judged(("avoid the bar", NONE, [0.01, 0.01]), ("the bar", NONE, None))
    targets = rules.teacher_targets(table, card, {**AUDIT, "slices": [avoid]})
    np.testing.assert_allclose(targets, [[0.5 / 10, 2.5 / 7], [2.5 / 30, 0.5 / 47]])


def test_a_label_of_which_little_is_known_is_taken_at_the_mean_of_all():
    counts = np.tile([[[380.0, 20.0], [20.0, 80.0]]], (10, 1, 1))
    counts[9] = [[499, 0], [0, 1]]
    found = trust_each(counts)
    assert found[9, 1] == pytest.approx(found[0, 1], abs=0.01)  # said once, and right
    assert found[0, 1] == pytest.approx(0.8, abs=0.01)
    alone = counts[:1]
    np.testing.assert_allclose(trust_each(alone), [[20.5 / 401, 80.5 / 101]])


def table_of(labels):
    ids = [str(index) for index in range(len(labels))]
    texts = [f"text {index}" for index in ids]
    gold = pl.DataFrame({"id": ids, "group": ids, "text": texts, "label": labels, "split": ["train"] * len(labels)})
    return gold.select("id", "group", "text"), gold


def learned_of(labels, card):
    pool, gold = table_of(labels)
    return rules.training_table(pool, gold, judged(("x", TIP, None)).clear(), AUDIT, card, human_weight=3.0)


def test_a_persons_labels_are_certain_each_by_itself(card):
    table = learned_of([BOTH, NONE, *[TIP] * 10], card)
    assert dict(table.select("id", "target").iter_rows())["0"] == [1.0, 1.0]
    assert dict(table.select("id", "target").iter_rows())["1"] == [0.0, 0.0]


def test_texts_that_differ_in_no_label_cannot_be_learned(card, capsys):
    with pytest.raises(TooFewLabels, match=r"got 12 with 0 labels that tell them apart"):
        learned_of([TIP] * 12, card)
    with pytest.raises(TooFewLabels, match=r"got 2 with 1 label that"):
        learned_of([TIP, NONE], card)
    assert len(learned_of([*[TIP] * 6, *[NONE] * 6], card)) == 12
    assert "1 label of 2 without a text that likely has it: 'praise'" in capsys.readouterr().err


def test_a_texts_loss_is_the_mean_of_the_cross_entropies_of_its_labels():
    logits = torch.tensor([[np.log(3.0), 0.0]])
    found = losses(logits, torch.tensor([[1.0, 0.0]]), is_many=True)
    assert found.item() == pytest.approx((-np.log(0.75) - np.log(0.5)) / 2)


def test_validation_takes_each_logit_as_the_log_odds_of_its_label():
    space = LabelSpace(NAMES, is_many=True)
    codes = space.codes([BOTH, TIP, NONE])
    logits = np.array([[-1.0, 5.0], [-2.0, 4.0], [-3.0, 3.0]])  # against the other label's no text would be praise's
    assert validation_score(logits, Validation([], codes, space)) == 1.0
    assert validation_score(-logits, Validation([], codes, space)) < 0.6


@pytest.fixture
def inputs(tmp_path, make_card):
    """Artifacts of a small task: "ask" makes a tip and "nice" a praise."""
    source = make_student(tmp_path / "tiny")
    kinds = [("ask for number {}, nice", BOTH), ("ask for number {}", TIP), ("nice number {}", PRAISE), ("at {}", NONE)]
    texts = [kinds[index % 4][0].format(index) for index in range(160)]
    labels = [kinds[index % 4][1] for index in range(160)]
    rows = {"id": [str(index) for index in range(160)], "text": texts, "label": labels}
    table = pl.DataFrame(rows).with_columns(group="id", time=pl.lit(None, pl.String))
    gold = {"split": "validation", "annotators": 1, "origin": "labels"}
    answers = {
        "judge": "rehearsal:r:0", "kind": "teacher", "rationale": None, "probabilities": None, "prompt_tokens": 1,
        "completion_tokens": 1, "cost_usd": 0.0, "is_rehearsal": True, "weight": 1.0,
    }  # fmt: skip
    told = {name: pl.lit(value) for name, value in answers.items()}
    tables.write(table.head(120), tables.Texts, tmp_path / "pool")
    tables.write(table.tail(40).with_columns(**{k: pl.lit(v) for k, v in gold.items()}), tables.Gold, tmp_path / "gold")
    tables.write(pl.DataFrame({"id": ["t"], "content": ["x"]}), tables.LeakageGuard, tmp_path / "gold")
    tables.write(table.head(120).with_columns(**told), tables.Judgements, tmp_path / "judgements")
    settings = {"epochs": 8, "learning_rate": 0.003, "batch_tokens": 256}
    for name, file, content in (
        ("audit", "audit.json", json.dumps(AUDIT)),
        ("card", "card.yaml", make_card(**SEVERAL, student=str(source), train=settings)),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(content)
    return {name: tmp_path / name for name in ("card", "pool", "gold", "judgements", "audit")}


def test_labels_that_stand_together_are_learned_from_start_to_end(tmp_path, inputs):
    result = execute("train", {**inputs, "store": str(tmp_path / "store"), "student": tmp_path / "student"})
    assert result.metrics["average_precision"] > 0.95
    about = json.loads((tmp_path / "student/student.json").read_text())
    assert (about["labels"], about["labels_per_text"], about["positive_label"]) == (list(NAMES), "many", None)
    assert json.loads((tmp_path / "student/config.json").read_text())["problem_type"] == student.MANY
    model, tokenizer, _ = student.open_student(tmp_path / "student")
    rows = student.tokens_of(tokenizer, ["ask for number 5, nice", "ask for number 6", "nice number 7", "at 9"], 64)
    praise, tip = student.logits(model, rows, tokenizer.pad_token_id).T
    assert min(praise[[0, 2]]) > max(praise[[1, 3]])
    assert min(tip[[0, 1]]) > max(tip[[2, 3]])


def test_a_head_of_the_same_names_that_a_text_may_have_one_of_is_made_anew(tmp_path):
    first, tokenizer = student.load(str(make_student(tmp_path / "plain")), NAMES, is_many=True)
    first.save_pretrained(tmp_path / "several", safe_serialization=True)
    tokenizer.save_pretrained(tmp_path / "several")
    same, _ = student.load(str(tmp_path / "several"), NAMES, is_many=True)
    one, _ = student.load(str(tmp_path / "several"), NAMES)
    assert torch.equal(same.classifier.weight, first.classifier.weight)
    assert not torch.equal(one.classifier.weight, first.classifier.weight)
    assert (same.config.problem_type, one.config.problem_type) == (student.MANY, None)
