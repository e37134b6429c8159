"""A night of 20 shards while pods are killed at random and names are not resolved for a while: no person is needed."""

import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.backend import TaskFailed
from tests.cluster.conftest import TEXTS
from tests.cluster.installation import NAMESPACE, cron_job, job_of
from tests.cluster.kube import until
from tests.services import elasticsearch
from understudy.pipelines.resources import LOST_PODS

SEED, SHARDS, KILLS, NO_NAMES_S, TRIES = 20261129, 20, 8, 10, 3
pytestmark = pytest.mark.long
OUTSIDE = "outside"  # a namespace whose Services name the servers of this machine


@pytest.fixture
def by_name(cluster, production, bucket, elastic_url):
    """Let the steps know the store and the index by names, as they do where DNS matters, and put the addresses back."""
    cluster.namespace(OUTSIDE)
    before = cluster.get("configmap", "-n", NAMESPACE, "understudy-settings")["data"]
    named = {"AWS_ENDPOINT_URL_S3": ("store", bucket.url), "ELASTICSEARCH_URL": ("elasticsearch", elastic_url)}
    for setting, (name, url) in named.items():
        ip, _, port = url.removeprefix("http://").partition(":")
        about = {"name": name, "namespace": OUTSIDE, "labels": {"kubernetes.io/service-name": name}}
        ports = [{"port": int(port)}]
        cluster.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"clusterIP": "None", "ports": ports}},
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": about, "ports": ports,
                "addressType": "IPv4", "endpoints": [{"addresses": [ip]}],
            },
        )  # fmt: skip
        change(cluster, {setting: f"http://{name}.{OUTSIDE}.svc.cluster.local:{port}"})
    yield
    change(cluster, {setting: before[setting] for setting in named})


def change(cluster, settings):
    lines = ",".join(f'"{name}": "{value}"' for name, value in settings.items())
    words = ("patch", "-n", NAMESPACE, "configmap/understudy-settings", "--type=merge", "-p")
    cluster.ask(*words, f'{{"data": {{{lines}}}}}')


def kill_pods(cluster, name, draw, ended):
    """Delete running pods of a run at random; no task loses more than it is begun anew."""
    lost = Counter()
    while lost.total() < KILLS and not ended.wait(1.5):
        pods = cluster.get("pods", "-n", NAMESPACE, "--field-selector=status.phase=Running")["items"]
        jobs = {pod["metadata"]["name"]: pod["metadata"]["labels"].get("job-name", "") for pod in pods}
        tasks = {pod: job.removeprefix(f"{name}-") for pod, job in jobs.items() if job.startswith(f"{name}-")}
        chosen = sorted(pod for pod, task in tasks.items() if lost[turn_of(task)] < LOST_PODS - 1)
        if chosen:
            pod = draw.choice(chosen)
            lost[turn_of(tasks[pod])] += 1
            cluster.run("delete", "pod", "-n", NAMESPACE, pod, "--force", "--grace-period=0")
    return lost


def turn_of(task):
    """Return a task's name without the number of its pod: infer-3-1 is the second pod of infer-3."""
    return "-".join(task.split("-")[: 2 if task.startswith("infer") else 1])


def cut_names(cluster, ended):
    """Leave the cluster without DNS for a while, once workers are under way."""
    if ended.wait(20):
        return
    cluster.ask("scale", "-n", "kube-system", "deployment/coredns", "--replicas=0")
    time.sleep(NO_NAMES_S)
    cluster.ask("scale", "-n", "kube-system", "deployment/coredns", "--replicas=1")


def test_a_night_of_20_shards_comes_to_its_end_without_a_person(
    cluster, kfp, ran, production, by_name, elastic_url, bucket
):
    night = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"
    settings = ("--name=chaos", f"--date={night}", f"--set=shard.texts_per_shard={TEXTS // SHARDS}")
    draw, ended = random.Random(SEED), threading.Event()  # noqa: S311 - chooses what is killed
    for number in range(1, TRIES + 1):
        name = "chaos" if number == 1 else f"chaos-{number}"
        others = [
            threading.Thread(target=kill_pods, args=(cluster, name, draw, ended)),
            threading.Thread(target=cut_names, args=(cluster, ended)),
        ]
        for thread in others if number == 1 else ():
            thread.start()
        try:
            done = ran(job_of(cron_job(production, "understudy-nightly"), f"enter-chaos-{number}", *settings), of=name)
            break
        except TaskFailed:
            (run,) = [run for run in kfp.backend.runs if run["display_name"] == name]
            kfp.backend.become(run["run_id"], "FAILED")
    else:
        pytest.fail(f"the night has failed {TRIES} times (seed {SEED})")
    ended.set()
    assert len(done["infer"]) == SHARDS
    elasticsearch.request(elastic_url, "/understudy.hotel-tips/_refresh", "POST")
    query = f"/understudy.hotel-tips/_search?size={2 * TEXTS}"
    hits = until(lambda: elasticsearch.request(elastic_url, query)["hits"]["hits"], 30, "no documents")
    assert sorted(hit["_source"]["id"] for hit in hits) == sorted(f"t{number}" for number in range(TEXTS))
