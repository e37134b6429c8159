"""The start of a training run in pods. Train's image (5.5 GB) is too large for these tests, so they end before it."""

import json

import pytest

from tests.cluster.installation import cron_job, job_of

PAID = ["ingest", "label", "audit"]
SMALL = ("label.texts=80", "label.min_answers=20")


@pytest.fixture(scope="module")
def begun(ran, production):
    """Submit the first training as docs/deploy.md does it, and run its steps up to train."""
    settings = [f"--set={setting}" for setting in SMALL]
    job = job_of(cron_job(production, "understudy-retrain"), "first-training", "--name=first-training", *settings)
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [arg for arg in container["args"] if not arg.startswith(("--when-asked", "--at-most"))]
    return ran(job, only=PAID)


def test_label_asks_the_teacher_from_its_pod_with_the_key_and_the_address_of_the_installation(begun, bucket):
    (labelled,) = begun["label"]
    name, _, key = labelled.artifacts["judgements"]["uri"].removeprefix("s3://").partition("/")
    listed = bucket.client.list_objects_v2(Bucket=name, Prefix=key)["Contents"]
    (file,) = [item["Key"] for item in listed if item["Key"].endswith("provenance.json")]
    metrics = json.loads(bucket.client.get_object(Bucket=name, Key=file)["Body"].read())["metrics"]
    assert metrics["asked"] >= 80
    assert metrics["failed"] == 0


def test_every_step_before_train_has_left_its_outputs(begun):
    assert list(begun) == PAID
    assert all(outputs.artifacts for (outputs,) in begun.values())
