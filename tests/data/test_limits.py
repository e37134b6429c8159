"""What no file can do: fill the memory, hold a step up, or cost more rows than are faulty."""

import json
import os
import subprocess
import sys
import time
from collections import Counter

import polars as pl
import pytest

from understudy.data.detection import Wanted, inspect
from understudy.data.limits import LONGEST_LINE, LONGEST_NAME, MOST_COLUMNS, MOST_LINES
from understudy.data.rows import START
from understudy.data.sources import opened, parts, rows_from
from understudy.errors import BadData, BadInput

NEEDED = ["id", "text"]
MEGABYTE = 1 << 20


def read(path, optional=("group", "time"), max_chars=100_000):
    with opened(str(path), NEEDED, optional) as source:
        table, refusals = source.read(NEEDED, max_chars)
    return table["id"].to_list(), Counter(refusal.reason for refusal in refusals), refusals


def write(path, *pieces):
    with path.open("wb") as file:
        file.writelines(pieces)
    return path


def peak_mb(path) -> tuple[float, str]:
    """Read a file in a process of its own; return the most memory it ever held, and what it said."""
    code = (
        "import sys\n"
        "from understudy.data import sources\n"
        "try:\n"
        "    with sources.opened(sys.argv[1], ['id', 'text'], ['group']) as source:\n"
        "        table, refusals = source.read(['id', 'text'], 100_000)\n"
        "    print(len(table), len(refusals))\n"
        "except sources.BadData as error:\n"
        "    print(error)\n"
        "print([line for line in open('/proc/self/status') if 'VmHWM' in line][0].split()[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    said, peak = done.stdout.splitlines()
    return int(peak) / 1024, said


@pytest.fixture(scope="module")
def good_mb(tmp_path_factory):
    return peak_mb(write(tmp_path_factory.mktemp("good") / "a.csv", b"id,text\n1,x\n"))[0]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_line_of_300_mb_costs_its_row_and_no_memory(tmp_path, good_mb, name):
    begin, end = (
        (b"id,text\n0,a\n1,", b"\n2,b\n") if name == "a.csv" else (b'{"id":0,"text":"a"}\n{"id":1,"text":"', b'"}\n')
    )
    last = b"" if name == "a.csv" else b'{"id":2,"text":"b"}\n'
    path = write(tmp_path / name, begin, *[b"x" * MEGABYTE] * 300, end, last)
    peak, said = peak_mb(path)
    assert said == "2 1"
    assert peak < good_mb + 100


def test_an_open_quote_over_a_long_file_costs_one_row_and_no_memory(tmp_path, good_mb):
    lines = b"".join(b"%d,some text of the row\n" % number for number in range(300_000))
    peak, said = peak_mb(write(tmp_path / "a.csv", b'id,text\nopen,"never closed\n', lines))
    assert said == "300000 1"
    assert peak < good_mb + 200  # 300,000 rows of a table are most of it


@pytest.mark.parametrize("line", [b'x","\n', b'1,"a\n', b'"""\n', b'a,"b""\n'])
def test_quotes_that_do_not_close_are_read_in_linear_time(tmp_path, line):
    """Each of these lines opens a record of its own that does not end before a limit."""
    path = write(tmp_path / "a.csv", b"id,text\n", line * 60_000)
    started = time.process_time()
    read(path)
    assert time.process_time() - started < 10


def test_a_record_of_many_lines_and_quotes_is_cut_where_a_reader_may_begin(tmp_path):
    """Ranges of a night, read one by one, give the rows of the whole file, each once."""
    block = [b'1,"open\n', *[b"2,plain\n"] * 70, b'3,"closed, then"more\n', *[b'4,"two\nlines"\n'] * 30]
    path = write(tmp_path / "a.csv", b"id,text\n", *block * 20)
    file = inspect("a.csv", path, Wanted(NEEDED))
    whole = list(rows_from(file, START, NEEDED, NEEDED))
    cut, place = [], START
    for part in parts(file, START, 7):
        cut += [row for row, _ in zip(rows_from(file, place, NEEDED, NEEDED), range(part.rows), strict=False)]
        place = part.end
    assert cut == whole
    ids = Counter(row.cells["id"] for row in whole if hasattr(row, "cells"))
    assert ids == {"2": 70 * 20, "4": 30 * 20}


def test_a_record_of_more_lines_than_any_text_has_is_an_open_quote(tmp_path):
    path = write(tmp_path / "a.csv", b'id,text\n1,"a', b"\n" * (MOST_LINES + 5), b'"\n2,b\n')
    ids, reasons, _ = read(path)
    assert ids == ["2"]
    assert reasons["broken_quotes"] == 2  # where it begins, and where a quote follows that opens nothing


@pytest.mark.parametrize(("columns", "is_read"), [(MOST_COLUMNS, True), (MOST_COLUMNS + 1, False)])
def test_columns_are_limited_in_every_kind_of_file(tmp_path, columns, is_read):
    names = [*NEEDED, *(f"c{number}" for number in range(columns - 2))]
    write(tmp_path / "a.csv", ",".join(names).encode(), b"\n1,x", b"," * (columns - 2), b"\n")
    write(tmp_path / "a.jsonl", json.dumps(dict.fromkeys(names, "1")).encode())
    pl.DataFrame({name: ["1"] for name in names}).write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        if is_read:
            assert read(tmp_path / name)[0] == ["1"]
        else:
            with pytest.raises(BadData, match=f"at most 16,384 columns, got {columns:,}"):
                read(tmp_path / name)


def test_two_hundred_thousand_keys_are_refused_at_once(tmp_path):
    lines = [json.dumps({"id": 1, "text": "x"} | {f"k{row}-{key}": 0 for key in range(200_000)}) for row in range(2)]
    path = write(tmp_path / "a.jsonl", "\n".join(lines).encode())
    started = time.process_time()
    with pytest.raises(BadData, match="at most 16,384 columns"):
        read(path)
    assert time.process_time() - started < 5


def test_a_header_without_end_is_refused(tmp_path):
    with pytest.raises(BadData, match="must be a header of at most 1,048,576 characters"):
        read(write(tmp_path / "a.csv", b"id,text,", b"x" * MEGABYTE, b"\n1,x\n"))


def test_an_id_as_long_as_a_book_costs_its_row(tmp_path):
    path = write(tmp_path / "a.csv", b"id,text\n", b"x" * MEGABYTE, b",a\n", b"y" * LONGEST_NAME, b",b\n")
    ids, reasons, refusals = read(path)
    assert (ids, reasons) == (["y" * LONGEST_NAME], {"too_long": 1})
    assert refusals[0].detail == "1,048,576 characters in 'id' where 4,096 are allowed"


def test_a_string_that_parquet_holds_once_for_many_rows_fills_no_memory(tmp_path, good_mb):
    """One string of 5 MB that 39 rows name: 195 MB, were they held at once."""
    texts = pl.Series(["short", "x" * (LONGEST_LINE + MEGABYTE)]).gather([0, *[1] * 39])
    pl.DataFrame({"id": range(40), "text": texts}).write_parquet(tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < MEGABYTE
    peak, said = peak_mb(tmp_path / "a.parquet")
    assert said == "1 39"
    assert peak < good_mb + 100


def test_a_nested_column_is_refused_before_its_rows_are_read(tmp_path):
    pl.DataFrame({"id": [1], "text": ["x"], "group": [[1, 2]], "more": [[1]]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadData, match=r"column 'group' must hold plain values, got List\(Int64\)"):
        read(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", optional=())[0] == ["1"]


@pytest.mark.parametrize("address", ["/dev/zero", "/dev/null", "fifo.csv"])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.csv")
    with pytest.raises(BadData, match="must be one that is stored, got a pipe, a socket or a device"):
        read(address)


@pytest.mark.parametrize("address", ["x" * 5000, "/x" * 2500, "a\0b.csv", "folder/" + "y" * 300])
def test_a_path_that_no_system_takes_is_one_sentence(address):
    with pytest.raises(BadInput) as caught:
        read(address)
    assert len(caught.value.faults) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [float("nan"), None, float("inf"), 1e300])
@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_an_id_that_is_no_number_costs_its_row(tmp_path, name, value):
    rows = {"id": [1.0, value], "text": ["a", "b"]}
    if name == "a.parquet":
        pl.DataFrame(rows).write_parquet(tmp_path / name)
    else:
        lines = [json.dumps({"id": identity, "text": text}) for identity, text in zip(*rows.values(), strict=True)]
        write(tmp_path / name, "\n".join(lines).encode())
    ids, reasons, _ = read(tmp_path / name)
    is_missing = value is None or value != value  # noqa: PLR0124 - NaN
    assert (ids, reasons) == (["1"], {"empty_id" if is_missing else "not_a_string": 1})


def test_a_group_that_pandas_left_out_is_none(tmp_path):
    """Else all texts without a group would be one group, and go to one split."""
    frame = {"id": ["a", "b"], "text": ["x", "y"], "group": [7.0, float("nan")]}
    pl.DataFrame(frame).write_parquet(tmp_path / "a.parquet")
    with opened(str(tmp_path / "a.parquet"), NEEDED, ["group"]) as source:
        assert source.read(NEEDED)[0]["group"].to_list() == ["7", None]
