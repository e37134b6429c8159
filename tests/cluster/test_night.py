"""A whole night in pods, by what the CronJob submitted: the deployed version's commands, its account, its network."""

import pytest

from tests.cluster.backend import Backend
from tests.cluster.conftest import SHARDS, TEXTS
from tests.cluster.installation import NAMESPACE, cron_job, job_of
from tests.services import elasticsearch


@pytest.fixture(scope="module")
def night(cluster, kfp, production, bucket, elastic_url):
    """Submit a night and run it as the backend would; return what each task left."""
    cluster.apply(job_of(cron_job(production, "understudy-nightly"), "whole-night", "--name=whole-night"))
    cluster.completes(NAMESPACE, "whole-night", 240)
    (run,) = (run for run in kfp.backend.runs if run["display_name"] == "whole-night")
    wanted = run["pipeline_version_reference"]["pipeline_version_id"]
    versions = cluster.get("pipelineversions", "-n", NAMESPACE)["items"]
    spec = next(one["spec"] for one in versions if one["metadata"]["uid"] == wanted)
    account, root = run.get("service_account") or "default", f"{bucket.uri}/artifacts/{run['run_id']}"
    backend = Backend(
        cluster, NAMESPACE, spec["pipelineSpec"], spec["platformSpec"], root, bucket.client, account=account
    )
    return backend.run(run["runtime_config"]["parameters"])


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
