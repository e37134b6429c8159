"""The production CronJob as shipped: it fires, its pod asks with its own token, and a run is submitted once."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.cluster.conftest import ZONE
from tests.cluster.installation import NAMESPACE, cron_job, job_of
from tests.cluster.kube import ROOT, until
from tests.services.kfp_api import Fault

NIGHTLY = "understudy-nightly"
MIDWAY_S = 60


def runs_named(kfp, name):
    return [run for run in kfp.backend.runs if run["display_name"] == name]


@pytest.fixture(scope="module")
def fired(cluster, production):
    """Move the CronJob's schedule to the next minute; return the Job that it made, once that has ended, and its log."""
    at = (datetime.now(ZoneInfo(ZONE)) + timedelta(seconds=70)).replace(second=0)
    patch = {"spec": {"schedule": f"{at.minute} {at.hour} * * *"}}
    cluster.ask("patch", "-n", NAMESPACE, f"cronjob/{NIGHTLY}", "--type=merge", "-p", json.dumps(patch))

    def made():
        jobs = cluster.get("jobs", "-n", NAMESPACE)["items"]
        return [job for job in jobs for owner in job["metadata"].get("ownerReferences", []) if owner["name"] == NIGHTLY]

    (job,) = until(made, 120, lambda: cluster.story(NAMESPACE))
    log = cluster.completes(NAMESPACE, job["metadata"]["name"], 240)
    return job["metadata"], log


def test_the_cron_job_submits_exactly_one_run(cluster, kfp, fired, production):
    assert kfp.backend.violations == []
    (name,) = {run["display_name"] for run in kfp.backend.runs if "-nightly-" in run["display_name"]}
    (run,) = runs_named(kfp, name)
    version = cluster.get("pipelineversion", "-n", NAMESPACE, production_version(production))
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["metadata"]["uid"]
    assert run["run_id"] in fired[1]


def production_version(objects):
    """Return the name of the nightly version that the installation names to its CronJobs."""
    return next(one["data"]["NIGHTLY_VERSION"] for one in objects if "NIGHTLY_VERSION" in one.get("data", {}))


def test_its_pod_ran_under_restricted_with_a_token_for_the_pipelines_api_alone(cluster, fired):
    (pod,) = cluster.get("pods", "-n", NAMESPACE, "-l", f"job-name={fired[0]['name']}")["items"]
    namespace = cluster.get("namespace", NAMESPACE)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    sources = [s for volume in pod["spec"]["volumes"] for s in volume.get("projected", {}).get("sources", [])]
    assert [source["serviceAccountToken"]["audience"] for source in sources] == ["pipelines.kubeflow.org"]


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_the_api_refuses_who_has_no_token_of_the_cluster(kfp, fired, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = urllib.request.Request(f"{kfp.url}/apis/v2beta1/runs?namespace={NAMESPACE}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=20)
    assert refused.value.code == 401


def test_the_night_is_the_day_that_was_scheduled_in_the_cron_jobs_zone(kfp, fired):
    day = fired[0]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"][:10]
    assert day != f"{datetime.now(UTC):%Y-%m-%d}"  # it is another day there
    (run,) = runs_named(kfp, f"hotel-tips-nightly-{day}")
    assert run["runtime_config"]["parameters"]["date"] == day


def test_a_job_that_starts_a_day_late_is_of_the_night_that_was_scheduled(cluster, kfp, production, fired):
    scheduled = datetime.now(ZoneInfo(ZONE)) - timedelta(days=1)
    name = f"{NIGHTLY}-{int(scheduled.timestamp()) // 60}"
    cluster.apply(job_of(cron_job(production, NIGHTLY), name))
    cluster.completes(NAMESPACE, name, 240)
    assert len(runs_named(kfp, f"hotel-tips-nightly-{scheduled:%Y-%m-%d}")) == 1


def test_a_night_that_failed_is_entered_again_by_a_further_job_and_at_last_as_documented(
    cluster, kfp, production, fired
):
    (run,) = [run for run in kfp.backend.runs if run["run_id"] in fired[1]]
    night, day = run["display_name"], run["runtime_config"]["parameters"]["date"]
    for number in (2, 3):
        kfp.backend.become(run["run_id"], "FAILED")
        cluster.apply(job_of(cron_job(production, NIGHTLY), f"further-{number}", f"--date={day}"))
        cluster.completes(NAMESPACE, f"further-{number}", 240)
        (run,) = runs_named(kfp, f"{night}-{number}")
    kfp.backend.become(run["run_id"], "FAILED")
    cluster.apply(job_of(cron_job(production, NIGHTLY), "fourth", f"--date={day}"))
    assert cluster.ended(NAMESPACE, "fourth", 240) == "Failed"
    assert f"submit it with --name {night}-4 --date {day}." in cluster.ask("logs", "-n", NAMESPACE, "job/fourth")
    guide = (ROOT / "docs/deploy.md").read_text().replace("2026-11-01-2", f"{day}-4").replace("2026-11-01", day)
    create, change = re.search(r"kubectl (.*? create job again .*?) \\\n *\| sed '(.*?)'", guide).groups()
    job = subprocess.run(
        ["sed", change], input=cluster.ask(*create.split()), capture_output=True, text=True, check=True
    )
    cluster.ask("apply", "-f", "-", stdin=job.stdout)
    cluster.completes(NAMESPACE, "again", 240)
    assert len(runs_named(kfp, f"{night}-4")) == 1


def test_the_api_refuses_an_account_without_the_role(cluster, kfp, fired):
    token = cluster.ask("create", "token", "default", "-n", NAMESPACE, "--audience=pipelines.kubeflow.org").strip()
    asked = urllib.request.Request(
        f"{kfp.url}/apis/v2beta1/runs?namespace={NAMESPACE}", headers={"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=20)
    assert refused.value.code == 403


def kill_midway(cluster, kfp, job, fault, is_there):
    """Kill a Job's pod while the API lets it wait for an answer."""
    kfp.backend.faults.append(fault)
    cluster.apply(job)
    name, story = job["metadata"]["name"], f"job-name={job['metadata']['name']}"
    until(lambda: fault.times == 0, 120, lambda: cluster.story(NAMESPACE, story))
    until(lambda: len(runs_named(kfp, name)) == is_there, 20, f"{is_there} runs must be there when the pod is killed")
    cluster.ask("delete", "pods", "-n", NAMESPACE, "-l", story, "--force", "--grace-period=0")


def test_pods_killed_midway_and_retried_submit_one_run(cluster, kfp, production, fired):
    """One pod is killed before its run is there, another when it is, but the answer has not come."""
    cron = cron_job(production, NIGHTLY)
    before, after = (job_of(cron, name, f"--name={name}") for name in ("killed-before", "killed-after"))
    kill_midway(cluster, kfp, before, Fault("GET", "/experiments$", "slow", seconds=MIDWAY_S), is_there=0)
    kill_midway(cluster, kfp, after, Fault("POST", "/runs$", "slow", after=True, seconds=MIDWAY_S), is_there=1)
    for job in (before, after):
        name = job["metadata"]["name"]
        cluster.completes(NAMESPACE, name, 300)
        assert len(runs_named(kfp, name)) == 1
    assert kfp.backend.violations == []
