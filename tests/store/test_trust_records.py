"""Records of a store that somebody damaged or wrote by hand: each is refused in one sentence, whatever is in it."""

import json
import string
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import make_bundle
from tests.night_desk import make_desk, texts
from tests.watched import TIPS
from understudy.errors import BadArtifact, UnderstudyError
from understudy.privacy import erasure
from understudy.review import labels, samples
from understudy.runtime import provenance, shell
from understudy.steps.ingest import splits
from understudy.steps.train import checkpoints
from understudy.steps.watch import nightly, testsets
from understudy.store import codecs, layout, manifests, registry, runs, segments, watch_records
from understudy.store.folder import FolderStore
from understudy.store.identity import STORE_ID
from understudy.store.names import require_name
from understudy.teacher.response_log import ResponseLog

DAY = "2026-11-01"
TRAINING = checkpoints.Training("hotel-tips", "0" * 16)
QUALITY_KEY = f"watch/quality/{DAY}-000080-0123456789ab.json"
DEEP = b"[" * 100_000
HARD = {
    "deep": DEEP + b"]" * 100_000,
    "deep mapping": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "open": DEEP,
    "digits": b'{"generation": ' + b"9" * 5_000 + b"}",
    "large integer": b'{"generation": 99999999999999999999}',
    "large float": b'{"generation": 1e999}',
    "NaN": b'{"generation": NaN}',
    "infinity": b'{"generation": -Infinity}',
    "half a pair": b'{"version": "\\ud800"}',
    "half a pair as a key": b'{"\\udc00": 1}',
    "key twice": b'{"version": "a", "version": "b"}',
    "latin-1": '{"version": "é"}'.encode("latin-1"),
    "utf-16": '{"version": "a"}'.encode("utf-16"),
    "nothing": b"",
    "NUL": b"\0" * 100,
    "a list": b"[1, 2]",
    "null": b"null",
    "a number": b"1",
    "a text": b'"version"',
    "cut": b'{"version": "a',
    "two": b"{}{}",
    "empty": b"{}",
    "wrong types": b'{"version": [], "step": 1, "segments": {}, "drawn": "1", "words": 3, "files": 1, "format": []}',
}
READERS = {
    "current.json": ("current.json", lambda store, key: registry.read_current(store)),
    "history": ("history/00000001.json", lambda store, key: registry.read_history(store)),
    "manifest of a version": (
        "bundles/hotel-tips-1/manifest.json",
        lambda store, key: registry.fetch_bundle(store, "hotel-tips-1"),
    ),
    "manifest of a night": (
        f"manifests/date={DAY}/manifest.json",
        lambda store, key: manifests.read_manifest(store, DAY),
    ),
    "newest night": ("manifests/order/00000001.json", lambda store, key: manifests.newest_manifest(store)),
    "started.json": ("runs/one/started.json", lambda store, key: runs.read_all(store)),
    "sample.json": (f"samples/{DAY}/sample.json", lambda store, key: samples.read_about(store, DAY)["drawn"]),
    "answers": (f"samples/{DAY}/answers-000001.jsonl", lambda store, key: samples.read_answers(store, DAY)),
    "sample.parquet": (f"samples/{DAY}/sample.parquet", lambda store, key: samples.read_sample(store, DAY)),
    "labels": ("labels/hotel-tips/000001-x.jsonl", lambda store, key: labels.read_all(store, "hotel-tips")),
    "splits": ("splits/hotel-tips/000001.jsonl", lambda store, key: splits.read(store, "hotel-tips")),
    "a shard's record": (
        "predictions/x/00.json",
        lambda store, key: segments.parse_record(store.read(key), store, key),
    ),
    "a night's series": (f"watch/date={DAY}/series.json", lambda store, key: watch_records.parse(store.read(key), key)),
    "a record of quality": (QUALITY_KEY, watch_records.read_quality),
    "a test set": (f"testsets/{DAY}/about.json", lambda store, key: testsets.read_all(store, "9999")),
    "checkpoint": (
        layout.CHECKPOINTS.key(**asdict(TRAINING), name="00000001"),
        lambda store, key: (
            store.put_if_absent(layout.CHECKPOINT_TENSORS.key_from(layout.CHECKPOINTS, key), b"")
            and checkpoints.read_latest(store, TRAINING)
        ),
    ),
    "segment": ("predictions/x/00-00000.parquet", lambda store, key: list(nightly.tables(store, [key], TIPS))),
    "provenance": ("a/provenance.json", lambda store, key: provenance.read_file(store.root / key)),
    "cards": ("cards/hotel-tips/a.yaml", lambda store, key: labels.card_labels(store, "hotel-tips")),
}
MAY_BE = {("answers", "nothing"), ("labels", "nothing"), ("splits", "nothing")}


@pytest.mark.parametrize("content", HARD)
@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_record_is_refused_in_one_sentence(tmp_path, reader, content):
    store, (key, read) = FolderStore(tmp_path / "store"), READERS[reader]
    store.put_if_absent(key, HARD[content])
    if reader == "history":
        store.delete("current.json")
    if (reader, content) in MAY_BE:
        return
    with pytest.raises(UnderstudyError) as refused:
        read(store, key)
    assert len(str(refused.value)) < 1500
    assert "got" in str(refused.value)


def test_a_record_of_a_hundred_megabytes_is_refused_before_it_is_parsed(tmp_path):
    store = FolderStore(tmp_path / "store")
    store.put_if_absent("current.json", b"[" + b"1," * (50 << 20) + b"1]")
    with pytest.raises(BadArtifact, match="at most 16,777,216 bytes"):
        registry.read_current(store)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store that has published, begun a night and labelled it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
    desk = make_desk(tmp_path_factory.mktemp("desk"))
    desk.write("a.csv", texts(0, 6))
    desk.night(DAY)
    yield desk
    patch.undo()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_stands_at_one_place_of_a_record_is_read_or_refused(whole, data):
    store, manifest = whole.store, manifests.read_manifest(whole.store, DAY)
    shard = manifests.shard_key(manifest, 0)
    readers = {
        "current.json": registry._current_of,
        manifests.manifest_key(DAY): manifests.parse,
        shard: lambda content, where: segments.parse_record(content, store, shard),
        f"bundles/{manifest.bundle}/bundle.json": registry.parse_settings,
        f"bundles/{manifest.bundle}/manifest.json": lambda content, where: codecs.read_as(
            registry.PublishedVersion, content, where
        ),
    }
    key = data.draw(st.sampled_from(sorted(readers)))
    content = json.loads(store.read(key))
    place = content
    while isinstance(place, (dict, list)) and place:
        holder, name = (
            place,
            data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))),
        )
        place = holder[name]
        if data.draw(st.booleans()):
            break
    holder[name] = data.draw(ANYTHING)
    try:
        readers[key](json.dumps(content).encode(), key)
    except UnderstudyError as error:
        assert len(str(error)) < 3000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_what_is_read_as_json_can_be_written_again(data):
    try:
        value = codecs.read_json(data, "x")
    except BadArtifact:
        return
    assert json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) == value


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=string.ascii_letters + "./\\-_ \0\n~%", max_size=30))
def test_what_is_taken_for_a_path_lies_below_its_folder(name):
    try:
        require_name("path", name, "x")
    except BadArtifact:
        return
    assert (Path("/a/b") / name).resolve().is_relative_to("/a/b")


@pytest.mark.parametrize(
    "key", ["../../../x.parquet", "/etc/passwd", "predictions/date=2026-11-01/v/01-00000.parquet", 3]
)
def test_a_shards_record_names_its_own_segments_alone(whole, key):
    manifest = manifests.read_manifest(whole.store, DAY)
    path = Path(whole.uri) / manifests.shard_key(manifest, 0)
    before = path.read_bytes()
    record = json.loads(before)
    path.write_text(json.dumps({**record, "segments": [{"key": key, "sha256": "0" * 64, "rows": 1}]}))
    try:
        with pytest.raises(BadArtifact, match="What is read from a store"):
            whole.infer(f"{DAY}/00")
        with pytest.raises(UnderstudyError, match="What is read from a store"):
            erasure.forget(whole.store, ["t1"], [], DAY)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("step", ["../evil", "os.path", "infer.step", "", "a b", "..", "__init__.x", "x" * 100])
def test_a_provenance_names_no_module_but_a_step(tmp_path, step):
    (tmp_path / "provenance.json").write_text(json.dumps({"step": step}))
    with pytest.raises(BadArtifact, match="What is read from a store"):
        provenance.read(tmp_path)
    if not step.isidentifier():
        with pytest.raises(BadArtifact, match="one plain word"):
            shell.load_run(step)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 32, b"../../../../evil", b"A" * 32, b"0" * 33, b"\xff" * 32, b"0" * 10**6]
)
def test_a_store_id_that_is_none_names_no_file(tmp_path, monkeypatch, content):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache" / "deep"))
    store = FolderStore(tmp_path / "store")
    store.put_if_absent(STORE_ID, content)
    with pytest.raises(BadArtifact, match="A store's id must be 32 hexadecimal digits"):
        ResponseLog(store, "hotel-tips")
    assert not list(tmp_path.rglob("*.sqlite"))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\nb", "x" * 101])
def test_a_runs_name_leads_nowhere(tmp_path, name):
    with pytest.raises(BadArtifact):
        runs.key_of(name, runs.STARTED)


@pytest.mark.parametrize("key", ["watch/page.html", "watch/quality/../../x", "current.json", ""])
def test_a_night_names_no_object_but_a_record_of_quality(tmp_path, key):
    store = FolderStore(tmp_path / "store")
    with pytest.raises(BadArtifact, match="must lie under watch/quality/"):
        watch_records.read_quality(store, key)


def test_a_days_key_that_is_no_day_is_passed_over(tmp_path):
    store = FolderStore(tmp_path / "store")
    store.put_if_absent("samples/2026-99-99/sample.json", b"{}")
    assert samples.days(store, "9999-12-31") == []


def test_a_bundles_settings_must_be_those_that_were_published(tmp_path):
    store = FolderStore(tmp_path / "store")
    bundle = make_bundle(tmp_path / "bundle")
    version = registry.publish_bundle(store, bundle, {"report.html": b"<p>"}).version
    other = make_bundle(tmp_path / "other", bias=1.0)
    path = tmp_path / "store" / "bundles" / version / "bundle.json"
    path.write_bytes((other / "bundle.json").read_bytes())
    with pytest.raises(BadArtifact, match="the file that was published"):
        registry.fetch_settings(store, version)
