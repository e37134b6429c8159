"""What forgetting takes out of segments is counted in their shard's record, once; what others altered never is."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.nights import prediction, put_segment
from understudy.errors import StorageError
from understudy.privacy import erasure
from understudy.store import layout
from understudy.store.folder import FolderStore

TODAY = "2026-11-04"
ROWS = [  # of two segments
    [
        prediction("jane", "My name is Jane.", group="g"),
        prediction("john", "My name is John.", label="other", probability=0.25),
        prediction("one", label="other", probability=0.1, stage="first", time="last May"),
    ],
    [prediction("jill", "And mine is Jill.", group="g", label="other", probability=0.2, stage="first", time=None)],
]
COUNTS = {"rows": 4, "positives": 1, "settled": 2, "checked": 2, "missed": 1, "unread_times": 1}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def labelled(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """Fill a store with a shard of two segments that is whole."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    keys = [put_segment(store, rows, number) for number, rows in enumerate(ROWS)]
    parts = [
        {"key": key, "rows": len(rows), "sha256": hash_of(store, key)} for key, rows in zip(keys, ROWS, strict=True)
    ]
    said = {"format": 1, "segments": parts, "refused": {"empty_text": 2}, **COUNTS}
    store.put_if_absent(record_key(store), json.dumps(said).encode())
    return store


def hash_of(store: FolderStore, key: str) -> str:
    return hashlib.sha256(store.read(key)).hexdigest()


def record_key(store: FolderStore) -> str:
    return layout.SHARD_RECORDS.key_from(layout.SEGMENTS, segments_of(store)[0])


def segments_of(store: FolderStore) -> list[str]:
    return [key for key, _ in layout.SEGMENTS.listed(store)]


def record_of(store: FolderStore) -> dict[str, Any]:
    return json.loads(store.read(record_key(store)))


def counts_of(store: FolderStore) -> dict[str, int]:
    return {name: record_of(store)[name] for name in COUNTS}


def ids(store: FolderStore, number: int) -> list[str]:
    return pl.read_parquet(store.read(segments_of(store)[number]))["id"].to_list()


def require_whole(store: FolderStore) -> None:
    """Check that the record says what its segments hold, and has nothing under way."""
    record = record_of(store)
    assert [(part["sha256"], part["rows"], part.get("rewrites")) for part in record["segments"]] == [
        (hash_of(store, key), len(ids(store, number)), None) for number, key in enumerate(segments_of(store))
    ]
    assert record["rows"] + sum(record["refused"].values()) == 6


def cut_by_others(store: FolderStore, number: int = 0) -> None:
    """Let others take the last row of a segment away."""
    path = store.root / segments_of(store)[number]
    pl.read_parquet(path).head(-1).write_parquet(path)


def test_a_record_counts_again_what_is_left(labelled):
    erasure.forget(labelled, ["jane", "one"], [], TODAY)
    assert counts_of(labelled) == {
        "rows": 2,
        "positives": 0,
        "settled": 1,
        "checked": 1,
        "missed": 1,
        "unread_times": 0,
    }
    assert record_of(labelled)["refused"] == {"empty_text": 2, "forgotten": 2}
    require_whole(labelled)


def test_no_count_of_a_record_is_more_than_its_rows_or_less_than_none(labelled):
    erasure.forget(labelled, ["jane", "john", "one"], ["g"], TODAY)
    assert counts_of(labelled) == dict.fromkeys(COUNTS, 0)
    assert record_of(labelled)["refused"] == {"empty_text": 2, "forgotten": 4}


def test_a_segment_that_others_altered_is_told_and_not_counted_as_forgotten(labelled):
    cut_by_others(labelled)
    before = record_of(labelled)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"got 1 other \(.*00-00000\.parquet\)\. All else has forgotten"):
            erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["john"]
    assert record_of(labelled) == before


def test_an_altered_segment_keeps_nobody_from_counting_another(labelled):
    cut_by_others(labelled)
    with pytest.raises(StorageError, match="got 1 other"):
        erasure.forget(labelled, ["jill"], [], TODAY)
    assert (counts_of(labelled)["rows"], record_of(labelled)["refused"]["forgotten"]) == (3, 1)


def test_who_restores_an_altered_segment_ends_the_error(labelled):
    whole = labelled.read(segments_of(labelled)[0])
    cut_by_others(labelled)
    with pytest.raises(StorageError, match="got 1 other"):
        erasure.forget(labelled, ["jane"], [], TODAY)
    (labelled.root / segments_of(labelled)[0]).write_bytes(whole)
    erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["john", "one"]
    require_whole(labelled)


def kill_at(monkeypatch: pytest.MonkeyPatch, place: str, store: FolderStore, *names: str) -> None:
    """Forget, and die: before a segment is written anew, right after, or before any of it is counted."""
    swap = FolderStore.compare_and_swap

    def hooked(to: FolderStore, key: str, data: bytes, tag: str | None) -> bool:
        if layout.SEGMENTS.fields(key) is None:
            return swap(to, key, data, tag)
        if place == "before":
            raise Killed
        swap(to, key, data, tag)
        raise Killed

    def killed(_: FolderStore) -> list[str]:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if place == "uncounted":
            patch.setitem(erasure.AFTER_ROWS, layout.SHARD_RECORDS, killed)
        else:
            patch.setattr(FolderStore, "compare_and_swap", hooked)
        erasure.forget(store, names, [], TODAY)


@pytest.mark.parametrize("place", ["before", "after", "uncounted"])
@pytest.mark.parametrize("then", [("jane", "jill"), ("john",)])
def test_whoever_forgets_after_a_kill_counts_what_went_before_it_once(labelled, monkeypatch, place, then):
    kill_at(monkeypatch, place, labelled, "jane", "jill")
    erasure.forget(labelled, then, [], TODAY)
    erasure.forget(labelled, ["jane", "jill"], [], TODAY)
    left = ["one"] if then == ("john",) else ["john", "one"]
    assert (ids(labelled, 0), ids(labelled, 1)) == (left, [])
    assert counts_of(labelled)["rows"] == len(left)
    assert counts_of(labelled)["positives"] == 0
    require_whole(labelled)


def test_of_two_who_forget_at_once_each_is_counted(labelled, monkeypatch):
    swap, seen = FolderStore.compare_and_swap, []

    def hooked(to: FolderStore, key: str, data: bytes, tag: str | None) -> bool:
        if layout.SEGMENTS.fields(key) is not None and not seen:
            seen.append(key)
            erasure.forget(labelled, ["john"], [], TODAY)
        return swap(to, key, data, tag)

    monkeypatch.setattr(FolderStore, "compare_and_swap", hooked)
    erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["one"]
    assert record_of(labelled)["refused"]["forgotten"] == 2
    require_whole(labelled)
