"""Who may write, and what it takes: conditions that the server keeps, faults told apart, nothing written to read."""

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.night_desk import make_desk
from tests.nights import prediction, put_segment
from tests.services.faulty import Fault, always, faulty
from tests.services.lossy import losing_first_answer
from understudy.cli.main import app
from understudy.data import cards
from understudy.errors import BadCard, BadInput, StorageError, UnderstudyError
from understudy.store import cache
from understudy.store.address import parse_address
from understudy.store.folder import FolderStore
from understudy.store.identity import STORE_ID
from understudy.store.leftovers import temporary_folder
from understudy.store.s3 import s3_client
from understudy.store.storage import copy, open_store, prepare_store, split_uri, update
from understudy.teacher import response_log

FORK = multiprocessing.get_context("fork")
IGNORING = {name: Fault(without=frozenset({name.lower()})) for name in ("If-None-Match", "If-Match")}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))


@contextmanager
def behind(server, rule, monkeypatch):
    with faulty(server, rule) as (url, log):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield log
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)


# Conditions


@pytest.mark.parametrize("header", IGNORING)
def test_a_server_that_ignores_a_condition_is_refused_with_the_reason(s3_server, s3_url, monkeypatch, header):
    with (
        behind(s3_server, always(IGNORING[header], "PUT"), monkeypatch),
        pytest.raises(BadInput, match=f"must keep the condition {header} .*two writers lose each other's work"),
    ):
        prepare_store(s3_url)
    assert prepare_store(s3_url).list() == ["store.json"]


def test_conditions_are_proven_once_and_a_server_that_loses_them_later_is_refused(s3_server, s3_url, monkeypatch):
    open_store(s3_url).put_if_absent("store.json", b'{"format": 1}\n')  # as earlier versions marked a store
    prepare_store(s3_url)
    marker = open_store(s3_url).read("store.json")
    assert json.loads(marker)["conditional_writes"] is True
    with behind(s3_server, lambda _: None, monkeypatch) as log:
        prepare_store(s3_url)
    assert [asked.method for asked in log] == ["GET", "PUT"]
    assert open_store(s3_url).read("store.json") == marker
    with (
        behind(s3_server, always(IGNORING["If-None-Match"], "PUT"), monkeypatch),
        pytest.raises(BadInput, match="If-None-Match"),
    ):
        prepare_store(s3_url)


def test_several_may_prove_at_once(s3_url):
    faults = []

    def prove():
        try:
            prepare_store(s3_url)
        except UnderstudyError as error:
            faults.append(error)

    threads = [threading.Thread(target=prove) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert json.loads(open_store(s3_url).read("store.json"))["conditional_writes"] is True


def test_a_lost_answer_is_no_proof_of_an_ignored_condition(s3_server, s3_url, monkeypatch):
    with losing_first_answer(s3_server.url, "PUT") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        prepare_store(s3_url)


def test_whoever_adds_labels_rolls_back_or_forgets_needs_a_server_that_keeps_conditions(
    s3_server, s3_url, monkeypatch, card_text, tmp_path
):
    open_store(s3_url).put_if_absent("cards/hotel-tips/abc.yaml", card_text.encode())
    (tmp_path / "answers.csv").write_text("id,label\nr1,tip\n")
    commands = [["labels", "add", str(tmp_path / "answers.csv")], ["rollback"], ["forget", "--id", "x"]]
    with behind(s3_server, always(IGNORING["If-None-Match"], "PUT"), monkeypatch):
        for words in commands:
            done = CliRunner().invoke(app, [*words, "--store", s3_url])
            assert "must keep the condition" in str(done.exception)
    assert [key for key in open_store(s3_url).list() if key.startswith("labels/")] == []


@pytest.mark.parametrize("words", [["labels", "add", "a.csv"], ["rollback"], ["forget", "--id", "x"]])
def test_a_store_that_is_not_there_is_not_made_by_a_mistyped_address(tmp_path, words):
    done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "none")])
    assert "A store must exist, got nothing" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


# Faults

PASSING = [(500, "InternalError"), (503, "SlowDown"), (400, "RequestTimeout"), (429, "TooManyRequests")]
PASSING += [(409, "OperationAborted"), (507, "XMinioStorageFull"), (403, "RequestTimeTooSkewed"), (502, "Bad")]
LASTING = [(403, "AccessDenied"), (400, "InvalidBucketName"), (301, "PermanentRedirect"), (501, "NotImplemented")]
LASTING += [(400, "InvalidArgument"), (403, "InvalidObjectState"), (404, "NoSuchBucket")]


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(*one, StorageError) for one in PASSING] + [(*one, BadInput) for one in LASTING]
)
def test_what_passes_is_told_from_what_the_user_must_change(s3_server, s3_url, monkeypatch, status, code, kind):
    fault = Fault(status=status, code=code)
    with behind(s3_server, lambda _: fault, monkeypatch):
        store = open_store(s3_url)
        for action in (lambda: store.read("x"), store.list, lambda: store.put_if_absent("x", b"")):
            with pytest.raises(kind) as told:
                action()
            assert told.type is kind
        if kind is StorageError:
            with pytest.raises(StorageError):
                cards.read(f"{s3_url}/card.yaml")


def test_a_card_that_is_not_there_is_a_fault_of_the_cards(s3_url):
    with pytest.raises(BadCard, match="A card must exist"):
        cards.read(f"{s3_url}/card.yaml")
    with pytest.raises(BadInput, match="must be one object"):
        cards.read(s3_url)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "AccessDenied"])
def test_a_clock_that_is_off_is_told_as_such(s3_server, s3_url, monkeypatch, code):
    date = {"Date": "Sun, 01 Nov 2020 12:00:00 GMT"}
    with (
        behind(s3_server, lambda _: Fault(status=403, code=code, says=date), monkeypatch),
        pytest.raises(StorageError, match=r"clock must be right.*minutes ahead of the server's.*Set the clock"),
    ):
        open_store(s3_url).read("x")


def test_the_real_servers_word_for_a_clock_that_is_off_is_known(s3_url, monkeypatch):
    from botocore import auth

    now = auth.get_current_datetime
    monkeypatch.setattr(auth, "get_current_datetime", lambda *given: now(*given) + timedelta(days=1))
    with pytest.raises(StorageError, match="clock must be right"):
        open_store(s3_url).read("x")


@pytest.mark.parametrize("key", ["a\0b", "../out", "a/../../out", "/etc/hostname", "x" * 300, "y/" * 3000])
def test_a_key_that_no_file_can_have_is_one_sentence(tmp_path, key):
    store = prepare_store(str(tmp_path / "store"))
    for action in (
        lambda: store.read(key),
        lambda: store.open(key),
        lambda: store.tag_of(key),
        lambda: store.put_if_absent(key, b""),
        lambda: store.compare_and_swap(key, b"", None),
        lambda: store.delete(key),
    ):
        with pytest.raises(BadInput, match=r"must"):
            action()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["x" * 5000, "s3://b/" + "x" * 5000, "file:///a%00b", "s3:/b/k", "s3://u:p@b/k"])
@pytest.mark.parametrize(
    "words",
    [["search", "a", "--store"], ["predict", "a", "--store"], ["runs", "--store"], ["forget", "--id", "x", "--store"]],
)
def test_an_address_that_cannot_be_is_one_sentence(words, address):
    done = CliRunner().invoke(app, [*words, address])
    assert isinstance(done.exception, BadInput), done.exception
    assert "--store" in str(done.exception)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_with_a_password_is_refused_and_not_shown(s3_url, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://me:opensesame@127.0.0.1:9")
    with pytest.raises(BadInput, match="must hold no user and no password") as told:
        open_store(s3_url)
    assert "opensesame" not in str(told.value)


@pytest.mark.parametrize("name", ["store#2", "a?b=c", "50%", "with space", "a%20b", "ü"])
def test_every_sign_of_a_prefix_is_a_part_of_it(s3_url, name, tmp_path):
    prepare_store(f"{s3_url}/{name}").put_if_absent("x.csv", b"id,text\n1,a\n")
    assert open_store(s3_url).list() == [f"{name}/store.json", f"{name}/x.csv"]
    store, key = split_uri(f"{s3_url}/{name}/x.csv")
    assert store.read(key) == b"id,text\n1,a\n"
    assert open_store(f"{s3_url}/{name}").list() == ["store.json", "x.csv"]
    folder = tmp_path / name
    prepare_store(str(folder)).put_if_absent("x.csv", b"")
    assert parse_address(folder.as_uri()).path == folder
    assert open_store(folder.as_uri()).list() == ["store.json", "x.csv"]


def told_by(action, *arguments, **limits):
    """Carry out an action in a process with limits, and return its error's kind and sentence."""

    def carry_out(pipe):
        if "size" in limits:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limits["size"], limits["size"]))
        try:
            pipe.send(("", str(action(*arguments))))
        except BaseException as error:
            pipe.send((type(error).__name__, str(error)))

    here, there = FORK.Pipe()
    process = FORK.Process(target=carry_out, args=(there,))
    process.start()
    told = here.recv()
    process.join(30)
    return told


def test_a_disk_without_room_is_one_sentence_for_store_copies_and_cache(tmp_path):
    store = FolderStore(tmp_path / "store")
    store.put_if_absent("big", b"x" * 100_000)
    actions = [
        lambda: store.put_if_absent("other", b"x" * 100_000),
        lambda: store.compare_and_swap("other", b"x" * 100_000, None),
        lambda: copy(store, "big", tmp_path / "copy"),
        lambda: cache.open_database(tmp_path / "c/answers.sqlite", response_log._connect),
    ]
    for action in actions:
        kind, sentence = told_by(action, size=5000)
        assert (kind, "room" in sentence) == ("StorageError", True), sentence
    assert store.list() == ["big"]
    assert list((tmp_path / "store/.~").glob("written-*")) == []


# Temporary files


def hang_while_writing(root, started):
    with FolderStore(root)._written_beside("labels/a.csv", b"a secret text"):
        started.set()
        threading.Event().wait()


def hang_with_a_copy(root, started):
    with temporary_folder() as folder:
        (folder / "copy.csv").write_bytes(b"a secret text")
        started.set()
        threading.Event().wait()


def holding(folder):
    """Files below a folder that hold the text."""
    return [path for path in Path(folder).rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


@pytest.mark.parametrize("hang", [hang_while_writing, hang_with_a_copy])
@pytest.mark.parametrize("clean", ["prepare", "forget"])
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, monkeypatch, hang, clean):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    uri = str(tmp_path / "store")
    prepare_store(uri)
    started = FORK.Event()
    process = FORK.Process(target=hang, args=(Path(uri), started))
    process.start()
    started.wait(30)
    prepare_store(uri)
    assert len(holding(tmp_path)) == 1
    process.kill()
    process.join(30)
    assert len(holding(tmp_path)) == 1
    if clean == "prepare":
        prepare_store(uri)
    else:
        assert CliRunner().invoke(app, ["forget", "--id", "x", "--store", uri]).exit_code == 0
    assert holding(tmp_path) == []


def test_the_lock_file_of_a_spreadsheet_that_is_open_is_no_object_and_stays(tmp_path):
    store = prepare_store(str(tmp_path))
    store.put_if_absent("queues/a.csv", b"id,text\n1,other\n")
    lock = tmp_path / "queues/.~lock.a.csv#"  # of LibreOffice
    lock.write_text(",me,host,30.11.2026 09:00,file:///home/me;")
    prepare_store(str(tmp_path))
    assert CliRunner().invoke(app, ["forget", "--id", "x", "--store", str(tmp_path)]).exit_code == 0
    assert lock.exists()
    assert [key for key in store.list() if key.startswith("queues/")] == ["queues/a.csv"]


def test_a_finished_writer_leaves_nothing_but_the_objects(tmp_path):
    store = FolderStore(tmp_path)
    store.put_if_absent("a/one", b"1")
    store.put_if_absent("a/one", b"2")
    store.compare_and_swap("a/two", b"1", None)
    store.compare_and_swap("a/two", b"2", "another")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a", "a/one", "a/two"]


def test_writers_that_remove_the_folder_of_what_they_write_do_not_disturb_each_other(tmp_path):
    def add(number):
        store = FolderStore(tmp_path)
        for turn in range(10):
            store.put_if_absent(f"objects/{number}-{turn}", b"x")
            update(store, "counter", lambda before: str(int(before or 0) + 1).encode(), "A counter")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert FolderStore(tmp_path).read("counter") == b"80"
    assert len(FolderStore(tmp_path).list("objects/")) == 80
    assert not (tmp_path / ".~").exists()


def test_files_of_the_cache_are_their_owners_alone_and_the_stores_follow_the_umask(tmp_path):
    path = tmp_path / "cache/answers.sqlite"
    before = os.umask(0)
    try:
        for _ in range(2):
            opened = cache.open_database(path, response_log._connect)
            with opened:
                opened.execute("DELETE FROM responses")
            found = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
            opened.close()
            assert set(found.values()) == {"0o600"}
            assert {"answers.sqlite", "answers.sqlite-wal", "answers.sqlite-shm", "answers.lock"} == set(found)
            path.chmod(0o644)  # as earlier versions made it
        os.umask(0o077)
        FolderStore(tmp_path / "store").put_if_absent("a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "store/a").stat().st_mode & 0o777 == 0o600


# Reading


READING = [["search", "room", "--store"], ["predict", "Ask for a room.", "--store"], ["runs", "--store"]]


def read_all(uri):
    for words in READING:
        done = CliRunner().invoke(app, [*words, uri])
        if done.exit_code:
            raise done.exception
        if words[0] == "search" and "1 text found" not in done.output:
            raise AssertionError(done.output)


def filled(folder, uri):
    desk = make_desk(folder, uri)
    put_segment(desk.store, [prediction("a", "Ask for a room.")], version=desk.store.list("bundles/")[0].split("/")[1])
    desk.store.delete(STORE_ID)
    return desk


def test_reading_commands_need_no_right_to_write_in_a_folder(tmp_path):
    uri = filled(tmp_path, str(tmp_path / "store")).uri
    for path in [*(tmp_path / "store").rglob("*"), tmp_path / "store"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]  # root, too, needs rights then
    try:
        for words in READING:
            command = [
                *(drop if os.getuid() == 0 and shutil.which("setpriv") else []),
                sys.executable,
                "-m",
                "understudy",
            ]
            done = subprocess.run([*command, *words, uri], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "1 text found" in done.stderr or words[0] != "search"
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == before
    finally:
        for path in (tmp_path / "store").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_reading_commands_send_no_write_to_a_bucket(tmp_path, s3_server, s3_url, monkeypatch):
    uri = filled(tmp_path, f"{s3_url}/store").uri
    refused = Fault(status=403, code="AccessDenied")
    with behind(s3_server, lambda asked: None if asked.method in {"GET", "HEAD"} else refused, monkeypatch) as log:
        read_all(uri)
    assert {asked.method for asked in log} <= {"GET", "HEAD"}
    assert s3_client().list_objects_v2(Bucket=s3_url.removeprefix("s3://"), Prefix="store/judgements/")["KeyCount"] == 0
