"""What forgetting takes out of segments is counted in their shard's record, once; what others altered never is."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.night_desk import make_desk, texts
from tests.nights import prediction, put_segment
from understudy.errors import StorageError
from understudy.privacy import erasure, shard_records
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
COUNTS = {"rows": 4, "labels": {"tip": 1, "other": 3}, "settled": 2, "checked": 2, "missed": 1, "unread_times": 1}


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
        "labels": {"tip": 0, "other": 2},
        "settled": 1,
        "checked": 1,
        "missed": 1,
        "unread_times": 0,
    }
    assert record_of(labelled)["refused"] == {"empty_text": 2, "forgotten": 2}
    require_whole(labelled)


def test_a_record_of_sentences_counts_again_the_rows_of_the_source(store, tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    names = ["a#1", "a#2", "b#1", "b#1", "b#2", "c#1"]
    key = put_segment(
        store, [prediction(name, f"Said in {place}.", start=0, end=9) for place, name in enumerate(names)]
    )
    said = {"rows": 6, "source_rows": 4, "labels": {"tip": 6}, "refused": {"empty_text": 2}}
    part = {"key": key, "rows": 6, "sha256": hash_of(store, key)}
    store.put_if_absent(record_key(store), json.dumps({**said, "format": 1, "segments": [part]}).encode())
    store.put_if_absent("manifests/date=2026-11-03/00.json", b'{"language": "en"}')
    left = []
    for name in ("a#2", "b#2", "c", "b"):
        erasure.forget(store, [name], [], TODAY)
        record = record_of(store)
        assert record["source_rows"] + sum(record["refused"].values()) == 6
        left.append((record["rows"], record["source_rows"], record["refused"].get("forgotten", 0)))
    assert left == [(5, 4, 0), (4, 4, 0), (3, 3, 1), (1, 1, 3)]


def test_no_count_of_a_record_is_more_than_its_rows_or_less_than_none(labelled):
    erasure.forget(labelled, ["jane", "john", "one"], ["g"], TODAY)
    assert counts_of(labelled) == dict.fromkeys(COUNTS, 0) | {"labels": {"tip": 0, "other": 0}}
    assert record_of(labelled)["refused"] == {"empty_text": 2, "forgotten": 4}


def test_a_segment_that_others_altered_is_told_and_not_counted_as_forgotten(labelled):
    cut_by_others(labelled)
    before = record_of(labelled)
    for _ in range(2):
        with pytest.raises(
            StorageError, match=r"got 1 other \(.*00-00000\.parquet\)\. A night .*again\.\nAll else has forgotten\."
        ):
            erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["john"]
    assert record_of(labelled) == before


def test_an_altered_segment_keeps_nobody_from_counting_another(labelled):
    cut_by_others(labelled)
    with pytest.raises(StorageError, match="got 1 other"):
        erasure.forget(labelled, ["jill"], [], TODAY)
    assert (counts_of(labelled)["rows"], record_of(labelled)["refused"]["forgotten"]) == (3, 1)


@pytest.mark.parametrize("damage", ["null", "column", "record"])
def test_what_cannot_be_counted_is_erased_all_the_same_and_told_at_the_end(labelled, damage):
    path = labelled.root / segments_of(labelled)[0]
    table = pl.read_parquet(path)
    if damage == "null":
        table = table.with_columns(text=pl.when(pl.col("id") == "john").then(None).otherwise("text"))
    table.drop("windows" if damage == "column" else []).write_parquet(path)
    if damage == "record":
        (labelled.root / record_key(labelled)).write_bytes(b"rubbish")
    with pytest.raises(StorageError, match=r"\nAll else has forgotten\."):
        erasure.forget(labelled, ["jane", "jill"], [], TODAY)
    assert (ids(labelled, 0), ids(labelled, 1)) == (["john", "one"], [])


def test_a_segment_without_a_record_is_erased_whatever_else_it_holds(labelled):
    labelled.delete(record_key(labelled))
    path = labelled.root / segments_of(labelled)[0]
    pl.read_parquet(path).drop("windows").write_parquet(path)
    erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["john", "one"]


def test_another_who_forgets_while_the_segments_are_looked_at_is_no_fault(labelled, monkeypatch):
    lying, done = shard_records._lying, []

    def hooked(*given):
        if not done:
            done.append(1)
            erasure.forget(labelled, ["john"], [], TODAY)
        return lying(*given)

    monkeypatch.setattr(shard_records, "_lying", hooked)
    erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["one"]
    require_whole(labelled)


def test_a_shard_that_becomes_whole_meanwhile_is_left_to_its_worker(labelled, monkeypatch):
    record = labelled.read(record_key(labelled))
    labelled.delete(record_key(labelled))
    erase = erasure.erase

    def hooked(store, key, wanted):
        rows = erase(store, key, wanted)
        if key == segments_of(labelled)[-1]:
            store.put_if_absent(record_key(labelled), record)  # of a worker that has read the segments before
        return rows

    monkeypatch.setattr(erasure, "erase", hooked)
    erasure.forget(labelled, ["jane"], [], TODAY)
    assert ids(labelled, 0) == ["john", "one"]
    assert record_of(labelled)["rows"] == 4


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

    def killed(*_: object) -> list[str]:
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
    assert counts_of(labelled)["labels"]["tip"] == 0
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


def test_a_segment_is_counted_as_the_step_counts_that_wrote_it(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    desk = make_desk(tmp_path)
    rows = [("id", "text", "time"), *((name, text, "last May") for name, text in texts(0, 40))]
    desk.source.mkdir(exist_ok=True)
    (desk.source / "a.csv").write_text("\n".join(f'{name},"{text}",{time}' for name, text, time in rows))
    desk.night("2026-11-01", overrides="infer.texts_per_segment=7")
    record = desk.record("2026-11-01")
    counted = [shard_records._counted(desk.store.read(part["key"]), part["key"]) for part in record["segments"]]
    assert len(counted) > 1
    for name in ("rows", "settled", "unread_times"):
        assert sum(part.numbers[name] for part in counted) == record[name]
    assert sum((part.labels for part in counted), start=Counter()) == record["labels"]
    assert min(record["labels"]["tip"], record["unread_times"]) > 0
