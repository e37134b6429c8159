"""Tell a Kubeflow Model Registry of a published version: model, version and artifact, each made once.

Each is looked for by its name before it is made, and whoever finds that another was faster looks again: doing it twice
changes nothing. It never keeps a version from being published.

Source: the registry's own definition of its API, v1alpha3 (kubeflow/model-registry, api/openapi/model-registry.yaml).
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request

from understudy.errors import UnderstudyError
from understudy.runtime.http import Unsent, send
from understudy.runtime.retry import Patience
from understudy.secrets.keys import read_secret
from understudy.store import codecs

API = "/api/model_registry/v1alpha3"
TOKEN = "MODEL_REGISTRY_TOKEN"  # noqa: S105 - the name of a variable
RUN_ID, RUN_NAME, RUN_NAMESPACE = "UNDERSTUDY_RUN_ID", "UNDERSTUDY_RUN_NAME", "UNDERSTUDY_RUN_NAMESPACE"
PATIENCE = Patience(retries=3, longest_pause_s=8, total_s=30)
ABSENT, TAKEN = 404, 409

Body = dict[str, Any]


class Unregistered(UnderstudyError):
    """The registry has not taken a version; the message is one for a headline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the registry is told.

    Attributes:
        model: name of the registered model: the card's.
        question: of the card, which describes the model.
        version: of the bundle.
        headline: what evaluate found, which describes the version.
        uri: folder of the bundle in the store.
        properties: figures and facts by name.
        run_id: of the pipeline run; empty where there is none.
        run_name: of its Workflow.
        namespace: in which it ran.
    """

    model: str
    question: str
    version: str
    headline: str
    uri: str
    properties: Mapping[str, str | float | bool]
    run_id: str = ""
    run_name: str = ""
    namespace: str = ""


def entry(card: Any, evaluation: Mapping[str, Any], version: str, uri: str) -> Entry:
    """Describe a published version by its card, its evaluation and the run that it is made by."""
    return Entry(
        model=card.name,
        question=card.question,
        version=version,
        headline=str(evaluation["reason"]) or str(evaluation["decision"]),
        uri=uri,
        properties={**figures_of(evaluation), "card_hash": card.hash, "is_rehearsal": bool(evaluation["is_rehearsal"])},
        run_id=os.environ.get(RUN_ID, ""),
        run_name=os.environ.get(RUN_NAME, ""),
        namespace=os.environ.get(RUN_NAMESPACE, ""),
    )


def figures_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the student's figures on the human test split, by name; those that have no value are left out.

    >>> figures_of({"systems": [{"name": "student", "figures": {"f1": {"value": 0.8}, "recall": {"value": None}}}]})
    {'f1': 0.8}
    """
    students = (system["figures"] for system in evaluation["systems"] if system["name"] == "student")
    figures: Mapping[str, Any] = next(students, {})
    values = {name: figure.get("value") for name, figure in figures.items() if isinstance(figure, Mapping)}
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def register(address: str, told: Entry) -> None:
    """See that the registry has the model, the version and its artifact.

    Raises:
        Unregistered: it could not be told, or answered what cannot be.
    """
    try:
        model = _once(address, "registered_model", "registered_models", _model(told))
        version = _once(address, "model_version", "model_versions", _version(told, model), parent=model)
        _once(address, "model_artifact", f"model_versions/{version}/artifacts", _artifact(told), parent=version)
    except Unsent as error:
        raise Unregistered(f"the model registry was not told ({error}; {address})") from error


def _model(told: Entry) -> Body:
    return {"name": told.model, "description": told.question}


def _version(told: Entry, model: str) -> Body:
    properties = {name: _value(value) for name, value in told.properties.items()}
    return {
        "name": told.version,
        "registeredModelId": model,
        "description": told.headline,
        "author": "understudy",
        "customProperties": properties,
    }


def _artifact(told: Entry) -> Body:
    source = {
        "modelSourceKind": "kfp",
        "modelSourceClass": "pipelinerun",
        "modelSourceGroup": told.namespace,
        "modelSourceId": told.run_id,
        "modelSourceName": told.run_name,
    }
    return {
        "artifactType": "model-artifact",
        "name": told.version,
        "uri": told.uri,
        "modelFormatName": "ONNX",
        "state": "LIVE",
        **(source if told.run_id else {}),
    }


def _value(value: str | float | bool) -> Body:
    """Write a property in the registry's form.

    >>> _value(0.5)["metadataType"], _value(True)["metadataType"], _value("a")["metadataType"]
    ('MetadataDoubleValue', 'MetadataBoolValue', 'MetadataStringValue')
    """
    if isinstance(value, bool):
        return {"metadataType": "MetadataBoolValue", "bool_value": value}
    if isinstance(value, float):
        return {"metadataType": "MetadataDoubleValue", "double_value": value}
    return {"metadataType": "MetadataStringValue", "string_value": value}


def _once(address: str, search: str, collection: str, body: Body, parent: str = "") -> str:
    """Return the id of a thing of the registry by its name, made where there is none."""
    query = {"name": body["name"], **({"parentResourceId": parent} if parent else {})}
    if (found := _found(address, search, query)) is not None:
        return found
    try:
        return _id(_ask(address, collection, body), collection)
    except Unsent as error:
        found = _found(address, search, query) if error.status == TAKEN else None
        if found is None:
            raise
        return found


def _found(address: str, search: str, query: Mapping[str, str]) -> str | None:
    try:
        return _id(_ask(address, f"{search}?{urlencode(query)}"), search)
    except Unsent as error:
        if error.status == ABSENT:
            return None
        raise


def _ask(address: str, path: str, body: Body | None = None) -> bytes:
    token = read_secret(TOKEN)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    url = f"{address.rstrip('/')}{API}/{path}"
    return send(Request(url, data, headers, method="GET" if body is None else "POST"), PATIENCE)  # noqa: S310 - the card lets http(s) through only


def _id(answer: bytes, where: str) -> str:
    said = codecs.read_mapping(answer, where)
    if not isinstance(said.get("id"), str):
        raise Unregistered(f"the model registry answered without an id ({where})")
    return str(said["id"])
