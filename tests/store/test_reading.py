"""Every object comes whole or not at all: a proxy before the real S3 server cuts, hangs and lies."""

import hashlib

import pytest

from tests.night_desk import make_desk, texts
from tests.services.faulty import Fault, always, faulty, times
from tests.steps.test_ingest import Desk
from understudy.data import sources
from understudy.errors import BadData, BadInput, StorageError
from understudy.review import labels
from understudy.store import manifests, s3
from understudy.store.folder import FolderStore
from understudy.store.storage import copy, open_store
from understudy.task.labels import LabelSpace

DATA = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(8000))  # 256,000 bytes
HALF = Fault(keeps=128_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    monkeypatch.setattr("understudy.store.reading.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("understudy.store.reading.LONGEST_PAUSE_S", 0.01)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # botocore's own pauses are no part of what is tested
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def behind(s3_server, s3_url, monkeypatch):
    """Put an object, then give a store that reads it through a proxy with a rule."""
    open_store(s3_url).put_if_absent("big", DATA)
    open_store(s3_url).put_if_absent("empty", b"")

    def open_behind(stack_rule):
        context = faulty(s3_server, stack_rule)
        url, log = context.__enter__()
        opened.append(context)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        return open_store(s3_url), log

    opened = []
    yield open_behind
    for context in opened:
        context.__exit__(None, None, None)


def stream(store, key="big", offset=0):
    with store.open(key, offset) as body:
        return body.read()


def in_pieces(store, key="big"):
    with store.open(key) as body:
        return b"".join(iter(lambda: body.read(10_000), b""))


def copied(store, tmp_path, key="big"):
    copy(store, key, tmp_path / "copy")
    return (tmp_path / "copy").read_bytes()


READERS = [
    lambda store, _: stream(store),
    lambda store, _: in_pieces(store),
    lambda store, _: store.read("big"),
    lambda store, _: store.read_tagged("big").data,
    copied,
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("keeps", [0, 1, 128_000, len(DATA) - 1])
def test_an_object_that_is_cut_once_is_gone_on_with_from_the_byte_reached(behind, tmp_path, read, keeps):
    store, log = behind(times(1, Fault(keeps=keeps), about="/big"))
    assert read(store, tmp_path) == DATA
    again = [asked.headers for asked in log if asked.method == "GET"][1]
    assert again.get("range") == (f"bytes={keeps}-" if keeps else None)
    assert "if-match" in again


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("fault", [Fault(keeps=0), Fault(keeps=1), Fault(status=503, code="SlowDown")])
def test_an_object_that_is_cut_again_and_again_is_an_error_and_never_a_part(behind, tmp_path, read, fault):
    rule, half = always(fault, about="/big"), times(1, HALF, about="/big")
    store, _ = behind(lambda asked: half(asked) or rule(asked))
    with pytest.raises(StorageError, match=r"An object must come whole, got .* of 256,000 bytes.*big.*Try again"):
        read(store, tmp_path)


def test_a_body_that_hangs_is_gone_on_with_after_the_time_out(behind, monkeypatch):
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 0.5)
    store, log = behind(times(1, Fault(keeps=128_000, stalls_s=3), about="/big"))
    assert in_pieces(store) == DATA
    assert "if-match" in log[1].headers


def test_a_cut_without_a_length_is_found_by_the_length_that_the_server_tells_elsewhere(behind):
    store, _ = behind(times(1, Fault(keeps=1000, hides=frozenset({"content-length"})), about="/big"))
    assert store.read("big") == DATA


def test_an_empty_answer_for_an_object_with_bytes_is_not_believed(behind):
    lie = Fault(keeps=0, says={"Content-Length": "0"})
    store, _ = behind(always(lie, about="/big"))
    with pytest.raises(StorageError, match="must come whole, got 0 of 256,000 bytes"):
        store.read("big")
    assert store.read("empty") == b""


def test_an_object_that_is_another_one_when_it_is_gone_on_with_is_an_error(behind, s3_server, s3_url, monkeypatch):
    direct = open_store(s3_url)

    def rule(asked):
        if asked.method == "GET" and "range" not in asked.headers:
            return HALF
        found = direct.read_tagged("big")
        direct.compare_and_swap("big", b"x" * len(DATA), found.tag)
        return None

    store, _ = behind(rule)
    with pytest.raises(StorageError, match="must stay while it is read"):
        store.read("big")


def test_a_server_that_ignores_ranges_is_an_error_and_gives_no_byte_twice(behind):
    cut = times(1, HALF)
    store, _ = behind(lambda asked: cut(asked) or Fault(without=frozenset({"range"})))
    with pytest.raises(StorageError, match=r"must come whole.*knows ranges"):
        store.read("big")
    with pytest.raises(StorageError, match="must answer with the bytes that it is asked for"):
        stream(store, offset=10)


def test_bytes_that_were_altered_on_the_way_are_an_error(behind):
    store, _ = behind(always(Fault(alters=True), about="/big"))
    for read in (store.read, lambda key: stream(store, key)):
        with pytest.raises(StorageError, match="differ from its checksum"):
            read("big")


def test_a_part_is_read_from_its_byte_and_one_beyond_the_end_is_an_error(behind, tmp_path):
    store, _ = behind(times(1, Fault(keeps=50_000), about="/big"))
    assert stream(store, offset=100_000) == DATA[100_000:]
    assert stream(store, offset=len(DATA)) == b""
    for one, key in ((store, "big"), (FolderStore(tmp_path), "small")):
        if key == "small":
            one.put_if_absent("small", b"abc")
            assert stream(one, "small", 3) == b""
        with pytest.raises(StorageError, match="must reach to byte 300,000"):
            stream(one, key, 300_000)
        with pytest.raises(StorageError, match="It was cut short"):
            copy(one, key, tmp_path / "copy", 0, 300_000)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path):
    store = FolderStore(tmp_path)
    (tmp_path / "big").write_bytes(DATA * 20)
    with store.open("big") as body:
        body.read(10)
        (tmp_path / "big").write_bytes(DATA)
        with pytest.raises(StorageError, match=r"must come whole.*of 5,120,000"):
            body.read()


@pytest.mark.parametrize(
    "fault", [Fault(keeps=-1), Fault(keeps=0), Fault(keeps=400), Fault(status=500, code="InternalError")]
)
def test_a_listing_that_fails_is_an_error_and_never_a_shorter_list(behind, fault):
    store, _ = behind(always(fault, about="list-type"))
    with pytest.raises(StorageError, match=r"must answer|must come whole"):
        store.list()


def test_a_listing_that_is_cut_once_is_asked_for_again(behind):
    store, _ = behind(times(1, Fault(keeps=0), about="list-type"))
    assert store.list() == ["big", "empty"]


# The readers of whole objects: a night, ingest's texts, people's answers.


@pytest.fixture
def desk(s3_url, tmp_path):
    made = make_desk(tmp_path, f"{s3_url}/store")
    made.write("a.csv", texts(0, 400))
    open_store(s3_url).put_if_absent("in/a.csv", (made.source / "a.csv").read_bytes())
    return made


def night(desk, s3_url, rule, server, monkeypatch):
    with faulty(server, rule) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        try:
            for name in desk.shard("2026-11-01", f"{s3_url}/in").parameters["shards"].split(","):
                desk.infer(name, overrides="shard.texts_per_shard=100")
        finally:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)


def test_a_night_whose_source_is_cut_once_loses_nothing(desk, s3_url, s3_server, monkeypatch):
    night(desk, s3_url, times(2, Fault(keeps=3000), about="/in/a.csv"), s3_server, monkeypatch)
    assert desk.predictions("2026-11-01")["id"].to_list() == [name for name, _ in texts(0, 400)]


def test_a_night_whose_source_is_cut_always_takes_no_text_and_the_next_one_takes_all(
    desk, s3_url, s3_server, monkeypatch
):
    with pytest.raises(StorageError, match="must come whole"):
        night(desk, s3_url, always(Fault(keeps=0), about="/in/a.csv"), s3_server, monkeypatch)
    assert manifests.find_manifest(desk.store, "2026-11-01") is None
    night(desk, s3_url, lambda _: None, s3_server, monkeypatch)
    assert len(desk.predictions("2026-11-01")) == 400


def test_a_shard_whose_source_is_cut_always_writes_no_half_of_it(desk, s3_url, s3_server, monkeypatch):
    shard = desk.shard("2026-11-01", f"{s3_url}/in").parameters["shards"]
    with faulty(s3_server, always(Fault(keeps=0), about="/in/a.csv")) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StorageError, match="must come whole"):
            desk.infer(shard)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    assert desk.store.list("predictions/") == []
    desk.infer(shard)
    assert len(desk.predictions("2026-11-01")) == 400


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_fewer_rows_than_the_manifest_names_are_an_error(tmp_path, name, monkeypatch):
    import polars as pl

    desk = make_desk(tmp_path)
    desk.source.mkdir()
    table = pl.DataFrame({"id": [str(number) for number in range(50)], "text": ["Ask for a room"] * 50})
    write = {"a.csv": table.write_csv, "a.jsonl": table.write_ndjson, "a.parquet": table.write_parquet}[name]
    write(desk.source / name)
    shard = desk.shard("2026-11-01").parameters["shards"]
    before = manifests.read_manifest(desk.store, "2026-11-01")
    tag = next(iter(before.objects.values())).tag
    write = {"a.csv": table[:30].write_csv, "a.jsonl": table[:30].write_ndjson, "a.parquet": table[:30].write_parquet}
    write[name](desk.source / name)
    monkeypatch.setattr("understudy.data.arrivals.require_tag", lambda _: tag)  # a cut that left the tag as it was
    with pytest.raises(StorageError, match="the 50 rows that the night's manifest names, got 30"):
        desk.infer(shard)


def test_a_file_that_grew_since_gives_the_rows_that_it_had(tmp_path):
    """Its last quote was open when the night was begun, and was closed by what was appended."""
    desk = make_desk(tmp_path)
    path = desk.write("a.csv", texts(0, 3))
    with path.open("a") as file:
        file.write('t3,"Ask for\nt4,Stayed\n')
    shard = desk.shard("2026-11-01").parameters["shards"]
    with path.open("a") as file:
        file.write('a room"\n')
    desk.infer(shard)
    assert desk.predictions("2026-11-01")["id"].to_list() == ["t0", "t1", "t2", "t4"]


def test_texts_that_are_cut_are_an_error_for_whoever_reads_them(s3_url, s3_server, monkeypatch):
    rows = "id,text,label\n" + "".join(f"r{number},Ask for a room,tip\n" for number in range(4000))
    open_store(s3_url).put_if_absent("in/a.csv", rows.encode())
    once, always_cut = times(1, Fault(keeps=40_000), about="/in/"), always(Fault(keeps=1), about="/in/")
    for rule, is_whole in ((once, True), (always_cut, False)):
        with faulty(s3_server, rule) as (url, _):
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            if is_whole:
                with sources.opened(f"{s3_url}/in", ["id", "text"]) as source:
                    assert len(source.read(["id"])[0]) == 4000
                continue
            with pytest.raises(StorageError, match="must come whole"), sources.opened(f"{s3_url}/in", ["id"]):
                pass
            with pytest.raises(StorageError, match="must come whole"):
                labels.read_answers(f"{s3_url}/in/a.csv", LabelSpace(("tip",)), {}, 0.05)


def test_labels_are_taken_whole_from_s3_or_not_at_all(s3_url, s3_server, monkeypatch, card_text):
    store = open_store(f"{s3_url}/store")
    store.put_if_absent("cards/hotel-tips/abc.yaml", card_text.encode())
    rows = "id,label\n" + "".join(f"r{number},tip\n" for number in range(4000))
    open_store(s3_url).put_if_absent("answers.csv", rows.encode())
    with faulty(s3_server, times(2, Fault(keeps=20_000), about="answers.csv")) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert labels.add(store, f"{s3_url}/answers.csv").labels == 4000
    with faulty(s3_server, always(Fault(keeps=0), about="answers.csv")) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StorageError):
            labels.add(store, f"{s3_url}/answers.csv")


@pytest.mark.parametrize("name", ["card.yaml", "texts.csv", "labels.csv"])
def test_ingest_takes_its_files_whole_or_fails_as_for_an_outage(s3_url, s3_server, monkeypatch, tmp_path, name):
    desk = Desk(tmp_path, 200)
    files = {"card": "card.yaml", "texts": "texts.csv", "labels": "labels.csv"}
    for file in files.values():
        open_store(s3_url).put_if_absent(file, (tmp_path / file).read_bytes())
    places = {"store": f"{s3_url}/store", **{what: f"{s3_url}/{file}" for what, file in files.items()}}
    length = (tmp_path / name).stat().st_size
    with faulty(s3_server, times(1, Fault(keeps=length // 2), about=f"/{name}")) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert desk.run(**places).metrics["texts"] == 200
    with faulty(s3_server, always(Fault(keeps=1), about=f"/{name}")) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StorageError, match="must come whole"):
            desk.run(**places)


def test_nothing_at_an_address_is_still_said_plainly(s3_url):
    with pytest.raises(BadData, match="must hold"), sources.opened(f"{s3_url}/none", ["id"]):
        pass
    with pytest.raises(BadInput):
        open_store(s3_url + "-none").read("x")
