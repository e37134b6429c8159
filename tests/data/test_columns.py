"""Files whose columns are called otherwise, and files without ids."""

import json

import polars as pl
import pytest

from understudy.data.sources import opened
from understudy.errors import BadCard, BadData
from understudy.task.card import parse_card

CALLED = {"id": "message_id", "text": "body", "group": "thread"}
ROWS = [("m1", "Ask for a room.", "t1", "de"), ("m2", "Nice.", "t1", "en")]
THEIRS = ["message_id", "body", "thread", "language"]


def read(path, required=("id", "text"), optional=("group",), **more):
    with opened(str(path), required, optional, **more) as source:
        table, refusals = source.read(filled=required)
    assert refusals == []
    return table.drop("file", "row")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_are_read_by_what_the_files_call_them(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    table = pl.DataFrame(ROWS, schema=THEIRS, orient="row")
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](path)
    found = read(path, ("id", "text", "language"), called=CALLED)
    assert found.columns == ["id", "text", "language", "group"]
    assert found.select("id", "text", "group", "language").rows() == ROWS


def test_a_file_with_our_names_is_read_by_these_and_one_with_both_by_its_own(tmp_path):
    """What comes back from a queue has our names."""
    (tmp_path / "a.csv").write_text("id,text\n1,ours\n")
    (tmp_path / "b.csv").write_text("id,text,body,message_id\n1,ours,theirs,2\n")
    found = read(tmp_path, called=CALLED)
    assert found.rows() == [("1", "ours"), ("2", "theirs")]


def test_a_needed_column_in_another_case_is_meant_unless_two_are(tmp_path):
    (tmp_path / "a.csv").write_text("ID, Text ,Group\n1,x,g\n")
    assert read(tmp_path / "a.csv").rows() == [("1", "x")]  # what is not needed is not guessed
    (tmp_path / "b.csv").write_text("ID,Text,TEXT\n1,x,y\n")
    with pytest.raises(BadData, match="Add or rename text, or say in the card's section columns"):
        read(tmp_path / "b.csv")


def test_a_missing_column_is_told_with_what_it_is_said_to_be_called(tmp_path):
    (tmp_path / "a.csv").write_text("key,words\n1,x\n")
    with pytest.raises(BadData, match=r"must have the columns id \(or message_id\), text \(or body\), got key, words"):
        read(tmp_path / "a.csv", called=CALLED)


def test_rows_of_a_file_without_ids_are_named_by_their_text(tmp_path):
    (tmp_path / "a.csv").write_text("text\nAsk for a room.\n  Ask for a room. \nNice.\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "Nice."}))
    names = read(tmp_path, makes_ids=True)["id"].to_list()
    assert names[0] == names[1] != names[2] == names[3]
    assert all(len(name) == 20 for name in names)
    with pytest.raises(BadData, match="Add or rename id"):
        read(tmp_path)


def test_a_row_without_text_has_no_name_and_is_refused_for_its_text(tmp_path):
    (tmp_path / "a.csv").write_text("text,x\nNice.,1\n,2\n")
    with opened(str(tmp_path / "a.csv"), ("id", "text"), makes_ids=True) as source:
        _, refusals = source.read(filled=("id", "text"))
        assert source.without_ids == [str(tmp_path / "a.csv")]
    assert [(refusal.row, refusal.id, refusal.reason) for refusal in refusals] == [(3, None, "empty_text")]


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"text": "a", "label": "a"}, "label must be another column than text, got 'a' for both."),
        ({"text": " "}, "text must be the name of a column, got ' '."),
        ({"text": 7}, "columns.text must be a string, got 7. Put it in quotes."),
        ({"texts": "a"}, "A setting must be one of id, text, label, group, time, annotator, split, got 'texts'"),
    ],
)
def test_what_cannot_be_a_column_is_a_fault_of_the_card(make_card, columns, fault):
    with pytest.raises(BadCard) as caught:
        parse_card(make_card(columns=columns))
    assert fault in str(caught.value)


def test_columns_play_no_part_in_the_hash_while_nothing_is_said(make_card):
    assert parse_card(make_card()).hash == parse_card(make_card(columns={})).hash
    assert parse_card(make_card(columns={"text": "body"})).hash != parse_card(make_card()).hash


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_a_path_of_keys_leads_to_a_value_within_values(tmp_path, name):
    items = [
        {"meta": {"key": 7, "by": {"author": "ann"}}, "message": {"body": "Ask for a room."}, "lang": {"code": "de"}},
        {"meta": {"key": 8}, "message": {"body": "Nice."}, "lang": {"code": None}},
    ]
    text = json.dumps(items) if name == "a.json" else "\n".join(map(json.dumps, items))
    (tmp_path / name).write_text(text)
    if name == "a.parquet":
        pl.DataFrame(items).write_parquet(tmp_path / name)
    called = {"id": "meta.key", "text": "message.body", "group": "meta.by.author"}
    found = read(tmp_path / name, ("id", "text"), ("group", "lang.code"), called=called)
    assert found.rows() == [("7", "Ask for a room.", "ann", "de"), ("8", "Nice.", None, None)]


def test_a_path_that_leads_nowhere_is_a_missing_column_and_one_to_an_object_costs_the_row(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "message": {"body": {"de": "x"}}}')
    with pytest.raises(BadData, match=r"text \(or message.text\), got id, message"):
        read(tmp_path / "a.jsonl", called={"text": "message.text"})
    with opened(str(tmp_path / "a.jsonl"), ["id", "text"], called={"text": "message.body"}) as source:
        (refusal,) = source.read(filled=["id"])[1]
    assert (refusal.reason, refusal.detail) == ("not_a_string", "the cell 'text' must be a string, got dict")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_may_stand_for_two_of_ours_and_names_may_be_swapped(tmp_path, kind):
    """A slice may read the column that says which texts belong together."""
    path = tmp_path / f"a.{kind}"
    table = pl.DataFrame([("Nice.", "1", "t")], schema=["id", "text", "thread"], orient="row")
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](path)
    called = {"id": "text", "text": "id", "group": "thread"}
    found = read(path, ("id", "text", "thread"), ("group",), called=called)
    assert found.rows(named=True) == [{"id": "1", "text": "Nice.", "thread": "t", "group": "t"}]
