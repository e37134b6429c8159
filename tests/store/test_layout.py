"""The store's layout: every key is of one family, and each family says what becomes of it."""

import importlib
from pathlib import Path
from string import Formatter

import pytest

import understudy
from tests.nights import prediction, put_segment
from understudy.privacy import erasure, retention
from understudy.privacy.objects import ERASERS, REPLACERS
from understudy.store import layout
from understudy.store.folder import FolderStore
from understudy.store.layout import FAMILIES, FIELDS, Erasure, Family, Stays
from understudy.task.card import Retention

DAY = "2026-11-01"
FIELD = {
    "day": DAY,
    "version": "hotel-tips-0a1b2c3d",
    "card": "hotel-tips",
    "run": "hotel-tips-20261101-020000-ab12",
    "hash": "0a" * 32,
    "training": "0a" * 8,
    "judge": "acme-teller-2-0a1b2c3d4e5f",
    "queue": "0a1b2c3d4e5f",
    "index": "Xr3k-_9",
    "shard": 7,
    "segment": 3,
    "number": 12,
    "name": "one",
    "path": "some/file-1",
}
OWN = {"pattern": "new/{day}/{name}.json", "what": "x", "owner": "store", "reader": "store.codecs.read_json"}


class NoIndex:
    """An index without documents."""

    def expire(self, oldest: str) -> int:
        return 0


def made(family: Family) -> str:
    names = [field for _, field, _, _ in Formatter().parse(family.pattern) if field]
    return family.key(**{name: FIELD[name] for name in names})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.pattern)
def test_a_familys_keys_are_its_own_and_no_others(family):
    key = made(family)
    assert layout.families_of(key) == [family]
    assert family.key(**family.fields(key)) == key
    assert key.startswith(family.folder)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.pattern)
def test_what_a_family_names_is_there(family):
    assert (Path(understudy.__path__[0]) / family.owner).is_dir()
    module, _, name = f"understudy.{family.reader}".rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_fields_of_patterns_are_all_defined():
    used = {field for family in FAMILIES for _, field, _, _ in Formatter().parse(family.pattern) if field}
    assert used == set(FIELDS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"retention": "texts_days"}, "must be a setting of the card"),
        ({"pattern": "new/{day}.json", "retention": "samples_days"}, "must have a folder a day"),
        ({"retention": Stays("")}, "must say why"),
        ({"erasure": Stays("")}, "must say why"),
    ],
)
def test_a_decision_that_cannot_be_kept_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        Family(**{**OWN, "retention": Stays("x"), "erasure": Stays("x"), **changes})


@pytest.mark.parametrize("decision", ["retention", "erasure"])
def test_a_family_without_a_decision_cannot_be_made(decision):
    with pytest.raises(TypeError, match=decision):
        Family(**OWN, **{name: Stays("x") for name in ("retention", "erasure") if name != decision})


def test_every_family_that_a_text_leaves_is_one_that_forgetting_handles():
    leaving = {family for family in FAMILIES if isinstance(family.erasure, Erasure)}
    by_rows = {family for family in leaving if family.erasure in ERASERS}
    by_hand = [*erasure.BEFORE_ROWS, *erasure.AFTER_ROWS]
    assert set(by_hand) == leaving - by_rows
    assert len(set(by_hand)) == len(by_hand)
    assert {family.erasure for family in leaving} == {*Erasure}
    assert by_rows >= {*REPLACERS}


def test_families_in_one_folder_of_a_day_stay_as_long_as_each_other():
    days = {}
    for family in FAMILIES:
        if layout.DAYS in family.pattern:
            days.setdefault(family.pattern.partition(layout.DAYS)[0], set()).add(family.retention)
    assert {folder: len(settings) for folder, settings in days.items()} == dict.fromkeys(days, 1)


@pytest.mark.parametrize("setting", Retention.model_fields)
def test_a_setting_of_retention_removes_its_families_and_nothing_else(tmp_path, setting):
    store = FolderStore(tmp_path)
    for family in FAMILIES:
        store.put_if_absent(made(family), b"x")
    store.put_if_absent(layout.MANIFESTS.key(day="2026-11-05"), b"x")
    before = set(store.list())
    retention.expire(store, NoIndex(), Retention(**{setting: 2}))
    assert before - set(store.list()) == {made(family) for family in layout.retained_by(setting)} != set()


def test_what_an_older_release_left_in_a_nights_folder_goes_with_its_night(tmp_path):
    store = FolderStore(tmp_path)
    store.put_if_absent("refusals/date=2026-11-01/of-another-release.csv", b"x")
    store.put_if_absent(layout.MANIFESTS.key(day="2026-11-05"), b"x")
    retention.expire(store, NoIndex(), Retention(refusals_days=1))
    assert store.list() == [layout.MANIFESTS.key(day="2026-11-05")]


def test_a_key_of_no_family_loses_the_text_by_what_its_name_says(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store = FolderStore(tmp_path / "store")
    put_segment(store, [prediction("jane", "My name is Jane.")])
    store.put_if_absent("of-an-older-release/rows.jsonl", b'{"id": "jane"}\n{"id": "other"}\n')
    erasure.forget(store, ["jane"], [], "2026-11-04")
    assert store.read("of-an-older-release/rows.jsonl") == b'{"id": "other"}\n'


def test_a_family_lists_its_own_keys_with_the_fields_that_are_asked_for(tmp_path):
    store = FolderStore(tmp_path)
    for family in FAMILIES:
        store.put_if_absent(made(family), b"x")
    store.put_if_absent(layout.SEGMENTS.key(day=DAY, version="v2", shard=7, segment=3), b"x")
    for family in FAMILIES:
        assert (made(family), family.fields(made(family))) in family.listed(store)
    assert [fields["version"] for _, fields in layout.SEGMENTS.listed(store, day=DAY)] == [FIELD["version"], "v2"]
    assert [key for key, _ in layout.SEGMENTS.listed(store, version="v2", shard="07")] == [
        store.list("predictions/")[-1]
    ]
    assert layout.SEGMENTS.listed(store, shard="08") == []


def test_the_key_of_another_family_with_the_same_fields_needs_a_key_of_its_source():
    assert layout.SEGMENTS.key_from(layout.INDEXED, made(layout.INDEXED)) == made(layout.SEGMENTS)
    with pytest.raises(ValueError, match=r"must be one of the family predictions/.*got 'predictions/\.\./x'"):
        layout.DEAD_LETTERS.key_from(layout.SEGMENTS, "predictions/../x", index="i")


def test_a_file_that_no_family_keeps_has_no_key():
    with pytest.raises(ValueError, match=r"got 'queue\.xls'"):
        layout.file_key(layout.QUEUE, "queue.xls", card="hotel-tips", queue="q1")


def test_a_key_that_its_family_would_write_otherwise_is_of_no_family():
    assert layout.SEGMENTS.fields("predictions/date=2026-11-01/v-000000000001/00-00003.parquet")
    assert layout.SEGMENTS.fields("predictions/date=2026-11-01/v-000000000001/007-00003.parquet") is None
    assert layout.SHARD_RECORDS.fields("predictions/date=2026-11-01/v-000000000001/0100.json") is None


def test_families_that_lie_together_are_listed_as_the_store_was_at_one_moment(store, monkeypatch):
    training = {"card": "hotel-tips", "training": "0" * 16}
    keys = [family.key(**training, name="00000001") for family in (layout.CHECKPOINTS, layout.CHECKPOINT_TENSORS)]
    for key in keys:
        store.put_if_absent(key, b"")
    looks = []
    ours = store.list
    monkeypatch.setattr(type(store), "list", lambda _, prefix="": looks.append(prefix) or ours(prefix))
    found = layout.listed(store, (layout.CHECKPOINTS, layout.CHECKPOINT_TENSORS), **training)
    assert [key for key, _ in found] == keys
    assert len(looks) == 1
