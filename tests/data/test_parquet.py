import os

import polars as pl
import pytest

from understudy.data import parquet
from understudy.data.sources import opened
from understudy.errors import BadArtifact, BadData
from understudy.store import codecs


def write(path, identity):
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame({"id": [identity], "text": ["x"]}).write_parquet(path)
    return path


@pytest.mark.parametrize("name", ["day[1].parquet", "day?.parquet", "*.parquet", "~root.parquet", "{1,2}.parquet"])
def test_signs_of_a_pattern_in_a_path_stand_for_themselves(tmp_path, monkeypatch, name):
    """Each of these names is a pattern, or a home, to some reader; the other file must not be read in its place."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "day1.parquet", "another")
    write(tmp_path / name, "this")
    for address in (name, str(tmp_path / name)):
        with opened(address, ["id", "text"]) as source:
            assert source.read(["id"])[0]["id"].to_list() == ["this"]
    assert codecs.read_table(tmp_path / name, name)["id"].to_list() == ["this"]


def test_a_folder_with_a_pattern_or_a_key_in_its_name_adds_no_column_and_no_row(tmp_path):
    write(tmp_path / "day1" / "a.parquet", "another")
    write(tmp_path / "day[1]" / "a.parquet", "this")
    write(tmp_path / "id=7" / "a.parquet", "that")
    for folder, identity in (("day[1]", "this"), ("id=7", "that")):
        with opened(str(tmp_path / folder), ["id", "text"]) as source:
            assert source.read(["id"])[0]["id"].to_list() == [identity]


def test_a_file_that_is_not_there_is_missing_though_its_name_matches_another(tmp_path):
    write(tmp_path / "day1.parquet", "another")
    with (
        pytest.raises(BadData, match=r"must be there and readable, got No such file"),
        opened(str(tmp_path / "day[1].parquet"), ["id", "text"]),
    ):
        pass


def test_a_damaged_file_is_one_error_and_says_nothing_on_standard_error(tmp_path, capfd):
    """Cut and garbled at every eighth byte: polars panics at some of these."""
    whole = write(tmp_path / "a.parquet", "a").read_bytes()
    refused = 0
    for place in range(4, len(whole) - 4, 8):
        for garbled in (whole[:place] + b"\xff" * 8 + whole[place + 8 :], whole[:place] + whole[place + 8 :]):
            (tmp_path / "b.parquet").write_bytes(garbled)
            try:
                parquet.schema_of(tmp_path / "b.parquet")
                codecs.read_table(tmp_path / "b.parquet", "b.parquet")
            except (BadArtifact, OSError, pl.exceptions.PolarsError):
                refused += 1
    os.write(2, b"what others say is heard\n")
    assert refused > 10
    assert capfd.readouterr().err == "what others say is heard\n"


def labelled(path, label):
    pl.DataFrame({"id": ["a", "b"], "label": label}).write_parquet(path)
    with opened(str(path), ["id", "label"], lists=["label"]) as source:
        return source.read(["id", "label"])


def test_a_column_of_lists_is_read_where_it_may_be(tmp_path):
    """A row's list becomes JSON; one that is missing is an empty cell, one without a name is a list."""
    table, refusals = labelled(tmp_path / "a.parquet", [["tip", "a, b"], []])
    assert (table["label"].to_list(), refusals) == (['["tip", "a, b"]', "[]"], [])
    table, refusals = labelled(tmp_path / "b.parquet", [[1, 2], None])
    assert table["label"].to_list() == ['["1", "2"]']
    assert [refusal.reason for refusal in refusals] == ["empty_label"]


def test_a_column_of_lists_of_lists_is_refused_and_so_is_one_of_lists_elsewhere(tmp_path):
    with pytest.raises(BadData, match="The column 'label' must hold plain values"):
        labelled(tmp_path / "a.parquet", [[["tip"]], []])
    with (
        pytest.raises(BadData, match="The column 'label' must hold plain values"),
        opened(str(tmp_path / "a.parquet"), ["id", "label"]),
    ):
        pass


def test_a_list_of_too_many_bytes_costs_its_row(tmp_path):
    _, refusals = labelled(tmp_path / "a.parquet", [["x" * 1_000_000] * 5, ["tip"]])
    assert [(refusal.row, refusal.reason) for refusal in refusals] == [(1, "too_long")]
