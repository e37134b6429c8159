"""Small pods of the tests' own: one that carries connections on, one that tries which servers it reaches."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.kube import Cluster, Object
from understudy.runtime.images import image_of

FORWARD = Path(__file__).with_name("forward.py")
USER = 65532
CONTAINER_SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
POD_SAFE = {"runAsNonRoot": True, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}}
TRY = """
import json, socket, sys, time
time.sleep(4)  # a policy needs a moment to know a new pod
reached = {}
for name, (host, port) in json.loads(sys.argv[1]).items():
    try:
        socket.create_connection((host, port), timeout=3).close()
        reached[name] = True
    except OSError:
        reached[name] = False
print(json.dumps(reached))
"""


def python_pod(
    name: str, namespace: str, code: str, arguments: Sequence[str] = (), labels: Mapping[str, str] | None = None
) -> Object:
    """Return a pod that runs Python code from the image submit, under "restricted"."""
    container = {
        "name": "main",
        "image": image_of("submit"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code, *arguments],
        "securityContext": CONTAINER_SAFE,
    }
    about = {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}}
    spec = {"restartPolicy": "Never", "containers": [container], "securityContext": POD_SAFE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {**spec, "terminationGracePeriodSeconds": 0}}


def forwarder(name: str, namespace: str, host: str, port: int, labels: Mapping[str, str] | None = None) -> Object:
    """Return a pod that carries connections on to a server of this machine."""
    return python_pod(name, namespace, FORWARD.read_text(encoding="utf-8"), [host, str(port)], labels)


def reached(
    cluster: Cluster,
    name: str,
    namespace: str,
    servers: Mapping[str, tuple[str, int]],
    labels: Mapping[str, str] | None = None,
) -> dict[str, bool]:
    """Say which servers a pod with these labels reaches, by name."""
    cluster.apply(python_pod(name, namespace, TRY, [json.dumps(servers)], labels))
    words = ("wait", "-n", namespace, f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
    assert cluster.run(*words).returncode == 0, cluster.story(namespace, f"app={name}")
    found: dict[str, Any] = json.loads(cluster.ask("logs", "-n", namespace, name))
    return found
