"""Hashes that see every change of an artifact, and records that can be trusted."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import BadArtifact
from understudy.runtime import provenance
from understudy.store import hashing

NAMES = st.text("abc./", min_size=1, max_size=6).map(lambda name: name.strip("./").replace("//", "/")).filter(bool)
TREES = st.dictionaries(NAMES.filter(lambda name: ".." not in name), st.binary(max_size=8), max_size=4)


def write_tree(folder, files):
    """Write files; False when two names can't stand side by side (a file and a folder of one name)."""
    try:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return False
    return len([path for path in folder.rglob("*") if path.is_file()]) == len(files)


@given(first=TREES, second=TREES)
def test_two_folders_hash_alike_only_when_names_and_bytes_are_alike(tmp_path_factory, first, second):
    left, right = tmp_path_factory.mktemp("left"), tmp_path_factory.mktemp("right")
    if write_tree(left, first) and write_tree(right, second):
        assert (hashing.hash_tree(left) == hashing.hash_tree(right)) == (first == second)


def test_provenance_itself_does_not_count(tmp_path):
    (tmp_path / "data.txt").write_text("abc")
    before = hashing.hash_tree(tmp_path)
    provenance.write(tmp_path, {"step": "toy"})
    (tmp_path / "page.provenance.json").write_text("{}")
    assert hashing.hash_tree(tmp_path) == before
    (tmp_path / "myprovenance.json").write_text("a file of the user's")
    assert hashing.hash_tree(tmp_path) != before


def test_a_single_file_hashes_as_its_bytes(tmp_path):
    (tmp_path / "a.html").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, the example "abc"
    assert hashing.hash_tree(tmp_path / "a.html") == expected


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", b"\xff"])
def test_a_record_that_cannot_be_read_is_refused_with_its_place(tmp_path, content):
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / provenance.FILE).write_bytes(data)
    with pytest.raises(BadArtifact, match=str(tmp_path)):
        provenance.read(tmp_path)


def test_a_folder_of_runs_names_the_artifacts_inside(tmp_path):
    for folder in ("run/ingest/gold", "run/train/student"):
        (tmp_path / folder).mkdir(parents=True)
        provenance.write(tmp_path / folder, {"step": "x"})
    (tmp_path / "run" / "evaluate").mkdir()
    (tmp_path / "run" / "evaluate" / "page.html").touch()
    provenance.write(tmp_path / "run" / "evaluate" / "page.html", {"step": "x"})
    with pytest.raises(BadArtifact, match=r"inside: evaluate/page\.html, ingest/gold, train/student\.$"):
        provenance.read(tmp_path / "run")
    with pytest.raises(BadArtifact, match=r"inside: gold\.$"):
        provenance.read(tmp_path / "run" / "ingest")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadArtifact, match=r"Give the folder that a step wrote"):
        provenance.read(tmp_path / "empty")


def test_records_are_written_with_sorted_keys_and_never_hold_nan(tmp_path):
    provenance.write(tmp_path, {"step": "toy", "arguments": {"b": 1, "a": "ä"}})
    text = (tmp_path / provenance.FILE).read_text(encoding="utf-8")
    assert json.loads(text) == {"step": "toy", "arguments": {"a": "ä", "b": 1}}
    assert text.index('"arguments"') < text.index('"step"')
    with pytest.raises(ValueError, match="JSON"):
        provenance.write(tmp_path, {"step": "toy", "value": float("inf")})


def test_the_records_of_a_folder_of_artifacts_are_found(tmp_path):
    (tmp_path / "bundle").mkdir()
    provenance.write(tmp_path / "bundle", {"step": "calibrate"})
    (tmp_path / "page").write_text("html")
    provenance.write(tmp_path / "page", {"step": "evaluate"})
    (tmp_path / "other").mkdir()
    assert [provenance.read_file(file)["step"] for file in provenance.files_in(tmp_path)] == ["calibrate", "evaluate"]


def test_card_and_settings_of_the_run_are_recorded(tmp_path, card_text):
    from dataclasses import asdict

    from understudy.runtime.shell import Result
    from understudy.task.card import parse_card

    (tmp_path / "card.yaml").write_text(card_text)
    places = {"card": tmp_path}
    opened = provenance.opening("calibrate", places, {"overrides": "calibrate.min_per_label=7\ntrain.seed=1"})
    record = provenance.closing(opened, places, {"card": "x"}, asdict(Result()), 0.0)

    assert record["card_hash"] == parse_card(card_text).hash
    assert record["settings"]["min_per_label"] == 7
    assert "seed" not in record["settings"]
    assert record["started"] == "1970-01-01T00:00:00Z"


def opened(**parameters):
    return provenance.opening("ingest", {}, {name: str(value) for name, value in parameters.items()})["sources"]


def test_of_a_folder_no_more_is_hashed_than_the_step_reads(tmp_path, card_text):
    """A home folder that is named by mistake is not read whole before the step looks at it."""
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    with (home / "deep" / "film.mp4").open("wb") as film:
        film.truncate(1 << 40)  # a terabyte of nothing: hours to hash
    started = time.process_time()
    assert opened(card=home, texts=home, labels=home) == {"card": None, "texts": None, "labels": None}
    (home / "card.yaml").write_text(card_text)
    (home / "a.csv").write_text("id,text\n1,x\n")
    before = opened(card=home, texts=home)
    assert None not in before.values()
    assert time.process_time() - started < 5
    (home / "deep" / "b.csv").write_text("id,text\n2,y\n")
    after = opened(card=home, texts=home)
    assert (after["card"], after["texts"]) == (before["card"], opened(answers=home)["answers"])
    assert after["texts"] != before["texts"]


def test_what_never_ends_is_not_hashed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    sources = opened(card="/dev/zero", texts=tmp_path / "pipe", labels=tmp_path / "loop")
    assert sources == {"card": None, "texts": None, "labels": None}
