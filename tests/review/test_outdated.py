"""Old labels against new ones: which count as old, and how far they agree."""

import math

import polars as pl
import pytest

from understudy.review import labels, outdated
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace

TWO = LabelSpace(("other", "tip"), "tip")
MANY = LabelSpace(("praise", "tip"), is_many=True)
NOW = Guideline("Tip?", ("New.",), {"other": ("No.", ()), "tip": ("Yes.", ())})
OLD = Guideline("Tip?", ("Old.",), {"other": ("No.", ()), "tip": ("Yes.", ())})


def votes(*rows: tuple[str, str, str | None, str, int, str | None]) -> pl.DataFrame:
    """Rows of (id, label, annotator, origin, segment, guideline)."""
    columns = ("id", "label", "annotator", "origin", "segment", "guideline")
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table.with_columns(split=pl.lit(None, pl.String), file=pl.lit("f"), row=pl.int_range(pl.len())).select(
        pl.col(name).cast(kind) for name, kind in labels.VOTES.items()
    )


def test_a_text_with_a_label_by_the_cards_guideline_is_not_old_whoever_said_what_before():
    said = votes(
        ("a", "tip", "ann", "queue", 0, OLD.hash),
        ("a", "other", "bob", "second_look", 1, NOW.hash),
        ("b", "tip", "ann", "queue", 0, OLD.hash),
        ("c", "tip", None, "labels", 0, None),
    )
    old, unknown = outdated.older(said, {OLD.hash: OLD}, NOW, TWO)
    assert (old.guideline, old.votes["id"].to_list(), old.touched["id"].to_list()) == (OLD.hash, ["b"], ["b"])
    assert (unknown.guideline, unknown.change, unknown.touched["id"].to_list()) == (None, None, ["c"])


def test_of_a_persons_old_answers_the_newest_is_listed():
    said = votes(("a", "tip", "ann", "queue", 0, OLD.hash), ("a", "other", "ann", "queue", 1, OLD.hash))
    (old,) = outdated.older(said, {OLD.hash: OLD}, NOW, TWO)
    assert old.votes["label"].to_list() == ["other"]


def test_rows_of_a_labels_file_are_not_compared_for_those_that_stayed_are_missing():
    said = votes(
        ("a", "tip", None, "labels", 0, OLD.hash),
        ("a", "other", None, "labels", 1, NOW.hash),
        ("b", "tip", None, "labels", 0, OLD.hash),
    )
    assert outdated.by_people(said, OLD.hash, NOW.hash, TWO) is None
    looked = votes(("b", "tip", "ann", "second_look", 2, NOW.hash))
    found = outdated.by_people(pl.concat([said, looked]), OLD.hash, NOW.hash, TWO)
    assert found is not None
    assert (found.texts, found.same.value) == (1, 1.0)


def test_agreement_has_an_interval_that_one_label_alone_does_not_give():
    names = [f"t{number}" for number in range(40)]
    old = {name: "tip" if number % 2 else "other" for number, name in enumerate(names)}
    now = {**old, "t0": "tip", "t1": "other"}
    found = outdated.agreement(old, now, TWO)
    assert found is not None
    assert (found.texts, found.same.value) == (40, 0.95)
    assert found.kappa.value == pytest.approx(0.9)
    assert found.kappa.low < 0.9 < found.kappa.high <= 1
    alone = outdated.agreement(dict.fromkeys(names, "tip"), dict.fromkeys(names, "tip"), TWO)
    assert alone is not None
    assert alone.same.value == 1
    assert math.isnan(alone.kappa.value)


def test_a_label_that_the_card_has_no_more_is_another_label():
    found = outdated.agreement({"a": "hint", "b": "other"}, {"a": "tip", "b": "other"}, TWO)
    assert found is not None
    assert found.same.value == 0.5


def test_of_several_labels_each_counts_for_kappa_and_all_for_the_share():
    old = {"a": '["tip"]', "b": '["praise", "tip"]', "c": "[]", "d": '["praise"]'}
    found = outdated.agreement(old, {**old, "b": '["praise"]'}, MANY)
    assert found is not None
    assert found.same.value == 0.75
    assert found.kappa.value == pytest.approx(0.75)  # 7 of 8 alike; by chance 4/8 * 3/8 + 4/8 * 5/8 = 1/2


def test_a_changed_definition_touches_the_sets_that_hold_its_label():
    old = Guideline("?", ("r",), {"praise": ("Good.", ()), "tip": ("Advice.", ())}, is_many=True)
    now = Guideline("?", ("r",), {"praise": ("Good.", ()), "tip": ("Advice to act on.", ())}, is_many=True)
    said = votes(
        ("a", '["praise", "tip"]', None, "labels", 0, old.hash),
        ("b", '["praise"]', None, "labels", 0, old.hash),
        ("c", "[]", None, "labels", 0, old.hash),
    )
    (found,) = outdated.older(said, {old.hash: old}, now, MANY)
    assert found.touched["id"].to_list() == ["a"]
