"""Human labels that words, teacher and weak rules all contradict: which are listed, and which are not."""

import json

import numpy as np
import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.steps.test_audit import judgement_rows, run_audit
from understudy.errors import BadInput
from understudy.steps.audit import second_look
from understudy.steps.audit.config import AuditConfig
from understudy.store import tables
from understudy.task.card import Card, load_card
from understudy.task.guideline import Guideline

TEXTS, FLIPPED, TEACHER_ERRS = 1000, 0.05, 0.15
OWN = {"tip": ["bring", "avoid", "ask", "book"], "other": ["sunny", "hotel", "lovely", "trip"]}
TELLING = 0.85  # of a text's telling words, the chance that one is of its own label
COMMON = [f"word{number}" for number in range(200)]


def simulated(seed, *, flipped=FLIPPED, errs=TEACHER_ERRS, texts=TEXTS):
    """Draw texts with words that tell their label, human labels of which some are flipped, and a teacher that errs."""
    rng = np.random.default_rng(seed)
    is_tip, is_flipped, is_wrong = rng.random(texts) < 0.4, rng.random(texts) < flipped, rng.random(texts) < errs
    telling = is_tip[:, None] ^ (rng.random((texts, 4)) >= TELLING)
    written = [
        " ".join([*rng.choice(COMMON, 8), *(rng.choice(OWN["tip" if tip else "other"]) for tip in row)])
        for row in telling.tolist()
    ]
    ids = [f"t{row:04}" for row in range(texts)]
    names = np.array(["other", "tip"])
    table = pl.DataFrame({"id": ids, "group": [f"g{row // 2}" for row in range(texts)], "text": written}).with_columns(
        label=pl.Series(names[(is_tip ^ is_flipped).astype(int)]),
        teacher_label=pl.Series(names[(is_tip ^ is_wrong).astype(int)]),
        split=pl.Series(["train", "validation"] * (texts // 2)),
        annotators=pl.lit(1, dtype=pl.Int64),
        origin=pl.lit("labels"),
    )
    return table, {ids[row] for row in np.flatnonzero(is_flipped)}


@pytest.fixture
def card(tmp_path):
    """Make a card without weak rules."""
    return card_of(tmp_path, weak_rules=[])


def card_of(folder, **changes) -> Card:
    (folder / "snapshot").mkdir(exist_ok=True)
    (folder / "snapshot/card.yaml").write_text(card_yaml(**changes), encoding="utf-8")
    return load_card(folder / "snapshot")


def listed(card, table, **settings):
    return second_look.find(card, table, AuditConfig(**settings)).suspects


@pytest.mark.parametrize("seed", range(3))
def test_most_flipped_labels_are_listed_and_most_that_are_listed_are_flipped(card, seed):
    """By chance one in twenty of a list is flipped; of those that the teacher alone contradicts, a quarter are.

    Recall can be no higher than 0.85: the teacher gives the flipped label too on the others.
    """
    table, flipped = simulated(seed)
    found = set(listed(card, table)["id"])
    assert len(found & flipped) / len(flipped) >= 0.6
    assert len(found & flipped) / len(found) >= 0.8


def test_the_first_of_the_list_are_flipped_more_often_than_the_last(card):
    table, flipped = simulated(4, flipped=0.03, errs=0.4)
    ids = listed(card, table)["id"].to_list()
    half = len(ids) // 2
    assert sum(name in flipped for name in ids[:half]) >= sum(name in flipped for name in ids[-half:])


@pytest.mark.parametrize("seed", range(3))
def test_of_clean_labels_at_most_one_in_a_hundred_is_listed(card, seed):
    table, _ = simulated(seed, flipped=0.0)
    assert len(listed(card, table)) <= TEXTS / 100


def test_a_label_that_the_teacher_or_a_weak_rule_gives_too_is_not_suspect(card, tmp_path):
    table, _ = simulated(1)
    first = listed(card, table)["id"][0]
    is_first = pl.col("id") == first
    agreed = table.with_columns(teacher_label=pl.when(is_first).then("label").otherwise("teacher_label"))
    assert first not in listed(card, agreed)["id"].to_list()
    unasked = table.with_columns(teacher_label=pl.when(is_first).then(None).otherwise("teacher_label"))
    assert first not in listed(card, unasked)["id"].to_list()
    row = table.row(by_predicate=is_first, named=True)
    pattern = f"^{row['text']}$"
    backed = card_of(tmp_path, weak_rules=[{"name": "backs", "pattern": pattern, "label": row["label"]}])
    assert first not in listed(backed, table)["id"].to_list()
    other = {"tip": "other", "other": "tip"}[row["label"]]
    contrary = card_of(tmp_path, weak_rules=[{"name": "denies", "pattern": pattern, "label": other}])
    assert first in listed(contrary, table)["id"].to_list()


def test_texts_of_a_group_are_judged_by_a_model_that_saw_none_of_it():
    """Each group has a word of its own, which tells the label to whoever has seen the group."""
    groups = [f"g{row // 4}" for row in range(160)]
    codes = np.array([row // 4 % 2 for row in range(160)])
    chances = second_look.out_of_fold([f"only{group} same words" for group in groups], codes, groups, 2, seed=0)
    assert chances.sum(axis=1) == pytest.approx(1.0)
    assert chances[np.arange(160), codes].max() < 0.75


def test_words_that_tell_nothing_list_nothing_and_that_is_said(card):
    table, _ = simulated(2)
    shuffled = table.with_columns(pl.col("text").shuffle(seed=1))
    looked = second_look.find(card, shuffled, AuditConfig())
    assert len(looked.suspects) == 0
    assert "hardly tell their labels (kappa " in second_look.sentence_of(looked, 0)
    few = second_look.find(card, table.head(12), AuditConfig())
    assert "fewer than two labels" in second_look.sentence_of(few, 0)


@pytest.fixture
def folders(tmp_path):
    """Lay out a run of the simulated texts; a third of them are in the test split."""
    card_of(tmp_path, weak_rules=[])
    table, flipped = simulated(1)
    splits = pl.Series(["train", "train", "validation", "validation", "test", "test"] * TEXTS)[:TEXTS]
    gold = table.with_columns(split=splits)
    tables.write(gold.select(tables.Gold.column_names()), tables.Gold, tmp_path / "gold")
    pool = table.select("id", "group", "text", time=pl.lit(None, dtype=pl.String))
    tables.write(pool, tables.Texts, tmp_path / "pool")
    answers = judgement_rows(table["id"].to_list(), table["teacher_label"].to_list())
    tables.write(answers, tables.Judgements, tmp_path / "judgements")
    return tmp_path, gold, flipped


def record_of(folder):
    return json.loads((folder / "audit/audit.json").read_text())["second_look"]


def test_the_step_queues_the_suspects_without_any_answer_and_shows_them_on_the_page(folders):
    folder, _, flipped = folders
    human = (folder / "gold" / tables.FILES[tables.Gold]).read_bytes()
    result = run_audit(folder)
    assert (folder / "gold" / tables.FILES[tables.Gold]).read_bytes() == human
    queue, record = tables.read(folder / "audit/second_look", tables.SecondLook), record_of(folder)
    assert queue.columns == ["id", "group", "text", "guideline", "earlier_guideline"]
    own = Guideline.of(load_card(folder / "snapshot")).hash
    assert set(queue["guideline"]) == set(queue["earlier_guideline"]) == {own}
    assert result.metrics["suspect_labels"] == record["suspects"] == record["queued"] == len(queue)
    assert sum(name in flipped for name in queue["id"]) / len(queue) >= 0.8
    page = (folder / "audit/audit.md").read_text()
    assert record["sentences"][0] in page
    assert record["examples"][0]["text"] in page
    assert sum(record["by_label"].values()) == len(queue)


def test_no_text_of_the_test_split_is_queued_or_learned_from(folders):
    folder, gold, _ = folders
    run_audit(folder)
    before = tables.read(folder / "audit/second_look", tables.SecondLook), record_of(folder)
    of_test = gold.filter(pl.col("split") == "test")["id"].to_list()
    assert not set(before[0]["id"]) & set(of_test)
    assert before[1]["asked"] == TEXTS - len(of_test)
    is_test = pl.col("split") == "test"
    changed = gold.with_columns(
        label=pl.when(is_test).then(pl.lit("tip")).otherwise("label"),
        text=pl.when(is_test).then(pl.lit("sunny hotel ") + pl.col("id")).otherwise("text"),
    )
    tables.write(changed.select(tables.Gold.column_names()), tables.Gold, folder / "gold")
    run_audit(folder)
    assert record_of(folder) == before[1]


def test_the_list_is_cut_at_its_limit_and_can_be_switched_off(folders):
    folder, *_ = folders
    everything = run_audit(folder).metrics["suspect_labels"]
    first = tables.read(folder / "audit/second_look", tables.SecondLook)["id"].to_list()
    result = run_audit(folder, overrides="second_looks=3")
    assert result.metrics["suspect_labels"] == everything > 3
    assert tables.read(folder / "audit/second_look", tables.SecondLook)["id"].to_list() == first[:3]
    assert record_of(folder)["queued"] == 3
    off = run_audit(folder, overrides="second_looks=0")
    assert "suspect_labels" not in off.metrics
    assert record_of(folder) is None
    assert len(tables.read(folder / "audit/second_look", tables.SecondLook)) == 0
    assert "second look" not in (folder / "audit/audit.md").read_text()
    with pytest.raises(BadInput, match="second_looks must be at least 0, got -1"):
        run_audit(folder, overrides="second_looks=-1")
