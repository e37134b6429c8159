"""Policies for S3: each step runs under its own on a real server, and gets no further than the table says."""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.night_desk import make_desk, texts
from tests.services import lacking, s3
from tools import manifests, policies
from tools.policies import EVERYONE, TABLE, bucket_policy
from understudy.runtime.shell import execute
from understudy.store import layout
from understudy.store.address import parse_address
from understudy.store.storage import open_store
from understudy.task.steps import STEPS
from understudy.teacher.simulated import Plan, serve

BUCKET, SOURCES = "understudy", "understudy-texts"
STORE = f"s3://{BUCKET}/production"
NIGHT = "2026-11-01"
TASK = manifests.ROOT.parent / "pipelines/tasks/hotel-tips"
ROOT = {"AWS_ACCESS_KEY_ID": "root-of-all", "AWS_SECRET_ACCESS_KEY": "root-secret"}


@dataclass
class Server:
    """An S3 server with an account for each step, under the policies of the table."""

    url: str

    def client(self, step: str = "") -> Any:
        keys = self.keys(step)
        names = {"aws_access_key_id": keys["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": keys["AWS_SECRET_ACCESS_KEY"]}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **names)

    def keys(self, step: str = "") -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": step, "AWS_SECRET_ACCESS_KEY": f"{step}-secret"} if step else ROOT


@pytest.fixture(scope="module")
def server():
    try:
        binary, folder = s3.find_or_build(), s3.folder_with_xattrs()
    except s3.Unavailable as reason:
        lacking(f"no S3 server: {reason}")
    for name in ("root", "accounts"):
        (folder / name).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    own = {"ROOT_ACCESS_KEY": ROOT["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": ROOT["AWS_SECRET_ACCESS_KEY"]}
    command = [binary, "--port", address, "--iam-dir", str(folder / "accounts"), "posix", str(folder / "root")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log)
    made = Server(f"http://{address}")
    until_up(made)
    prepare(made, binary)
    yield made
    process.terminate()
    process.wait(timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


def until_up(server):
    for _ in range(200):
        with suppress(ClientError, BotoCoreError):
            server.client().list_buckets()
            return
        time.sleep(0.1)
    pytest.fail("versitygw did not answer")


def prepare(server, binary):
    """Make the buckets, and an account for each step."""
    root = ["--access", ROOT["AWS_ACCESS_KEY_ID"], "--secret", ROOT["AWS_SECRET_ACCESS_KEY"]]
    admin = [binary, "admin", "--allow-insecure", *root, "--endpoint-url", server.url, "create-user", "--role", "user"]
    for step in TABLE:
        words = [*admin, "--access", step, "--secret", f"{step}-secret"]
        subprocess.run(words, check=True, capture_output=True)
    for bucket in (BUCKET, SOURCES):
        server.client().create_bucket(Bucket=bucket)


def let(server, step):
    """Put the policy that the table makes for a step; that of all steps is too long for a folder's attribute."""
    made = bucket_policy(parse_address(STORE), {step: step}, [parse_address(f"s3://{SOURCES}")])
    for bucket in (BUCKET, SOURCES):
        about = [it for it in made["Statement"] if it["Resource"][0].split(":::")[1].split("/")[0] == bucket]
        server.client().delete_bucket_policy(Bucket=bucket)
        if about:
            server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps({**made, "Statement": about}))


@pytest.fixture
def by(server, monkeypatch, tmp_path):
    """Return a function that goes on with a step's keys; without a step with those that may do all."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "OPENAI_API_KEY", "ELASTICSEARCH_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    def use(step=""):
        if step:
            let(server, step)
        for name, value in server.keys(step).items():
            monkeypatch.setenv(name, value)

    return use


def test_a_night_and_a_week_run_with_each_steps_own_key(server, by, tmp_path):
    by()
    desk = make_desk(tmp_path, STORE)
    card = tmp_path / "card.yaml"
    card.write_text(card.read_text() + "retention: {predictions_days: 1, refusals_days: 1, samples_days: 1}\n")

    def run(step, **arguments):
        by(step)
        outputs = {name: tmp_path / step / arguments.get("date", "") / name for name in OUTPUTS[step]}
        return execute(step, {"store": STORE, "card": tmp_path / "snapshot", **outputs, **arguments}).parameters

    for first, night in ((0, NIGHT), (60, "2026-11-02")):
        source = desk.write(f"{night}.csv", [*texts(first, first + 60), (f"empty-{first}", "")])
        server.client().upload_file(str(source), SOURCES, f"{night}/texts.csv")
        told = run("shard", card=str(card), texts=f"s3://{SOURCES}/{night}", date=night)
        shutil.copytree(tmp_path / "shard" / night / "snapshot", tmp_path / "snapshot", dirs_exist_ok=True)
        for name in told["shards"].split(","):
            run("infer", shard=name, source=f"s3://{SOURCES}/{night}")
        run("index", date=night)
        run("watch", date=night)
        run("sample", card=str(card), date=night, overrides="sample.teacher_texts=0")
    by()
    store = open_store(STORE)
    assert store.list("refusals/date=2026-11-02/")
    for family in (layout.SEGMENTS, layout.REFUSALS, layout.SAMPLE_TABLES):
        assert not store.list(family.prefix(day=NIGHT)), family  # retention has removed the first night's


def test_texts_are_taken_in_and_the_teacher_asked_with_each_steps_own_key(server, by, tmp_path, monkeypatch):
    by()
    for name in ("texts.csv", "labels.csv"):
        server.client().upload_file(str(TASK / name), SOURCES, f"training/{name}")
    by("ingest")
    made = {name: tmp_path / "ingest" / name for name in OUTPUTS["ingest"]}
    given = {name: f"s3://{SOURCES}/training/{name}.csv" for name in ("texts", "labels")}
    execute("ingest", {"card": str(TASK / "card.yaml"), "store": f"{STORE}", **given, **made})
    with serve(Plan(TASK / "answers.csv")) as teacher:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://{}:{}/v1".format(*teacher.server_address[:2]))
        by("label")
        inputs = {"card": made["snapshot"], **{name: made[name] for name in ("pool", "gold", "test")}}
        outputs = {name: tmp_path / "label" / name for name in ("judgements", "test_judgements")}
        given = {"store": STORE, "overrides": "label.texts=20"}
        assert execute("label", {**inputs, **outputs, **given}).metrics["asked"] > 0


OUTPUTS = {
    "shard": ["snapshot"],
    "infer": ["predictions"],
    "index": ["indexed"],
    "watch": ["watched", "page"],
    "sample": ["snapshot", "sample"],
    "ingest": ["snapshot", "pool", "gold", "test", "refused"],
    "publish": ["release"],
}


FAMILIES = sorted({key for access in TABLE.values() for key in (*access.reads, *access.writes) if "*" not in key})


def is_allowed(call):
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"AccessDenied", "403"}:
            return False
        assert error.response["Error"]["Code"] in {"NoSuchKey", "404", "PreconditionFailed"}, error
    return True


@pytest.mark.parametrize("step", TABLE)
def test_a_step_reads_writes_and_removes_what_the_table_says_and_nothing_else(server, step):
    let(server, step)
    client, access = server.client(step), TABLE[step]
    for family in FAMILIES:
        key = f"production/{family}{'x' if family.endswith('/') else ''}"

        def covers(keys, family=family):
            return any(family == one or (one.endswith("/") and family.startswith(one)) for one in keys)

        one = {"Bucket": BUCKET, "Key": key}
        assert is_allowed(lambda one=one: client.get_object(**one)) == covers(access.reads), family
        listed = {"Bucket": BUCKET, "Prefix": f"production/{family}"}
        assert is_allowed(lambda listed=listed: client.list_objects_v2(**listed)) == covers(access.reads), family
        assert is_allowed(lambda one=one: client.put_object(**one, Body=b"", IfNoneMatch="*")) == covers(access.writes)
        assert is_allowed(lambda one=one: client.delete_object(**one)) == covers(access.deletes), family
    for key in ("production/other", "other/current.json"):
        assert not is_allowed(lambda key=key: client.get_object(Bucket=BUCKET, Key=key))
        assert not is_allowed(lambda key=key: client.put_object(Bucket=BUCKET, Key=key, Body=b""))
    assert not is_allowed(lambda: client.list_objects_v2(Bucket=BUCKET))
    assert is_allowed(lambda: client.list_objects_v2(Bucket=SOURCES)) == access.has_sources
    assert not is_allowed(lambda: client.put_object(Bucket=SOURCES, Key="x", Body=b""))
    assert is_allowed(lambda: client.put_object(Bucket=BUCKET, Key=f"production/runs/{step}/fault.json", Body=b"{}"))


def test_every_step_is_in_the_table_and_tells_its_faults():
    assert set(TABLE) == {*STEPS, "submit"}
    assert EVERYONE == ("runs/*/fault.json",)


def test_the_guide_shows_the_table():
    guide = (Path(manifests.ROOT).parent / "docs/deploy.md").read_text()
    assert "\n".join(policies.lines()) in guide


def test_the_shipped_policies_are_those_of_the_production_overlay():
    files = policies.policies("s3://understudy/production", ["s3://understudy-texts"])
    assert json.loads(files["train.json"])["Statement"][0]["Resource"] == [
        "arn:aws:s3:::understudy/production/store.json",
        "arn:aws:s3:::understudy/production/checkpoints/*",
    ]
    for name, content in files.items():
        assert (manifests.ROOT / manifests.POLICIES / name).read_text() == content, name
