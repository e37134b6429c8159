"""How long a run may take and stays, and what every step's pod bears: whose it is, who pays, which queue."""

import pytest
from google.protobuf.json_format import MessageToDict

from understudy.errors import BadInput
from understudy.pipelines import resources
from understudy.pipelines.compile import PIPELINES, build, load_pipeline, pods
from understudy.pipelines.labels import FILE, pod_labels
from understudy.pipelines.nightly import nightly
from understudy.pipelines.single import single
from understudy.task.steps import STEPS

QUEUE = "kueue.x-k8s.io/queue-name"  # https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/


def on_kubernetes(pipeline):
    return MessageToDict(pipeline.platform_spec)["platforms"]["kubernetes"]


def labels_of(pipeline):
    executors = on_kubernetes(pipeline)["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): it["podMetadata"]["labels"] for name, it in executors.items()}


def write(folder, text):
    (folder / FILE).write_text(text)
    return pod_labels(folder)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_run_has_a_deadline_and_goes_a_week_after_its_end(name):
    config = on_kubernetes(load_pipeline(name))["pipelineConfig"]
    assert config == {"activeDeadlineSeconds": resources.LONGEST_S[name], "resourceTtlOnCompletion": 7 * 86400}


def test_a_step_that_runs_alone_goes_a_week_after_its_end_too():
    platform = single("index", pods()["index"])["platform_spec"]["platforms"]["kubernetes"]
    assert platform["pipelineConfig"] == {"resourceTtlOnCompletion": 7 * 86400}
    assert set(platform["deploymentSpec"]["executors"]) == {"exec-index"}


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pod_says_that_it_is_ours_and_which_step(name):
    for step, labels in labels_of(load_pipeline(name)).items():
        assert step in STEPS
        assert labels["app.kubernetes.io/part-of"] == "understudy"
        assert labels["app.kubernetes.io/component"] == step


def test_the_labels_of_an_installation_are_on_every_pod(tmp_path, monkeypatch):
    said = write(tmp_path, f'{{cost-center: "4711", {QUEUE}: understudy}}')
    monkeypatch.setattr(resources, "pod_labels", lambda: said)
    found = labels_of(build.__wrapped__(nightly))
    assert set(found) == {"shard", "infer", "index", "watch"}
    assert all({"cost-center": "4711", QUEUE: "understudy"}.items() <= labels.items() for labels in found.values())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cost-center: 4711", "must be text by key"),
        ("owner: not one word", "must have a key and a value as Kubernetes takes them"),
        ("understudy/teacher-client: 'true'", "must not be every pod's"),
        ("[a, b]", "must be text by key"),
    ],
)
def test_a_label_that_kubernetes_or_a_policy_would_stumble_over_is_refused(tmp_path, text, told):
    with pytest.raises(BadInput, match=told):
        write(tmp_path, text)


def test_without_manifests_there_are_none(tmp_path):
    assert pod_labels(tmp_path) == {}
