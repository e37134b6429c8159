"""Packed files, JSON lists and Excel's sheets give the rows that their plain form would."""

import gzip
import io
import json
import zipfile

import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from understudy.data import unpacking
from understudy.data.sources import opened
from understudy.errors import BadData

CSV = 'id,text\n1,"a, quoted\nline"\n2,é\n'
ROWS = [("1", "a, quoted\nline"), ("2", "é")]
ITEMS = [{"id": 1, "text": "a, quoted\nline"}, {"id": "2", "text": "é", "more": [{"x": "]"}]}]


def packed(name, data):
    return gzip.compress(data) if name.endswith("gz") else zstandard.ZstdCompressor(write_checksum=True).compress(data)


def read(path, **more):
    with opened(str(path), ["id", "text"], **more) as source:
        table, refusals = source.read(filled=["id", "text"])
    assert [refusal.reason for refusal in refusals] == []
    return table.select("id", "text").rows()


def said(path):
    with pytest.raises(BadData) as caught:
        read(path)
    (sentence,) = caught.value.faults
    return sentence


def sheet(rows) -> bytes:
    """Write a small Excel file, as its standard has it: strings inline, numbers plain, empty rows left out."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(
            f'<c r="{chr(65 + place)}{number}" t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
            if isinstance(value, str)
            else f'<c r="{chr(65 + place)}{number}"><v>{value}</v></c>'
            for place, value in enumerate(row)
            if value is not None
        )
        lines += [f'<row r="{number}">{cells}</row>'] if row else []
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{links}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{links}"><sheets><sheet name="a" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
        f'relationships"><Relationship Id="r1" Type="{links}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "name", ["a.csv.gz", "a.csv.zst", "a.CSV.GZ", "a.jsonl.gz", "a.jsonl.zst", "a.json.gz", "a.gz"]
)
def test_a_packed_file_gives_the_rows_that_are_in_it(tmp_path, name):
    texts = {"jsonl": "\n".join(map(json.dumps, ITEMS)), "json": json.dumps(ITEMS)}
    text = texts.get(name.split(".")[1], CSV)
    (tmp_path / name).write_bytes(packed(name.lower(), text.encode()))
    assert read(tmp_path / name) == ROWS


def test_files_that_were_packed_apart_and_joined_are_read_to_the_end(tmp_path):
    for name in ("a.csv.gz", "a.csv.zst"):
        (tmp_path / name).write_bytes(packed(name, CSV.encode()) + packed(name, b"3,more\n"))
        assert read(tmp_path / name) == [*ROWS, ("3", "more")]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
def test_a_packed_file_that_is_cut_or_damaged_is_refused_whole(tmp_path, name):
    whole = packed(name, (CSV + "".join(f"{n},text {n * n}\n" for n in range(5000))).encode())
    for data in (whole[:-9], whole[: len(whole) // 2], b"no such thing", whole[:400] + b"\0" * 40 + whole[440:]):
        (tmp_path / name).write_bytes(data)
        assert said(tmp_path / name).startswith("A packed file must be whole, got ")


def test_a_packed_file_that_holds_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_UNPACKED_BYTES", 1000)
    (tmp_path / "a.csv.zst").write_bytes(packed("zst", CSV.encode() + b"\n" * 10_000))
    assert "must hold at most 1,000 bytes, got more" in said(tmp_path / "a.csv.zst")


@pytest.mark.parametrize("text", [json.dumps(ITEMS), json.dumps(ITEMS, indent=2), "\ufeff \n" + json.dumps(ITEMS)])
def test_a_json_list_gives_a_row_for_each_item(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert read(tmp_path / "a.json") == ROWS


def test_lines_of_json_may_be_called_json_too(tmp_path):
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, ITEMS)))
    assert read(tmp_path / "a.json") == ROWS


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=30) | st.integers()), max_size=20),
    st.integers(1, 64),
)
def test_every_item_of_a_list_is_found_however_it_is_cut(items, size):
    whole = io.StringIO(json.dumps(items, indent=1))
    before, unpacking.CHUNK = unpacking.CHUNK, size
    try:
        assert list(unpacking._items("a.json", whole)) == items
    finally:
        unpacking.CHUNK = before


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ('[{"id": 1, "text": "x"}, {"id"', "at item 2"),
        ('[{"id": 1, "text": "x"} {"id": 2}]', "got '{' at item 1"),
        ('[{"id": 1, "text": "x"}', "got its end at item 1"),
        ("[nonsense]", "at item 1"),
        ("[" * 100_000, "at item 1"),
    ],
)
def test_a_json_list_that_is_none_is_refused_at_its_item(tmp_path, text, got):
    (tmp_path / "a.json").write_text(text)
    assert "A JSON list must hold whole objects" in said(tmp_path / "a.json")
    assert got in said(tmp_path / "a.json")


def test_an_item_that_is_no_object_costs_itself(tmp_path):
    (tmp_path / "a.json").write_text('[{"id": 1, "text": "x"}, 7, "y"]')
    with opened(str(tmp_path / "a.json"), ["id", "text"]) as source:
        table, refusals = source.read(filled=["id"])
    assert len(table) == 1
    assert [(refusal.row, refusal.reason) for refusal in refusals] == [(2, "not_an_object"), (3, "not_an_object")]


def test_the_first_sheet_of_an_excel_file_is_read_with_its_own_rows(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(sheet([["id", "text", "note"], [1, "a, quoted", None], [], [2.0, "é", "n"]]))
    with opened(str(tmp_path / "a.xlsx"), ["id", "text"]) as source:
        table, _ = source.read(filled=["id"])
    assert table.drop("file").rows() == [(2, "1", "a, quoted"), (4, "2", "é")]


@pytest.mark.parametrize("data", [b"no zip", sheet([["id", "text"]])[:300]])
def test_an_excel_file_that_is_none_is_refused(tmp_path, data):
    (tmp_path / "a.xlsx").write_bytes(data)
    assert said(tmp_path / "a.xlsx").startswith("An Excel file must be readable and have no password, got ")


def test_of_a_folder_packed_files_are_read_and_json_lists_and_sheets_are_named(tmp_path):
    """Beside data such a file is often about it."""
    (tmp_path / "a.csv").write_text("id,text\n1,x\n")
    (tmp_path / "b.csv.gz").write_bytes(packed("gz", b"id,text\n2,x\n"))
    (tmp_path / "c.json").write_text('[{"id": "3", "text": "x"}]')
    (tmp_path / "d.xlsx").write_bytes(sheet([["id", "text"], [4, "x"]]))
    pl.DataFrame({"id": ["3"], "text": ["x"]}).write_parquet(tmp_path / "e.parquet")
    (tmp_path / "f.parquet.gz").write_bytes(packed("gz", b"x"))
    with opened(str(tmp_path), ["id", "text"]) as source:
        assert source.read(["id"])[0]["id"].to_list() == ["1", "2", "3"]
        assert source.passed_over == ("c.json", "d.xlsx", "f.parquet.gz")
