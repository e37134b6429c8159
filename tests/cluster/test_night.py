"""A whole night in pods, by what the CronJob submitted: the deployed version's commands, its account, its network."""

import pytest

from tests.cluster.backend import Backend
from tests.cluster.conftest import SHARDS, TEXTS
from tests.cluster.installation import NAMESPACE, cron_job, job_of
from tests.services import elasticsearch


@pytest.fixture(scope="module")
def ran(cluster, kfp, production, bucket):
    """Return a function that has a CronJob's pod submit a run, runs it as the backend would, and tells what it left."""

    def run(cron, name, *arguments):
        cluster.apply(job_of(cron_job(production, cron), name, f"--name={name}", *arguments))
        cluster.completes(NAMESPACE, name, 240)
        (run,) = (run for run in kfp.backend.runs if run["display_name"] == name)
        wanted = run["pipeline_version_reference"]["pipeline_version_id"]
        versions = cluster.get("pipelineversions", "-n", NAMESPACE)["items"]
        spec = next(one["spec"] for one in versions if one["metadata"]["uid"] == wanted)
        parts = (spec["pipelineSpec"], spec["platformSpec"], f"{bucket.uri}/artifacts/{run['run_id']}", bucket.client)
        backend = Backend(cluster, NAMESPACE, *parts, account=run.get("service_account") or "default", name=name)
        return backend.run(run["runtime_config"]["parameters"])

    return run


@pytest.fixture(scope="module")
def night(ran, elastic_url):
    """Run a whole night."""
    return ran("understudy-nightly", "whole-night")


def test_every_shard_has_a_pod_of_its_own(night):
    assert len(night["infer"]) == SHARDS


def test_every_text_is_one_document(night, elastic_url):
    elasticsearch.request(elastic_url, "/understudy.hotel-tips/_refresh", "POST")
    found = elasticsearch.request(elastic_url, f"/understudy.hotel-tips/_search?size={2 * TEXTS}")["hits"]["hits"]
    ids = sorted(hit["_source"]["id"] for hit in found)
    assert ids == sorted(f"t{number}" for number in range(TEXTS))
    assert {hit["_source"]["label"] for hit in found} == {"tip", "other"}


def test_the_watch_judges_the_night_and_leaves_its_page(night, bucket):
    (watched,) = night["watch"]
    assert watched.parameters["Output"] == "fine"
    name, _, key = watched.artifacts["page"]["uri"].removeprefix("s3://").partition("/")
    assert b"<html" in bucket.client.get_object(Bucket=name, Key=key)["Body"].read()


def test_a_sample_of_the_night_is_drawn_for_people(ran, night, bucket):
    (sampled,) = ran("understudy-quality", "whole-week", "--set=sample.teacher_texts=0")["sample"]
    name, _, prefix = sampled.artifacts["sample"]["uri"].removeprefix("s3://").partition("/")
    queue = bucket.client.get_object(Bucket=name, Key=f"{prefix}/queue.csv")["Body"].read().decode()
    assert len(queue.splitlines()) > 1
