"""What the real backend 2.17.0 left behind of this project's own pipelines, as its API and its Workflows tell it."""

import json

from tests.services.kfp_api import shared

STATES = {"Succeeded": "SUCCEEDED", "Failed": "FAILED", "Error": "FAILED", "Omitted": "SKIPPED", "Running": "RUNNING"}


def read(name):
    """Read a recorded Workflow: name, phase, message and nodes."""
    return json.loads((shared() / "kfp" / "recorded" / f"{name}.json").read_text())


def tasks(name):
    """Return a recorded Workflow's nodes as the API's tasks, twins included; it hands no messages on."""
    return [
        {"task_id": node["name"], "display_name": node["displayName"], "state": STATES[node["phase"]]}
        for node in read(name)["nodes"]
    ]


def workflow(name, message=None):
    """Return a recorded Workflow as the Kubernetes API gives it; `message` takes the place of every node's own."""
    said = read(name)
    nodes = {
        node["name"]: {**node, **({"message": message} if node["message"] and message else {})}
        for node in said["nodes"]
    }
    return {"metadata": {"name": said["workflow"]}, "status": {"phase": said["phase"], "nodes": nodes}}
