"""A whole night in pods, by what the CronJob submitted: the deployed version's commands, its account, its network."""

import pytest

from tests.cluster.conftest import SHARDS, TEXTS
from tests.cluster.installation import cron_job, job_of
from tests.pipelines.test_three_labels import NAMES, STORY, SUPPORT
from tests.services import elasticsearch
from understudy.search.elastic import ElasticIndex
from understudy.search.query import Query
from understudy.search.settings import IndexConfig


@pytest.fixture(scope="module")
def night(ran, production, elastic_url):
    """Run a whole night."""
    return ran(job_of(cron_job(production, "understudy-nightly"), "whole-night", "--name=whole-night"))


def test_every_shard_has_a_pod_of_its_own(night):
    assert len(night["infer"]) == SHARDS


def test_every_text_is_one_document(night, elastic_url):
    elasticsearch.request(elastic_url, "/understudy.hotel-tips/_refresh", "POST")
    found = elasticsearch.request(elastic_url, f"/understudy.hotel-tips/_search?size={2 * TEXTS}")["hits"]["hits"]
    ids = sorted(hit["_source"]["id"] for hit in found)
    assert ids == sorted(f"t{number}" for number in range(TEXTS))
    assert {hit["_source"]["label"] for hit in found} == {STORY, SUPPORT}
    assert {hit["_source"]["runner_up"] for hit in found} <= set(NAMES)


def test_a_search_counts_the_labels(night, elastic_url, store):
    index = ElasticIndex(elastic_url, "hotel-tips", store, IndexConfig())
    found = index.search(Query(phrases=("room number",), limit=1))
    index.close()
    assert dict(found.labels) == {STORY: TEXTS - -(-TEXTS // 3), SUPPORT: -(-TEXTS // 3)}


def test_the_watch_judges_the_night_and_leaves_its_page(night, bucket):
    (watched,) = night["watch"]
    assert watched.parameters["Output"] == "fine"
    name, _, key = watched.artifacts["page"]["uri"].removeprefix("s3://").partition("/")
    assert b"<html" in bucket.client.get_object(Bucket=name, Key=key)["Body"].read()


def test_a_sample_of_the_night_is_drawn_for_people(ran, production, night, bucket):
    cron = cron_job(production, "understudy-quality")
    (sampled,) = ran(job_of(cron, "whole-week", "--name=whole-week", "--set=sample.teacher_texts=0"))["sample"]
    name, _, prefix = sampled.artifacts["sample"]["uri"].removeprefix("s3://").partition("/")
    queue = bucket.client.get_object(Bucket=name, Key=f"{prefix}/queue.csv")["Body"].read().decode()
    assert len(queue.splitlines()) > 1
