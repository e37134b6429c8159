"""Read the labels that an installation gives to every step's pod: whose it is, who pays, which queue it waits in."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadInput
from understudy.pipelines.pins import ROOT

FILE = "pod-labels.yaml"
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
PREFIX = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
KEY, VALUE = re.compile(f"(?:{PREFIX}/)?{NAME}"), re.compile(f"(?:{NAME})?")
OWN = ("understudy/", "app.kubernetes.io/", "pipelines.kubeflow.org/", "workflows.argoproj.io/")


@cache
def pod_labels(root: Path = ROOT) -> Mapping[str, str]:
    """Read the labels of manifests/pod-labels.yaml; none where manifests/ does not lie beside the source.

    Raises:
        BadInput: the file is no mapping of text to text, or a label is not one of Kubernetes or is not the operator's.
    """
    file = root / FILE
    if not file.is_file():
        return {}
    try:
        labels = TypeAdapter(dict[str, str]).validate_python(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise BadInput(f"Labels of pods must be text by key, got {error} ({file}). Quote numbers.") from error
    if faults := [fault for key, value in labels.items() for fault in faults_of(key, value, str(file))]:
        raise BadInput(faults)
    return labels


def faults_of(key: str, value: str, where: str) -> list[str]:
    """Say what keeps a label from being given to every pod.

    >>> faults_of("example.com/team", "search", "pod-labels.yaml")
    []
    >>> len(faults_of("understudy/teacher-client", "not a value", "pod-labels.yaml"))
    2
    """
    faults = []
    if not KEY.fullmatch(key) or not VALUE.fullmatch(value):
        faults.append(
            "A pod's label must have a key and a value as Kubernetes takes them (letters, digits, '-', '_', '.', at "
            f"most 63), got '{key}: {value}' ({where}). Mend it."
        )
    if key.startswith(OWN):
        faults.append(
            f"A label that network policies, KFP or Argo go by must not be every pod's, got '{key}' ({where}). Name "
            "another."
        )
    return faults
