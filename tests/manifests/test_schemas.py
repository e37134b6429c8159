"""What is rendered is valid for the last four minors of Kubernetes, and for the definitions of Kubeflow Pipelines."""

import functools
import json
import os
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from tests.manifests.kustomize import COMPONENTS, OVERLAYS, overlay, production_with
from tests.services import lacking

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("UNDERSTUDY_SHARED") or ROOT.parent / "shared")
MINORS = list(dict.fromkeys(".".join(version.split(".")[:2]) for version in utils.all_versions()))[-4:]
OWN_KINDS = {"Pipeline", "PipelineVersion"}
FOREIGN_KINDS = {
    "ExternalSecret",
    "PrometheusRule",
    "PodMonitor",
    "LocalQueue",
}  # of operators whose definitions are not here


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Every different object that an overlay or a component renders."""
    rendered = [overlay(name) for name in OVERLAYS]
    rendered += [production_with(name, tmp_path_factory.mktemp(name)) for name in COMPONENTS]
    different = {json.dumps(each, sort_keys=True): each for documents in rendered for each in documents}
    return list(different.values())


@pytest.fixture(autouse=True)
def schemas_are_read_once(monkeypatch):
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))


def definition(plural):
    file = SHARED / f"kfp/pipelines.kubeflow.org_{plural}.yaml"
    if not file.exists():
        reason = f"no definitions of Kubeflow Pipelines at {file}: name their folder's parent by UNDERSTUDY_SHARED"
        lacking(reason)
    return yaml.safe_load(file.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_four_minors_in_a_row_are_looked_at():
    numbers = [int(minor.removeprefix("1.")) for minor in MINORS]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


@pytest.mark.parametrize("minor", MINORS)
def test_every_object_is_valid(everything, minor):
    looked_at = 0
    for each in everything:
        if each["kind"] not in OWN_KINDS | FOREIGN_KINDS:
            kubernetes_validate.validate(each, minor, strict=True)
            looked_at += 1
    assert looked_at > 20


def test_an_unknown_field_is_seen():
    job = json.loads(json.dumps(next(each for each in overlay("production") if each["kind"] == "CronJob")))
    job["spec"]["timezone"] = "Etc/UTC"
    with pytest.raises(kubernetes_validate.ValidationError, match="timezone"):
        kubernetes_validate.validate(job, MINORS[-1], strict=True)


@pytest.mark.parametrize(("kind", "plural"), [("Pipeline", "pipelines"), ("PipelineVersion", "pipelineversions")])
def test_pipelines_are_what_their_definitions_say(everything, kind, plural):
    schema = definition(plural)
    found = [each for each in everything if each["kind"] == kind]
    assert found
    for each in found:
        jsonschema.validate(each, schema)
        assert set(each["spec"]) <= set(schema["properties"]["spec"]["properties"])  # a server drops others silently
