"""The step shard: what arrives is taken once, and a night that was begun stays as it is."""

import gzip
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import zstandard

from tests.night_desk import make_desk, texts
from understudy.data.arrivals import addresses, deal
from understudy.errors import BadArtifact, BadData, BadInput
from understudy.store import manifests as nights
from understudy.store import registry
from understudy.store.manifests import Range
from understudy.store.storage import open_store


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def desk(tmp_path):
    return make_desk(tmp_path)


def taken(manifest):
    """Names of the files that a night reads, with the rows of each."""
    rows = {}
    for part in (part for shard in manifest.shards for part in shard):
        name = Path(part.object).name
        rows[name] = rows.get(name, 0) + part.rows
    return rows


def begin(desk, date, **arguments):
    desk.shard(date, **arguments)
    return nights.read_manifest(desk.store, date)


def test_a_night_takes_what_no_night_before_has_taken(desk):
    desk.write("a.csv", texts(0, 5))
    assert taken(begin(desk, "2026-11-01")) == {"a.csv": 5}
    desk.write("b.csv", texts(5, 8))
    assert taken(begin(desk, "2026-11-02")) == {"b.csv": 3}
    assert taken(begin(desk, "2026-11-03")) == {}


@pytest.mark.parametrize(("days", "is_refused"), [(0, False), (1, False), (2, True)])
def test_a_night_that_is_still_to_come_is_refused_before_anything_is_taken(desk, days, is_refused):
    desk.write("a.csv", texts(0, 5))
    day = (datetime.now(UTC).date() + timedelta(days=days)).isoformat()
    if is_refused:
        with pytest.raises(BadInput, match="A night must be at most"):
            desk.shard(day)
    else:
        desk.shard(day)
    assert (nights.find_manifest(desk.store, day) is None) == is_refused


def test_a_late_text_is_taken_by_the_night_in_which_it_arrives(desk):
    desk.source.mkdir()
    (desk.source / "new.csv").write_text("id,time,text\n1,2026-11-01,nice\n")
    begin(desk, "2026-11-01")
    (desk.source / "late.csv").write_text("id,time,text\n2,2025-01-01,nice\n")
    assert taken(begin(desk, "2026-11-02")) == {"late.csv": 1}


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_rows_appended_to_a_known_file_are_taken_alone(desk, name):
    def lines(first, last):
        if name.endswith("csv"):
            return "".join(f'{number},"nice,\nroom {number}"\n' for number in range(first, last))
        return "".join(json.dumps({"id": str(number), "text": f"é {number}"}) + "\n" for number in range(first, last))

    desk.source.mkdir()
    (desk.source / name).write_text(("id,text\n" if name.endswith("csv") else "") + lines(0, 4))
    desk.night("2026-11-01")
    with (desk.source / name).open("a") as file:
        file.write(lines(4, 7))
    desk.night("2026-11-02")
    assert desk.predictions("2026-11-01")["id"].to_list() == ["0", "1", "2", "3"]
    assert desk.predictions("2026-11-02")["id"].to_list() == ["4", "5", "6"]


def test_a_last_line_without_its_end_is_taken_and_its_end_is_no_row(desk):
    desk.source.mkdir()
    file = desk.source / "a.csv"
    file.write_text("id,text\n1,nice")
    begin(desk, "2026-11-01")
    file.write_text("id,text\n1,nice\n2,ask\n")
    manifest = begin(desk, "2026-11-02")
    assert taken(manifest) == {"a.csv": 1}
    desk.infer("2026-11-02/00")
    assert desk.predictions("2026-11-02")["id"].to_list() == ["2"]


def grow(desk, name, *states):
    """Let a file grow from night to night, and return the ids that each night labels."""
    desk.source.mkdir(exist_ok=True)
    labelled = []
    for number, state in enumerate(states, 1):
        (desk.source / name).write_bytes(state)
        desk.night(f"2026-11-0{number}")
        labelled.append(desk.predictions(f"2026-11-0{number}")["id"].to_list())
    return labelled


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_of_a_file_whose_last_line_was_cut_only_that_line_is_read_again(desk, name):
    rows = [f'{{"id": "{number}", "text": "nice room"}}\n' for number in range(4)]
    if name == "a.csv":
        rows = [f"{number},nice room\n" for number in range(4)]
    start = "id,text\n" if name == "a.csv" else ""
    whole = (start + "".join(rows)).encode()
    cut = (start + "".join(rows[:2])).encode() + rows[2].encode()[:6]
    first, second = grow(desk, name, cut, whole)
    assert first[:2] == ["0", "1"]
    assert second == ["2", "3"]
    assert desk.predictions("2026-11-02")["text"].to_list() == ["nice room"] * 2


@pytest.mark.parametrize(
    "cut", ["b,", 'b,"first', 'b,"first line\n', 'b,"first line\nsecond', 'b,"first line\nsecond\n']
)
def test_a_cell_of_several_lines_that_was_cut_is_read_again_from_its_row(desk, cut):
    start, row = "id,text\na,one\n", 'b,"first line\nsecond\nthird"\n'
    _, second, third = grow(
        desk, "a.csv", *((start + end).encode() for end in (cut, f"{row}c,x\n", f"{row}c,x\nd,y\n"))
    )
    assert (second, third) == (["b", "c"], ["d"])
    assert desk.predictions("2026-11-02")["text"][0] == "first line\nsecond\nthird"


def test_a_quote_that_never_closes_is_not_read_again_with_what_is_appended(desk):
    state = 'id,text\n1,"never closed\n2,fine\n'
    states = [state, f"{state}3,fine\n", f'{state}3,fine\n4,"fine, too"\n']
    assert grow(desk, "a.csv", *(one.encode() for one in states)) == [["2"], ["3"], ["4"]]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_rows_appended_to_a_file_of_wide_characters_are_taken_alone(desk, encoding):
    states = ["\ufeffid,text\n1,one\n2,two\n", "3,three", "\n4,four\n"]
    data = ["".join(states[: number + 1]).encode(encoding) for number in range(3)]
    assert grow(desk, "a.csv", *data) == [["1", "2"], ["3"], ["4"]]


def test_a_parquet_file_that_was_only_touched_has_nothing_new(desk):
    desk.source.mkdir()
    file = desk.source / "a.parquet"
    pl.DataFrame(texts(0, 5), schema=["id", "text"], orient="row").write_parquet(file)
    desk.shard("2026-11-01")
    os.utime(file, ns=(1, 1))
    desk.infer("2026-11-01/00")
    assert len(desk.predictions("2026-11-01")) == 5
    assert taken(begin(desk, "2026-11-02")) == {}
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(BadData):
        begin(desk, "2026-11-03")


def test_a_parquet_file_that_changed_since_the_night_was_begun_is_refused(desk):
    desk.source.mkdir()
    file = desk.source / "a.parquet"
    pl.DataFrame(texts(0, 5), schema=["id", "text"], orient="row").write_parquet(file)
    desk.shard("2026-11-01")
    pl.DataFrame(texts(1, 6), schema=["id", "text"], orient="row").write_parquet(file)
    with pytest.raises(BadData, match="must stay as it is"):
        desk.infer("2026-11-01/00")


def test_a_link_beside_its_file_is_no_other_file(desk):
    (desk.source.parent / "texts").mkdir()
    (desk.source / "b.csv").symlink_to(desk.write("a.csv", texts(0, 3)))
    assert taken(begin(desk, "2026-11-01")) == {"a.csv": 3}


@pytest.mark.parametrize("nothing", [b"", b"\n", b" \r\n\t", b"\xef\xbb\xbf", "\ufeff\n".encode("utf-16-le")])
@pytest.mark.parametrize("name", ["b.csv", "b.jsonl"])
def test_a_file_without_content_is_passed_over_until_it_has_some(desk, name, nothing, capsys):
    desk.write("a.csv", texts(0, 3))
    (desk.source / name).write_bytes(nothing)
    assert taken(begin(desk, "2026-11-01")) == {"a.csv": 3}
    assert f"is empty: {desk.source / name}" in capsys.readouterr().err
    (desk.source / name).write_text("id,text\n1,x\n" if name == "b.csv" else '{"id": "1", "text": "x"}\n')
    assert taken(begin(desk, "2026-11-02")) == {name: 1}


def test_a_source_that_is_one_empty_file_gives_a_night_without_texts(desk):
    desk.source.mkdir()
    (desk.source / "a.csv").write_bytes(b"")
    assert desk.night("2026-11-01").texts == 0


def test_a_file_that_was_only_touched_has_nothing_new(desk):
    file = desk.write("a.csv", texts(0, 5))
    begin(desk, "2026-11-01")
    os.utime(file, ns=(1, 1))
    assert taken(begin(desk, "2026-11-02")) == {}
    desk.write("a.csv", texts(5, 6), mode="a")
    assert taken(begin(desk, "2026-11-03")) == {"a.csv": 1}


def test_a_file_that_was_replaced_is_new(desk):
    desk.write("a.csv", texts(0, 5))
    begin(desk, "2026-11-01")
    desk.write("a.csv", texts(10, 16))
    assert taken(begin(desk, "2026-11-02")) == {"a.csv": 6}


def test_a_changed_parquet_file_is_read_again_whole(desk):
    desk.source.mkdir()
    for last in (3, 5):
        table = pl.DataFrame(texts(0, last), schema=["id", "text"], orient="row")
        table.write_parquet(desk.source / "a.parquet")
        assert taken(begin(desk, f"2026-11-0{last}")) == {"a.parquet": last}


def test_a_night_that_was_begun_keeps_its_texts_and_its_bundle(desk):
    desk.write("a.csv", texts(0, 5))
    first = begin(desk, "2026-11-01")
    desk.write("b.csv", texts(5, 8))
    desk.publish(bias=-1.0)
    assert begin(desk, "2026-11-01") == first
    second = begin(desk, "2026-11-02")
    assert (first.generation, second.generation) == (1, 2)
    assert first.bundle != second.bundle


def test_a_backfill_takes_each_night_from_its_own_file(desk):
    for day in ("2026-10-03", "2026-10-01", "2026-10-02"):
        desk.write(f"{day}.csv", texts(0, int(day[-1]), prefix=day))
    desk.write("2026-11-01.csv", texts(0, 9))
    address = str(desk.source / "{date}.csv")
    for day in ("2026-11-01", "2026-10-01", "2026-10-02", "2026-10-03"):
        desk.night(day, texts=address)
    assert [len(desk.predictions(f"2026-10-0{day}")) for day in (1, 2, 3)] == [1, 2, 3]
    assert [manifest.date for manifest in order(desk)] == ["2026-11-01", "2026-10-01", "2026-10-02", "2026-10-03"]


def order(desk):
    keys = desk.store.list(nights.ORDER)
    return [nights.parse(desk.store.read(key), key) for key in keys]


def test_of_runs_at_once_each_night_is_begun_once_and_no_text_is_taken_twice(desk):
    desk.write("a.csv", texts(0, 50))
    days = [f"2026-11-0{day}" for day in (1, 1, 2, 2, 3)]

    def begin_beside(number, day):
        desk.shard(day, snapshot=desk.folder / f"snapshot-{number}")

    threads = [threading.Thread(target=begin_beside, args=pair) for pair in enumerate(days)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifests = order(desk)
    assert sorted(manifest.date for manifest in manifests) == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert sorted(manifest.texts for manifest in manifests) == [0, 0, 50]
    assert all(nights.read_manifest(desk.store, manifest.date) == manifest for manifest in manifests)


def test_a_night_whose_run_was_killed_before_it_had_its_own_key_is_completed(desk):
    desk.write("a.csv", texts(0, 5))
    begin(desk, "2026-11-01")
    desk.store.delete(nights.manifest_key("2026-11-01"))
    assert taken(begin(desk, "2026-11-02")) == {}
    assert taken(nights.read_manifest(desk.store, "2026-11-01")) == {"a.csv": 5}


@pytest.mark.parametrize(("texts_each", "most"), [(10, 10), (1, 2)])
def test_shards_hold_about_as_many_texts_as_was_asked_and_are_never_more_than_64(desk, texts_each, most):
    desk.write("a.csv", texts(0, 100))
    manifest = begin(desk, "2026-11-01", overrides=f"shard.texts_per_shard={texts_each}")
    sizes = [sum(part.rows for part in shard) for shard in manifest.shards]
    assert sum(sizes) == 100
    assert len(sizes) <= 64
    assert max(sizes) <= most
    assert [len(shard) for shard in manifest.shards] == [1] * len(sizes)


def test_ranges_of_one_file_are_read_apart_as_they_are_together(desk):
    rows = [(str(number), f'é "quoted", {"long " * number}\nsecond line {number}') for number in range(37)]
    desk.write("a.csv", rows)
    desk.night("2026-11-01", overrides="shard.texts_per_shard=5")
    found = desk.predictions("2026-11-01")
    assert found.select("id", "text").rows() == [(name, text.strip()) for name, text in rows]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_ranges_are_cut_right_after_a_byte_order_mark(desk, encoding):
    desk.source.mkdir()
    lines = "id,text\n" + "".join(f"{number},Grüße aus 東京 {number}\n" for number in range(20))
    (desk.source / "a.csv").write_bytes(lines.encode(encoding))
    desk.night("2026-11-01", overrides="shard.texts_per_shard=6")
    assert desk.predictions("2026-11-01")["text"].to_list() == [f"Grüße aus 東京 {number}" for number in range(20)]


def test_a_quote_that_never_closes_costs_its_own_line_in_whatever_shard_it_is(desk):
    desk.source.mkdir()
    lines = [f"{number},fine {number}" for number in range(30)]
    lines[13] = '13,"never closed'
    (desk.source / "a.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    desk.night("2026-11-01", overrides="shard.texts_per_shard=4")
    assert desk.predictions("2026-11-01")["id"].to_list() == [str(number) for number in range(30) if number != 13]
    assert desk.refused("2026-11-01").select("row", "reason").rows() == [(15, "broken_quotes")]


def test_blocks_that_adjoin_are_one_range():
    blocks = [Range(object=name, first_row=row, rows=5, offset=row * 10, size=50) for name in "ab" for row in (0, 5)]
    dealt = deal(blocks, texts_per_shard=10)
    assert [[(part.object, part.first_row, part.rows, part.size) for part in shard] for shard in dealt] == [
        [("a", 0, 10, 100)],
        [("b", 0, 10, 100)],
    ]


def test_a_night_without_texts_has_one_worker_with_nothing_to_do(desk):
    desk.write("a.csv", [])
    manifest = desk.night("2026-11-01")
    assert manifest.shards == ((),)
    assert desk.record("2026-11-01")["rows"] == 0
    assert desk.predictions("2026-11-01").is_empty()


@pytest.mark.parametrize("date", ["2026-13-01", "20261101", "tonight"])
def test_what_is_no_date_is_refused(desk, date):
    desk.write("a.csv", texts(0, 1))
    with pytest.raises(BadInput, match="A night must be a date"):
        desk.shard(date)


def test_a_source_that_is_not_there_is_refused_and_nothing_is_taken(desk):
    with pytest.raises(BadData):
        desk.shard("2026-11-01", texts=str(desk.folder / "nothing.csv"))
    assert order(desk) == []


def test_a_faulty_file_ends_the_night_before_anything_is_taken(desk):
    desk.write("a.csv", texts(0, 3))
    (desk.source / "b.csv").write_text("name,comment\n1,nice\n")
    with pytest.raises(BadData, match=r"b\.csv"):
        desk.shard("2026-11-01")
    assert order(desk) == []


def test_a_store_without_a_published_bundle_is_refused(desk, tmp_path):
    desk.write("a.csv", texts(0, 3))
    with pytest.raises(BadInput, match="published bundle"):
        desk.shard("2026-11-01", store=str(tmp_path / "other"))


def test_another_card_than_the_one_that_serves_is_refused(desk):
    desk.write("a.csv", texts(0, 3))
    card = desk.folder / "card.yaml"
    card.write_text(card.read_text().replace("name: hotel-tips", "name: other"))
    with pytest.raises(BadInput, match="'other' where 'hotel-tips' serves"):
        desk.shard("2026-11-01")


def test_a_night_goes_on_under_no_other_card_than_it_was_begun_with(desk):
    desk.write("a.csv", texts(0, 3))
    begin(desk, "2026-11-01")
    card = desk.folder / "card.yaml"
    card.write_text(card.read_text().replace("name: hotel-tips", "name: other"))
    for _ in range(2):
        with pytest.raises(BadInput, match="got 'other' where 2026-11-01 has 'hotel-tips'"):
            desk.shard("2026-11-01")


def test_a_damaged_manifest_is_told(desk):
    desk.write("a.csv", texts(0, 3))
    begin(desk, "2026-11-01")
    (Path(desk.uri) / nights.manifest_key("2026-11-01")).write_text('{"format": 1}')
    with pytest.raises(BadArtifact, match="must be a whole record, got number: Field required"):
        nights.read_manifest(desk.store, "2026-11-01")


def test_a_rolled_back_bundle_labels_the_next_night_under_a_higher_generation(desk):
    desk.write("a.csv", texts(0, 3))
    begin(desk, "2026-11-01")
    desk.publish(bias=-1.0)
    registry.rollback(desk.store)
    desk.write("b.csv", texts(3, 6))
    first, second = (nights.read_manifest(desk.store, "2026-11-01"), begin(desk, "2026-11-02"))
    assert (first.bundle, first.generation) == (second.bundle, second.generation - 2)


def test_a_bucket_is_read_like_a_folder(s3_url, tmp_path):
    desk = make_desk(tmp_path, f"{s3_url}/keep")
    bucket = make_desk_source(s3_url)
    bucket.put_if_absent("texts/a.csv", b"id,text\n" + b"".join(b"%d,ask %d\n" % (n, n) for n in range(9)))
    address = f"{s3_url}/texts"
    assert addresses(address) == [f"{s3_url}/texts/a.csv"]
    desk.night("2026-11-01", texts=address, overrides="shard.texts_per_shard=4")
    found = bucket.read_tagged("texts/a.csv")
    bucket.compare_and_swap("texts/a.csv", found.data + b"9,nice 9\n", found.tag)
    desk.night("2026-11-02", texts=address)
    assert desk.predictions("2026-11-01")["id"].to_list() == list("012345678")
    assert desk.predictions("2026-11-02")["id"].to_list() == ["9"]


def make_desk_source(s3_url):
    from understudy.store.storage import open_store

    return open_store(s3_url)


@pytest.mark.parametrize("address", ["self.csv", "a.csv/b.csv", "/proc/self/mem", "pipe.csv", "/dev/zero", "x" * 5000])
def test_a_source_that_cannot_be_read_is_one_sentence(desk, monkeypatch, address):
    monkeypatch.chdir(desk.folder)
    Path("self.csv").symlink_to("self.csv")
    Path("a.csv").write_text("id,text\n1,x\n")
    os.mkfifo("pipe.csv")
    with pytest.raises(BadInput) as caught:
        desk.shard("2026-11-01", texts=address)
    assert len(caught.value.faults) == 1
    assert nights.find_manifest(desk.store, "2026-11-01") is None


def test_a_night_reads_columns_by_the_cards_names_and_keeps_them_in_its_manifest(desk):
    """Whoever labels it later reads it as it was begun."""
    card = desk.folder / "card.yaml"
    desk.source.mkdir()
    for name, header in (("a.csv", "message_id,body"), ("b.csv", "id,text")):
        (desk.source / name).write_text(f"{header}\n{name}1,Ask for a room\n{name}2,We stayed\n")
    desk.shard("2026-11-01", overrides="columns.id=message_id\ncolumns.text=body")
    manifest = nights.read_manifest(desk.store, "2026-11-01")
    assert [about.called for about in manifest.objects.values()] == [{"id": "message_id", "text": "body"}, {}]
    assert b'"called":{}' not in nights.as_bytes(manifest).replace(b" ", b"")
    assert "columns" not in card.read_text()
    desk.infer("2026-11-01/00")
    assert sorted(desk.predictions("2026-11-01")["id"]) == ["a.csv1", "a.csv2", "b.csv1", "b.csv2"]


def test_texts_without_ids_are_named_by_what_they_say_every_night(desk):
    desk.source.mkdir()
    (desk.source / "a.jsonl").write_text('{"text": "Ask for a room"}\n{"text": "We stayed"}\n')
    done = desk.shard("2026-11-01")
    made = f"ids made of the texts in {desk.source / 'a.jsonl'}, which has no column of ids (equal texts share one)"
    assert done.headline.endswith(made)
    desk.infer("2026-11-01/00")
    names = desk.predictions("2026-11-01").sort("text")["id"].to_list()
    with (desk.source / "a.jsonl").open("a") as file:
        file.write('{"text": "Ask for another room"}\n')
    (desk.source / "b.jsonl").write_text('{"text": "We stayed"}\n')
    found = desk.night("2026-11-02")
    assert taken(found) == {"a.jsonl": 1, "b.jsonl": 1}
    assert names[1] in set(desk.predictions("2026-11-02")["id"])


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.json", "a.json.gz"])
def test_a_night_reads_what_is_packed_or_a_json_list_and_the_next_what_was_added(desk, name):
    """The bytes that were consumed are those that are packed, so the file may be packed anew."""
    desk.source.mkdir()

    def write(last):
        rows = [{"id": str(number), "text": f"Ask for room {number}"} for number in range(last)]
        table = "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows)
        data = (json.dumps(rows) if "json" in name else table).encode()
        packed = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(Path(name).suffix, bytes)(data)
        (desk.source / name).write_bytes(packed)

    write(5)
    texts = str(desk.source / name)
    assert taken(desk.night("2026-11-01", texts=texts, overrides="shard.texts_per_shard=2")) == {name: 5}
    assert sorted(desk.predictions("2026-11-01")["id"]) == list("01234")
    write(7)
    begun = begin(desk, "2026-11-02", texts=texts)
    assert taken(begun) == {name: 2}
    write(8)  # it grows while the night is labelled
    desk.infer("2026-11-02/00")
    assert sorted(desk.predictions("2026-11-02")["id"]) == ["5", "6"]


def test_a_packed_file_that_was_written_over_is_refused_while_its_night_is_open(desk):
    desk.source.mkdir()
    (desk.source / "a.csv.gz").write_bytes(gzip.compress(b"id,text\n1,Ask\n"))
    begin(desk, "2026-11-01")
    (desk.source / "a.csv.gz").write_bytes(gzip.compress(b"id,text\n1,Another\n"))
    with pytest.raises(BadData, match="must stay as it is until its night is over"):
        desk.infer("2026-11-01/00")


def test_a_packed_object_of_a_bucket_is_read_for_each_shard_from_its_own_row(tmp_path, s3_url):
    desk = make_desk(tmp_path)
    rows = "".join(f"{number},Ask for room {number}\n" for number in range(5))
    open_store(s3_url).put_if_absent("texts/a.csv.gz", gzip.compress(f"id,text\n{rows}".encode()))
    desk.night("2026-11-01", texts=f"{s3_url}/texts", overrides="shard.texts_per_shard=2")
    assert sorted(desk.predictions("2026-11-01")["id"]) == list("01234")
