"""A new release of a pipeline, and the way back."""

import pytest
import yaml

from tests.cluster.installation import NAMESPACE, cron_job, job_of
from tests.cluster.kube import documents
from understudy.pipelines.compile import version_of

NIGHTLY = "understudy-nightly"


def release(installed, change):
    """Change the nightly pipeline in the copied manifests, as `make manifests` would; return the version's name."""
    generated = installed.folder / "base/generated"
    made, version = documents((generated / "nightly.yaml").read_text())
    before, spec = version["metadata"]["name"], version["spec"]
    change(spec["pipelineSpec"])
    name = version_of("nightly", {key: spec[key] for key in ("pipelineSpec", "platformSpec")})
    version["metadata"]["name"] = spec["displayName"] = name
    (generated / "nightly.yaml").write_text(yaml.safe_dump_all([made, version]))
    wiring = generated / "kustomization.yaml"
    wiring.write_text(wiring.read_text().replace(before, name))
    return name


def describe(text):
    return lambda spec: spec["pipelineInfo"].update(description=text)


@pytest.fixture
def submitted_version(cluster, kfp):
    """Return a function that applies production, submits a night, and says which version it runs: name and uid."""

    def submit(installed, name):
        cluster.apply(job_of(cron_job(installed.apply("production"), NIGHTLY), name, f"--name={name}"))
        cluster.completes(NAMESPACE, name, 240)
        (run,) = (run for run in kfp.backend.runs if run["display_name"] == name)
        uid = run["pipeline_version_reference"]["pipeline_version_id"]
        versions = cluster.get("pipelineversions", "-n", NAMESPACE)["items"]
        return next((one["metadata"]["name"], uid) for one in versions if one["metadata"]["uid"] == uid)

    return submit


def test_a_new_version_serves_the_next_night_and_the_old_one_serves_again_after_a_rollback(
    installed, production, submitted_version
):
    was = documents((installed.folder / "base/generated/nightly.yaml").read_text())[1]["spec"]["pipelineSpec"]
    before = submitted_version(installed, "before")
    name = release(installed, describe("A new release."))
    after = submitted_version(installed, "after")
    assert after[0] == name != before[0]
    assert release(installed, describe(was["pipelineInfo"]["description"])) == before[0]
    assert submitted_version(installed, "rolled-back") == before
