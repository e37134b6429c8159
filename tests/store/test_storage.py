"""Both stores keep the same promises: one suite, run on a folder and on a real S3 server."""

import multiprocessing
import socket
import threading
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.services.lossy import losing_first_answer
from understudy.errors import BadInput, Conflict, StorageError
from understudy.search import dead_letters
from understudy.store import base, s3
from understudy.store.folder import FolderStore
from understudy.store.s3 import S3Store
from understudy.store.storage import Store, open_store, prepare_store, split_uri, update

FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["folder", "s3"])
def uri(request, tmp_path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else f"{request.getfixturevalue('s3_url')}/deep/prefix"


@pytest.fixture
def store(uri) -> Store:
    return open_store(uri)


def test_what_is_put_is_read_back_whole_and_as_a_stream(store):
    data = bytes(range(256)) * 1000
    assert store.put_if_absent("a/b.bin", data)
    assert store.read("a/b.bin") == data
    with store.open("a/b.bin") as stream:
        assert stream.read(3) == b"\x00\x01\x02"
        assert stream.read() == data[3:]


def test_an_object_may_be_empty(store):
    store.put_if_absent("empty", b"")
    assert store.read("empty") == b""
    assert store.list() == ["empty"]


def test_the_second_put_changes_nothing_and_says_so(store):
    assert store.put_if_absent("key", b"first")
    assert not store.put_if_absent("key", b"second")
    assert store.read("key") == b"first"


def test_an_absent_object_is_none_to_read_tagged_and_an_error_to_read_and_open(store):
    assert store.read_tagged("nothing/here") is None
    for read in (store.read, store.open):
        with pytest.raises(StorageError, match=r"must exist.*nothing/here"):
            read("nothing/here")


def test_a_key_below_an_object_is_absent(store):
    store.put_if_absent("a", b"1")
    assert store.read_tagged("a/b") is None


def test_swap_needs_the_tag_of_what_is_there(store):
    assert store.compare_and_swap("pointer", b"1", tag=None)
    assert not store.compare_and_swap("pointer", b"2", tag=None)
    old = store.read_tagged("pointer")
    assert store.compare_and_swap("pointer", b"2", old.tag)
    assert not store.compare_and_swap("pointer", b"3", old.tag)
    assert store.read("pointer") == b"2"


def test_swap_of_an_object_that_is_gone_fails(store):
    store.put_if_absent("pointer", b"1")
    tag = store.read_tagged("pointer").tag
    store.delete("pointer")
    assert not store.compare_and_swap("pointer", b"2", tag)
    assert store.list() == []


def test_list_is_sorted_and_takes_any_prefix(store):
    for key in ("b/2", "a/1", "ab", "a/10", "c"):
        store.put_if_absent(key, b"")
    assert store.list() == ["a/1", "a/10", "ab", "b/2", "c"]
    assert store.list("a/") == ["a/1", "a/10"]
    assert store.list("a") == ["a/1", "a/10", "ab"]
    assert store.list("a/1") == ["a/1", "a/10"]
    assert store.list("nothing/there") == []


def test_list_leaves_out_what_lies_beside_the_prefix(uri, store):
    store.put_if_absent("mine", b"")
    open_store(f"{uri}-beside").put_if_absent("theirs", b"")
    assert store.list() == ["mine"]


def test_list_of_a_store_that_was_never_written_is_empty(store):
    assert store.list() == []


def test_list_knows_more_than_one_page(s3_url):
    store = open_store(s3_url)
    threads = [
        threading.Thread(target=lambda part=part: [store.put_if_absent(f"k/{part}-{i:03d}", b"") for i in range(130)])
        for part in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list("k/")) == 1040


def test_delete_takes_away_and_twice_is_no_error(store):
    store.put_if_absent("key", b"")
    store.delete("key")
    store.delete("key")
    assert store.list() == []


def test_keys_may_hold_spaces_and_letters_of_any_script(store):
    key = "labels/tâche été/a b+c%20=ü.json"
    store.put_if_absent(key, b"x")
    assert store.list("labels/") == [key]
    assert store.read(key) == b"x"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_any_bytes_come_back(store, data):
    store.delete("k")
    assert store.put_if_absent("k", data)
    assert store.read("k") == data


def count_up(uri: str, times: int) -> None:
    """Add 1 to a counter, as often as it takes for `times` of the swaps to win."""
    store = open_store(uri)
    won = 0
    while won < times:
        found = store.read_tagged("counter")
        number = int(found.data) if found else 0
        won += store.compare_and_swap("counter", str(number + 1).encode(), found.tag if found else None)


def test_an_update_with_nothing_to_say_takes_away_nothing_that_another_wrote_meanwhile(store):
    store.put_if_absent("letters", b"old")

    def overtaken(before: bytes | None) -> None:
        assert store.compare_and_swap("letters", b"theirs", store.read_tagged("letters").tag)

    update(store, "letters", overtaken, "Letters")
    assert store.read("letters") == b"theirs"


def test_an_update_that_is_overtaken_is_made_anew_from_what_the_other_wrote(store):
    seen = []

    def added(before: bytes | None) -> bytes:
        seen.append(before)
        if before is None:
            assert store.put_if_absent("letters", b"theirs,")
        return (before or b"") + b"ours"

    update(store, "letters", added, "Letters")
    assert (seen, store.read("letters")) == ([None, b"theirs,"], b"theirs,ours")


def test_a_segment_whose_dead_letters_are_taken_keeps_a_record_of_none(store):
    segment = "predictions/date=2026-11-01/v1/00-00000.parquet"
    dead_letters.keep(store, "index", segment, [])
    assert store.list() == []
    dead_letters.keep(store, "index", segment, [dead_letters.Letter("jane", "too long")])
    dead_letters.keep(store, "index", segment, [])
    assert store.list() == [dead_letters.key_of("index", segment)]
    assert dead_letters.read(store, "index", segment) == dead_letters.waiting(store, "index", ()) == []


def test_two_processes_that_race_for_a_swap_lose_no_update(uri, store):
    racers = [FORK.Process(target=count_up, args=(uri, 25)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert store.read("counter") == b"50"


def put_all(uri: str, who: str, won) -> None:
    store = open_store(uri)
    won.put((who, [key for key in map(str, range(30)) if store.put_if_absent(key, who.encode())]))


def test_of_two_processes_that_put_the_same_key_exactly_one_wins(uri, store):
    won = FORK.Queue()
    racers = [FORK.Process(target=put_all, args=(uri, who, won)) for who in ("one", "two")]
    for racer in racers:
        racer.start()
    claims = dict(won.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join(60)
    assert sorted(claims["one"] + claims["two"]) == sorted(map(str, range(30)))
    assert {key: store.read(key).decode() for key in store.list()} == {
        key: who for who, keys in claims.items() for key in keys
    }


def hang_in_a_swap(root: Path, started) -> None:
    store = FolderStore(root)
    with store._locked("pointer"):
        started.set()
        threading.Event().wait()


def test_a_process_killed_in_the_middle_of_a_swap_does_not_lock_the_others_out(tmp_path):
    started = FORK.Event()
    racer = FORK.Process(target=hang_in_a_swap, args=(tmp_path, started))
    racer.start()
    started.wait(30)
    racer.kill()
    racer.join(30)
    assert FolderStore(tmp_path).compare_and_swap("pointer", b"1", None)


def test_a_folder_of_objects_is_no_object(store):
    store.put_if_absent("a/b", b"1")
    assert store.tag_of("a/b") is not None
    assert [store.tag_of("a"), store.read_tagged("a"), store.tag_of("a/b/c")] == [None, None, None]


def test_prepare_marks_the_store_and_may_be_called_again(uri):
    prepare_store(uri)
    assert prepare_store(uri).list() == ["store.json"]


def test_locate_gives_the_full_address(s3_url, tmp_path):
    assert open_store(f"{s3_url}/p/").locate("a/b") == f"{s3_url}/p/a/b"
    assert open_store(str(tmp_path)).locate("a/b") == f"{tmp_path}/a/b"


def test_an_address_is_split_into_store_and_key(tmp_path):
    store, key = split_uri("s3://bucket/a/b/card.yaml")
    assert (store.uri, key) == ("s3://bucket/a/b", "card.yaml")
    store, key = split_uri(str(tmp_path / "card.yaml"))
    assert (store.uri, key) == (str(tmp_path), "card.yaml")
    store, key = split_uri("s3://bucket/card.yaml")
    assert (store.uri, key) == ("s3://bucket", "card.yaml")


@pytest.mark.parametrize("address", ["s3://bucket//x.csv", "s3://bucket///deep/x.csv"])
@pytest.mark.parametrize("read", [open_store, split_uri])
def test_a_key_that_begins_with_a_slash_is_refused_and_not_taken_for_another(address, read):
    with pytest.raises(BadInput, match=r"must not begin with a slash, got '/.*x\.csv'.*with one slash"):
        read(address)


def test_a_key_with_two_slashes_inside_is_named_as_it_is(s3_url):
    store, key = split_uri(f"{s3_url}/a//x.csv")
    store.put_if_absent(key, b"two")
    assert store.locate(key) == f"{s3_url}/a//x.csv"
    assert store.read(key) == b"two"


def test_a_file_address_is_a_folder(tmp_path):
    assert open_store(f"file://{tmp_path}").uri == str(tmp_path)


@pytest.mark.parametrize("uri", ["", "http://bucket/x", "gs://bucket", "s3://", "s3:///prefix"])
def test_an_address_of_another_kind_is_refused(uri):
    with pytest.raises(BadInput, match=r"An address (must|on S3 must).*--store"):
        open_store(uri)


def test_a_folder_where_a_file_stands_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match=r"store must be writable.*file"):
        prepare_store(str(tmp_path / "file" / "store"))


def test_a_store_that_cannot_be_written_says_what_to_check(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match=r"must be writable, got .*Check its address, the folder's rights and the space"):
        prepare_store(str(tmp_path / "file"))


def test_a_missing_bucket_is_bad_input_with_its_name(s3_url):
    with pytest.raises(BadInput, match=r"bucket must exist, got no bucket 'no-such-bucket-here'"):
        prepare_store("s3://no-such-bucket-here/prefix")
    store = open_store("s3://no-such-bucket-here")
    for action in (store.list, lambda: store.read("key"), lambda: store.compare_and_swap("key", b"", None)):
        with pytest.raises(BadInput, match="bucket must exist"):
            action()


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_keys_are_bad_input(s3_url, monkeypatch, name):
    monkeypatch.setenv(name, "wrong")
    with pytest.raises(BadInput, match=r"must be readable and writable.*Check the access key"):
        prepare_store(s3_url)


def test_a_bucket_of_somebody_else_is_bad_input(s3_server, s3_url):
    store = S3Store(s3_url.removeprefix("s3://"), "")
    anonymous = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"})
    store._client = boto3.client("s3", endpoint_url=s3_server.url, region_name="us-east-1", config=anonymous)
    for action in (store.list, lambda: store.read("key"), lambda: store.put_if_absent("key", b"")):
        with pytest.raises(BadInput, match="must be readable and writable, got 'AccessDenied'"):
            action()


def test_no_keys_at_all_is_bad_input(s3_url, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(BadInput, match=r"store must be reachable.*AWS_ACCESS_KEY_ID"):
        prepare_store(s3_url)


def test_a_server_that_is_not_there_is_an_outage_and_no_bad_input(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name, value in {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=r"store must be reachable"):
        prepare_store("s3://bucket")


def test_a_folder_that_cannot_be_written_is_bad_input():
    with pytest.raises(BadInput, match="store must be writable"):
        prepare_store("/proc/understudy")  # where not even root can write
    with pytest.raises(BadInput, match="store must be writable"):
        open_store("/proc/understudy").compare_and_swap("pointer", b"", None)


def test_nothing_but_the_object_stays_behind_in_a_folder(tmp_path):
    store = FolderStore(tmp_path)
    store.put_if_absent("a/key", b"1")
    store.put_if_absent("a/key", b"2")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["key"]


def test_a_write_whose_answer_was_lost_counts_as_ours(s3_url, s3_server, monkeypatch):
    with losing_first_answer(s3_server.url, "PUT") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert open_store(s3_url).put_if_absent("claim", b"mine")  # boto3 tries again and meets its own object
        assert not open_store(s3_url).put_if_absent("claim", b"mine")  # without a lost answer it is somebody else's
        assert open_store(s3_url).read("claim") == b"mine"


class Busy(FolderStore):
    """A folder in which somebody else is always faster."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.tries = 0

    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        self.tries += 1
        super().compare_and_swap(key, str(self.tries).encode(), tag)
        return False


def test_a_write_at_which_others_are_always_faster_is_tried_a_bounded_number_of_times(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "ATTEMPTS", 3)
    store = Busy(tmp_path)
    with pytest.raises(Conflict, match=r"A counter must be free to write, got others writing .*/counter"):
        update(store, "counter", lambda before: (before or b"") + b"1", "A counter")
    assert (store.tries, store.read("counter")) == (3, b"3")


def test_stores_share_botocores_definitions_and_add_nothing_to_them(s3_url, monkeypatch, tmp_path):
    folders = []
    for _ in range(3):
        open_store(s3_url)
        folders.append(len(s3._definitions(None).search_paths))
    assert len(set(folders)) == 1
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    open_store(s3_url)
    assert str(tmp_path) in s3._definitions(str(tmp_path)).search_paths
