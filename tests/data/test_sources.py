import csv
import io
import json
import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.rows import Refusal
from understudy.data.sources import opened
from understudy.errors import BadCard, BadData, BadInput, together
from understudy.store.storage import open_store

NEEDED = ["id", "text"]


def read(address, required=NEEDED, optional=("group",), max_chars=None):
    with opened(str(address), required, optional) as source:
        return source.read(filled=required, max_chars=max_chars)


def rows(address, **options) -> list[tuple]:
    table, _ = read(address, **options)
    return table.drop("file").rows()


def reasons(address, **options) -> list[tuple[int, str]]:
    _, refusals = read(address, **options)
    return [(refusal.row, refusal.reason) for refusal in refusals]


def said(address, required=NEEDED) -> str:
    with pytest.raises(BadData) as caught:
        read(address, required)
    (sentence,) = caught.value.faults
    return sentence


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Kinds of files


def test_the_three_kinds_of_files_give_the_same_rows(tmp_path):
    expected = [("1", "a, quoted"), ("2", "plain")]
    files = {
        "a.csv": 'id,text\n1,"a, quoted"\n2,plain\n',
        "b.csv": "id;text\n1;a, quoted\n2;plain\n",
        "c.tsv": "id\ttext\n1\ta, quoted\n2\tplain\n",
        "d.jsonl": '{"id": 1, "text": "a, quoted"}\n\n{"text": "plain", "id": "2", "more": [1]}\n',
        "e.csv": b"\xef\xbb\xbf" + b'id,text\r\n1,"a, quoted"\r\n2,plain',
        "f.csv": 'id,text\n1,"a, quoted"\n2,plain\n'.encode("utf-16"),
        "g.jsonl": '{"id": 1, "text": "a, quoted"}\n{"id": 2, "text": "plain"}\n'.encode("utf-16"),
        "h.txt": 'text,id\n"a, quoted",1\nplain,2\n',
        "i.data": '{"id": 1, "text": "a, quoted"}\n{"id": 2, "text": "plain"}',
        "j.csv": 'id,text\r1,"a, quoted"\r2,plain\r',
    }
    pl.DataFrame({"id": [1, 2], "text": ["a, quoted", "plain"]}).write_parquet(tmp_path / "k.parquet")
    paths = [write(tmp_path, name, content) for name, content in files.items()] + [tmp_path / "k.parquet"]
    assert {path.name: read(path)[0].select("id", "text").rows() for path in paths} == {
        path.name: expected for path in paths
    }


def test_rows_are_counted_as_a_spreadsheet_shows_them(tmp_path):
    path = write(tmp_path, "a.csv", 'id,text\n1,"over\ntwo lines"\n\n2,after\n')
    assert rows(path) == [(2, "1", "over\ntwo lines"), (4, "2", "after")]
    path = write(tmp_path, "a.jsonl", '{"id": 1, "text": "first"}\n\n{"id": 2, "text": "third"}\n')
    assert rows(path) == [(1, "1", "first"), (3, "2", "third")]


def test_cells_are_stripped_and_empty_ones_are_none(tmp_path):
    path = write(tmp_path, "a.csv", "id, text ,group\n 1 ,  a text\t, \n")
    assert rows(path) == [(2, "1", "a text", None)]


def test_a_folder_is_read_file_by_file_in_order_of_names(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.csv", "a.jsonl", "deep/c.csv"):
        text = '{"id": "%s", "text": "x"}' if name.endswith("jsonl") else "id,text\n%s,x\n"
        write(tmp_path, name, text % name)
    for name in ("_SUCCESS", ".hidden.csv", "notes.md", "_tmp.csv"):
        write(tmp_path, name, "rubbish")
    table, refusals = read(tmp_path)
    assert table["id"].to_list() == ["a.jsonl", "b.csv", "deep/c.csv"]
    assert [path.rsplit("/", 1)[-1] for path in table["file"]] == ["a.jsonl", "b.csv", "c.csv"]
    assert refusals == []


def test_a_column_that_only_some_files_have_is_empty_in_the_others(tmp_path):
    write(tmp_path, "a.csv", "id,text,group\n1,x,g\n")
    write(tmp_path, "b.csv", "id,text\n2,y\n")
    assert rows(tmp_path) == [(2, "1", "x", "g"), (2, "2", "y", None)]


def test_numbers_and_booleans_of_jsonl_become_strings(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"id": 1.0, "text": "x", "group": true}\n{"id": 7, "text": "y", "group": 2.5}\n')
    assert rows(path) == [(1, "1", "x", "true"), (2, "7", "y", "2.5")]


def test_a_long_parquet_file_is_read_to_its_end_in_order(tmp_path):
    count = 45_000
    pl.DataFrame({"id": range(count), "text": [f"t{i}" for i in range(count)]}).write_parquet(tmp_path / "a.parquet")
    table, refusals = read(tmp_path / "a.parquet")
    assert table["id"].to_list() == [str(i) for i in range(count)]
    assert table["row"].to_list() == list(range(1, count + 1))
    assert refusals == []


# Faulty rows


def test_a_byte_that_is_not_utf8_costs_its_row_and_is_named(tmp_path):
    path = write(tmp_path, "a.csv", b"id,text\n1,fine\n2,caf\xe9 noir\n3,fine\n")
    table, (refusal,) = read(path)
    assert table["id"].to_list() == ["1", "3"]
    assert (refusal.row, refusal.id, refusal.reason, refusal.is_fault) == (3, "2", "not_utf8", True)
    command = f"iconv -f WINDOWS-1252 -t UTF-8 {path} > utf8.csv"
    assert refusal.detail == f"byte 0xe9 at character 4 of 'text': it reads like WINDOWS-1252: if all does, {command}"


def test_a_latin1_byte_in_jsonl_costs_its_row(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"id": 1, "text": "caf\xe9"}\n{"id": 2, "text": "fine"}\n')
    assert reasons(path) == [(1, "not_utf8")]


def test_half_a_character_escaped_in_json_costs_its_row(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"id": 1, "text": "\\ud83d"}\n{"id": 2, "text": "\\ud83d\\ude00"}\n')
    assert reasons(path) == [(1, "half_character")]
    assert rows(path) == [(2, "2", "\N{GRINNING FACE}")]


def test_a_nul_byte_costs_its_row(tmp_path):
    assert reasons(write(tmp_path, "a.csv", b"id,text\n1,a\x00b\n2,c\n")) == [(2, "nul_byte")]
    assert reasons(write(tmp_path, "a.jsonl", '{"id": 1, "text": "a\\u0000"}\n')) == [(1, "nul_byte")]


@pytest.mark.parametrize("text", ["", "   ", "\t", '"\n \n"', "\u00a0\u2003"])
def test_an_empty_or_blank_text_costs_its_row(tmp_path, text):
    assert reasons(write(tmp_path, "a.csv", f"id,text\n1,{text}\n2,c\n")) == [(2, "empty_text")]


def test_a_missing_id_costs_its_row(tmp_path):
    assert reasons(write(tmp_path, "a.csv", "id,text\n,a\n2,c\n")) == [(2, "empty_id")]
    lines = '{"text": "a"}\n{"id": null, "text": "b"}\n{"id": 1, "text": "c"}\n'
    assert reasons(write(tmp_path, "a.jsonl", lines)) == [(1, "empty_id"), (2, "empty_id")]


def test_a_text_of_20_mb_is_refused_cheaply(tmp_path):
    path = write(tmp_path, "a.csv", b"id,text\n1,short\n2," + b"x" * 20_000_000 + b"\n3,short\n")
    started = time.perf_counter()
    table, (refusal,) = read(path, max_chars=100_000)
    assert time.perf_counter() - started < 5
    assert table["id"].to_list() == ["1", "3"]
    assert (refusal.row, refusal.reason) == (3, "too_long")
    assert refusal.detail == "a line of 20,000,003 characters where 4,194,304 are allowed"


def test_the_longest_text_allowed_is_allowed(tmp_path):
    path = write(tmp_path, "a.csv", "id,text\n1,abcd\n2,abcde\n")
    assert reasons(path, max_chars=4) == [(3, "too_long")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3", "cell_count"),
        ("3,with a, comma", "cell_count"),
        ('3,"quoted" badly', "broken_quotes"),
    ],
)
def test_a_row_that_csv_cannot_place_costs_itself_alone(tmp_path, line, reason):
    path = write(tmp_path, "a.csv", f"id,text\n2,fine\n{line}\n4,fine\n")
    assert reasons(path) == [(3, reason)]
    assert [cells[1] for cells in rows(path)] == ["2", "4"]


def test_empty_cells_at_the_end_of_a_row_do_no_harm(tmp_path):
    assert rows(write(tmp_path, "a.csv", "id,text\n1,fine,,\n")) == [(2, "1", "fine")]


@pytest.mark.parametrize("after", ["3,fine\n4,fine\n", '3,"quoted, fine"\n4,fine\n', '3,fine\n4,"quoted\nfine"\n'])
def test_a_quote_that_never_closes_costs_one_row_and_swallows_none(tmp_path, after):
    path = write(tmp_path, "a.csv", f'id,text\n1,fine\n2,"never closed\n{after}')
    assert reasons(path) == [(3, "broken_quotes")]
    assert [cells[1] for cells in rows(path)] == ["1", "3", "4"]


def test_many_quotes_that_never_close_are_still_read_in_time(tmp_path):
    lines = [f'{i},"open' if i % 2 else f"{i},fine" for i in range(20_000)]
    path = write(tmp_path, "a.csv", "id,text\n" + "\n".join(lines))
    started = time.perf_counter()
    table, refusals = read(path)
    assert time.perf_counter() - started < 10
    assert len(table) + len(refusals) >= 10_000


def test_jsonl_lines_that_are_no_objects_cost_themselves(tmp_path):
    lines = ['{"id": 1, "text": "fine"}', "[1]", "7", "null", '{"id": 2', "rubbish", '{"id": 3, "text": "fine"}']
    path = write(tmp_path, "a.jsonl", "\n".join([*lines, "[" * 100_000]))
    assert reasons(path) == [(number, "not_an_object") for number in (2, 3, 4, 5, 6, 8)]
    assert [cells[1] for cells in rows(path)] == ["1", "3"]


@pytest.mark.parametrize("text", ["7", "true", '["a"]', '{"a": 1}'])
def test_a_text_that_is_no_string_costs_its_row(tmp_path, text):
    path = write(tmp_path, "a.jsonl", f'{{"id": 1, "text": {text}}}\n{{"id": 2, "text": "fine"}}\n')
    assert reasons(path) == [(1, "not_a_string")]


def test_null_cells_of_parquet_are_empty_cells(tmp_path):
    pl.DataFrame({"id": ["1", None, "3"], "text": ["a", "b", None]}).write_parquet(tmp_path / "a.parquet")
    assert reasons(tmp_path / "a.parquet") == [(2, "empty_id"), (3, "empty_text")]


def test_a_refusal_names_the_id_where_there_is_one(tmp_path):
    _, refusals = read(write(tmp_path, "a.csv", b"id,text\nr7,\n\xe9,x\n"))
    assert [refusal.id for refusal in refusals] == ["r7", None]


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=20))
def test_every_row_that_is_written_as_csv_is_read_or_refused(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("law") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "text"), *pairs])
    with opened(str(path), NEEDED) as source:
        found = list(source.rows(filled=NEEDED))
    assert [getattr(row, "number", None) or row.row for row in found] == list(range(2, len(pairs) + 2))
    for row, (identity, text) in zip(found, pairs, strict=True):
        is_sound = bool(identity.strip() and text.strip()) and "\0" not in identity + text
        assert isinstance(row, Refusal) is not is_sound
        if is_sound:
            assert row.cells == {"id": identity.strip(), "text": text.strip()}


@given(st.binary(max_size=300), st.sampled_from(["csv", "jsonl", "parquet", "txt"]))
def test_no_bytes_at_all_make_reading_crash(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("law") / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadData):
        read(path)
    path.write_bytes(b"id,text\n" + content)
    if suffix in {"csv", "txt"}:
        table, refusals = read(path)
        numbers = sorted([*table["row"], *(refusal.row for refusal in refusals)])
        assert numbers == sorted(set(numbers))
        assert bool(numbers) == bool(content.strip(b"\r\n"))


# Faulty files


def test_a_header_without_the_needed_columns_is_refused_with_what_was_found(tmp_path):
    path = write(tmp_path, "a.csv", "ID,sentence\n1,x\n")
    assert said(path) == (
        f"A file must have the columns id, text, got ID, sentence ({path}). Add or rename text, or say in the card's "
        "section columns what it is called."
    )
    assert "got id, sentence" in said(write(tmp_path, "a.jsonl", '{"id": 1, "sentence": "x"}\n'))
    pl.DataFrame({"id": [1], "sentence": ["x"]}).write_parquet(tmp_path / "a.parquet")
    assert "got id, sentence" in said(tmp_path / "a.parquet")


def test_a_column_that_a_slice_needs_is_asked_for_up_front(tmp_path):
    path = write(tmp_path, "a.csv", "id,text\n1,x\n")
    assert "Add or rename language." in said(path, required=["id", "text", "language"])


def test_a_column_that_stands_twice_is_refused(tmp_path):
    assert "A column must stand once, got text twice" in said(write(tmp_path, "a.csv", "id,text,text\n1,x,y\n"))


def test_a_missing_file_is_refused(tmp_path):
    assert "must be there and readable" in said(tmp_path / "none.csv")
    assert said(tmp_path / "none.csv").endswith("Mend the path, or write the file again.")


def test_an_empty_address_is_refused(tmp_path, monkeypatch):
    write(tmp_path, "a.csv", "id,text\n1,x\n")
    monkeypatch.chdir(tmp_path)
    for address in ("", " "):
        with pytest.raises(BadInput, match="must name a file, a folder or s3://bucket/key, got an empty one"):
            said(address)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  "])
def test_an_empty_file_is_refused(tmp_path, content):
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert "must hold rows, got an empty file" in said(write(tmp_path, name, content))
        assert said(tmp_path / name).endswith("Write it again, with its header and rows.")


def test_a_folder_with_no_texts_in_it_is_refused(tmp_path):
    write(tmp_path, "notes.md", "x")
    assert "A folder must hold .csv, .jsonl, .ndjson, .parquet, .tsv files, got none" in said(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"\x1f\x8b\x08\x00abc", "gzip"), (b"PK\x03\x04abc", "zip or Excel"), (b"%PDF-1.7", "PDF")],
)
def test_a_file_of_a_foreign_kind_is_named(tmp_path, content, what):
    assert f"must be CSV, JSONL or Parquet, got {what}" in said(write(tmp_path, "a.csv", content))


def test_a_json_list_is_refused_with_the_remedy(tmp_path):
    for name in ("a.jsonl", "a.csv", "a"):
        assert "Write it as JSONL" in said(write(tmp_path, name, '[{"id": 1, "text": "x"}]'))
        assert "Write it as JSONL" in said(write(tmp_path, name, '[\n  {\n    "id": 1'))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-32-be"])
def test_a_file_with_a_byte_order_mark_is_read_in_its_encoding(tmp_path, encoding):
    mark = "\ufeff" if encoding.endswith("be") else ""
    path = write(tmp_path, "a.csv", f"{mark}id,text\n1,Grüße\n".encode(encoding))
    table, refusals = read(path, optional=())
    assert (table["text"].to_list(), refusals) == (["Grüße"], [])


def test_utf16_without_its_mark_is_refused(tmp_path):
    path = write(tmp_path, "a.csv", "id,text\n1,x\n".encode("utf-16-le"))
    assert "must be UTF-8, got NUL bytes in its first line" in said(path)


def test_a_broken_parquet_file_is_refused(tmp_path):
    assert "must be there and readable" in said(write(tmp_path, "a.parquet", b"PAR1 rubbish PAR1"))
    assert "must be there and readable" in said(write(tmp_path, "b.parquet", b"no parquet at all"))


def test_a_parquet_column_of_texts_must_hold_strings(tmp_path):
    pl.DataFrame({"id": [1], "text": [[1, 2]]}).write_parquet(tmp_path / "a.parquet")
    assert "The column 'text' must hold strings, got List(Int64)" in said(tmp_path / "a.parquet")


def test_a_file_cut_off_in_the_middle_of_a_character_is_refused(tmp_path):
    path = write(tmp_path, "a.csv", "id,text\n1,x\n".encode("utf-16")[:-1])
    assert "must be readable" in said(path)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "a.csv")
    assert "must be there and readable" in said(tmp_path / "a.csv")


def test_the_faults_of_all_files_of_a_folder_are_reported_together(tmp_path):
    write(tmp_path, "a.csv", "")
    write(tmp_path, "b.csv", "id,txt\n1,x\n")
    write(tmp_path, "c.csv", "id,text\n1,x\n")
    with pytest.raises(BadData) as caught:
        read(tmp_path)
    assert len(caught.value.faults) == 2


def test_together_keeps_the_kind_of_error_where_there_is_one_kind():
    def bad(error):
        raise error

    assert together(lambda: 1, lambda: 2) == [1, 2]
    with pytest.raises(BadData) as caught:
        together(lambda: bad(BadData("a")), lambda: 1, lambda: bad(BadData(["b", "c"])))
    assert caught.value.faults == ["a", "b", "c"]
    with pytest.raises(BadInput) as caught:
        together(lambda: bad(BadData("a")), lambda: bad(BadCard("b")))
    assert type(caught.value) is BadInput
    assert str(caught.value) == "a\nb"


# S3


def test_an_object_and_a_prefix_are_read_like_a_file_and_a_folder(tmp_path, s3_url):
    store = open_store(f"{s3_url}/in")
    store.put_if_absent("texts/b.csv", b"id,text\n2,b\n")
    store.put_if_absent("texts/a.jsonl", b'{"id": 1, "text": "a"}')
    store.put_if_absent("texts/_SUCCESS", b"")
    store.put_if_absent("texts-beside/c.csv", b"id,text\n3,c\n")
    buffer = io.BytesIO()
    pl.DataFrame({"id": ["4"], "text": ["d"]}).write_parquet(buffer)
    store.put_if_absent("d.parquet", buffer.getvalue())
    table, _ = read(f"{s3_url}/in/texts/")
    assert table["id"].to_list() == ["1", "2"]
    assert table["file"].to_list() == [f"{s3_url}/in/texts/a.jsonl", f"{s3_url}/in/texts/b.csv"]
    assert read(f"{s3_url}/in/texts")[0].equals(table)
    assert read(f"{s3_url}/in/d.parquet")[0]["text"].to_list() == ["d"]
    assert read(s3_url)[0]["id"].sort().to_list() == ["1", "2", "3", "4"]


def test_nothing_at_an_s3_address_is_refused(s3_url):
    assert f"got none ({s3_url}/none.csv)" in said(f"{s3_url}/none.csv")


def test_a_missing_bucket_is_refused(s3_url):
    with pytest.raises(BadInput, match="bucket must exist, got no bucket 'no-such-bucket-here'"):
        read("s3://no-such-bucket-here/texts.csv")


def test_the_hash_of_a_source_is_that_of_its_file_and_moves_with_any_of_several(tmp_path):
    import hashlib

    def digest(address):
        with opened(str(address), NEEDED) as source:
            return source.sha256

    content = b"id,text\n1,x\n"
    path = write(tmp_path, "a.csv", content)
    assert digest(path) == hashlib.sha256(content).hexdigest()
    write(tmp_path, "b.csv", json.dumps("x") + "\n" + "id,text")
    write(tmp_path, "b.csv", "id,text\n2,y\n")
    before = digest(tmp_path)
    write(tmp_path, "b.csv", "id,text\n2,z\n")
    assert digest(tmp_path) != before
