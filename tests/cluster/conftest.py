"""What the cluster tests share: the cluster, our images in it, and servers at an address that pods reach."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import make_card
from tests.cluster.backend import Backend, Outputs
from tests.cluster.forward import PORT as FORWARDED
from tests.cluster.installation import NAMESPACE, Installation, copied, install_crds, secret
from tests.cluster.kube import (
    KUBEFLOW,
    OURS,
    PIPELINES_API,
    RIG_BASE,
    RIG_HOME,
    ROOT,
    Cluster,
    Object,
    Unavailable,
    close_cluster,
    find_foreign_api,
    open_cluster,
)
from tests.cluster.pods import forwarder
from tests.night_desk import make_desk, texts
from tests.pipelines.test_three_labels import NAMES, STORY, SUPPORT, TASK, write_task
from tests.services import elasticsearch, kfp_api, lacking, s3
from understudy.teacher.simulated import Plan, serve

ROLES = ("infer", "submit", "analysis")
BUCKET = "understudy"
TEXTS, SHARDS = 60, 3
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
RIG_BUILD_FLAGS = f"--isolation chroot --network host --pull-never -v {CERTIFICATES}:{CERTIFICATES}:ro"
ZONE = "Etc/GMT-14" if datetime.now(UTC).hour >= 10 else "Etc/GMT+12"  # where it is another day than in UTC
TEST_TIMEOUT_S = 2700  # the first test waits for the cluster and the images, which are built where nothing is cached


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder: `make test` leaves it out."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Take the cluster that KUBECONFIG names, or start one for the session."""
    try:
        opened = open_cluster()
    except Unavailable as reason:
        lacking(f"no cluster: {reason}")
    if os.environ.get("KUBECONFIG") and (fault := find_foreign_api(opened.find(KUBEFLOW, f"service/{PIPELINES_API}"))):
        pytest.fail(fault, pytrace=False)
    yield opened
    close_cluster(opened)


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> None:
    """Build our images on the cluster's base, and give them to the cluster under the names that images.yaml has."""
    folder = ROOT / "build" / "images"
    base = _rig_base() if cluster.base == RIG_BASE else cluster.base
    flags = ["--flags", RIG_BUILD_FLAGS] if cluster.base == RIG_BASE else []
    build = [sys.executable, "-m", "tools.images", "--base", base, "--save", str(folder), *flags]
    _run([*build, *(f"--role={role}" for role in ROLES)], timeout_s=TEST_TIMEOUT_S)
    for role in ROLES:
        _run([*cluster.load, str(folder / f"{role}.tar")], timeout_s=300)


def _rig_base() -> str:
    """Give buildah the base that the rig made, which no registry has; squashed, or its layers could not be cached."""
    base = f"{RIG_BASE.partition(':')[0]}:base"
    known = subprocess.run(["buildah", "inspect", "--type", "image", base], capture_output=True, check=False)
    if known.returncode:
        _run(["buildah", "pull", f"docker-archive:{RIG_HOME}/img/debian.tar"], timeout_s=300)
        container = _run(["buildah", "from", "--pull-never", RIG_BASE], timeout_s=60).strip()
        _run(["buildah", "commit", "--squash", "--format", "docker", container, base], timeout_s=300)
        _run(["buildah", "rm", container], timeout_s=60)
    return base


def _run(command: list[str], timeout_s: float) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Bucket:
    """A bucket of a real S3 server that pods reach; this process reaches it at the same address."""

    uri: str
    url: str
    env: dict[str, str]
    client: Any


@pytest.fixture(scope="session")
def bucket(cluster: Cluster) -> Iterator[Bucket]:
    """Start versitygw at the address that pods reach, and make a bucket."""
    import boto3

    try:
        binary, folder = s3.find_or_build(), s3.folder_with_xattrs()
    except s3.Unavailable as reason:
        lacking(f"no S3 server: {reason}")
    process, server = s3.start(binary, folder, cluster.host)
    env = dict(zip(s3.VARIABLES, (server.url, server.access_key, server.secret_key, "us-east-1"), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield Bucket(f"s3://{BUCKET}", server.url, env, client)
    process.terminate()
    process.wait(timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def elastic_starting(cluster: Cluster) -> Iterator[tuple[elasticsearch.Server, Future[None]]]:
    """Begin to start Elasticsearch at the address that pods reach; other work goes on in the half minute it needs."""
    try:
        server = elasticsearch.unpacked()
    except elasticsearch.Unavailable as reason:
        lacking(f"no Elasticsearch: {reason}")
    server.url = server.url.replace("127.0.0.1", cluster.host)
    server.settings["http.host"] = cluster.host
    with ThreadPoolExecutor(1) as pool:
        yield server, pool.submit(server.start)
    server.remove()


@pytest.fixture(scope="session")
def elastic_url(elastic_starting: tuple[elasticsearch.Server, Future[None]]) -> str:
    """Return Elasticsearch's address once it answers."""
    server, started = elastic_starting
    started.result()
    return server.url


@pytest.fixture(scope="session")
def installed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Give the cluster what Kubeflow Pipelines brings: its namespace and definitions; and copy our manifests."""
    install_crds(cluster)
    cluster.namespace(KUBEFLOW)
    cluster.profile(NAMESPACE)
    return copied(tmp_path_factory.mktemp("installation"), cluster)


@pytest.fixture(scope="session")
def kfp(
    cluster: Cluster, images: None, installed: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[kfp_api.Server]:
    """Serve the pipelines API where KFP's own would answer; it has tokens and rights reviewed by the cluster."""
    catalogue, authorize = kfp_api.cluster_parts(cluster.kubeconfig, NAMESPACE)
    file = tmp_path_factory.mktemp("kfp") / "state.json"
    backend = kfp_api.Backend(catalogue, file, authorize, is_multi_user=True)
    with kfp_api.Server(backend, cluster.host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = int(server.server_address[1])
        ports = [{"port": FORWARDED, "targetPort": FORWARDED}]
        about = {"name": PIPELINES_API, "namespace": KUBEFLOW, "labels": OURS}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": about}
        cluster.apply(
            forwarder(PIPELINES_API, KUBEFLOW, cluster.host, port),
            {**service, "spec": {"selector": {"app": PIPELINES_API}, "ports": ports}},
        )
        cluster.ask("wait", "-n", KUBEFLOW, f"pod/{PIPELINES_API}", "--for=condition=Ready", "--timeout=90s")
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def outside(cluster: Cluster) -> Iterator[dict[str, tuple[str, int]]]:
    """Listen at two addresses that stand for what lies outside of the cluster: a rehearsal teacher's, and any other."""
    with serve(Plan(TASK / "answers.csv"), cluster.host) as teacher, socket.create_server((cluster.host, 0)) as other:
        yield {"teacher": (cluster.host, int(teacher.server_address[1])), "elsewhere": other.getsockname()}


@pytest.fixture(scope="session")
def production(
    cluster: Cluster,
    installed: Installation,
    bucket: Bucket,
    elastic_starting: tuple[elasticsearch.Server, Future[None]],
    outside: dict[str, tuple[str, int]],
    kfp: kfp_api.Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Object]:
    """Install the production overlay, changed where its operator would: addresses, ways out, the card, the store's key.

    The store holds a published bundle of three labels, and the source texts of every day that a night might be of.
    """
    folder = tmp_path_factory.mktemp("desk")
    words = {"ask": {SUPPORT: 3.0}, "stayed": {STORY: 3.0}}
    desk = make_desk(folder, f"{bucket.uri}/production", labels=NAMES, words=words)
    source = desk.write("texts.csv", texts(0, TEXTS))
    for days in range(-3, 4):
        day = datetime.now(UTC) + timedelta(days=days)
        bucket.client.upload_file(str(source), BUCKET, f"texts/{day:%Y-%m-%d}/texts.csv")
    write_task(folder)
    for name in ("texts.csv", "labels.csv"):
        bucket.client.upload_file(str(folder / name), BUCKET, f"training/{name}")
    learned = {"TRAINING_TEXTS": f"{bucket.uri}/training/texts.csv", "LABELS": f"{bucket.uri}/training/labels.csv"}
    addresses = {"AWS_ENDPOINT_URL_S3": bucket.url, "ELASTICSEARCH_URL": elastic_starting[0].url, "TIME_ZONE": ZONE}
    teacher = "http://{}:{}".format(*outside["teacher"])
    settings = {"STORE": desk.uri, "TEXTS": f"{bucket.uri}/texts/{{date}}/", "OPENAI_BASE_URL": f"{teacher}/v1"}
    installed.set("production", settings | learned | addresses)
    ways = {"store": bucket.url, "elasticsearch": elastic_starting[0].url, "teacher": teacher}
    for policy, url in ways.items():
        installed.open_way("production", policy, url)
    card = make_card(more=f"shard: {{texts_per_shard: {TEXTS // SHARDS}}}", labels=NAMES)
    card = card.replace("macro_f1: 0.5", "macro_f1: 0.01")
    (installed.folder / "overlays/production/card.yaml").write_text(card)
    objects = installed.apply("production")
    keys = {name: bucket.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    cluster.apply(secret(NAMESPACE, "understudy-storage", keys))
    cluster.apply(secret(NAMESPACE, "understudy-teacher", {"api_key": "no-teacher-is-asked-here"}))
    return objects


@pytest.fixture(scope="session")
def ran(
    cluster: Cluster, kfp: kfp_api.Server, production: list[Object], bucket: Bucket
) -> Callable[..., dict[str, list[Outputs]]]:
    """Return a function that has a Job submit the run of its name, and runs that as the backend would.

    With `of` it runs another run that the Job has submitted.
    """

    def run(job: Object, here: Collection[str] = (), of: str = "") -> dict[str, list[Outputs]]:
        name = of or job["metadata"]["name"]
        cluster.apply(job)
        cluster.completes(NAMESPACE, job["metadata"]["name"], 240)
        (run,) = (run for run in kfp.backend.runs if run["display_name"] == name)
        wanted = run["pipeline_version_reference"]["pipeline_version_id"]
        versions = cluster.get("pipelineversions", "-n", NAMESPACE)["items"]
        spec = next(one["spec"] for one in versions if one["metadata"]["uid"] == wanted)
        parts = (spec["pipelineSpec"], spec["platformSpec"], f"{bucket.uri}/artifacts/{run['run_id']}", bucket.client)
        account = run.get("service_account") or "default"
        backend = Backend(cluster, NAMESPACE, *parts, account=account, name=name, here=here)
        return backend.run(run["runtime_config"]["parameters"])

    return run
