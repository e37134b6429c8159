"""A pipelines API that answers and a store on S3 that is filled, to submit to."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import card_yaml, invoke
from tests.services import kfp_api, lacking
from understudy.pipelines.compile import PIPELINES, pipeline_spec, version_name
from understudy.runners.cluster import api, claims, follow
from understudy.store import runs
from understudy.store.storage import open_store

TOKEN = "a-good-token"
ROOT = Path(__file__).parents[2]


def objects():
    """The Kubernetes objects of the real pipelines."""
    for name in PIPELINES:
        yield {"kind": "Pipeline", "metadata": {"name": name}, "spec": {}}
        yield {
            "kind": "PipelineVersion",
            "metadata": {"name": version_name(name)},
            "spec": {"pipelineName": name, "pipelineSpec": pipeline_spec(name)},
        }


def only_with_token(token, verb, resource):
    if token != TOKEN:
        raise kfp_api.Refused(401, "Request header error: the token has expired")


@dataclass
class Cluster:
    """A server, what it answers from, and what a request to it names."""

    server: kfp_api.Server
    store_uri: str
    folder: Path
    token_file: Path

    @property
    def backend(self):
        return self.server.backend

    @property
    def store(self):
        return open_store(self.store_uri)

    def fault(self, do, *, on="POST", path="/runs$", after=False, times=1, seconds=1.0):
        self.backend.faults.append(kfp_api.Fault(on, path, do, after, times, seconds))

    def options(self, pipeline, *more, **changes):
        bucket = self.store_uri.removesuffix("/store")
        own = {
            "training": {"texts": f"{bucket}/texts.csv", "labels": f"{bucket}/labels.csv"},
            "nightly": {"texts": f"{bucket}/texts.csv", "date": "2026-11-01"},
            "quality": {"date": "2026-11-01"},
        }[pipeline]
        names = [it["metadata"]["name"] for it in self.backend.catalogue().versions]
        version = next((name for name in names if name.startswith(pipeline)), f"{pipeline}-1")
        place = {"store": self.store_uri, "host": self.server.url, "version": version}
        given = {"card": self.folder / "card.yaml", **place, **own, **changes}
        pairs = [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]
        return [pipeline, *pairs, *map(str, more)]

    def start(self, pipeline, *more, right_s=3, **changes):
        """Start the command in a process of its own, with a right to create that is short."""
        code = (
            "from understudy.cli.main import main\n"
            "from understudy.runners.cluster import api, claims, follow\n"
            f"claims.RIGHT_S, claims.MARGIN_S, claims.SETTLE_S, claims.LOOK_S = {right_s}, 0, 0.5, 0.1\n"
            "api.TIMEOUTS_S, follow.POLL_S = (0.5, 1), 0.1\n"
            "main()"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, "submit", *self.options(pipeline, *more, **changes)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'components'}:{ROOT}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self, name):
        return next(it for it in runs.read_all(self.store) if it.name == name)


def end_when_there(cluster, state, tasks=(), decision=None, fault=None):
    """From now on, let every run end like this as soon as it has been read once."""
    real = cluster.backend.RunService_GetRun

    def read(query, body, run_id):
        run = dict(real(query, body, run_id))
        if decision is not None:
            runs.put(cluster.store, run["display_name"], runs.DECISION, decision)
        if fault is not None:
            runs.put(cluster.store, run["display_name"], runs.FAULT, fault)
        cluster.backend.become(run_id, state, list(tasks))
        return run

    cluster.backend.RunService_GetRun = read


@pytest.fixture(scope="module")
def definition_here():
    """Skip without the official definition, or fail where every service is required."""
    try:
        kfp_api.read_definition()
    except kfp_api.Unavailable as reason:
        lacking(f"no API definition: {reason}")


@pytest.fixture(scope="module")
def catalogue():
    return kfp_api.catalogue_of(list(objects()))


@pytest.fixture
def cluster(tmp_path, s3_url, monkeypatch, definition_here, catalogue):
    """A pipelines API with the real pipelines, a store, and a token in its file; every pause is short."""
    (tmp_path / "card.yaml").write_text(card_yaml())
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token_file))
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    bucket = open_store(s3_url)
    bucket.put_if_absent("texts.csv", b"id,text\n1,a\n")
    bucket.put_if_absent("labels.csv", b"id,label\n1,tip\n")
    monkeypatch.setattr(api, "PAUSES_S", (0.05, 0.05, 0.05))
    monkeypatch.setattr(api, "TIMEOUTS_S", (1, 1))
    for name, value in {"RIGHT_S": 6.0, "MARGIN_S": 0.0, "SETTLE_S": 0.4, "LOOK_S": 0.1}.items():
        monkeypatch.setattr(claims, name, value)
    monkeypatch.setattr(follow, "POLL_S", 0.05)
    backend = kfp_api.Backend(lambda: catalogue, tmp_path / "runs.json", only_with_token)
    with kfp_api.Server(backend) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Cluster(server, f"{s3_url}/store", tmp_path, token_file)
        server.shutdown()
    assert backend.violations == []


@pytest.fixture
def command(capfd):
    """Run the command in this process; return its exit code, and what it printed."""

    def command(cluster, pipeline, *more, **changes):
        with pytest.raises(SystemExit) as ended:
            invoke("submit", *cluster.options(pipeline, *more, **changes))
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(more, ended.value.code, out, err)

    return command
