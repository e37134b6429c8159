"""The step infer: each text is labelled once or refused with its reason, whatever the text is and whatever fails."""

import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import add_first_stage, make_bundle
from tests.night_desk import make_desk, texts
from understudy.data import sources
from understudy.data.rows import Refusal, Row
from understudy.errors import BadArtifact, BadData, BadInput, StorageError
from understudy.model.scoring import Bundle
from understudy.privacy import erasure
from understudy.runtime.shell import execute
from understudy.steps.infer import rules
from understudy.store import codecs, layout, manifests, registry, segments, tombstones
from understudy.store.bundles import version_of
from understudy.store.folder import FolderStore
from understudy.store.predictions import PREDICTIONS

WORKER = """
import atexit, pathlib, re, sys
from tests.steps.test_infer import slowed
from understudy.cli.main import main
slowed(float(sys.argv.pop(1)))
atexit.register(lambda: print(re.search(r"VmHWM:.*", pathlib.Path("/proc/self/status").read_text())[0]))
main()
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def desk(tmp_path):
    return make_desk(tmp_path)


def slowed(seconds):
    """Let each scoring take longer, so that a kill falls into the midst of the work."""
    score = Bundle.score

    def slow(bundle, given):
        time.sleep(seconds)
        return score(bundle, given)

    Bundle.score = slow


def start(desk, shard, number=0, sets=(), slow=0.02, warm=None, **options):
    """Start infer in a process of its own, by the warm interpreter when it is given."""
    given = {"card": desk.folder / "snapshot", "store": desk.uri, "shard": shard, "source": desk.source}
    given |= {"predictions": desk.folder / f"out-{number}"}
    words = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    words += [part for one in sets for part in ("--set", one)]
    program = ["-c", WORKER, str(slow), "infer", *words]
    if warm:
        return warm.start(program)
    return subprocess.Popen(
        [sys.executable, *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def write_jsonl(desk, cells, name="odd.jsonl"):
    desk.source.mkdir(exist_ok=True)
    lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(cells)]
    (desk.source / name).write_text("\n".join(lines) + "\n")


def test_a_prediction_says_all_that_is_known_of_it(desk):
    desk.source.mkdir()
    (desk.source / "a.csv").write_text("id,group,time,text\n1,g,2026-10-31,Ask for a room\n2,,,It was nice\n")
    manifest = desk.night("2026-11-01")
    found = desk.predictions("2026-11-01")
    assert found.schema == PREDICTIONS
    first, second = found.rows(named=True)
    assert first.pop("probability") == pytest.approx(1 / (1 + np.exp(-2)))
    assert first.pop("runner_up_probability") == pytest.approx(1 / (1 + np.exp(2)))
    assert first == {
        "id": "1",
        "group": "g",
        "time": "2026-10-31",
        "text": "Ask for a room",
        "content": rules.content_of("Ask for a room"),
        "label": "tip",
        "runner_up": "other",
        "threshold": 0.5,
        "version": manifest.bundle,
        "generation": 1,
        "date": "2026-11-01",
        "stage": "student",
        "windows": 1,
        "start": None,
        "end": None,
        "scored_at": manifest.created,
    }
    assert (second["group"], second["time"], second["label"]) == ("2", None, "other")
    assert segments.parse(codecs.as_parquet(found), "here").equals(found)
    assert found.schema == PREDICTIONS


def test_predictions_are_those_of_predict(desk):
    from understudy.serving.predictions import predict

    desk.write("a.csv", texts(0, 40))
    desk.night("2026-11-01", overrides="infer.texts_per_segment=7")
    found = desk.predictions("2026-11-01")
    said = list(predict(Bundle.open(desk.bundle), found["text"].to_list()))
    assert found["label"].to_list() == [one.label for one in said]
    assert np.allclose(found["probability"], [one.probability for one in said])


def test_odd_texts_each_get_a_prediction_or_a_reason(desk):
    odd = {
        "": "empty_text",
        " \n\t ": "empty_text",
        "half \ud83d an emoji": "half_character",
        "a \0 byte": "nul_byte",
        "x" * 2_000_001: "too_long",
    }
    sound = [
        "\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "مرحبا، اطلب غرفة هادئة",
        "\u202eask\u202c",
        "?!",
        "ask " * 100_000,
        "\ufffd\x01\x7f",
        "ask\u2028bring",
    ]
    write_jsonl(desk, [*odd, *sound])
    desk.night("2026-11-01")
    found, refused = desk.predictions("2026-11-01"), desk.refused("2026-11-01")
    assert found["text"].to_list() == [text.strip() for text in sound]
    assert refused["reason"].to_list() == list(odd.values())
    assert desk.record("2026-11-01")["refused"] == {"empty_text": 2, "half_character": 1, "nul_byte": 1, "too_long": 1}
    windows = dict(zip(sound, found["windows"], strict=True))
    assert windows.pop("ask " * 100_000) == 1563  # 100,000 tokens in windows of 64
    assert set(windows.values()) == {1}
    assert found["probability"].is_between(0, 1).all()


def test_binary_rubbish_in_a_csv_is_counted_row_by_row(desk):
    desk.source.mkdir()
    noise = random.Random(7).randbytes(20_000).replace(b'"', b"")  # noqa: S311 - noise
    (desk.source / "a.csv").write_bytes(b"id,text\n1,ask\n" + noise + b"\n2,bring\n")
    desk.night("2026-11-01")
    found, refused = desk.predictions("2026-11-01"), desk.refused("2026-11-01")
    assert set(found["id"]) >= {"1", "2"}
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    assert len(found) + len(refused) == manifest.texts
    assert len(refused) > 50


def test_a_long_text_is_read_in_windows_whose_logits_are_averaged_by_tokens(desk):
    bundle = Bundle.open(desk.bundle)
    tokens = bundle.graph.tokens(["ask " * 64 + "nice " * 16, "ask"])
    logits = bundle.graph.logits_of(tokens)
    assert tokens.windows.tolist() == [2, 1]
    first, second = -2 + 4 * 64, -2 - 4 * 16
    assert logits[:, 1] == pytest.approx([(first * 64 + second * 16) / 80, 2])


def test_a_text_that_the_same_bundle_has_scored_is_not_scored_again(desk):
    desk.write("a.csv", texts(0, 10))
    desk.night("2026-11-01")
    desk.write("b.csv", [("again", texts(4, 5)[0][1]), *texts(10, 12)])
    desk.shard("2026-11-02")
    assert desk.infer("2026-11-02/00").metrics["scored"] == 2
    first, second = desk.predictions("2026-11-01"), desk.predictions("2026-11-02")
    assert second["id"].to_list() == ["again", "t10", "t11"]
    assert second["probability"][0] == first["probability"][4]


@pytest.mark.parametrize("damage", ["bytes", "no hashes"])
def test_a_damaged_cached_score_says_to_delete_it_and_deleting_it_helps(desk, damage):
    desk.write("a.csv", texts(0, 10))
    desk.night("2026-11-01")
    (key,) = desk.store.list("scored/")
    path = Path(desk.uri) / key
    if damage == "bytes":
        path.write_bytes(b"damaged")
    else:
        pl.read_parquet(path).with_columns(content=pl.lit("x")).write_parquet(path)
    desk.write("b.csv", texts(0, 10, prefix="again"))
    desk.shard("2026-11-02")
    with pytest.raises(BadArtifact, match=rf"{key}\)\. Delete it: what is lost is time") as refused:
        desk.infer("2026-11-02/00")
    assert "estore it" not in str(refused.value)
    desk.store.delete(key)
    assert desk.infer("2026-11-02/00").metrics["scored"] == 10


def test_a_new_bundle_scores_known_texts_anew(desk):
    desk.write("a.csv", texts(0, 10))
    desk.night("2026-11-01")
    desk.publish(bias=-1.0)
    desk.write("b.csv", texts(0, 10))
    desk.shard("2026-11-02")
    assert desk.infer("2026-11-02/00").metrics["scored"] == 10


def test_the_same_text_is_scored_once_within_a_shard(desk):
    desk.write("a.csv", [(str(number), "Ask for a room") for number in range(12)])
    desk.shard("2026-11-01")
    assert desk.infer("2026-11-01/00", overrides="infer.texts_per_segment=5").metrics["scored"] == 1
    assert desk.predictions("2026-11-01")["probability"].n_unique() == 1


def test_no_more_is_remembered_than_was_asked(desk):
    desk.write("a.csv", texts(0, 10))
    desk.night("2026-11-01")
    desk.write("b.csv", texts(0, 10, prefix="again"))
    desk.shard("2026-11-02")
    assert desk.infer("2026-11-02/00", overrides="infer.remembered_texts=4").metrics["scored"] == 6


@given(st.lists(st.text("ab", max_size=6), max_size=20), st.integers(1, 5), st.integers(1, 12))
@settings(deadline=None)
def test_segments_hold_every_row_once_in_order_and_keep_their_limits(words, most_texts, most_chars):
    rows = [
        Row("f", number, {"id": "x", "text": word}) if word else Refusal("f", number, None, "empty_text", "")
        for number, word in enumerate(words)
    ]
    made = list(rules.segments(rows, most_texts, most_chars))
    assert [segment.index for segment in made] == list(range(len(made)))
    sound = [row for segment in made for row in segment.rows]
    refused = [row for segment in made for row in segment.refusals]
    assert sound == [row for row in rows if isinstance(row, Row)]
    assert refused == [row for row in rows if isinstance(row, Refusal)]
    for segment in made:
        sizes = [len(row.cells["text"]) for row in segment.rows]
        assert max(len(segment.rows), len(segment.refusals)) <= most_texts
        assert len(sizes) <= 1 or sum(sizes) <= most_chars


def test_known_texts_are_found_by_their_whole_key():
    twin = "0" * 16
    scored = pl.DataFrame(
        {
            "first": [0, 0],
            "second": [1, 2],
            "label": [0, 2],
            "probability": [0.25, 0.75],
            "runner_up": [1, 1],
            "runner_up_probability": [0.2, 0.15],
            "windows": [1, 2],
            "is_settled": [True, False],
        },
        schema=rules.KEYED,
    )
    known = rules.Known(scored)
    assert known.find(twin + "0" * 15 + "2" + "f" * 32) == (2, 0.75, 1, 0.15, 2, False)
    assert known.find(twin + "0" * 15 + "3" + "f" * 32) is None
    assert known.find("f" * 64) is None


def test_the_key_of_a_text_is_the_same_in_a_table_and_alone():
    content = rules.content_of("Ask for a room")
    scored = {"content": [content], "label": ["tip"], "probability": [0.5], "runner_up": ["blame"]}
    scored |= {"runner_up_probability": [0.3], "windows": [1], "stage": ["first"]}
    table = rules.keyed(pl.DataFrame(scored), ("praise", "blame", "tip"))
    assert table.row(0)[2:6] == (2, 0.5, 1, 0.3)
    assert table.row(0)[:2] == rules.key_of(content)
    assert table["is_settled"].to_list() == [True]
    assert table.schema == rules.KEYED


def test_a_second_run_changes_nothing_and_says_the_same(desk):
    desk.write("a.csv", [*texts(0, 30), ("", "no id")])
    desk.night("2026-11-01", overrides="infer.texts_per_segment=4")
    before = {key: desk.store.read(key) for key in desk.store.list()}
    result = desk.infer("2026-11-01/00", overrides="infer.texts_per_segment=4")
    assert {key: desk.store.read(key) for key in desk.store.list()} == before
    counts = {"texts": 30, "positives": 10, "refused": 1, "scored": 0, "settled": 0, "checked": 0, "missed": 0}
    assert result.metrics == counts


def test_killed_at_ten_random_moments_it_goes_on_and_labels_each_text_once(desk, warm):
    desk.write("a.csv", texts(0, 600))
    desk.shard("2026-11-01")
    sets, moments = ["infer.texts_per_segment=10"], random.Random(5)  # noqa: S311 - moments
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    done = []
    for _ in range(10):
        process = start(desk, "2026-11-01/00", sets=sets, slow=0.03, warm=warm)
        before = len(desk.store.list("predictions/"))
        deadline = time.monotonic() + 30
        while len(desk.store.list("predictions/")) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.12))
        process.kill()
        process.communicate()
        done.append(len(desk.store.list("predictions/")))
    assert done == sorted(set(done)), "each try must have come further"
    assert desk.store.read_tagged(manifests.shard_key(manifest, 0)) is None
    process = start(desk, "2026-11-01/00", sets=sets, slow=0, warm=warm)
    assert process.wait(60) == 0, process.communicate()
    assert desk.predictions("2026-11-01")["id"].to_list() == [name for name, _ in texts(0, 600)]
    assert desk.record("2026-11-01")["rows"] == 600


def test_a_killed_worker_and_one_that_was_not_leave_the_same_bytes(desk, tmp_path):
    desk.write("a.csv", texts(0, 60))
    desk.night("2026-11-01", overrides="infer.texts_per_segment=10")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    whole = {key: desk.store.read(key) for key in desk.store.list()}
    for key in (
        *desk.store.list("scored/"),
        manifests.shard_key(manifest, 0),
        manifests.prediction_key(manifest, 0, 3),
    ):
        desk.store.delete(key)
    desk.infer("2026-11-01/00", overrides="infer.texts_per_segment=10")
    assert {key: desk.store.read(key) for key in desk.store.list()} == whole


@pytest.mark.parametrize("limits", [{"texts_per_segment": 8}, {"texts_per_segment": 3}, {"chars_per_segment": 60}])
def test_a_worker_that_goes_on_with_other_limits_labels_each_text_once(desk, limits):
    desk.write("a.csv", texts(0, 12))
    desk.night("2026-11-01", overrides="infer.texts_per_segment=5")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    for key in (manifests.shard_key(manifest, 0), *desk.store.list("predictions/")[-2:]):
        desk.store.delete(key)
    desk.infer("2026-11-01/00", overrides="\n".join(f"infer.{name}={value}" for name, value in limits.items()))
    assert desk.predictions("2026-11-01")["id"].to_list() == [name for name, _ in texts(0, 12)]


def test_a_segment_of_a_complete_shard_that_was_deleted_is_made_again(desk):
    desk.write("a.csv", texts(0, 12))
    manifest = desk.night("2026-11-01", overrides="infer.texts_per_segment=5")
    before = {key: desk.store.read(key) for key in desk.store.list()}
    desk.store.delete(manifests.prediction_key(manifest, 0, 1))
    assert desk.infer("2026-11-01/00").metrics["texts"] == 12
    assert {key: desk.store.read(key) for key in desk.store.list()} == before


def test_a_damaged_segment_of_a_complete_shard_is_told(desk):
    desk.write("a.csv", texts(0, 12))
    manifest = desk.night("2026-11-01", overrides="infer.texts_per_segment=5")
    (Path(desk.uri) / manifests.prediction_key(manifest, 0, 1)).write_bytes(b"rubbish")
    with pytest.raises(BadArtifact, match=r"00-00001\.parquet\)\. Delete it, and run the night again"):
        desk.infer("2026-11-01/00")


def forget_after(monkeypatch, prefix, *names):
    """Let somebody forget texts right after the first object under a prefix is put."""
    put, done = FolderStore.put_if_absent, []

    def hooked(store, key, data):
        is_ours = put(store, key, data)
        if key.startswith(prefix) and not done:
            done.append(key)
            erasure.forget(store, names, [], "2026-11-21")
        return is_ours

    monkeypatch.setattr(FolderStore, "put_if_absent", hooked)


def test_what_is_to_be_forgotten_while_a_worker_runs_stays_nowhere(desk, monkeypatch):
    desk.write("a.csv", [*texts(0, 12), ("t12", "")])
    desk.shard("2026-11-01")
    forget_after(monkeypatch, "predictions/", "t1", "t11", "t12")
    desk.infer("2026-11-01/00", overrides="infer.texts_per_segment=5")
    found = desk.predictions("2026-11-01")
    assert found["id"].to_list() == [f"t{number}" for number in (0, *range(2, 11))]
    assert desk.record("2026-11-01")["rows"] == 10
    scored = pl.read_parquet(desk.store.read(desk.store.list("scored/")[0]))
    assert scored["content"].to_list() == found["content"].to_list()
    assert set(desk.refused("2026-11-01")["id"]) <= {None}


def test_a_worker_that_goes_on_removes_what_was_forgotten_after_its_segments_were_put(desk):
    desk.write("a.csv", texts(0, 12))
    manifest = desk.night("2026-11-01", overrides="infer.texts_per_segment=5")
    tombstones.remember_to_forget(desk.store, "id", ["t11"], "2026-11-21")
    desk.infer("2026-11-01/00")
    assert "t11" not in desk.predictions("2026-11-01")["id"]
    assert desk.record("2026-11-01")["rows"] == 11
    assert manifest.texts == 12


def test_a_worker_that_is_killed_while_it_forgets_leaves_a_record_that_the_next_one_makes_whole(desk, monkeypatch):
    desk.write("a.csv", texts(0, 12))
    manifest = desk.night("2026-11-01", overrides="infer.texts_per_segment=5")
    tombstones.remember_to_forget(desk.store, "id", ["t11"], "2026-11-21")
    swap = FolderStore.compare_and_swap

    def killed(store, key, data, tag):
        if layout.SHARD_RECORDS.fields(key) is not None:
            raise KeyboardInterrupt
        return swap(store, key, data, tag)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FolderStore, "compare_and_swap", killed)
        desk.infer("2026-11-01/00")
    assert "t11" not in desk.predictions("2026-11-01")["id"]
    assert desk.record("2026-11-01")["rows"] == 12
    with pytest.raises(StorageError, match=r"got 1 other \(.*00-00002\.parquet\)\. A night .*run the night again"):
        erasure.forget(desk.store, ["t11"], [], "2026-11-21")
    desk.infer("2026-11-01/00")
    record = desk.record("2026-11-01")
    assert (record["rows"], record["refused"]) == (11, {"forgotten": 1})
    lying = [desk.store.read(manifests.prediction_key(manifest, 0, number)) for number in range(3)]
    assert [part["sha256"] for part in record["segments"]] == [hashlib.sha256(data).hexdigest() for data in lying]
    erasure.forget(desk.store, ["t11"], [], "2026-11-21")


def test_a_text_without_a_group_is_forgotten_by_the_group_that_its_predictions_have(desk):
    rows = [("t1", "Ask for it."), ("t2", "Bring towels."), ("t3", "")]
    desk.write("a.csv", rows)
    desk.night("2026-11-01")
    erasure.forget(desk.store, [], ["t1", "t3"], "2026-11-21")
    desk.write("b.csv", rows)
    desk.night("2026-11-02")
    for night in ("2026-11-01", "2026-11-02"):
        assert desk.predictions(night)["id"].to_list() == ["t2"]
        assert "t3" not in set(desk.refused(night)["id"])


def test_a_refused_row_of_a_group_is_forgotten_with_it(desk):
    desk.source.mkdir()
    (desk.source / "a.csv").write_text("id,group,text\n1,g1,Ask for a room\n2,g7,\n3,g1,\n4,,\n")
    desk.night("2026-11-01")
    erasure.forget(desk.store, [], ["g7", "4"], "2026-11-21")
    assert desk.refused("2026-11-01")["id"].to_list() == ["3"]


def test_two_workers_on_one_shard_leave_one_prediction_a_text(desk, warm):
    desk.write("a.csv", texts(0, 200))
    desk.shard("2026-11-01")
    sets = ["infer.texts_per_segment=10"]
    processes = [start(desk, "2026-11-01/00", number, sets, warm=warm) for number in range(2)]
    outcomes = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    found = desk.predictions("2026-11-01")
    assert found["id"].to_list() == [name for name, _ in texts(0, 200)]
    assert len({(desk.folder / f"out-{number}/summary.json").read_text() for number in range(2)}) == 1
    from hashlib import sha256

    record = desk.record("2026-11-01")
    assert [one["sha256"] for one in record["segments"]] == [
        sha256(desk.store.read(one["key"])).hexdigest() for one in record["segments"]
    ]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "card.yaml"])
def test_a_bundle_in_the_store_with_another_hash_is_refused(desk, name):
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    file = Path(desk.uri) / f"bundles/{manifest.bundle}/{name}"
    file.write_bytes(file.read_bytes()[:-1] + b" ")
    with pytest.raises(BadArtifact, match="must have the hash"):
        desk.infer("2026-11-01/00")
    assert desk.store.list("predictions/") == []


def test_a_corrupt_bundle_whose_hashes_were_made_to_fit_is_refused(desk):
    (desk.bundle / "model.onnx").write_bytes(b"no graph")
    settings_file = desk.bundle / "bundle.json"
    content = json.loads(settings_file.read_text())
    content["files"]["model.onnx"] = hashlib.sha256(b"no graph").hexdigest()
    content["version"] = version_of("hotel-tips", content)
    settings_file.write_text(json.dumps(content))
    desk.write("a.csv", texts(0, 5))
    with pytest.raises(BadArtifact, match="must be an ONNX model"):
        execute("infer", {"bundle": desk.bundle, "texts": str(desk.source), "predictions": desk.folder / "out"})


def test_predictions_outside_of_any_night_hold_nothing_that_was_only_needed_to_write_them(desk):
    desk.write("a.csv", texts(0, 5))
    out = desk.folder / "out"
    execute("infer", {"bundle": desk.bundle, "texts": str(desk.source), "predictions": out})
    assert list(out.rglob("*.parquet"))
    assert [path for path in out.rglob("*") if path.name.startswith((".~", "lock-", "written-"))] == []


def test_texts_that_changed_since_the_night_was_begun_are_refused(desk):
    file = desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    file.write_text(file.read_text().replace("number 3", "number 9"))
    with pytest.raises(BadData, match="must stay as it is"):
        desk.infer("2026-11-01/00")


def test_texts_that_were_only_appended_to_are_read_as_they_were(desk):
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    desk.write("a.csv", texts(5, 9), mode="a")
    desk.infer("2026-11-01/00")
    assert len(desk.predictions("2026-11-01")) == 5


def test_a_disk_with_no_space_left_is_told_in_a_sentence_and_the_work_goes_on_afterwards(desk):
    noise = random.Random(7)  # noqa: S311 - texts that do not compress
    desk.write("a.csv", [(str(number), f"Ask {noise.random()}") for number in range(300)])
    desk.shard("2026-11-01")
    sets = ["infer.texts_per_segment=100"]
    small = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))}
    process = start(desk, "2026-11-01/00", sets=sets, slow=0, **small)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The store must be writable, got" in told
    assert "Traceback" not in told
    assert desk.store.list("predictions/") == []
    assert not list(Path(desk.uri).rglob("written-*"))
    desk.infer("2026-11-01/00", overrides=sets[0])
    assert len(desk.predictions("2026-11-01")) == 300


def test_a_bucket_that_vanishes_is_told_in_a_sentence_and_the_work_goes_on_when_it_is_back(s3_url, tmp_path, warm):
    from understudy.store.s3 import s3_client

    desk = make_desk(tmp_path, s3_url)
    desk.write("a.csv", texts(0, 300))
    desk.shard("2026-11-01")
    sets = ["infer.texts_per_segment=10"]
    process = start(desk, "2026-11-01/00", sets=sets, slow=0.05, warm=warm)
    deadline = time.monotonic() + 30
    while not desk.store.list("predictions/"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)
    kept = {key: desk.store.read(key) for key in desk.store.list()}
    bucket, client = s3_url.removeprefix("s3://"), s3_client()
    for key in kept:
        client.delete_object(Bucket=bucket, Key=key)
    client.delete_bucket(Bucket=bucket)
    process.send_signal(signal.SIGCONT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "The bucket must exist" in told
    assert "Traceback" not in told
    client.create_bucket(Bucket=bucket)
    for key, data in kept.items():
        desk.store.put_if_absent(key, data)
    desk.infer("2026-11-01/00", overrides=sets[0])
    assert desk.predictions("2026-11-01")["id"].to_list() == [name for name, _ in texts(0, 300)]


def test_texts_outside_of_any_night_are_labelled_by_a_bundle_alone(desk, warm):
    desk.write("a.csv", [*texts(0, 25), ("", "no id")])
    out = desk.folder / "out"
    words = ["--bundle", str(desk.bundle), "--texts", str(desk.source), "--predictions", str(out)]
    words += ["--date", "2026-11-01", "--set", "shard.texts_per_shard=10", "--set", "threads=1"]
    done = warm.run(["-m", "understudy", "infer", *words], check=True)
    assert "25 texts labelled, 9 'tip'; 1 row refused: empty_id 1" in done.stdout
    found = pl.concat([pl.read_parquet(file) for file in sorted(out.glob("predictions/**/*.parquet"))])
    assert found["id"].to_list() == [name for name, _ in texts(0, 25)]
    assert json.loads((out / "summary.json").read_text())["refused"] == {"empty_id": 1}
    recorded = json.loads((out / "provenance.json").read_text())["settings"]
    assert (recorded["threads"], recorded["shard"]) == (1, {"texts_per_shard": 10})


@pytest.mark.parametrize("given", [{}, {"store": "x", "shard": "2026-11-01/00"}, {"texts": "a.csv"}])
def test_arguments_that_name_neither_a_shard_nor_a_bundle_are_refused(tmp_path, given):
    with pytest.raises(BadInput, match="What to label must be"):
        execute("infer", {"predictions": tmp_path / "out", **given})


def test_a_shard_that_the_night_does_not_have_is_refused(desk):
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    with pytest.raises(BadInput, match="A shard must be one of 2026-11-01/00 to 2026-11-01/00"):
        desk.infer("2026-11-01/07")


def test_a_damaged_segment_is_told_by_name(desk):
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    desk.store.put_if_absent(manifests.prediction_key(manifest, 0, 0), b"rubbish")
    with pytest.raises(BadArtifact, match="00-00000"):
        desk.infer("2026-11-01/00")


def test_it_needs_neither_torch_nor_transformers_nor_dataframely(desk):
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'dataframely', 'kfp', 'sklearn', 'openai'): sys.modules[name] = None\n"
        "from understudy.cli.main import main; main()"
    )
    words = ["--card", str(desk.folder / "snapshot"), "--store", desk.uri, "--shard", "2026-11-01/00"]
    words += ["--source", str(desk.source)]
    command = [sys.executable, "-c", code, "infer", *words, "--predictions", str(desk.folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_memory_stays_within_bounds_with_texts_of_a_hundred_thousand_words(desk):
    desk.source.mkdir()
    with (desk.source / "a.csv").open("w") as file:
        file.write("id,text\n")
        for number in range(60):
            file.write(f"{number},{'stayed in the old room ' * 20_000}{number}\n")
    desk.shard("2026-11-01")
    process = start(desk, "2026-11-01/00", slow=0)
    told, errors = process.communicate()
    assert process.returncode == 0, errors
    highest_kib = int(
        told.rpartition("VmHWM:")[2].split()[0]
    )  # ru_maxrss would count what this process held at the fork
    assert highest_kib / 1024 < 600
    assert set(desk.predictions("2026-11-01")["windows"]) == {1563}


def test_a_forgotten_text_is_refused_and_the_shard_goes_on_where_it_stopped(desk):
    desk.source.mkdir()
    rows = "".join(f"t{number},g{number % 4},Ask for room {number}\n" for number in range(20))
    (desk.source / "a.csv").write_text(f"id,group,text\n{rows}")
    desk.shard("2026-11-01")
    overrides = "infer.texts_per_segment=5"
    desk.infer("2026-11-01/00", overrides=overrides)
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    for key in (manifests.shard_key(manifest, 0), *(manifests.prediction_key(manifest, 0, part) for part in (2, 3))):
        desk.store.delete(key)
    tombstones.remember_to_forget(desk.store, "id", ["t11"], "2026-11-02")
    tombstones.remember_to_forget(desk.store, "group", ["g3"], "2026-11-02")
    desk.infer("2026-11-01/00", overrides=overrides)
    gone = {"t3", "t7", "t11", "t15", "t19"}
    assert desk.predictions("2026-11-01")["id"].to_list() == [f"t{n}" for n in range(20) if f"t{n}" not in gone]
    assert desk.refused("2026-11-01").select("id", "reason").unique().rows() == [(None, "forgotten")]


@pytest.fixture
def cascaded(desk):
    """A night of texts, and a bundle whose first stage settles "stayed", which the student calls a tip in company."""
    folder = add_first_stage(make_bundle(desk.folder / "cascaded"), {"nice": -3.0, "stayed": -3.0})
    registry.publish_bundle(desk.store, folder, {"report.html": b"<p>"})
    rows = [(f"a{n}", f"ask {n}") for n in range(20)] + [(f"n{n}", f"nice {n}") for n in range(40)]
    desk.write("a.csv", [*rows, *((f"s{n}", f"stayed ask ask {n}") for n in range(10))])
    return desk


def test_every_prediction_says_which_stage_decided(cascaded):
    cascaded.night("2026-11-01")
    found = cascaded.predictions("2026-11-01")
    stages = {row["id"][0]: row["stage"] for row in found.iter_rows(named=True)}
    assert stages == {"a": "student", "n": "first", "s": "first"}
    assert set(found.filter(pl.col("stage") == "first")["label"]) == {"other"}


def test_what_the_first_stage_lost_is_counted_on_a_sample_of_what_it_settled(cascaded):
    cascaded.night("2026-11-01", overrides="cascade.checked_share=1")
    record = cascaded.record("2026-11-01")
    assert [record[name] for name in ("settled", "checked", "missed")] == [50, 50, 10]  # "stayed ask ask": -2 - 2 + 8


def test_a_larger_sample_of_what_was_settled_holds_the_smaller(cascaded):
    cascaded.night("2026-11-01")
    bundle, found = Bundle.open(cascaded.folder / "cascaded"), cascaded.predictions("2026-11-01")
    numbers = [rules.checked(bundle, found, share)[1] for share in (0.0, 0.2, 0.2, 0.5, 1.0)]
    assert numbers[0] == 0 < numbers[1] == numbers[2] < numbers[3] < numbers[4] == 50


def test_each_night_draws_anew_what_is_checked_and_a_rerun_draws_the_same(cascaded):
    cascaded.night("2026-11-01")
    bundle, found = Bundle.open(cascaded.folder / "cascaded"), cascaded.predictions("2026-11-01")
    one = found.filter(pl.col("stage") == "first").head(1)
    nights_of_one = [one.with_columns(date=pl.lit(f"2026-11-{day:02}")) for day in range(1, 31)]
    drawn = [[rules.checked(bundle, night, 0.5)[1] for night in nights_of_one] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert 5 < sum(drawn[0]) < 25


def test_copies_of_a_text_are_drawn_one_by_one(cascaded):
    cascaded.write("b.csv", [(f"c{n}", "stayed ask ask") for n in range(200)])
    cascaded.night("2026-11-01")
    bundle, found = Bundle.open(cascaded.folder / "cascaded"), cascaded.predictions("2026-11-01")
    settled, checked, missed = rules.checked(bundle, found.filter(pl.col("id").str.starts_with("c")), 0.2)
    assert settled == 200
    assert 20 < checked < 60
    assert missed == checked


def test_a_worker_that_goes_on_counts_what_was_lost_in_all_of_the_shard(cascaded):
    sets = "infer.texts_per_segment=10\ncascade.checked_share=1"
    cascaded.night("2026-11-01", overrides=sets)
    manifest, whole = manifests.read_manifest(cascaded.store, "2026-11-01"), cascaded.record("2026-11-01")
    for key in (manifests.shard_key(manifest, 0), manifests.prediction_key(manifest, 0, 6)):
        cascaded.store.delete(key)
    cascaded.infer("2026-11-01/00", overrides=sets)
    assert cascaded.record("2026-11-01") == whole


def test_a_text_known_from_another_night_keeps_its_stage(cascaded):
    cascaded.night("2026-11-01")
    again = [(f"b{n}", f"nice {n}") for n in range(5)]
    cascaded.write("b.csv", [*again, ("c", "ask 1")])
    cascaded.shard("2026-11-02")
    assert cascaded.infer("2026-11-02/00").metrics["scored"] == 0
    assert cascaded.predictions("2026-11-02")["stage"].to_list() == ["first"] * 5 + ["student"]


def alter(desk, key, **changes):
    """Change fields of a record in the store."""
    found = desk.store.read_tagged(key)
    said = {**json.loads(found.data), **changes}
    assert desk.store.compare_and_swap(key, json.dumps(said).encode(), found.tag)


def test_a_range_that_gives_fewer_rows_than_the_night_counts_leaves_no_segment_of_it(desk, monkeypatch):
    desk.write("a.csv", texts(0, 12))
    desk.shard("2026-11-01")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    read = sources.rows_from
    monkeypatch.setattr(sources, "rows_from", lambda *given: islice(read(*given), 7))
    for _ in range(2):
        with pytest.raises(
            StorageError, match="must give the 12 rows that the night's manifest names, got 7"
        ) as caught:
            desk.infer("2026-11-01/00", overrides="infer.texts_per_segment=5")
        assert caught.value.exit_code == 1
    kept = [key for key in desk.store.list("predictions/") if key.endswith(".parquet")]
    assert kept == [manifests.prediction_key(manifest, 0, 0)], "what was read whole; not the rest that was cut"
    monkeypatch.setattr(sources, "rows_from", read)
    assert desk.infer("2026-11-01/00", overrides="infer.texts_per_segment=5").metrics["texts"] == 12


def test_a_segment_that_lacks_texts_is_told_at_every_run_and_made_again_once_it_is_deleted(desk):
    desk.write("a.csv", texts(0, 12))
    manifest = desk.night("2026-11-01")
    key, record = manifests.prediction_key(manifest, 0, 0), manifests.shard_key(manifest, 0)
    path = Path(desk.uri) / key
    pl.read_parquet(path).head(8).write_parquet(path)
    short = {"key": key, "rows": 8, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    alter(desk, record, rows=8, segments=[short])  # as a cut read left it before lengths were checked
    for _ in range(2):
        with pytest.raises(StorageError, match=r"must hold each text that its night counts, got 8 of 12 .*Delete it"):
            desk.infer("2026-11-01/00")
    desk.store.delete(key)
    assert desk.infer("2026-11-01/00").metrics["texts"] == 12
    assert desk.record("2026-11-01")["rows"] == 12


def test_a_record_after_forgetting_still_answers_for_every_row(desk):
    desk.write("a.csv", texts(0, 12))
    desk.night("2026-11-01")
    before = desk.record("2026-11-01")
    name = desk.predictions("2026-11-01")["id"][0]
    erasure.forget(desk.store, [name], [], "2026-11-21")
    after = desk.record("2026-11-01")
    assert (after["rows"], after["refused"]) == (before["rows"] - 1, {"forgotten": 1})
    assert desk.infer("2026-11-01/00").metrics["refused"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        lambda said: said.probabilities.__setitem__((0, 0), np.nan),
        lambda said: said.probabilities.__setitem__((0, 1), np.inf),
        lambda said: said.probabilities.__setitem__((0, 1), -0.1),
    ],
)
def test_an_answer_that_is_no_probability_reaches_no_prediction(desk, monkeypatch, fault):
    score = Bundle.score

    def odd(bundle, given):
        said = score(bundle, given)
        if given:
            fault(said)
        return said

    monkeypatch.setattr(Bundle, "score", odd)
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    with pytest.raises(BadArtifact, match=r"a probability of each label in \[0, 1\], got NaN, or one out of range"):
        desk.infer("2026-11-01/00")
    assert not [key for key in desk.store.list("predictions/") if key.endswith(".parquet")]


def test_answers_of_a_wrong_shape_are_refused(desk):
    bundle = Bundle.open(desk.bundle)
    said = bundle.score(["Ask for a room", "nice"])
    with pytest.raises(BadArtifact, match="got shape"):
        rules.require_answers(said._replace(probabilities=said.probabilities[:1]), 2, bundle)
    with pytest.raises(BadArtifact):
        rules.require_answers(said._replace(windows=said.windows[:1]), 2, bundle)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"texts_per_segment": "5"}',
        b'{"texts_per_segment": 0, "chars_per_segment": 1, "max_chars": 1}',
    ],
)
def test_damaged_limits_are_one_sentence(desk, said):
    desk.write("a.csv", texts(0, 5))
    desk.shard("2026-11-01")
    manifest = manifests.read_manifest(desk.store, "2026-11-01")
    desk.store.put_if_absent(manifests.limits_key(manifest, 0), said)
    with pytest.raises(BadArtifact, match="What is read from a store or an artifact must be"):
        desk.infer("2026-11-01/00")


@pytest.mark.parametrize(
    "said",
    [b"", b"null", b"\xff\xfe", b'{"rows": "12"}', b"{" * 100_000, b'{"rows": -1, "refused": {}, "segments": []}'],
)
def test_a_damaged_record_of_a_shard_is_one_sentence(desk, said):
    desk.write("a.csv", texts(0, 5))
    manifest = desk.night("2026-11-01")
    (Path(desk.uri) / manifests.shard_key(manifest, 0)).write_bytes(said)
    with pytest.raises(BadArtifact, match="What is read from a store or an artifact must be"):
        desk.infer("2026-11-01/00")


@pytest.mark.parametrize(
    "change", [{"probability": float("nan")}, {"probability": 7.0}, {"content": "../x"}, {"stage": None}]
)
def test_cached_scores_that_are_none_are_refused(desk, change):
    desk.write("a.csv", texts(0, 5))
    manifest = desk.night("2026-11-01")
    path = Path(desk.uri) / manifests.scored_key(manifest, 0)
    altered = pl.read_parquet(path).with_columns(**{name: pl.lit(value) for name, value in change.items()})
    altered.write_parquet(path)
    desk.write("b.csv", texts(5, 5))
    desk.shard("2026-11-02")
    if "stage" in change:
        altered.drop("stage").write_parquet(path)
    with pytest.raises(BadArtifact, match="Cached scores must be"):
        desk.infer("2026-11-02/00")
