"""A search reads the store and writes nothing into it; what it keeps on this machine is its user's alone."""

import http.client
import os
import stat
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from tests.nights import prediction, put_segment
from tests.services import local
from understudy.cli.main import app
from understudy.search import opening
from understudy.search.sqlite import SqliteIndex
from understudy.store import identity, tombstones
from understudy.store.storage import open_store

SERVING = b'{"format": 1, "card": "hotel-tips", "url": ""}'
DENIED = b"<Error><Code>AccessDenied</Code><Message>read only</Message></Error>"


def tree(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def found(uri):
    done = CliRunner().invoke(app, ["search", "late", "--store", uri], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout.count("\n")


@contextmanager
def read_only(upstream):
    """Stand before an S3 server and let reads alone through; yields the address and what was refused."""
    refused = []

    class Handler(local.Quiet):
        protocol_version = "HTTP/1.1"

        def read(self):
            connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=30)
            connection.request(self.command, self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            left_out = {"transfer-encoding", "connection", *([] if self.command == "HEAD" else ["content-length"])}
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in left_out}
            self.send(answer.status, answer.read(), headers)
            connection.close()

        def refuse(self):
            refused.append(f"{self.command} {self.path}")
            self.body()
            self.send(403, DENIED, {"Content-Type": "application/xml"})

        do_GET = do_HEAD = read
        do_PUT = do_POST = do_DELETE = refuse

    with local.serving(Handler) as address:
        yield address, refused


def test_a_search_leaves_a_folder_as_it_was(store):
    put_segment(store, [prediction("a"), prediction("b")])
    store.put_if_absent(opening.SERVING, SERVING)
    store.put_if_absent("dead-letters/sqlite/date=2026-11-03/v1/00-00000.json", b"{}")
    before = tree(store.root)
    assert (found(store.uri), found(store.uri)) == (2, 2)
    assert tree(store.root) == before


def test_a_search_works_with_a_key_that_may_only_read(s3_url, monkeypatch):
    store = open_store(f"{s3_url}/prefix")
    put_segment(store, [prediction("a"), prediction("b")])
    store.put_if_absent(opening.SERVING, SERVING)
    upstream = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ["AWS_ENDPOINT_URL"]
    with read_only(upstream) as (url, refused):
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            monkeypatch.setenv(name, url)
        assert found(store.uri) == 2
        assert refused == [], "nothing was even tried"


def test_what_a_search_kept_of_a_store_without_an_id_is_forgotten_and_removed(store, tmp_path):
    put_segment(store, [prediction("a"), prediction("b")])
    store.put_if_absent(opening.SERVING, SERVING)
    assert found(store.uri) == 2
    assert opening.places(store) == [("hotel-tips", "")], "forgetting finds it"
    tombstones.remember_to_forget(store, "id", ["a"], "2026-11-04")
    assert found(store.uri) == 1
    name = identity.make_id(store)
    assert found(store.uri) == 1
    kept = {path.name[:32] for path in (tmp_path / "cache/index").glob("*.sqlite")}
    assert kept == {name}, "the file by the store's address is gone"


def test_the_embedded_index_is_its_users_alone(tmp_path):
    for _ in range(2):
        index = SqliteIndex(tmp_path, "name")
        with index._writing() as file:
            file.execute("INSERT OR IGNORE INTO segments VALUES ('x')")
        files = sorted(tmp_path.glob("name-*"))
        assert {path.suffix for path in files} >= {".sqlite", ".sqlite-wal", ".sqlite-shm"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files if "lock" not in path.name} == {0o600}
        index.close()
        for path in tmp_path.glob("name-*"):
            path.chmod(0o644)  # as an earlier version left it


@pytest.mark.parametrize("other", ["made anew", "same"])
def test_a_store_without_an_id_is_told_from_one_made_anew_at_its_address(store, other):
    store.put_if_absent(identity.FIRST_NIGHT, b"a")
    before = identity.stand_in(store)
    if other == "made anew":
        store.delete(identity.FIRST_NIGHT)
        store.put_if_absent(identity.FIRST_NIGHT, b"another")
    assert (identity.stand_in(store) == before) == (other == "same")
