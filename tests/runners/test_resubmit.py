"""One step again on the cluster."""

import json
import os
import shutil
import subprocess
import uuid
from dataclasses import asdict

import boto3
import pytest

from tests.conftest import card_yaml, invoke
from tests.runners.clusters import end_when_there
from tests.services import s3
from understudy.pipelines.compile import pods
from understudy.pipelines.resources import LOST_PODS
from understudy.runners.cluster.resubmit import one_step
from understudy.runners.runs import Record
from understudy.store import runs
from understudy.store.storage import open_store
from understudy.task.card import parse_card

RUN = str(uuid.uuid4())


@pytest.fixture
def bucket(cluster):
    """A bucket with the artifacts of a training run, as KFP lays them out."""
    uri = f"{cluster.store_uri.removesuffix('/store')}/artifacts/training/{RUN}"
    return fill(open_store(uri), uri, cluster)


def fill(store, uri, cluster):
    """Put the artifacts of a training run into a storage, and return the student's address."""

    def put(step, output, *inputs, arguments=None):
        places = {name: {"uri": f"{uri}/{of}", "sha256": "0" * 64} for name, of in inputs}
        about = {"step": step, "output": output, "inputs": places, "arguments": arguments or {}, "sources": {}}
        card_hash = parse_card(card_yaml()).hash
        content = {**about, "metrics": {}, "version": "0", "card_hash": card_hash}
        folder = f"{step}/{uuid.uuid5(uuid.NAMESPACE_OID, step)}/{output}"
        store.put_if_absent(f"{folder}/provenance.json", json.dumps(content).encode())
        return folder

    card, pool, gold = (put("ingest", name) for name in ("snapshot", "pool", "gold"))
    own = {"store": cluster.store_uri, "overrides": "train.epochs=3\nlabel.texts=9", "dry_run": False}
    judgements = put("label", "judgements", ("card", card), ("pool", pool), arguments=own)
    audit = put("audit", "audit", ("judgements", judgements))
    revised = put("revise", "revised", ("judgements", judgements), ("audit", audit), arguments=own)
    before = {"card": card, "pool": pool, "gold": gold, "judgements": revised, "audit": audit}
    student = put("train", "student", *before.items(), arguments={**own, "fault": "s3://old"})
    graphs = put("export", "graphs", ("student", student))
    put("calibrate", "bundle", ("graphs", graphs))
    cluster.store.put_if_absent(f"cards/hotel-tips/{parse_card(card_yaml()).hash}.yaml", card_yaml().encode())
    return f"{uri}/{student}"


@pytest.fixture
def again(cluster, capfd):
    def again(artifact, *more):
        with pytest.raises(SystemExit) as ended:
            invoke("rerun", artifact, "--submit", "--host", cluster.server.url, *more)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(more, ended.value.code, out, err)

    return again


def test_a_step_is_submitted_again_from_its_address_with_other_settings(cluster, bucket, again):
    done = again(bucket, "--set", "epochs=2")
    assert (done.returncode, done.stderr) == (0, "")
    [run] = cluster.backend.runs
    spec = run["pipeline_spec"]["pipeline_spec"]
    tasks = spec["root"]["dag"]["tasks"]
    assert {name for name in tasks if name.startswith("importer")} == {
        "importer",
        "importer-2",
        "importer-3",
        "importer-4",
        "importer-5",
    }
    arguments = run["runtime_config"]["parameters"]
    assert arguments["overrides"] == "label.texts=9\nepochs=2"
    assert arguments["pool_uri"].endswith("/pool")
    assert tasks["train"]["cachingOptions"] == {}
    assert cluster.backend.experiments[0]["display_name"] == "hotel-tips"


def test_it_says_what_is_stale_at_any_distance(cluster, bucket, again):
    stale = [line.split()[-2] for line in again(bucket).stdout.splitlines() if line.startswith("Stale")]
    assert stale == ["export", "calibrate"]


def test_the_run_is_listed_with_its_card(cluster, bucket, again):
    again(bucket)
    [told] = runs.read_all(cluster.store)
    assert (told.started["pipeline"], told.started["card"], told.outcome) == ("step-train", "hotel-tips", "submitted")
    assert told.started["begins_at"] == "train"


def test_the_compiled_step_has_the_pod_of_its_pipeline():
    artifacts = {name: f"s3://b/{name}" for name in ("card", "pool", "gold", "judgements", "audit")}
    made, arguments = one_step("train", artifacts, {"store": "s3://b/store", "overrides": "", "unknown": 1})
    pod = pods()["train"]
    assert pod.executor["container"]["resources"]
    assert arguments == {
        **{f"{name}_uri": uri for name, uri in artifacts.items()},
        "store": "s3://b/store",
        "overrides": "",
    }
    assert made["pipeline_spec"]["deploymentSpec"]["executors"]["exec-train"] == pod.executor
    assert made["pipeline_spec"]["root"]["dag"]["tasks"]["train"]["retryPolicy"]["maxRetryCount"] == LOST_PODS
    kubernetes = made["platform_spec"]["platforms"]["kubernetes"]
    assert kubernetes["deploymentSpec"]["executors"] == {"exec-train": pod.platform}


def test_an_input_that_is_gone_is_told_before_anything_is_created(cluster, bucket, again):
    store = open_store(bucket.partition(RUN)[0] + RUN)
    for key in store.list("audit/"):
        store.delete(key)
    done = again(bucket)
    assert (done.returncode, cluster.backend.runs) == (2, [])
    assert "An input must still be there, got nothing at" in done.stderr


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--set", "epochs=0"], "epochs must be"),
        (
            ["--set", "label.texts=1"],
            "A setting must be one that the step 'train' reads, got 'label.texts' (--set), which 'label' reads",
        ),
        (["--store", "here"], "must begin with s3://, got 'here' (--store)"),
    ],
)
def test_what_cannot_serve_is_refused_before_anything_is_created(cluster, bucket, again, more, sentence):
    done = again(bucket, *more)
    assert (done.returncode, cluster.backend.requests) == (2, [])
    assert sentence in done.stderr


def test_an_address_without_an_artifact_is_told(cluster, bucket, again):
    assert "An artifact must have a readable provenance.json" in again(f"{bucket}-none").stderr


def test_an_artifact_made_here_cannot_be_rerun_there(cluster, again, tmp_path):
    about = {"step": "train", "arguments": {}, "inputs": {"pool": {"uri": "/here/pool", "sha256": "0"}}}
    (tmp_path / "student").mkdir()
    (tmp_path / "student/provenance.json").write_text(json.dumps(about))
    done = again(str(tmp_path / "student"))
    assert done.returncode == 2
    assert "An input must lie where the cluster can read it, got /here/pool (pool)" in done.stderr


def test_an_address_is_not_rerun_here(capfd):
    with pytest.raises(SystemExit) as ended:
        invoke("rerun", "s3://bucket/artifact")
    assert ended.value.code == 2
    assert "Add --submit to run its step on the cluster" in capfd.readouterr().err


@pytest.fixture(scope="module")
def kfps_storage():
    """A second S3 server with keys of its own, as the storage that Kubeflow Pipelines brings along."""
    folder = s3.folder_with_xattrs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3, "ACCESS_KEY", "minio")
        patch.setattr(s3, "SECRET_KEY", "minio-secret-123")
        process, server = s3.start(s3.find_or_build(), folder)
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="mlpipeline")
    yield dict(zip(names, (server.url, server.access_key, server.secret_key), strict=True))
    process.terminate()
    process.wait(timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def in_kfps_storage(cluster, kfps_storage):
    """Artifacts under KFP's default root."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in kfps_storage.items():
            patch.setenv(name, value)
        place = f"mlpipeline/v2/artifacts/training/{RUN}"
        store = open_store(f"s3://{place}")
    return fill(store, f"minio://{place}", cluster)


def test_artifacts_under_kfps_default_root_are_read_by_settings_of_their_own(
    cluster, in_kfps_storage, kfps_storage, again, monkeypatch
):
    for name, value in kfps_storage.items():
        monkeypatch.setenv(f"ARTIFACTS_{name}", value)
    before = dict(os.environ)
    done = again(in_kfps_storage, "--set", "epochs=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert dict(os.environ) == before
    assert [line.split()[-2] for line in done.stdout.splitlines() if line.startswith("Stale")] == [
        "export",
        "calibrate",
    ]
    [told] = runs.read_all(cluster.store)  # the store is found by its own settings
    assert told.started["pipeline"] == "step-train"


@pytest.mark.parametrize(
    ("wrong", "code"), [({}, 2), ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 2), ({"AWS_ENDPOINT_URL_S3": 1}, 1)]
)
def test_which_settings_are_wrong_is_said_and_an_outage_is_no_fault_of_the_users(
    cluster, in_kfps_storage, kfps_storage, again, monkeypatch, wrong, code
):
    for name, value in {**kfps_storage, **wrong}.items() if wrong else ():
        monkeypatch.setenv(f"ARTIFACTS_{name}", "http://127.0.0.1:9" if value == 1 else value)
    done = again(in_kfps_storage)
    assert (done.returncode, cluster.backend.runs) == (code, [])
    assert "An artifact must be readable where KFP keeps it, got" in done.stderr
    assert "Set ARTIFACTS_AWS_ENDPOINT_URL_S3, ARTIFACTS_AWS_ACCESS_KEY_ID" in done.stderr
    assert ("by those that begin with ARTIFACTS_" in done.stderr) == bool(wrong)
    assert "minio-secret-123" not in done.stderr


@pytest.mark.parametrize("step", ["os", "no-such", "__init__", 7])
def test_a_provenance_that_names_no_step_of_ours_is_refused(cluster, bucket, again, step):
    store = open_store(bucket)
    content = json.loads(store.read("provenance.json"))
    store.delete("provenance.json")
    store.put_if_absent("provenance.json", json.dumps({**content, "step": step}).encode())
    done = again(bucket)
    assert (done.returncode, cluster.backend.requests) == (2, [])
    assert "must have a readable provenance.json" in done.stderr or "provenance.json must be" in done.stderr


def submitted_run(cluster, bucket, **about):
    """Write into the store what submit leaves of the run whose artifacts lie in the bucket."""
    record = Record(
        name="first",
        pipeline="training",
        runner="cluster",
        card="hotel-tips",
        card_hash=parse_card(card_yaml()).hash,
        arguments={
            "card": cluster.store.locate(f"cards/hotel-tips/{parse_card(card_yaml()).hash}.yaml"),
            "texts": "s3://t",
            "labels": "s3://l",
            "store": cluster.store_uri,
        }
        | {"overrides": "train.epochs=3\nlabel.texts=9", "record": "s3://old", "fault": "s3://old"},
        started="2026-11-01T00:00:00Z",
        artifacts="",
        target={"host": cluster.server.url, "namespace": "", "experiment": "x", "version": "v", "service_account": ""},
    )
    runs.put(cluster.store, "first", runs.STARTED, asdict(record))
    place = {"artifacts": f"{bucket.partition(RUN)[0]}{RUN}", **about}
    runs.put(cluster.store, "first", runs.SUBMITTED, {"run_id": RUN, "url": "u", "host": cluster.server.url, **place})


def test_a_step_is_submitted_again_by_the_name_of_its_run(cluster, bucket, again):
    submitted_run(cluster, bucket)
    done = again("first", "--from", "train", "--store", cluster.store_uri, "--set", "epochs=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Made anew: train.\nKept: card, pool, gold, judgements, audit.\n")
    [run] = cluster.backend.runs
    assert run["runtime_config"]["parameters"]["overrides"] == "label.texts=9\nepochs=2"


def test_a_step_that_ran_several_times_is_not_submitted_again_alone_by_its_name(cluster, bucket, again):
    submitted_run(cluster, bucket)
    other = f"train/{uuid.uuid4()}/student/provenance.json"
    open_store(f"{bucket.partition(RUN)[0]}{RUN}").put_if_absent(other, open_store(bucket).read("provenance.json"))
    done = again("first", "--from", "train", "--store", cluster.store_uri)
    assert (done.returncode, cluster.backend.requests) == (2, [])
    assert "must have run once, got 2 times (train, --from)" in done.stderr


def test_a_step_that_was_submitted_alone_is_found_by_the_name_of_its_run(cluster, bucket, again):
    root = bucket.partition("/training/")[0]
    assert again(bucket, "--root", root, "--set", "epochs=2").returncode == 0
    [run] = cluster.backend.runs
    arguments = run["runtime_config"]["parameters"]
    assert arguments["fault"] == f"{cluster.store_uri}/runs/{run['display_name']}/fault.json"

    pipeline = run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"]
    made = open_store(f"{root}/{pipeline}/{run['run_id']}/train/{uuid.uuid4()}/student")
    about = json.loads(open_store(bucket).read("provenance.json"))
    about["arguments"] |= {"overrides": arguments["overrides"]}
    made.put_if_absent("provenance.json", json.dumps(about).encode())

    done = again(run["display_name"], "--from", "train", "--store", cluster.store_uri, "--set", "seed=5")
    assert (done.returncode, done.stderr) == (0, "")
    overrides = cluster.backend.runs[1]["runtime_config"]["parameters"]["overrides"]
    assert overrides == "label.texts=9\nepochs=2\nseed=5"


def test_all_that_follows_from_a_step_is_submitted_again(cluster, bucket, again):
    submitted_run(cluster, bucket)
    fill_test_split(bucket)
    done = again("first", "--from", "train", "--downstream", "--store", cluster.store_uri, "--set", "epochs=2")
    assert (done.returncode, done.stderr) == (0, "")
    made, kept = done.stdout.splitlines()[:2]
    assert made == "Made anew: train, export, calibrate, evaluate, publish, mine."
    assert kept == "Kept from 'first': ingest, label, audit, revise."
    [run] = cluster.backend.runs
    tasks = run["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert {"train", "export", "calibrate", "evaluate", "condition-1", "mine"} == {
        name for name in tasks if not name.startswith("import-")
    }
    assert tasks["import-ingest-pool"]["inputs"]["parameters"]["uri"]["runtimeValue"]["constant"].endswith("/pool")
    arguments = run["runtime_config"]["parameters"]
    assert arguments["overrides"] == "label.texts=9\ntrain.epochs=2"
    assert arguments["record"].startswith(f"{cluster.store_uri}/runs/rerun-train-")
    platform = run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert platform["exec-train"] == pods()["train"].platform
    started = {it.name: (it.started["pipeline"], it.started["begins_at"]) for it in runs.read_all(cluster.store)}
    assert started == {"first": ("training", ""), run["display_name"]: ("training", "train")}


@pytest.mark.parametrize(("step", "code"), [("mine", 0), ("train", 1)])
def test_a_rerun_must_leave_a_decision_only_when_it_evaluates(cluster, bucket, again, command, step, code):
    submitted_run(cluster, bucket)
    fill_test_split(bucket)
    store = open_store(f"{bucket.partition(RUN)[0]}{RUN}")
    about = {"step": "evaluate", "output": "evaluation", "inputs": {}, "arguments": {}, "sources": {}}
    store.put_if_absent("evaluate/x/evaluation/provenance.json", json.dumps(about).encode())
    end_when_there(cluster, "SUCCEEDED")
    done = again("first", "--from", step, "--downstream", "--store", cluster.store_uri, "--wait")
    assert done.returncode == code, done
    (run,) = cluster.backend.runs
    waited = command(cluster, "training", "--wait", "--name", run["display_name"])
    assert waited.returncode == code, waited


def fill_test_split(bucket):
    """Put the two artifacts that only evaluate reads, as ingest and label do."""
    store = open_store(f"{bucket.partition(RUN)[0]}{RUN}")
    for step, output in (("ingest", "test"), ("label", "test_judgements")):
        about = {"step": step, "output": output, "inputs": {}, "arguments": {}, "sources": {}}
        store.put_if_absent(f"{step}/x/{output}/provenance.json", json.dumps(about).encode())


@pytest.mark.parametrize(
    ("about", "words", "told"),
    [
        ({"artifacts": ""}, ["--from", "train"], "which was submitted without --root"),
        (
            {},
            ["--from", "mine"],
            "got 'mine' where audit, calibrate, export, ingest, label, revise, train did ('first', --from)",
        ),
        ({}, ["--from", "evaluate", "--downstream"], "got no test of the step ingest. Begin with --from ingest."),
        ({}, ["--from", "train", "--downstream", "--set", "label.texts=1"], "of a step that is made anew"),
    ],
)
def test_a_run_that_cannot_be_made_again_is_told_before_anything_is_created(cluster, bucket, again, about, words, told):
    submitted_run(cluster, bucket, **about)
    if "--set" in words:
        fill_test_split(bucket)
    done = again("first", "--store", cluster.store_uri, *words)
    assert (done.returncode, cluster.backend.requests) == (2, [])
    assert told in done.stderr
