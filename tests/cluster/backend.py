"""What KFP's backend does with a compiled pipeline, for tests: it walks the graph, and each task becomes a pod.

The walk and the executor inputs are those of the backend's driver for what our pipelines use: parameters, artifacts,
loops over a list parameter, a condition that compares a parameter. Command, arguments, image, resources, Kubernetes
settings and how often a lost pod is begun anew come from the YAML alone.

Source: kubeflow/pipelines backend/src/v2/driver/driver.go (resolveInputs, provisionOutputs, initPodSpecPatch).
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cluster import launcher
from tests.cluster.kube import Cluster, Object
from tests.cluster.launcher import TOLD
from understudy.runtime.shell import execute

LAUNCHER = Path(__file__).with_name("launcher.py")
LAUNCHER_MAP, MAIN = "launcher", "main"
SCRATCH = ("/s3", "/minio", "/gcs", "/.local", "/.cache", "/.config", "/tmp")  # noqa: S108 - paths in the pod
CONDITION = re.compile(r"inputs\.parameter_values\['(?P<name>[^']+)'\] == '(?P<value>[^']*)'")
RETURNED = {"train": "seconds"}  # what a component returns of what its step says
OUTPUT_DIR, METADATA_FILE = "/tmp/kfp/outputs", "/tmp/kfp_outputs/output_metadata.json"  # noqa: S108 - as in the pod
# The compiler of the backend adds these (argocompiler/security_context.go); the read-only root is a promise of our own.
SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESOURCES = {
    "resourceCpuRequest": ("requests", "cpu"),
    "resourceMemoryRequest": ("requests", "memory"),
    "resourceCpuLimit": ("limits", "cpu"),
    "resourceMemoryLimit": ("limits", "memory"),
}


class TaskFailed(AssertionError):
    """A task of the run has failed, and so has the run."""


@dataclass(frozen=True)
class Outputs:
    """What a task left: values by parameter, addresses by artifact."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, Object] = field(default_factory=dict)


@dataclass(frozen=True)
class Backend:
    """One run of one pipeline.

    Attributes:
        cluster: where the pods run.
        namespace: and in which namespace.
        spec: the pipeline, first document of the YAML.
        platform: what Kubernetes is told beside it, second document; empty when there is none.
        root: s3:// address that gets the artifacts.
        s3: boto3's client, to read what tasks said.
        account: service account of the pods.
        name: of the run, with which the pods' names begin.
        here: tasks that become no pods, as their image is too large for these tests: this process carries them out.
        timeout_s: of each pod.
    """

    cluster: Cluster
    namespace: str
    spec: Object
    platform: Object
    root: str
    s3: Any
    account: str = "default"
    name: str = "run"
    here: Collection[str] = ()
    timeout_s: float = 240

    def run(self, arguments: Mapping[str, Any]) -> dict[str, list[Outputs]]:
        """Run the pipeline, and return what each task left, one for each turn of a loop."""
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _named(LAUNCHER_MAP, self.namespace)}
        self.cluster.apply({**config_map, "data": {LAUNCHER.name: LAUNCHER.read_text(encoding="utf-8")}})
        scope = Outputs(_with_defaults(self.spec["root"], arguments))
        return self._dag(self.spec["root"]["dag"], scope, "")

    def _dag(self, dag: Object, scope: Outputs, turn: str) -> dict[str, list[Outputs]]:
        done: dict[str, list[Outputs]] = {}
        waiting = dict(dag["tasks"])
        while waiting:
            name = next(name for name, task in waiting.items() if set(task.get("dependentTasks", [])) <= set(done))
            task = waiting.pop(name)
            inputs = _inputs(task, scope, done)
            component = self.spec["components"][task["componentRef"]["name"]]
            if "parameterIterator" in task:
                done |= {name: [], **self._loop(task["parameterIterator"], component, inputs, turn)}
            elif "dag" in component:
                done |= {name: [], **(self._dag(component["dag"], inputs, turn) if _holds(task, inputs) else {})}
            elif name in self.here:
                done[name] = [self._carried_out(name, component, inputs)]
            else:
                lost = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
                done[name] = [self._task(name + turn, component, inputs, lost)]
        return done

    def _loop(self, iterator: Object, component: Object, inputs: Outputs, turn: str) -> dict[str, list[Outputs]]:
        """Run the turns of a loop at once, each its own walk of the graph within."""
        items = inputs.parameters[iterator["items"]["inputParameter"]]

        def one(number: int) -> dict[str, list[Outputs]]:
            scope = Outputs({**inputs.parameters, iterator["itemInput"]: items[number]}, inputs.artifacts)
            return self._dag(component["dag"], scope, f"{turn}-{number}")

        with ThreadPoolExecutor() as pool:
            turns = list(pool.map(one, range(len(items))))
        return {name: [outputs for found in turns for outputs in found[name]] for name in turns[0]}

    def _task(self, name: str, component: Object, inputs: Outputs, most_lost: int) -> Outputs:
        label = component["executorLabel"]
        given = executor_input(component, inputs, f"{self.root}/{name}")
        self._pod_of(name, label, given, most_lost)
        made = {key: value["artifacts"][0] for key, value in given["outputs"].get("artifacts", {}).items()}
        bucket, _, key = f"{self.root}/{name}/{TOLD}".removeprefix("s3://").partition("/")
        told = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return Outputs(told.get("parameterValues", {}), made)

    def _pod_of(self, name: str, label: str, given: Object, most_lost: int) -> None:
        """Run a task's pod to its good end, and anew when it is lost, as stock KFP's `retryPolicy: OnError` has it.

        Raises:
            TaskFailed: its container has ended with an error, which is never repeated, or too many pods were lost.
        """
        for number in range(most_lost + 1):
            job = self.job(f"{name}-{number}" if number else name, label, given)
            self.cluster.apply(job)
            made = job["metadata"]["name"]
            if self.cluster.ended(self.namespace, made, self.timeout_s) == "Complete":
                return
            if not is_lost(self.cluster.get("pods", "-n", self.namespace, "-l", f"job-name={made}")["items"]):
                raise TaskFailed(f"{name}: {self.cluster.story(self.namespace, f'job-name={made}')}")
        raise TaskFailed(f"{name}: {most_lost + 1} pods were lost")

    def _carried_out(self, name: str, component: Object, inputs: Outputs) -> Outputs:
        given = executor_input(component, inputs, f"{self.root}/{name}")
        listed = {**given["inputs"]["artifacts"], **given["outputs"]["artifacts"]}
        uris = {key: about["artifacts"][0]["uri"] for key, about in listed.items() if key != "metrics"}
        with TemporaryDirectory() as folder:
            paths = {key: launcher.local_path(uri, Path(folder)) for key, uri in uris.items()}
            for key in given["inputs"]["artifacts"]:
                launcher.download(self.s3, uris[key], Path(folder))
            said = execute(name, {**given["inputs"]["parameterValues"], **paths}, uris).parameters
            for uri in launcher.artifacts(given["outputs"]):
                launcher.upload(self.s3, uri, Path(folder))
        parameters = dict.fromkeys(given["outputs"].get("parameters", {}), said.get(RETURNED.get(name, "")))
        return Outputs(parameters, {key: about["artifacts"][0] for key, about in given["outputs"]["artifacts"].items()})

    def job(self, name: str, label: str, given: Object) -> Object:
        """Return the Job of a task: its executor's container, started by the launcher."""
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        settings = kubernetes_settings(self.platform, label)
        main = {
            "name": MAIN,
            "image": container["image"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", f"/kfp-launcher/{LAUNCHER.name}", json.dumps(given)],
            "args": [*container["command"], *container["args"]],
            "env": settings["env"],
            "resources": _resources(container.get("resources", {})),
            "securityContext": {**SAFE, **settings["securityContext"]},
            "volumeMounts": [
                {"name": "launcher", "mountPath": "/kfp-launcher"},
                *({"name": _volume(path), "mountPath": path} for path in SCRATCH),
            ],
        }
        volumes = [{"name": "launcher", "configMap": {"name": LAUNCHER_MAP}}]
        volumes += [{"name": _volume(path), "emptyDir": {}} for path in SCRATCH]
        spec = {"restartPolicy": "Never", "serviceAccountName": self.account, "containers": [main], "volumes": volumes}
        spec |= settings["spec"]
        template = {"metadata": {"labels": settings["labels"]}, "spec": spec}
        about = {"apiVersion": "batch/v1", "kind": "Job", "metadata": _named(f"{self.name}-{name}", self.namespace)}
        return {**about, "spec": {"backoffLimit": 0, "template": template}}


def is_lost(pods: Sequence[Object]) -> bool:
    """Tell whether a task that did not end well has lost its pod; if not, its main container has ended with an error.

    Argo calls the first an error of the node and the second a failure: a pod that was deleted, whatever its containers
    came to by that, and one whose wait container failed.

    Source: Argo Workflows, workflow/controller/operator.go, podReconciliation and inferFailedReason.
    """
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    ends = [
        container["state"]["terminated"]["exitCode"]
        for pod in staying
        for container in pod["status"].get("containerStatuses", [])
        if container["name"] == MAIN and "terminated" in container["state"]
    ]
    return not any(ends)


def executor_input(component: Object, inputs: Outputs, folder: str) -> Object:
    """Return the executor input that the driver makes for a task whose artifacts go under `folder`."""
    declared = component.get("outputDefinitions", {})
    outputs: Object = {"outputFile": METADATA_FILE}
    if names := declared.get("parameters"):
        outputs["parameters"] = {name: {"outputFile": f"{OUTPUT_DIR}/{name}"} for name in names}
    outputs["artifacts"] = {
        name: {"artifacts": [{"name": name, "type": about["artifactType"], "uri": f"{folder}/{name}", "metadata": {}}]}
        for name, about in declared.get("artifacts", {}).items()
    }
    given: Object = {"parameterValues": _with_defaults(component, inputs.parameters)}
    if inputs.artifacts:
        given["artifacts"] = {name: {"artifacts": [artifact]} for name, artifact in inputs.artifacts.items()}
    return {"inputs": given, "outputs": outputs}


def _inputs(task: Object, scope: Outputs, done: Mapping[str, list[Outputs]]) -> Outputs:
    """Find a task's parameters and artifacts: those of the graph around it, another task's, or constants."""
    given = task.get("inputs", {})
    return Outputs(
        {name: _parameter(source, scope, done) for name, source in given.get("parameters", {}).items()},
        {name: _artifact(source, scope, done) for name, source in given.get("artifacts", {}).items()},
    )


def _holds(task: Object, inputs: Outputs) -> bool:
    """Tell whether a task's condition holds; one without a condition always does."""
    if "triggerPolicy" not in task:
        return True
    found = CONDITION.fullmatch(task["triggerPolicy"]["condition"])
    assert found, f"{task['triggerPolicy']} is not a condition that these tests know"
    return bool(inputs.parameters[found["name"]] == found["value"])


def _parameter(source: Object, scope: Outputs, done: Mapping[str, list[Outputs]]) -> Any:
    if produced := source.get("taskOutputParameter"):
        return done[produced["producerTask"]][0].parameters[produced["outputParameterKey"]]
    if "runtimeValue" in source:
        return source["runtimeValue"]["constant"]
    return scope.parameters[source["componentInputParameter"]]


def _artifact(source: Object, scope: Outputs, done: Mapping[str, list[Outputs]]) -> Object:
    if produced := source.get("taskOutputArtifact"):
        return done[produced["producerTask"]][0].artifacts[produced["outputArtifactKey"]]
    return scope.artifacts[source["componentInputArtifact"]]


def _with_defaults(component: Object, given: Mapping[str, Any]) -> Object:
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    defaults = {name: about["defaultValue"] for name, about in declared.items() if "defaultValue" in about}
    missing = set(declared) - set(defaults) - set(given)
    assert not missing, f"The pipeline asks for {sorted(missing)}"
    return {**defaults, **given}


def kubernetes_settings(platform: Object, label: str) -> Object:
    """Turn what kfp-kubernetes wrote for an executor into parts of a pod; what is not known here fails the test."""
    executors = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    left = dict(executors.get(label, {}))
    env = [
        _from_key("secretKeyRef", pair["envVar"], one["secretName"], pair["secretKey"], one)
        for one in left.pop("secretAsEnv", [])
        for pair in one["keyToEnv"]
    ]
    env += [
        _from_key("configMapKeyRef", pair["envVar"], one["configMapName"], pair["configMapKey"], one)
        for one in left.pop("configMapAsEnv", [])
        for pair in one["keyToEnv"]
    ]
    env += [
        {"name": one["name"], "valueFrom": {"fieldRef": {"fieldPath": one["fieldPath"]}}}
        for one in left.pop("fieldPathAsEnv", [])
    ]
    labels = left.pop("podMetadata", {}).get("labels", {})
    user = {
        name: value if isinstance(value, bool) else int(value) for name, value in left.pop("securityContext").items()
    }
    spec = {"tolerations": left.pop("tolerations", []), "nodeSelector": left.pop("nodeSelector", {}).get("labels", {})}
    assert not left, f"Kubernetes settings that this test does not know yet: {sorted(left)}"
    return {"env": env, "labels": labels, "securityContext": user, "spec": spec}


def _from_key(kind: str, variable: str, name: str, key: str, about: Object) -> Object:
    reference = {"name": name, "key": key, "optional": bool(about.get("optional"))}
    return {"name": variable, "valueFrom": {kind: reference}}


def _resources(given: Object) -> Object:
    found: Object = {}
    for name, (side, kind) in RESOURCES.items():
        if name in given:
            found.setdefault(side, {})[kind] = given[name]
    return found


def _named(name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace}


def _volume(path: str) -> str:
    return path.strip("/").replace(".", "dot-") + "-scratch"
