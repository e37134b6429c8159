"""A training run in pods, but for train and export: their image (5.5 GB) is too large, so the tests carry these out."""

import json

import pytest

from tests.cluster.installation import cron_job, job_of
from tests.pipelines.test_training import SETTINGS, STEPS

SMALL = [f"{step}.{key}={value}" for step, keys in SETTINGS.items() for key, value in keys.items()]
HERE = ("train", "export")


@pytest.fixture(scope="module")
def trained(ran, production):
    """Submit the first training as docs/deploy.md does it, and run it."""
    settings = [f"--set={setting}" for setting in SMALL]
    job = job_of(cron_job(production, "understudy-retrain"), "first-training", "--name=first-training", *settings)
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [arg for arg in container["args"] if not arg.startswith(("--when-asked", "--at-most"))]
    return ran(job, here=HERE)


def provenance_of(bucket, artifact):
    """Read what an artifact in the bucket says of itself."""
    name, _, key = artifact["uri"].removeprefix("s3://").partition("/")
    listed = bucket.client.list_objects_v2(Bucket=name, Prefix=key)["Contents"]
    (file,) = [item["Key"] for item in listed if item["Key"].endswith("provenance.json")]
    return json.loads(bucket.client.get_object(Bucket=name, Key=file)["Body"].read())


def test_label_asks_the_teacher_from_its_pod_with_the_key_and_the_address_of_the_installation(trained, bucket):
    (labelled,) = trained["label"]
    metrics = provenance_of(bucket, labelled.artifacts["judgements"])["metrics"]
    assert metrics["asked"] >= SETTINGS["label"]["texts"]
    assert metrics["failed"] == 0


def test_every_step_leaves_its_outputs(trained):
    assert set(trained) == {*STEPS, "condition-1"}
    assert all(outputs.artifacts for name in STEPS for outputs in trained[name])


def test_what_evaluate_lets_through_serves(trained, bucket):
    (evaluated,), (published,) = trained["evaluate"], trained["publish"]
    assert evaluated.parameters["Output"] == "publish"
    version = provenance_of(bucket, published.artifacts["release"])["parameters"]["version"]
    current = bucket.client.get_object(Bucket="understudy", Key="production/current.json")["Body"].read()
    assert json.loads(current)["version"] == version
