"""What waiting says of a run whose nodes are those that the real backend left behind."""

import json
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.runners import recorded
from tests.runners.clusters import end_when_there
from tests.services.local import Quiet, serving
from understudy.runners.cluster.progress import failed_steps, progress_of

NIGHT_STEPS = ["shard", "infer", "index", "watch"]
TRAINING_STEPS = ["ingest", "label", "audit", "train", "export", "calibrate", "evaluate", "publish", "mine"]
SHARDS = 4
NO_ACCOUNT = "pods is forbidden: error looking up service account understudy/steps: not found"


def run_of(tasks):
    nodes = [SimpleNamespace(error=None, **task) for task in tasks]
    return SimpleNamespace(run_details=SimpleNamespace(task_details=nodes))


@contextmanager
def kubernetes_api(folder, workflow, status=200):
    """Serve one Workflow as the Kubernetes API does; yields a kubeconfig and the queries."""
    asked = []

    class Handler(Quiet):
        def do_GET(self):
            asked.append(urlsplit(self.path))
            body = {"items": [workflow]} if status == 200 else {"kind": "Status", "code": status}
            self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    with serving(Handler) as url:
        named = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = folder / "kubeconfig"
        file.write_text(yaml.safe_dump(named))
        yield file, asked


@pytest.fixture
def use_kubeconfig(monkeypatch):
    """Return a function that names the kubeconfig; the client reads the variable when it is imported."""
    from kubernetes.config import kube_config

    return lambda file: monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))


@pytest.mark.parametrize(
    ("name", "pipeline", "lines"),
    [
        ("nightly-pkdj8", "nightly", [f"{step:<12} succeeded" for step in NIGHT_STEPS]),
        (
            "nightly-4hr4n",
            "nightly",
            [f"{step:<12} {'4 of 4 ' if step == 'infer' else ''}succeeded" for step in NIGHT_STEPS],
        ),
        ("training-2cgv5", "training", [f"{step:<12} succeeded" for step in TRAINING_STEPS]),
        ("rerun-index-469ns", "nightly", ["index        succeeded"]),
    ],
)
def test_a_run_of_the_real_backend_is_a_line_a_step(cluster, command, name, pipeline, lines):
    decided = {"decision": "publish", "reason": "", "headline": "F1 0.8"} if pipeline == "training" else None
    end_when_there(cluster, "SUCCEEDED", recorded.tasks(name), decision=decided)
    done = command(cluster, pipeline, "--wait", "--name", "n")
    assert done.returncode == 0
    said = [line[9:] for line in done.stdout.splitlines() if line[2:3] == ":"]
    assert said == lines


def test_shards_are_counted_while_the_run_is_under_way(definition_here):
    tasks = recorded.tasks("nightly-4hr4n")
    one = next(task for task in tasks if task["display_name"] == "infer")
    under_way = [{**task, "state": "RUNNING"} if task["display_name"] == "infer" else task for task in tasks]
    begun = [task for task in under_way if task["display_name"] != "infer"] + [one]
    (infer,) = (progress for progress in progress_of(run_of(begun)) if progress.step == "infer")
    assert (infer.done, infer.shards) == (1, SHARDS)
    assert str(infer).split() == ["infer", "1", "of", "4"]
    assert "infer" not in {progress.step for progress in progress_of(run_of(under_way))}


def test_a_night_of_many_shards_is_ten_lines_at_most():
    def night(done):
        loop = [f"iteration-iterations({n}:{n})" for n in range(64)]
        states = ["SUCCEEDED"] * done + ["RUNNING"] * (64 - done)
        nodes = [{"task_id": it, "display_name": it, "state": "RUNNING"} for it in loop]
        return run_of(
            nodes + [{"task_id": f"{n}", "display_name": "infer", "state": it} for n, it in enumerate(states)]
        )

    marks = {progress.mark for done in range(1, 65) for progress in progress_of(night(done))}
    assert len(marks) == 11


@pytest.mark.parametrize(
    ("name", "failed"),
    [("nightly-8sp6b", ["shard"]), ("quality-4vjkh", ["watch"]), ("training-klcqm", ["evaluate", "mine"])],
)
def test_a_step_that_failed_is_named_once(definition_here, name, failed):
    assert failed_steps(run_of(recorded.tasks(name))) == failed


def test_a_failure_is_one_line_that_leads_to_its_log_and_to_its_workflow(cluster, command, use_kubeconfig, tmp_path):
    use_kubeconfig(tmp_path / "none")
    end_when_there(cluster, "FAILED", recorded.tasks("nightly-8sp6b"))
    done = command(cluster, "nightly", "--wait")
    leads = "its pod's log says why, or, where there never was a pod, `kubectl -n kubeflow describe workflow"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"shard failed: {leads} -l pipeline/runid={cluster.backend.runs[0]['run_id']}`",
        "The run has ended as FAILED. Mend it, and submit again under another --name.",
    ]


def test_a_pod_that_never_was_is_told_of_in_the_workflows_words(cluster, command, use_kubeconfig, tmp_path):
    end_when_there(cluster, "FAILED", recorded.tasks("nightly-8sp6b"))
    with kubernetes_api(tmp_path, recorded.workflow("nightly-8sp6b", NO_ACCOUNT)) as (kubeconfig, asked):
        use_kubeconfig(kubeconfig)
        done = command(cluster, "nightly", "--wait")
    assert f"shard failed: {NO_ACCOUNT} (its pod's log says why" in done.stderr
    (query,) = asked
    assert query.path == "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows"
    assert parse_qs(query.query)["labelSelector"] == [f"pipeline/runid={cluster.backend.runs[0]['run_id']}"]


def test_an_account_that_may_not_read_workflows_is_told_how_a_person_does(cluster, command, use_kubeconfig, tmp_path):
    end_when_there(cluster, "FAILED", recorded.tasks("quality-4vjkh"))
    with kubernetes_api(tmp_path, {}, status=403) as (kubeconfig, asked):
        use_kubeconfig(kubeconfig)
        done = command(cluster, "quality", "--wait", "--name", "q")
    assert len(asked) == 1
    assert "watch failed: its pod's log says why, or, where there never was a pod, `kubectl" in done.stderr


def test_a_run_whose_first_node_found_no_account_says_so(cluster, command, use_kubeconfig, tmp_path):
    """The real backend: the driver of the root fails, and no step ever is."""
    nodes = [{"task_id": it, "display_name": it, "state": "FAILED"} for it in ("root-driver", "root-driver(0)")]
    end_when_there(cluster, "FAILED", nodes)
    failed = {"name": "n(0).root-driver(0)", "phase": "Error", "message": NO_ACCOUNT}
    workflow = {"metadata": {"name": "n"}, "status": {"phase": "Failed", "nodes": {"a": failed}}}
    with kubernetes_api(tmp_path, workflow) as (kubeconfig, _):
        use_kubeconfig(kubeconfig)
        done = command(cluster, "nightly", "--wait")
    assert f"root failed: {NO_ACCOUNT}" in done.stderr
