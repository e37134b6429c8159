"""Network policies, Pod Security and the quota: they refuse what they should, and accept what is ours."""

import pytest

from tests.cluster.backend import Backend, Outputs, executor_input
from tests.cluster.installation import NAMESPACE
from tests.cluster.kube import of_kind, until
from tests.cluster.pods import forwarder, python_pod, reached
from understudy.pipelines.compile import PIPELINES

TEACHER_CLIENT = {"understudy/teacher-client": "true"}
ELASTICSEARCH_CLIENT = {"understudy/elasticsearch-client": "true"}
SUBMIT = {"app.kubernetes.io/name": "understudy-submit"}


def address(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


@pytest.fixture(scope="module")
def servers(cluster, production, bucket, elastic_url, outside):
    """Every server that a pod might try, by name."""
    own = {"store": address(bucket.url), "elasticsearch": address(elastic_url)}
    kfp = {"pipelines API": ("ml-pipeline.kubeflow.svc.cluster.local", 8888)}
    return own | kfp | outside


@pytest.fixture(scope="module")
def free(cluster):
    """A namespace that no policy holds for."""
    return cluster.namespace("free")


EVERYTHING = {"store", "elasticsearch", "pipelines API", "teacher", "elsewhere"}


@pytest.mark.parametrize(
    ("name", "labels", "ways"),
    [
        ("a-step", {}, {"store", "pipelines API"}),
        ("a-teacher-client", TEACHER_CLIENT, {"store", "pipelines API", "teacher"}),
        ("an-index-client", ELASTICSEARCH_CLIENT, {"store", "pipelines API", "elasticsearch"}),
        ("a-submitter", SUBMIT, {"store", "pipelines API"}),
    ],
)
def test_a_pod_reaches_what_its_policies_name(cluster, servers, name, labels, ways):
    found = reached(cluster, name, NAMESPACE, servers, labels)
    assert {server for server, is_reached in found.items() if is_reached} == ways


def test_a_pod_without_policies_reaches_everything(cluster, servers, free):
    """Else the test before would prove nothing."""
    assert reached(cluster, "unwatched", free, servers) == dict.fromkeys(EVERYTHING, True)


def test_nobody_comes_in(cluster, servers, free, bucket):
    for namespace in (NAMESPACE, free):
        cluster.apply(forwarder("listener", namespace, *address(bucket.url)))
        cluster.ask("wait", "-n", namespace, "pod/listener", "--for=condition=Ready", "--timeout=60s")
    ips = {ns: cluster.get("pod", "-n", ns, "listener")["status"]["podIP"] for ns in (NAMESPACE, free)}
    tried = {namespace: (ip, 8888) for namespace, ip in ips.items()}
    assert reached(cluster, "visitor", free, tried) == {NAMESPACE: False, free: True}


def changed(spec=None, container=None):
    pod = python_pod("intruder", NAMESPACE, "pass")
    pod["spec"] |= spec or {}
    pod["spec"]["containers"][0] |= container or {}
    return pod


@pytest.mark.parametrize(
    "pod",
    [
        changed(container={"securityContext": {"privileged": True}}),
        changed(container={"securityContext": {"allowPrivilegeEscalation": False}}),
        changed(spec={"securityContext": {"runAsUser": 0}}),
        changed(spec={"hostNetwork": True}),
        changed(spec={"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}),
    ],
    ids=["privileged", "capabilities", "root", "host network", "host path"],
)
def test_pod_security_refuses(cluster, production, pod):
    assert 'violates PodSecurity "restricted' in cluster.refuses(pod)


def pod_of(job):
    """Return the pod that a Job or CronJob makes: Pod Security judges pods alone."""
    spec = job["spec"].get("jobTemplate", job)["spec"]
    about = {"name": job["metadata"]["name"], "namespace": NAMESPACE}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec["template"]["spec"]}
    return {**pod, "spec": {**pod["spec"], "restartPolicy": "Never"}}


def step_pods(cluster, objects):
    """Return the pod of every step of every deployed pipeline."""
    for version in of_kind(objects, "PipelineVersion").values():
        spec = version["spec"]["pipelineSpec"]
        backend = Backend(cluster, NAMESPACE, spec, version["spec"]["platformSpec"], "s3://bucket/run", None)
        for component in spec["components"].values():
            if label := component.get("executorLabel"):
                declared = component.get("inputDefinitions", {}).get("parameters", {})
                given = executor_input(component, Outputs(dict.fromkeys(declared, "")), "s3://bucket/run/task")
                yield pod_of(backend.job(label.removeprefix("exec-"), label, given))


def test_pod_security_accepts_every_pod_of_ours(cluster, production):
    crons = [pod_of(cron) for cron in of_kind(production, "CronJob").values()]
    steps = list(step_pods(cluster, production))
    assert len(crons) == len(PIPELINES)
    assert len(steps) > 14
    for pod in crons + steps:
        cluster.apply(pod, dry_run=True)


def test_the_quota_refuses_what_is_too_much_and_accepts_every_step(cluster, installed, production):
    namespace = cluster.namespace("quota")
    objects = installed.build(installed.with_component("quota"))
    bounds = [one for one in objects if one["kind"] in {"ResourceQuota", "LimitRange"}]
    cluster.apply(*({**one, "metadata": {"name": one["metadata"]["name"], "namespace": namespace}} for one in bounds))
    until(lambda: "hard" in cluster.get("-n", namespace, "resourcequota/understudy")["status"], 30, "no quota")
    greedy = python_pod("greedy", namespace, "pass")
    greedy["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500"}, "limits": {"cpu": "500"}}
    assert "exceeded quota" in cluster.refuses(greedy)
    for pod in step_pods(cluster, production):
        pod["metadata"]["namespace"] = namespace
        cluster.apply(pod, dry_run=True)
