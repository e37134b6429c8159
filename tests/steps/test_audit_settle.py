"""How many labels settle a slice whose bias is open, and which texts they are asked of."""

import json

import numpy as np
import polars as pl
import pytest

from tests.steps.test_audit import folders as laid_out
from tests.steps.test_audit import run_audit
from understudy.review.slice_tests import Errors, p_worse
from understudy.steps.audit import settle
from understudy.store import tables

folders = laid_out


@pytest.mark.parametrize("inside", [Errors(5, 10), Errors(8, 20)])
def test_so_many_more_labels_prove_the_bias_in_eight_of_ten_simulations(inside):
    outside, level = Errors(20, 100), 0.005
    more = settle.labels_to_settle(inside, outside, level)
    drawn = np.random.default_rng(1).binomial(more, inside.share.value, size=1000)
    proven = [p_worse(Errors(inside.wrong + int(wrong), inside.tried + more), outside) < level for wrong in drawn]
    assert 0.76 <= np.mean(proven) <= 0.95
    few = more // 2
    fewer = np.random.default_rng(1).binomial(few, inside.share.value, size=1000)
    proven = [p_worse(Errors(inside.wrong + int(wrong), inside.tried + few), outside) < level for wrong in fewer]
    assert np.mean(proven) < 0.76


def test_a_difference_that_no_number_of_labels_can_prove_is_said_so():
    assert settle.labels_to_settle(Errors(21, 100), Errors(20, 100), 0.01) is None


def test_the_fewest_errors_that_prove_are_the_edge():
    outside = Errors(20, 100)
    edge = settle.least_wrong(30, outside, 0.01)
    assert p_worse(Errors(edge, 30), outside) < 0.01 <= p_worse(Errors(edge - 1, 30), outside)


def test_an_open_slice_gets_a_sentence_and_texts_drawn_whatever_the_teacher_said(folders):
    """Of 41 "avoid" tips 12 are missed, not 29: p is 0.09 or so."""
    rows = tables.read(folders / "judgements", tables.Judgements)
    ids = [f"t{row:04}" for row in range(12, 29)]
    fewer = rows.with_columns(label=pl.when(pl.col("id").is_in(ids)).then(pl.lit("tip")).otherwise(pl.col("label")))
    tables.write(fewer, tables.Judgements, folders / "judgements")
    run_audit(folders, overrides="search_candidates=0")
    audit = json.loads((folders / "audit/audit.json").read_text())
    (told,) = [part for part in audit["settle"] if part["slice"] == "avoid"]
    drawn = tables.read(folders / "audit/settle", tables.AuditQueue).filter(pl.col("slice") == "avoid")
    assert told["labels"] > 0
    assert told["drawn"] == len(drawn) == min(40, told["texts"])
    assert set(drawn["teacher_label"]) == {"tip", "other"}
    assert all("avoid" in text for text in drawn["text"])
    assert told["sentence"] in (folders / "audit/audit.md").read_text()
    assert "12 of 41" in told["sentence"]
    assert told["sentence"].endswith(settle.COUNTED)


def test_a_proven_bias_needs_no_settling(folders):
    run_audit(folders)
    audit = json.loads((folders / "audit/audit.json").read_text())
    assert "avoid" not in {part["slice"] for part in audit["settle"]}
