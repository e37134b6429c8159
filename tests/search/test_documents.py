"""What a document is: its id, its version, and when its text was written."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nights import prediction
from understudy.errors import BadArtifact
from understudy.search.documents import document_id, document_version, documents
from understudy.store.predictions import PREDICTIONS


def table(*rows):
    return pl.DataFrame(rows, schema=PREDICTIONS)


def test_a_rollback_replaces_the_answers_of_the_bundle_before_it():
    before = document_version(7, "2026-11-03T02:00:00Z")
    assert document_version(8, "2026-11-02T02:00:00Z") > before


def test_a_backfill_replaces_only_what_arrived_before_it():
    first, second = (document_version(7, f"2026-11-0{day}T02:00:00+00:00") for day in (3, 4))
    assert first < second
    backfilled = table(prediction("a", date="2026-10-01", scored_at="2026-11-04T02:00:00Z", generation=7))
    assert documents(backfilled, "card")["document_version"].to_list() == [second]


@given(st.integers(0, 900_000), st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1)))
def test_a_higher_generation_always_wins_and_fits_into_64_bits(generation, late):
    lower = document_version(generation, late.isoformat())
    higher = document_version(generation + 1, "2020-01-01T00:00:00Z")
    assert lower < higher < 2**63


def test_a_prediction_without_a_readable_time_of_scoring_is_refused():
    with pytest.raises(BadArtifact, match="scored_at must be an ISO 8601 time, got 'soon'"):
        document_version(1, "soon")


def test_an_id_that_elasticsearch_would_refuse_is_hashed_and_stays_the_same():
    long = "ü" * 300
    assert document_id("card", long) == document_id("card", long) != document_id("card", long + "x")
    assert len(document_id("card", long).encode()) <= 512


def test_of_an_id_that_stands_twice_the_last_row_counts():
    made = documents(table(prediction("a", "first"), prediction("b"), prediction("a", "second")), "card")
    assert made.select("id", "text").rows() == [("b", prediction("b")["text"]), ("a", "second")]


def test_columns_that_no_document_has_are_left_out():
    made = documents(table(prediction("a")).with_columns(extra=pl.lit(1)), "card")
    assert "extra" not in made.columns


def test_a_segment_without_a_column_is_refused():
    with pytest.raises(BadArtifact, match=r"got none of \['label'\] \(somewhere\)"):
        documents(table(prediction("a")).drop("label"), "card", "somewhere")
