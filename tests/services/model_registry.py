"""A server that speaks the part of the Model Registry's REST API (v1alpha3) that publish uses, for tests.

Paths, required fields, forms of values, and statuses are those of the registry's definition
(kubeflow/model-registry, api/openapi/model-registry.yaml): what breaks them is kept in `violations`,
and answered with 400.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.services.local import Quiet, serving

API = "/api/model_registry/v1alpha3/"
BASE = {"name", "description", "externalId", "customProperties"}
MODEL = BASE | {"readme", "maturity", "language", "tasks", "provider", "license", "licenseLink", "libraryName", "owner"}
VERSION = BASE | {"registeredModelId", "state", "author"}
SOURCE = {"modelSourceKind", "modelSourceClass", "modelSourceGroup", "modelSourceId", "modelSourceName"}
FORMAT = {"modelFormatName", "modelFormatVersion", "storageKey", "storagePath", "serviceAccountName"}
ARTIFACT = BASE | SOURCE | FORMAT | {"artifactType", "uri", "state"}
ARTIFACT_STATES = {"UNKNOWN", "PENDING", "LIVE", "MARKED_FOR_DELETION", "DELETED", "ABANDONED", "REFERENCE"}
KINDS = ("model", "version", "artifact")
VALUES = {"MetadataDoubleValue": ("double_value", float), "MetadataBoolValue": ("bool_value", bool)}
VALUES |= {"MetadataStringValue": ("string_value", str), "MetadataIntValue": ("int_value", str)}


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass
class Registry:
    """What the server knows, and what goes wrong with it.

    Attributes:
        token: that a request must bear; empty for none.
        status: that every request is answered with; 0 for its own.
        lost: how many creations are done and answered with 503.
    """

    token: str = ""
    status: int = 0
    lost: int = 0
    things: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"model": [], "version": [], "artifact": []}
    )
    violations: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def find(self, kind: str, query: dict[str, str]) -> dict[str, Any]:
        """Find one by its name, and by its parent where there is one."""
        if not query.get("name"):
            raise Refused(400, "a search needs a name")
        parent = query.get("parentResourceId", "")
        found = [it for it in self.things[kind] if it["name"] == query["name"] and it["parent"] in {parent, ""}]
        if not found:
            raise Refused(404, f"no {kind} of that name")
        return found[0]

    def create(
        self, kind: str, body: dict[str, Any], known: set[str], required: set[str], parent: str
    ) -> dict[str, Any]:
        """Create one whose name is free under its parent."""
        if not required <= set(body) or not set(body) <= known:
            raise Refused(400, f"{kind}: must have {sorted(required)}, may have {sorted(known)}, has {sorted(body)}")
        for name, value in body.get("customProperties", {}).items():
            slot, type_ = VALUES.get(value.get("metadataType"), ("", object))
            if set(value) != {"metadataType", slot} or type(value[slot]) is not type_:
                raise Refused(400, f"{kind}: customProperties {name} has no form of the definition: {value}")
        if any(it["name"] == body["name"] and it["parent"] == parent for it in self.things[kind]):
            raise Refused(409, f"{kind} {body['name']} exists")
        made = {**body, "id": str(sum(map(len, self.things.values())) + 1), "parent": parent}
        self.things[kind].append(made)
        return made

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one request as the definition has it."""
        match (method, path.split("/")):
            case "GET", ["registered_model"]:
                return 200, self.find("model", query)
            case "GET", ["model_version"]:
                return 200, self.find("version", query)
            case "GET", ["model_artifact"]:
                return 200, self.find("artifact", query)
            case "POST", ["registered_models"]:
                return 201, self.create("model", body, MODEL | {"state"}, {"name"}, "")
            case "POST", ["model_versions"]:
                parent = self._existing("model", str(body.get("registeredModelId")))
                return 201, self.create("version", body, VERSION, {"name", "registeredModelId"}, parent)
            case "POST", ["model_versions", version, "artifacts"]:
                if body.get("artifactType") != "model-artifact" or body.get("state") not in ARTIFACT_STATES:
                    raise Refused(400, "an artifact needs its type and a state of the definition")
                return 201, self.create("artifact", body, ARTIFACT, {"name"}, self._existing("version", version))
        raise Refused(404, f"no operation {method} {path}")

    def handle(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], bearer: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Answer one request, with what is to go wrong."""
        self.requests.append(f"{method} {path}")
        if self.status:
            raise Refused(self.status, "as the test wants it")
        if self.token and bearer != f"Bearer {self.token}":
            raise Refused(401, "no token")
        status, said = self.answer(method, path, query, body)
        if method == "POST" and self.lost:
            self.lost -= 1
            raise Refused(503, "lost")
        return status, said

    def _existing(self, kind: str, number: str) -> str:
        if not any(it["id"] == number for it in self.things[kind]):
            raise Refused(404, f"no {kind} {number}")
        return number


@contextmanager
def serve(registry: Registry) -> Iterator[str]:
    """Serve until the block ends; yields the address."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.body()))

        def _answer(self, body: dict[str, Any]) -> None:
            parts = urlsplit(self.path)
            path, query = parts.path.removeprefix(API), dict(parse_qsl(parts.query))
            try:
                status, said = registry.handle(self.command, path, query, body, self.headers["Authorization"])
            except Refused as refused:
                if refused.status == 400:
                    registry.violations.append(str(refused))
                status, said = refused.status, {"code": str(refused.status), "message": str(refused)}
            shown = {name: value for name, value in said.items() if name != "parent"}
            self.send(status, json.dumps(shown).encode(), {"Content-Type": "application/json"})

    with serving(Handler) as url:
        yield url
