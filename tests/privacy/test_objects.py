"""Whether a row is about a text is one rule, for rows of JSON and CSV as for tables."""

import json

import polars as pl
import pytest

from understudy.errors import StorageError
from understudy.privacy.objects import Wanted, erase, mask

WANTED = Wanted(
    frozenset({"7", "1.5", "jane", "None", "null"}),
    frozenset({"8", "g"}),
    frozenset({"0a", "9"}),
    split=frozenset({"jane", "7", "a\nb"}),
)
CASES = [  # rows, and which of them are about a text
    ([{"id": 7, "group": "x"}, {"id": 6, "group": "x"}], [True, False]),
    ([{"id": 1.5, "group": "x"}, {"id": 7.0, "group": "x"}], [True, False]),
    ([{"id": "jane", "group": 1}, {"id": "john", "group": 8}, {"id": "7", "group": 2}], [True, True, True]),
    ([{"id": None, "group": "g"}, {"id": None, "group": None}, {"id": "x", "group": "h"}], [True, False, False]),
    ([{"id": True, "group": "g"}, {"id": False, "group": "h"}], [True, False]),
    ([{"id": "x", "content": "0a"}, {"id": None, "content": "0a"}], [False, False]),
    ([{"content": "0a"}, {"content": "0b"}, {"content": None}], [True, False, False]),
    ([{"content": 9}, {"content": 8}], [True, False]),
    ([{"id": "jane#12"}, {"id": "7#1"}, {"id": "a\nb#1"}], [True, True, True]),
    ([{"id": "jane#1#2"}, {"id": "jane#"}, {"id": "jane#b"}, {"id": "1.5#1"}, {"id": "jane#1\n"}], [False] * 5),
    ([{"id": "x#1", "group": "g"}, {"id": "x#1", "group": "jane"}], [True, False]),
]


@pytest.mark.parametrize(("rows", "gone"), CASES)
def test_a_row_and_a_table_agree_on_what_is_about_a_text(rows, gone):
    assert [WANTED.names(row) for row in rows] == gone
    assert mask(pl.DataFrame(rows), WANTED).to_list() == gone


def test_lines_whose_ids_are_numbers_lose_the_text_too(store):
    lines = [{"id": 7, "text": "mine"}, {"id": 8, "text": "another's"}]
    store.put_if_absent("notes/mine.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    assert erase(store, "notes/mine.jsonl", WANTED) == 1
    assert json.loads(store.read("notes/mine.jsonl")) == lines[1]


def test_an_id_that_is_a_list_is_said(store):
    store.put_if_absent("notes/mine.jsonl", b'{"id": ["jane"]}\n')
    with pytest.raises(StorageError, match=r"got an id, group or content that is a list \(.*mine\.jsonl\)"):
        erase(store, "notes/mine.jsonl", WANTED)
