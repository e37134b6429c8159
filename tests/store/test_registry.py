import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.bundles import make_bundle
from understudy.errors import BadArtifact, BadInput, Conflict
from understudy.model.scoring import Bundle
from understudy.store import registry
from understudy.store.storage import Store, open_store

PAPERS = {"report.html": b"<p>worth it</p>", "evaluation.json": b"{}", "MODEL_CARD.md": b"# a student\n"}
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["folder", "s3"])
def uri(request, tmp_path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('s3_url')}/{tmp_path.name}"


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(str(tmp_path / "store"))


def student(folder: Path, number: int, **settings) -> Path:
    return make_bundle(folder / f"student-{number}", bias=float(-number), **settings)


def version_of(bundle: Path) -> str:
    return json.loads((bundle / "bundle.json").read_text())["version"]


def assert_whole(store: Store, version: str) -> None:
    published = registry.read_version(store, version)
    for name, digest in published.files.items():
        assert registry.hashlib.sha256(store.read(f"bundles/{version}/{name}")).hexdigest() == digest


def test_a_published_bundle_can_be_fetched_and_scores(tmp_path, uri):
    store = open_store(uri)
    current = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    folder = registry.fetch_bundle(store, cache=tmp_path / "cache")
    assert Bundle.open(folder).version == current.version
    assert store.read(current.report) == PAPERS["report.html"]


def test_current_says_what_serves(tmp_path, store):
    bundle = student(tmp_path, 1, name="hotel-tips")
    registry.publish_bundle(store, bundle, PAPERS)
    found = json.loads(store.read("current.json"))
    assert found.pop("published").endswith("Z")
    assert len(found.pop("card_hash")) == 64
    assert found.pop("report").endswith("/report.html")
    assert found == {
        "version": version_of(bundle),
        "previous": None,
        "generation": 1,
        "card": "hotel-tips",
        "is_rehearsal": True,
        "is_forced": False,
    }


def test_publishing_the_same_version_again_changes_nothing(tmp_path, uri):
    store = open_store(uri)
    bundle = student(tmp_path, 1)
    first = registry.publish_bundle(store, bundle, PAPERS)
    before = {key: store.read(key) for key in store.list()}
    assert registry.publish_bundle(store, bundle, {**PAPERS, "report.html": b"another evaluation"}) == first
    assert {key: store.read(key) for key in store.list()} == before


def test_the_generation_rises_and_the_version_before_is_kept(tmp_path, store):
    one, two = (registry.publish_bundle(store, student(tmp_path, number), PAPERS) for number in (1, 2))
    assert (two.generation, two.previous) == (2, one.version)
    assert registry.list_versions(store) == sorted([one.version, two.version])
    assert registry.read_history(store) == [one, two]


def test_a_rollback_is_a_new_generation_of_the_version_before(tmp_path, uri):
    store = open_store(uri)
    one, two = (registry.publish_bundle(store, student(tmp_path, number), PAPERS) for number in (1, 2))
    back = registry.rollback(store)
    assert (back.version, back.generation, back.previous) == (one.version, 3, None)
    assert registry.read_current(store) == back
    assert back.report == one.report
    assert [state.version for state in registry.read_history(store)] == [one.version, two.version, one.version]


def test_rollbacks_one_after_another_go_ever_further_back(tmp_path, store):
    one, two, three = (registry.publish_bundle(store, student(tmp_path, number), PAPERS) for number in (1, 2, 3))
    registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    assert [registry.rollback(store).version for _ in range(3)] == [three.version, two.version, one.version]
    with pytest.raises(BadInput, match=r"needs a version before .* got none"):
        registry.rollback(store)


def test_a_rollback_goes_to_the_version_that_is_named(tmp_path, store):
    one, _, three = (registry.publish_bundle(store, student(tmp_path, number), PAPERS) for number in (1, 2, 3))
    assert registry.rollback(store, to=one.version).version == one.version
    assert registry.rollback(store, to=three.version).version == three.version


def test_a_rollback_that_cannot_be_is_refused(tmp_path, store):
    with pytest.raises(BadInput, match="must hold a published bundle, got none"):
        registry.rollback(store)
    one = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    with pytest.raises(BadInput, match=rf"There are: {one.version}\."):
        registry.rollback(store, to="hotel-tips-nothing")
    with pytest.raises(BadInput, match="which serves"):
        registry.rollback(store, to=one.version)
    with pytest.raises(BadInput, match=r"made of a-z"):
        registry.rollback(store, to="../../etc")
    assert registry.read_current(store) == one


def test_a_rollback_gives_way_to_a_publisher_that_moved_the_pointer_meanwhile(tmp_path, store, monkeypatch):
    for number in (1, 2):
        registry.publish_bundle(store, student(tmp_path, number), PAPERS)
    swap = type(store).compare_and_swap

    def somebody_else_first(self, key, data, tag):
        monkeypatch.setattr(type(store), "compare_and_swap", swap)
        registry.publish_bundle(store, student(tmp_path, 3), PAPERS)
        return swap(self, key, data, tag)

    monkeypatch.setattr(type(store), "compare_and_swap", somebody_else_first)
    with pytest.raises(Conflict, match="must start from the version that serves"):
        registry.rollback(store)
    assert registry.require_current(store).version == version_of(student(tmp_path, 3))


def test_a_bundle_of_another_card_is_refused(tmp_path, store):
    registry.publish_bundle(store, student(tmp_path, 1, name="hotel-tips"), PAPERS)
    with pytest.raises(BadInput, match="must serve one card, got 'dialogue-acts' where 'hotel-tips' serves"):
        registry.publish_bundle(store, student(tmp_path, 2, name="dialogue-acts"), PAPERS)
    assert len(registry.list_versions(store)) == 1


def test_a_rehearsal_replaces_bought_answers_only_by_force(tmp_path, store):
    bought = registry.publish_bundle(store, student(tmp_path, 1, is_rehearsal=False), PAPERS)
    rehearsal = student(tmp_path, 2, is_rehearsal=True)
    with pytest.raises(BadInput, match="rehearsal must not replace"):
        registry.publish_bundle(store, rehearsal, PAPERS)
    forced = registry.publish_bundle(store, rehearsal, PAPERS, is_forced=True)
    assert (forced.is_rehearsal, forced.is_forced, forced.previous) == (True, True, bought.version)


def test_a_rollback_to_a_rehearsal_must_be_named(tmp_path, store):
    rehearsal = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    registry.publish_bundle(store, student(tmp_path, 2, is_rehearsal=False), PAPERS)
    with pytest.raises(BadInput, match=f"--to {rehearsal.version}"):
        registry.rollback(store)
    assert registry.rollback(store, to=rehearsal.version).is_rehearsal


def test_an_altered_bundle_is_not_published(tmp_path, store):
    bundle = student(tmp_path, 1)
    (bundle / "model.onnx").write_bytes(b"another model")
    with pytest.raises(BadArtifact, match=r"must have the hash .*model\.onnx"):
        registry.publish_bundle(store, bundle, PAPERS)
    assert store.list() == []


def test_a_version_never_changes_its_content(tmp_path, store):
    bundle = student(tmp_path, 1)
    registry.publish_bundle(store, bundle, PAPERS)
    (manifest,) = (key for key in store.list("bundles/") if key.endswith("/manifest.json"))
    other = json.loads(store.read(manifest))
    other["files"]["model.onnx"] = "0" * 64
    store.delete(manifest)
    store.put_if_absent(manifest, json.dumps(other).encode())
    with pytest.raises(BadArtifact, match="must keep its content"):
        registry.publish_bundle(store, bundle, PAPERS)


def test_a_damaged_pointer_is_named(store):
    store.put_if_absent("current.json", b'{"version": "hotel-tips-1"}')
    with pytest.raises(BadArtifact, match=r"generation: Field required.*current\.json"):
        registry.read_current(store)


def test_a_cached_bundle_is_fetched_once_and_again_when_it_was_altered(tmp_path, store):
    registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    folder = registry.fetch_bundle(store, cache=tmp_path / "cache")
    fetched = (folder / "model.onnx").stat().st_ino
    assert registry.fetch_bundle(store, cache=tmp_path / "cache") == folder
    assert (folder / "model.onnx").stat().st_ino == fetched
    (folder / "model.onnx").write_bytes(b"altered")
    assert Bundle.open(registry.fetch_bundle(store, cache=tmp_path / "cache")).space.names == ("other", "tip")


def test_a_bundle_that_was_altered_in_the_store_is_not_served(tmp_path, store):
    current = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    (tmp_path / "store" / "bundles" / current.version / "model.onnx").write_bytes(b"altered")
    with pytest.raises(BadArtifact, match=r"must have the hash"):
        registry.fetch_bundle(store, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / current.version).exists()


def test_a_manifest_cannot_name_a_file_outside_the_cache(tmp_path, store):
    current = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    path = tmp_path / "store" / "bundles" / current.version / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "files": {"../../../outside": "0" * 64}}))
    with pytest.raises(BadArtifact, match="no name of its kind"):
        registry.fetch_bundle(store, cache=tmp_path / "cache")


def test_bundles_are_cached_where_the_environment_says(tmp_path, store, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    current = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    assert registry.fetch_bundle(store) == tmp_path / "cache" / "bundles" / current.version


def test_a_publisher_killed_before_any_write_leaves_nothing_half_published(tmp_path):
    """The publisher kills itself before its nth write, for every n, until it lives through all of them."""
    old, new = student(tmp_path, 1), student(tmp_path, 2)
    for is_first in (True, False):
        for writes in range(1, 40):
            store = open_store(str(tmp_path / f"store-{is_first}-{writes}"))
            if not is_first:
                registry.publish_bundle(store, old, PAPERS)
            survived = in_process(publish_and_die, store.uri, new, writes) == 0
            assert_nothing_half_published(store, old, new)
            current = registry.publish_bundle(store, new, PAPERS)
            assert (current.version, current.generation) == (version_of(new), 2 - is_first)
            assert registry.read_history(store)[-1] == current
            assert len(store.list("history/")) == current.generation
            if survived:
                break
        assert writes > 8  # three files, settings, three papers, manifest, pointer at least


def test_a_publisher_killed_at_any_moment_leaves_nothing_half_published(tmp_path, uri):
    old, new = student(tmp_path, 1), student(tmp_path, 2)
    moments = random.Random(7)  # noqa: S311 - when to kill, not a secret
    papers = {**PAPERS, "figures.bin": bytes(20_000_000)}  # big enough to be killed in the middle of
    for attempt in range(6):
        store = open_store(f"{uri}/{attempt}")
        registry.publish_bundle(store, old, PAPERS)
        publisher = FORK.Process(target=publish_at, args=(store.uri, new, 0.0, papers))
        publisher.start()
        time.sleep(moments.uniform(0.0, 0.3))
        os.kill(publisher.pid, signal.SIGKILL)
        publisher.join()
        assert_nothing_half_published(store, old, new)
        assert registry.publish_bundle(store, new, PAPERS).version == version_of(new)


def test_publishers_at_once_never_lose_one_another(tmp_path, uri):
    students = [student(tmp_path, number) for number in range(1, 5)]
    together = time.time() + 0.3
    publishers = [FORK.Process(target=publish_at, args=(uri, bundle, together)) for bundle in students]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    assert [publisher.exitcode for publisher in publishers] == [0] * 4
    store = open_store(uri)
    versions = sorted(map(version_of, students))
    history = registry.read_history(store)
    assert registry.list_versions(store) == versions == sorted(state.version for state in history)
    assert [state.generation for state in history] == [1, 2, 3, 4]
    assert [state.previous for state in history] == [None, *(state.version for state in history[:-1])]
    for version in versions:
        assert_whole(store, version)
    kept = [json.loads(store.read(key)) for key in store.list("history/")]
    assert kept == [asdict(state) for state in history]


def test_the_pointer_counts_every_change_of_many_publishers(tmp_path, uri):
    students = [student(tmp_path, number) for number in range(1, 7)]
    publishers = [FORK.Process(target=publish_in_turn, args=(uri, students[at : at + 2], 8)) for at in (0, 2, 4)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    assert [publisher.exitcode for publisher in publishers] == [0] * 3
    history = registry.read_history(open_store(uri))
    assert [state.generation for state in history] == list(range(1, 3 * 8 + 1))
    assert [state.previous for state in history] == [None, *(state.version for state in history[:-1])]


def test_a_publisher_that_comes_between_reading_and_swapping_is_not_lost(tmp_path, store, monkeypatch):
    read, reads = type(store).read_tagged, []

    def then_somebody_publishes(self, key):
        found = read(self, key)
        reads.append(key)
        if reads.count("current.json") == 2:  # the first is the check, the second the one that is swapped
            monkeypatch.setattr(type(store), "read_tagged", read)
            registry.publish_bundle(store, student(tmp_path, 2), PAPERS)
        return found

    monkeypatch.setattr(type(store), "read_tagged", then_somebody_publishes)
    current = registry.publish_bundle(store, student(tmp_path, 1), PAPERS)
    assert (current.generation, current.previous) == (2, version_of(student(tmp_path, 2)))
    assert len(registry.read_history(store)) == 2


def test_the_same_bundle_published_by_two_at_once_is_published_once(tmp_path, uri):
    bundle = student(tmp_path, 1)
    together = time.time() + 0.3
    publishers = [FORK.Process(target=publish_at, args=(uri, bundle, together)) for _ in range(3)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    assert [publisher.exitcode for publisher in publishers] == [0] * 3
    assert registry.require_current(open_store(uri)).generation == 1


def publish_at(uri: str, bundle: Path, moment: float, papers: dict[str, bytes] = PAPERS) -> None:
    store = open_store(uri)
    time.sleep(max(0.0, moment - time.time()))
    registry.publish_bundle(store, bundle, papers)


def publish_in_turn(uri: str, bundles: list[Path], times: int) -> None:
    """Publish one bundle after the other, again and again: each is a change, whoever else publishes."""
    store = open_store(uri)
    for turn in range(times):
        registry.publish_bundle(store, bundles[turn % len(bundles)], PAPERS)


def publish_and_die(uri: str, bundle: Path, writes: int) -> None:
    """Publish, and kill this process in the place of its nth write."""
    store = open_store(uri)
    left = [writes]

    def mortal(write):
        def call(*arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments)

        return call

    store.put_if_absent = mortal(store.put_if_absent)
    store.compare_and_swap = mortal(store.compare_and_swap)
    registry.publish_bundle(store, bundle, PAPERS)


def in_process(target, *arguments) -> int:
    process = FORK.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def assert_nothing_half_published(store: Store, old: Path, new: Path) -> None:
    """What serves is whole, and so is every version that the store lists."""
    current = registry.read_current(store)
    assert current is None or current.version in {version_of(old), version_of(new)}
    for version in registry.list_versions(store):
        assert_whole(store, version)
    assert current is None or current.version in registry.list_versions(store)
