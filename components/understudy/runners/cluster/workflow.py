"""Read why a node of a run failed from its Workflow, the engine's own object, where the account may.

The pipelines API hands no messages on: that a ServiceAccount is missing or a quota is full, only the Workflow says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from understudy.secrets.keys import redact

RUN_LABEL = "pipeline/runid"
TIMEOUTS_S = (5, 10)  # to connect, and to wait for an answer
MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Node:
    """A node that failed, and the engine's message.

    Attributes:
        name: path of the node, as "nightly-x(0).root(0).shard(0).executor(0)".
        message: why it failed.
    """

    name: str
    message: str


def failed_nodes(namespace: str, run_id: str) -> list[Node]:
    """Read the nodes of a run's Workflow that failed with a message, the deepest first.

    Returns:
        none where there is no kubeconfig, no access or no such Workflow: `how_to_read` says how a person finds out.
    """
    import kubernetes.client
    from kubernetes.config import ConfigException, new_client_from_config
    from urllib3.exceptions import HTTPError

    try:
        workflows = kubernetes.client.CustomObjectsApi(new_client_from_config()).list_namespaced_custom_object(
            *("argoproj.io", "v1alpha1", namespace, "workflows"),
            label_selector=f"{RUN_LABEL}={run_id}",
            _request_timeout=TIMEOUTS_S,
        )["items"]
    except (ConfigException, kubernetes.client.ApiException, HTTPError, OSError):
        return []  # the reason was asked for beside the run's state, which is said whatever becomes of this
    return [node for workflow in workflows for node in nodes_of(workflow)]


def nodes_of(workflow: Any) -> list[Node]:
    """Return the nodes of a Workflow that failed with a message, the deepest first, and then the Workflow itself.

    >>> nodes = {"b": {"name": "n(0).root(0).shard(0).executor", "phase": "Error", "message": "no account"}}
    >>> nodes_of({"metadata": {"name": "n"}, "status": {"nodes": nodes, "message": "stopped"}})
    [Node(name='n(0).root(0).shard(0).executor', message='no account'), Node(name='n', message='stopped')]
    """
    status = workflow.get("status", {})
    told = [
        Node(str(node["name"]), redact(str(node["message"]))[:MOST_CHARACTERS])
        for node in status.get("nodes", {}).values()
        if node.get("phase") in {"Failed", "Error"} and node.get("message")
    ]
    told.sort(key=lambda node: (-node.name.count("."), node.name))
    if message := status.get("message"):
        told.append(Node(str(workflow["metadata"]["name"]), redact(str(message))[:MOST_CHARACTERS]))
    return told


def message_of(nodes: Sequence[Node], step: str) -> str:
    """Return the engine's message of a step that failed: of its executor, or of its driver; empty when there is none.

    >>> message_of([Node("n(0).root(0).shard(0).executor(0)", "no account")], "shard")
    'no account'
    """
    own = {step, f"{step}-driver"}
    return next((node.message for node in nodes if own & {part.partition("(")[0] for part in node.name.split(".")}), "")


def how_to_read(namespace: str, run_id: str) -> str:
    """Return the command by which a person reads the Workflow of a run."""
    return f"kubectl -n {namespace} describe workflow -l {RUN_LABEL}={run_id}"
