"""A server that speaks the part of the Kubeflow Pipelines REST API (v2beta1) that submit uses, for tests.

Every request and every answer is checked against the official OpenAPI definition (shared/kfp); what breaks it is kept
in `violations`, and answered with 500. Runs and experiments are kept in a JSON file, so that a test can count them. It
runs nothing: a test says what becomes of a run.

    python -m tests.services.kfp_api --port 8888 --state runs.json --manifests manifests/base/pipelines
    python -m tests.services.kfp_api --port 8888 --state runs.json --kubeconfig FILE --namespace understudy

With --kubeconfig it reads Pipeline and PipelineVersion objects from the cluster, has each token reviewed by it
(TokenReview, audience pipelines.kubeflow.org), and asks it whether the account may do what it asks
(SubjectAccessReview, as the multi-user backend does).

    GET  /test/state                  all it knows, with the list of requests and violations
    PUT  /test/runs/<id>              {"state": .., "task_details": [..]}: what becomes of a run
    POST /test/faults                 {"method": "POST", "path": "/runs$", "do": 500, "times": 1}: see `Fault`
"""

import argparse
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema
import yaml

API = "/apis/v2beta1"
AUDIENCE = "pipelines.kubeflow.org"
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}
PLAIN_TYPES = {"string": str, "integer": int, "boolean": bool}


class Unavailable(Exception):
    """The official definition is not here; the message says where it was looked for."""


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass
class Fault:
    """What goes wrong with the next requests of a kind.

    Attributes:
        method: of the request.
        path: a pattern found in its path.
        do: a status to answer, "cut" for a cut connection, "slow" for a slow answer.
        after: the request's work is done before it goes wrong.
        times: with how many requests.
        seconds: how slow.
    """

    method: str
    path: str
    do: Any
    after: bool = False
    times: int = 1
    seconds: float = 1.0


@dataclass(frozen=True)
class Catalogue:
    """Pipelines and versions, as Kubernetes objects."""

    pipelines: list[dict[str, Any]]
    versions: list[dict[str, Any]]


def shared() -> Path:
    """Return the folder of what is shared between projects."""
    return Path(os.environ.get("UNDERSTUDY_SHARED") or Path(__file__).parents[2] / ".." / "shared")


def read_definition() -> dict[str, Any]:
    """Read the official OpenAPI definition; objects take no unknown keys, as the backend refuses them."""
    file = shared() / "kfp" / "kfp_api_single_file.swagger.json"
    if not file.is_file():
        raise Unavailable(f"no {file.resolve()}; UNDERSTUDY_SHARED names the folder that holds kfp/")
    found = json.loads(file.read_text(encoding="utf-8"))
    for schema in found["definitions"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found


FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


class Definition:
    """The official definition: which operation a request is, and whether request and answer keep to it."""

    def __init__(self) -> None:
        self.root = read_definition()
        self.operations = [
            (method.upper(), re.compile(re.sub(r"\\{[^}]*\\}", "([^/:]+)", re.escape(path)) + "$"), operation)
            for path, methods in self.root["paths"].items()
            for method, operation in methods.items()
        ]

    def find(self, method: str, path: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        for known, pattern, operation in self.operations:
            if known == method and (found := pattern.match(path)):
                return operation, tuple(unquote(part) for part in found.groups())
        raise Refused(404, f"no operation {method} {path}")

    def check_request(self, operation: Mapping[str, Any], query: Mapping[str, str], body: Any) -> None:
        known = {it["name"]: it for it in operation.get("parameters", ()) if it["in"] == "query"}
        if strange := sorted(query.keys() - known.keys()):
            raise Refused(400, f"unknown query parameters {strange}")
        for name, value in query.items():
            PLAIN_TYPES[known[name]["type"]](value)
        for it in operation.get("parameters", ()):
            if it["in"] == "body":
                self.check(it["schema"], body)

    def check_answer(self, operation: Mapping[str, Any], status: int, body: Any) -> None:
        responses = operation["responses"]
        self.check(responses["200" if status == 200 else "default"]["schema"], body)

    def check(self, schema: Mapping[str, Any], value: Any) -> None:
        whole = {**schema, "definitions": self.root["definitions"]}
        jsonschema.Draft4Validator(whole, format_checker=FORMATS).validate(value)


@dataclass
class Backend:
    """What the API answers from."""

    catalogue: Callable[[], Catalogue]
    file: Path
    authorize: Callable[[str | None, str, str], None] = lambda token, verb, resource: None
    is_multi_user: bool = False
    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        kept = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.experiments: list[dict[str, Any]] = kept.get("experiments", [])
        self.runs: list[dict[str, Any]] = kept.get("runs", [])

    def save(self) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"experiments": self.experiments, "runs": self.runs}, indent=1))
        beside.replace(self.file)

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("experiments", "runs", "requests", "violations")}

    def become(self, run_id: str, state: str, task_details: list[dict[str, Any]] | None = None) -> None:
        """Say what becomes of a run."""
        with self.lock:
            run = _one(self.runs, "run_id", run_id)
            run["state"] = state
            if task_details is not None:
                run["run_details"] = {"task_details": task_details}
            self.save()

    # operations, each by its id in the definition; the names of its arguments are query, body, then what the path says

    def HealthzService_GetHealthz(self, query, body):
        return {"multi_user": self.is_multi_user, "pipeline_store": "kubernetes"}

    def ExperimentService_ListExperiments(self, query, body):
        self._require_namespace(query)
        return _page("experiments", _filtered(self.experiments, query), query)

    def ExperimentService_CreateExperiment(self, query, body):
        self._require_namespace(body)
        name = body.get("display_name") or _refuse(400, "an experiment needs a display_name")
        if any(it["display_name"] == name for it in self.experiments):
            raise Refused(409, f"Already exist error: an experiment named {name} exists")
        made = {**body, "experiment_id": str(uuid.uuid4()), "created_at": _now(), "storage_state": "AVAILABLE"}
        self.experiments.append(made)
        return made

    def PipelineService_GetPipelineByName(self, query, body, name):
        self._require_namespace(query)
        return _pipeline(_one(self.catalogue().pipelines, "name", name, lambda it: it["metadata"]))

    def PipelineService_ListPipelineVersions(self, query, body, pipeline_id):
        catalogue = self.catalogue()
        pipelines = {_id_of(it): it["metadata"]["name"] for it in catalogue.pipelines}
        if pipeline_id not in pipelines:
            raise Refused(404, f"Pipeline {pipeline_id} not found")
        mine = [it for it in catalogue.versions if it["spec"]["pipelineName"] == pipelines[pipeline_id]]
        return _page("pipeline_versions", [_version(it, pipeline_id) for it in mine], query)

    def RunService_ListRuns(self, query, body):
        listed = [run for run in self.runs if query.get("experiment_id") in {None, "", run["experiment_id"]}]
        return _page("runs", _filtered(listed, query), query)

    def RunService_GetRun(self, query, body, run_id):
        return _one(self.runs, "run_id", run_id)

    def RunService_CreateRun(self, query, body):
        if not body.get("display_name"):
            raise Refused(400, "Invalid input error: the run name is empty")
        _one(self.experiments, "experiment_id", body.get("experiment_id"))
        given = body.get("runtime_config", {}).get("parameters", {})
        _require_parameters(self._spec_of(body), given)
        made = {**body, "run_id": str(uuid.uuid4()), "created_at": _now(), "state": "PENDING"}
        self.runs.append({**made, "storage_state": "AVAILABLE"})
        return self.runs[-1]

    def _spec_of(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        reference, spec = run.get("pipeline_version_reference"), run.get("pipeline_spec")
        if bool(reference) == bool(spec):
            raise Refused(400, "Invalid input error: a run needs either a pipeline version or a pipeline spec")
        if spec:
            return spec.get("pipeline_spec", spec)
        version = _one(self.catalogue().versions, "id", reference["pipeline_version_id"], lambda it: {"id": _id_of(it)})
        return version["spec"]["pipelineSpec"]

    def _require_namespace(self, given: Mapping[str, Any]) -> None:
        if self.is_multi_user != bool(given.get("namespace")):
            raise Refused(400, "Invalid input error: a namespace is needed in multi-user mode, and only there")


def _require_parameters(spec: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what the backend refuses: unknown parameters, and missing ones that have no default."""
    known = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    if strange := sorted(given.keys() - known.keys()):
        raise Refused(400, f"Invalid input error: parameter(s) provided are not required by pipeline: {strange}")
    needed = {name for name, it in known.items() if not it.get("isOptional") and "defaultValue" not in it}
    if missing := sorted(needed - given.keys()):
        raise Refused(400, f"Invalid input error: parameter {missing[0]} has neither default value nor a given one")
    if wrong := sorted(name for name, value in given.items() if not isinstance(value, str)):
        raise Refused(400, f"Invalid input error: parameter {wrong[0]} must be a string")


def _filtered(rows: list[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", ()):
        if predicate["operation"] != "EQUALS":
            raise Refused(400, f"Invalid input error: unknown operation {predicate['operation']}")
        rows = [row for row in rows if row.get(predicate["key"]) == predicate["stringValue"]]
    return rows


def _page(name: str, rows: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 20)
    after = {"next_page_token": str(start + size)} if start + size < len(rows) else {}
    return {name: rows[start : start + size], "total_size": len(rows), **after}


def _one(rows: list[Any], key: str, value: Any, view: Callable[[Any], Any] = lambda row: row) -> Any:
    found = next((row for row in rows if view(row).get(key) == value), None)
    return found if found is not None else _refuse(404, f"ResourceNotFoundError: {key} {value} not found")


def _refuse(status: int, message: str) -> Any:
    raise Refused(status, message)


def _id_of(item: Mapping[str, Any]) -> str:
    about = item["metadata"]
    return about.get("uid") or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{item['kind']}/{about['name']}"))


def _pipeline(item: Mapping[str, Any]) -> dict[str, Any]:
    name = item["metadata"]["name"]
    shown = item.get("spec", {}).get("displayName", name)
    return {"pipeline_id": _id_of(item), "name": name, "display_name": shown, "created_at": _now()}


def _version(item: Mapping[str, Any], pipeline_id: str) -> dict[str, Any]:
    name, spec = item["metadata"]["name"], item["spec"]
    shown = {"name": name, "display_name": spec.get("displayName", name), "pipeline_spec": spec["pipelineSpec"]}
    return {"pipeline_id": pipeline_id, "pipeline_version_id": _id_of(item), "created_at": _now(), **shown}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Handler(BaseHTTPRequestHandler):
    """One request: faults, the token, the definition, the work."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def _handle(self) -> None:
        url, size = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or "null") if size else None
        if url.path.startswith("/test/"):
            self._send(200, self._control(url.path.removeprefix("/test/"), body))
            return
        fault = self._fault(url.path)
        if fault is None or fault.after or fault.do == "slow":
            if fault and not fault.after:
                time.sleep(fault.seconds)
            answer = self._answer(url.path, dict(parse_qsl(url.query)), body)
            if fault is None or (fault.do == "slow" and not fault.after):
                self._send(*answer)
                return
        if fault.do == "slow":
            time.sleep(fault.seconds)
            self._send(*answer)
        elif fault.do == "cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._send(fault.do, _status(fault.do, f"{fault.do} on demand"))

    def _fault(self, path: str) -> Fault | None:
        backend = self.server.backend
        with backend.lock:
            for fault in backend.faults:
                if fault.times and fault.method == self.command and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def _answer(self, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        backend, definition = self.server.backend, self.server.definition
        try:
            operation, parts = definition.find(self.command, path)
        except Refused as refused:
            return 404, _status(404, str(refused))
        name = operation["operationId"]
        with backend.lock:
            backend.requests.append({"operation": name, "query": dict(query), "body": body})
            try:
                definition.check_request(operation, query, body)
                status, answer = self._work(name, query, body, parts)
                definition.check_answer(operation, status, answer)
            except (jsonschema.ValidationError, ValueError) as error:
                backend.violations.append(f"{name}: {error}")
                return 500, _status(500, f"against the definition: {error}")
            backend.save()
        return status, answer

    def _work(self, name: str, query: Mapping[str, str], body: Any, parts: tuple[str, ...]) -> tuple[int, Any]:
        backend = self.server.backend
        try:
            if name != "HealthzService_GetHealthz":
                backend.authorize(self._token(), *_right(name))
            work = getattr(backend, name, None) or _refuse(404, f"{name} is not served here")
            return 200, work(query, body, *parts)
        except Refused as refused:
            return refused.status, _status(refused.status, str(refused))

    def _token(self) -> str | None:
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return token if kind == "Bearer" and token else None

    def _control(self, what: str, body: Any) -> Any:
        backend = self.server.backend
        with backend.lock:
            if what == "faults":
                backend.faults.append(Fault(**body))
            elif what.startswith("runs/"):
                backend.become(what.removeprefix("runs/"), **body)
            return backend.state()

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _status(status: int, message: str) -> dict[str, Any]:
    return {"code": CODES.get(status, 2), "message": message, "details": []}


def _right(operation: str) -> tuple[str, str]:
    """Return verb and resource that an operation needs, as the multi-user backend asks for them."""
    service, _, action = operation.partition("_")
    verb = next(verb for verb in ("list", "get", "create") if action.lower().startswith(verb))
    return verb, f"{service.removesuffix('Service').lower()}s"


class Server(ThreadingHTTPServer):
    """The server."""

    daemon_threads = True

    def __init__(self, backend: Backend, host: str = "127.0.0.1", port: int = 0) -> None:
        self.backend, self.definition = backend, Definition()
        super().__init__((host, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone."""

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"


def catalogue_of(objects: list[dict[str, Any]]) -> Catalogue:
    """Sort Kubernetes objects into pipelines and versions."""
    kinds = {kind: [it for it in objects if it and it.get("kind") == kind] for kind in ("Pipeline", "PipelineVersion")}
    return Catalogue(kinds["Pipeline"], kinds["PipelineVersion"])


def catalogue_in(place: Path) -> Catalogue:
    """Read the pipelines and versions in a YAML file, or in all files of a folder."""
    files = [place] if place.is_file() else sorted(place.rglob("*.yaml"))
    return catalogue_of([it for file in files for it in yaml.safe_load_all(file.read_text(encoding="utf-8"))])


def cluster_parts(kubeconfig: str, namespace: str) -> tuple[Callable[[], Catalogue], Callable[..., None]]:
    """Let a cluster say which pipelines there are, and who may do what."""
    from kubernetes import client, config

    config.load_kube_config(kubeconfig)
    objects = client.CustomObjectsApi()
    tokens, rights = client.AuthenticationV1Api(), client.AuthorizationV1Api()

    def catalogue() -> Catalogue:
        found = []
        for kind, plural in (("Pipeline", "pipelines"), ("PipelineVersion", "pipelineversions")):
            listed = objects.list_namespaced_custom_object("pipelines.kubeflow.org", "v2beta1", namespace, plural)
            found += [{**it, "kind": kind} for it in listed["items"]]
        return catalogue_of(found)

    def authorize(token: str | None, verb: str, resource: str) -> None:
        if token is None:
            raise Refused(401, "Request header error: there is no token")
        asked = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token, audiences=[AUDIENCE]))
        said = tokens.create_token_review(asked).status
        if not said.authenticated:
            raise Refused(401, f"Failed to authenticate token review: {said.error}")
        what = client.V1ResourceAttributes(
            group="pipelines.kubeflow.org", resource=resource, verb=verb, namespace=namespace
        )
        spec = client.V1SubjectAccessReviewSpec(
            user=said.user.username, groups=said.user.groups, resource_attributes=what
        )
        if not rights.create_subject_access_review(client.V1SubjectAccessReview(spec=spec)).status.allowed:
            raise Refused(403, f"User '{said.user.username}' is not authorized to {verb} {resource} in {namespace}")

    return catalogue, authorize


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="JSON file that keeps experiments and runs.")
    parser.add_argument("--manifests", type=Path, help="YAML file, or folder of them, with the pipelines' objects.")
    parser.add_argument("--kubeconfig")
    parser.add_argument("--namespace", default="kubeflow")
    parser.add_argument("--multi-user", action="store_true")
    given = parser.parse_args()
    parts: dict[str, Any] = {"catalogue": lambda: catalogue_in(given.manifests)}
    if given.kubeconfig:
        found = cluster_parts(given.kubeconfig, given.namespace)
        parts["authorize"] = found[1]
        if not given.manifests:
            parts["catalogue"] = found[0]
    backend = Backend(file=given.state, is_multi_user=given.multi_user, **parts)
    with Server(backend, given.host, given.port) as server:
        print(server.url, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
