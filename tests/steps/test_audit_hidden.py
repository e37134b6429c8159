"""The search for slices that nobody named: what is found, and what is not called a slice."""

import json

import numpy as np
import polars as pl
import pytest
import yaml

from tests.steps.test_audit import folders as laid_out
from tests.steps.test_audit import run_audit
from understudy.review import hidden
from understudy.review.cuts import Cut, as_yaml, by_words, cuts_of
from understudy.stats.metrics import wilson
from understudy.steps.audit import rules
from understudy.steps.audit.config import AuditConfig
from understudy.store import tables
from understudy.task.card import Slice
from understudy.task.labels import LabelSpace
from understudy.task.slices import in_slice

folders = laid_out
SPACE = LabelSpace(("other", "tip"), "tip")
CONFIG = AuditConfig()
WORDS = [f"word{number}" for number in range(300)]


def labelled(seed, mark=" avoid", recall=0.2, texts=600):
    """Draw texts of random words, a sixth of them marked, of which the teacher finds the tips with another recall."""
    rng = np.random.default_rng(seed)
    truth, inside = rng.integers(0, 2, texts), rng.random(texts) < 1 / 6
    found = rng.random(texts) < np.where(inside, recall, 0.8)
    written = [" ".join(rng.choice(WORDS, 10)) + (mark if one else "") for one in inside]
    table = pl.DataFrame({"id": [f"t{row}" for row in range(texts)], "text": written})
    return table, truth, np.where(found, truth, 0), inside


def searched(table, truth, judged, slices=None, tests=(), config=CONFIG, columns=()):
    half = hidden.halves_of(table["id"].to_list(), config.seed)
    cuts = cuts_of(table, columns, config.min_labels)
    return hidden.find(truth, judged, cuts, half, slices or {}, tests, SPACE, config), half


def names(found):
    return {one.cut.name for one in found if one.test.is_biased(CONFIG.alpha)}


def test_a_word_that_nobody_named_is_found_with_the_counts_of_the_half_that_was_not_searched():
    table, truth, judged, inside = labelled(1)
    found, half = searched(table, truth, judged)
    assert names(found) == {"avoid"}
    test = found[0].test
    counts = [
        (int((inside & part & (truth == 1) & (judged == 0)).sum()), int((inside & part & (truth == 1)).sum()))
        for part in (half, ~half)
    ]
    assert (test.inside.wrong, test.inside.tried) in counts
    assert test.p_adjusted >= 2 * test.p
    assert (found[0].members == inside).all()


def test_a_slice_by_length_is_found():
    table, truth, judged, inside = labelled(2, mark=" word1" * 30)
    found, _ = searched(table, truth, judged)
    assert names(found) == {"more than 10 words"}
    assert (found[0].members == inside).all()


def test_two_words_are_found_where_neither_alone_tells_the_slice():
    rng = np.random.default_rng(5)
    late, bus = rng.random(1600) < 0.4, rng.random(1600) < 0.4
    truth = np.ones(1600, dtype=int)
    judged = (rng.random(1600) < np.where(late & bus, 0.3, 0.85)).astype(int)
    pairs = enumerate(zip(late.tolist(), bus.tolist(), strict=True))
    texts = [f"{'late' if one else 'soon'} {'bus' if other else 'train'} word{row % 7}" for row, (one, other) in pairs]
    table = pl.DataFrame({"id": [str(row) for row in range(1600)], "text": texts})
    assert "bus + late" in {" + ".join(sorted(name.split(" + "))) for name in names(searched(table, truth, judged)[0])}


def test_columns_and_times_are_searched_too():
    table, truth, judged, inside = labelled(3, mark="")
    in_column = table.with_columns(outlet=pl.Series(np.where(inside, "north", "south")))
    assert names(searched(in_column, truth, judged, columns=["outlet"])[0]) == {"outlet north"}
    days = [f"2026-{'12' if one else '03'}-{row % 28 + 1:02}" for row, one in enumerate(inside)]
    found, _ = searched(table.with_columns(time=pl.Series(days)), truth, judged)
    assert found[0].test.is_biased(CONFIG.alpha)
    assert found[0].cut.name.startswith("after 2026-")
    assert as_yaml(found[0].cut) is None


def test_a_fair_teacher_is_said_to_have_a_hidden_slice_no_more_often_than_alpha():
    alarms = 0
    for seed in range(60):
        table, truth, judged, _ = labelled(seed, recall=0.8, texts=300)
        alarms += bool(names(searched(table, truth, judged)[0]))
    assert alarms <= 7  # of 60 at 0.05: more than 7 with chance 0.02


def test_the_confirming_half_alone_decides():
    """What is wrong only in one half of the labels looks worst there, and the other half does not bear it out."""
    table, truth, _, inside = labelled(4, recall=0.8)
    half = hidden.halves_of(table["id"].to_list(), CONFIG.seed)
    judged = np.where(inside & half, 0, truth)
    judged[::9] = 0
    found, _ = searched(table, truth, judged)
    assert "avoid" in {one.cut.name for one in found}
    assert "avoid" not in names(found)


def test_a_slice_that_the_card_names_is_not_called_hidden():
    table, truth, judged, inside = labelled(1)
    assert "avoid" not in {one.cut.name for one in searched(table, truth, judged, {"named": inside})[0]}
    tests = rules.compare_slices(truth, judged, {"named": inside}, SPACE, CONFIG)
    assert not names(searched(table, truth, judged, {"named": inside}, tests)[0])


def test_halves_hold_whole_groups_and_follow_the_seed():
    groups = [f"g{row // 3}" for row in range(3000)]
    half = hidden.halves_of(groups, 0)
    assert (half.reshape(-1, 3).all(axis=1) | ~half.reshape(-1, 3).any(axis=1)).all()
    assert wilson(int(half[::3].sum()), 1000).low < 0.5 < wilson(int(half[::3].sum()), 1000).high
    assert (half != hidden.halves_of(groups, 1)).any()


@pytest.mark.parametrize("cut", [by_words(["größe"]), by_words(["late", "bus"]), Cut('a "b"', {"max_words": 3})])
def test_the_suggested_slice_holds_the_same_texts_on_the_card(cut):
    texts = ["The GRÖSSE", "Die Größe der Stadt", "bus was\nLate again, yes", "later bus", "late or never for a bus"]
    table = pl.DataFrame({"text": texts})
    (keys,) = yaml.safe_load(as_yaml(cut))
    cuts = cuts_of(table, [], least=1)
    columns = [cuts.words.index(word) for word in cut.name.split(" + ") if word in cuts.words]
    own = cuts.holds(columns) if columns else np.array([len(text.split()) <= 3 for text in texts])
    assert in_slice(Slice(**keys), table).tolist() == own.tolist()


def test_the_step_tells_what_it_found_and_how_to_name_it(folders):
    result = run_without_slices(folders)
    audit = json.loads((folders / "audit/audit.json").read_text())
    (found,) = audit["hidden"]["found"]
    assert (found["name"], found["direction"], found["label"], found["texts"]) == ("avoid", "under-labels", "tip", 100)
    assert all("avoid" in example["text"] for example in found["examples"])
    page = (folders / "audit/audit.md").read_text()
    assert found["sentence"] in page.replace("\\<", "<")
    assert f"    {found['slice']}\n" in page
    assert "it errs more often in 'avoid', which the card does not name" in result.headline
    assert result.metrics["hidden_slices"] == 1
    queue = tables.read(folders / "audit", tables.AuditQueue)
    assert sorted(queue["id"]) == [f"p{row:04}" for row in range(0, 40, 2)]  # "avoid" texts that it calls "other"
    assert set(queue["slice"]) == {"avoid"}


def test_the_search_can_be_left_out(folders):
    result = run_without_slices(folders, overrides="search_candidates=0")
    assert "hidden" not in json.loads((folders / "audit/audit.json").read_text())
    assert "hidden_slices" not in result.metrics


def run_without_slices(folders, **changes):
    card = folders / "snapshot/card.yaml"
    said = yaml.safe_load(card.read_text(encoding="utf-8"))
    card.write_text(yaml.safe_dump({**said, "slices": []}), encoding="utf-8")
    return run_audit(folders, **changes)


@pytest.mark.parametrize("word", ["İstanbul", "ΟΔΟΣ", "STRASSE", "cafe\u0301s", "हिन्दी", "don't"])
def test_the_pattern_of_a_word_finds_just_the_texts_that_the_cut_holds(word):
    table = pl.DataFrame({"text": [f"{word} late", f"a {word.lower()}, bus", "x" + word, "late"]})
    cuts = cuts_of(table, [], least=1)
    for column, _ in enumerate(cuts.words):
        cut = cuts.of([column])
        assert cuts.holds([column]).tolist() == in_slice(Slice(name="own", **cut.keys), table).tolist(), cut.name


def test_values_that_hardly_any_text_has_make_no_cut():
    places = [f"p{row}" for row in range(3_000)] + ["inn"] * 10 + [None] * 5
    table = pl.DataFrame({"text": ["abc def"] * len(places), "place": places})
    cuts = cuts_of(table, ["place"], least=10)
    column = len(cuts.words) + [cut.name for cut in cuts.others].index("place inn")
    assert [cut.name for cut in cuts.others if cut.keys.get("column")] == ["place inn"]
    assert cuts.holds([column]).sum() == 10
