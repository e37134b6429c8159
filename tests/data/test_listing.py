"""What lies beside the data is named, wherever data are listed: a folder, a prefix, texts, labels, answers, nights."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.night_desk import make_desk, texts
from understudy.cli.main import app
from understudy.data import listing
from understudy.data.sources import opened
from understudy.errors import BadData
from understudy.review import labels
from understudy.runtime.shell import execute
from understudy.store import manifests
from understudy.store.storage import open_store

NOBODY = 65534
BESIDE = ["part-00005", "part-1.docx", "part-2.txt"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))


def fill(folder, *names):
    for name in (*names, "_SUCCESS", ".hidden.csv", "_delta_log/0.json", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("id,text,label\n1,x,tip\n")
    return folder


def passed_over(address):
    with opened(str(address), ["id", "text"]) as source:
        return source.passed_over


def test_files_of_an_unknown_suffix_are_named_and_hidden_ones_are_not(tmp_path):
    fill(tmp_path, "a.csv", "deep/b.CSV", *BESIDE, "deep/c.json")
    assert passed_over(tmp_path) == ("deep/c.json", *BESIDE)
    assert passed_over(tmp_path / "a.csv") == ()


def test_a_prefix_is_listed_like_a_folder(tmp_path, s3_url):
    store = open_store(f"{s3_url}/listed")
    for name in ("a.csv", *BESIDE, "_SUCCESS", ".hidden.csv", "_delta_log/0.json", "deep/c.json"):
        store.put_if_absent(name, b"id,text\n1,x\n")
    assert passed_over(f"{s3_url}/listed") == ("deep/c.json", *BESIDE)
    store.delete("a.csv")
    with pytest.raises(BadData, match=r"got none but 4 files that are passed over \(deep/c.json, part-00005, part-1"):
        passed_over(f"{s3_url}/listed")


def test_a_folder_of_which_nothing_can_be_read_is_an_error_that_names_some(tmp_path):
    with pytest.raises(BadData, match=r"got none but 3 files that are passed over \(part-00005, part-1.docx, part-2"):
        passed_over(fill(tmp_path, *BESIDE))


def test_what_is_no_plain_file_is_named_and_neither_read_nor_waited_for(tmp_path):
    fill(tmp_path, "a.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "dangling.csv").symlink_to("nowhere.csv")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.csv").symlink_to("self.csv")
    assert passed_over(tmp_path) == ("dangling.csv", "loop", "pipe.csv", "self.csv")


def test_a_folder_that_cannot_be_looked_into_is_an_error():
    """Root may look into every folder, so nobody does."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        closed = fill(Path(folder), "a.csv", "closed/b.csv") / "closed"
        Path(folder).chmod(0o755)
        closed.chmod(0)
        os.seteuid(user or NOBODY)
        try:
            with pytest.raises(BadData, match="must be readable, with those in it, got Permission denied"):
                listing.in_folder(Path(folder), folder)
        finally:
            os.seteuid(user)
            closed.chmod(0o755)


def test_a_folder_of_more_files_than_can_be_read_is_refused_before_they_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "MOST_FILES", 30)
    fill(tmp_path, *(f"{number}.csv" for number in range(31)))
    with pytest.raises(BadData, match="must hold at most 30 files, got more"):
        passed_over(tmp_path)


def test_a_night_names_what_it_passes_over_in_its_manifest_and_on_its_line(tmp_path):
    desk = make_desk(tmp_path)
    desk.write("a.csv", texts(0, 5))
    fill(desk.source, *BESIDE)
    begun = desk.shard("2026-11-01")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    assert (manifest.texts, manifest.passed_over, manifest.passed_over_names) == (5, 3, tuple(BESIDE))
    assert begun.headline.endswith("; 3 files that are passed over (part-00005, part-1.docx, part-2.txt)")
    assert begun.metrics["passed_over"] == 3


def test_a_manifest_of_before_reads_as_one_that_passed_nothing_over(tmp_path):
    desk = make_desk(tmp_path)
    desk.write("a.csv", texts(0, 5))
    manifest = manifests.parse(manifests.as_bytes(desk.night("2026-11-01")), "")
    old = manifests.as_bytes(manifest).replace(b', "passed_over": 0, "passed_over_names": []', b"")
    assert b"passed_over" not in old
    assert manifests.parse(old, "") == manifest


def test_labelling_outside_of_a_night_names_them_too(tmp_path):
    desk = make_desk(tmp_path)
    desk.write("a.csv", texts(0, 5))
    fill(desk.source, *BESIDE)
    done = execute("infer", {"bundle": desk.bundle, "texts": str(desk.source), "predictions": tmp_path / "out"})
    assert done.headline.endswith("; 3 files that are passed over (part-00005, part-1.docx, part-2.txt)")


def test_a_time_that_cannot_be_read_is_counted_on_the_line(tmp_path):
    desk = make_desk(tmp_path)
    desk.source.mkdir()
    rows = ["1,a,1710000000000", "2,b,last May", "3,c,", "4,d,2026-11-01", "5,e,202411011200"]
    (desk.source / "a.csv").write_text("\n".join(["id,text,time", *rows]))
    desk.shard("2026-11-01")
    done = desk.infer("2026-11-01/00")
    assert done.metrics["unread_times"] == 2
    assert "2 times that cannot be read (the night's day stands for them)" in done.headline
    assert desk.record("2026-11-01")["unread_times"] == 2
    assert "2 times" in desk.infer("2026-11-01/00").headline  # from the record, when it is done already


def test_answers_beside_which_files_are_passed_over_say_so(store, tmp_path, card_text):
    store.put_if_absent("cards/hotel-tips/abc.yaml", card_text.encode())
    folder = fill(tmp_path / "answers", "a.csv", *BESIDE)
    assert labels.add(store, str(folder)).passed_over == tuple(BESIDE)
    done = CliRunner().invoke(app, ["labels", "add", "--store", store.uri, str(folder)], catch_exceptions=False)
    assert "labels: 3 files that are passed over (part-00005, part-1.docx, part-2.txt).\n" in done.output


def test_a_wide_tree_is_listed_in_time(tmp_path):
    for folder in range(200):
        (tmp_path / f"{folder:03d}").mkdir()
        for name in range(20):
            (tmp_path / f"{folder:03d}" / f"{name:02d}.csv").touch()
    started = time.process_time()
    found = listing.in_folder(tmp_path, "")
    assert time.process_time() - started < 5
    assert [name for name, _ in found.files] == sorted(name for name, _ in found.files)
    assert len(found.files) == 4000
