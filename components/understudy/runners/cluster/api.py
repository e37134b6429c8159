"""Call the Kubeflow Pipelines API: a time limit, bounded retries and one sentence an error.

The generated client (kfp_server_api) does the calls and kfp's credentials carry the token. `kfp.Client` stands between
the two and is left out: it has no time limits, prints, logs tracebacks, and writes into HOME, which a pod may not.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from understudy.errors import BadInput, UnderstudyError, may_pass
from understudy.secrets.keys import read_secret_file, redact, remember

IN_CLUSTER_HOST = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
PROXY_PATH = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
TIMEOUTS_S = (10, 30)  # to connect, and to wait for an answer
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
PAGE_SIZE = 100
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
FINAL = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})


class ApiFailed(UnderstudyError):
    """The pipelines API refused a call or answered what cannot be."""


class Unanswered(ApiFailed):
    """The pipelines API gave no clear answer: what was asked for may have been done or not."""


class Absent(ApiFailed):
    """There is no such thing at the API."""


class Taken(ApiFailed):
    """The name is taken at the API."""


@dataclass(frozen=True, slots=True)
class Version:
    """A pipeline version at the API."""

    pipeline_id: str
    version_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What a run is created from.

    Attributes:
        name: display name.
        experiment_id: where it belongs.
        what: a version, or a pipeline spec (with its platform spec) that belongs to no pipeline.
        arguments: of the pipeline.
        root: address under which the artifacts are put; empty for the server's own.
        service_account: of the steps' pods; empty for the server's default.
    """

    name: str
    experiment_id: str
    what: Version | Mapping[str, Any]
    arguments: Mapping[str, str]
    root: str = ""
    service_account: str = ""


class Api:
    """A connection; every method raises BadInput where access is lacking, and Unanswered where no answer came."""

    def __init__(self, configuration: Any, namespace: str = "") -> None:
        import kfp_server_api

        self._client = client = kfp_server_api.ApiClient(configuration)
        self.host = str(configuration.host)
        self._experiments = kfp_server_api.ExperimentServiceApi(client)
        self._pipelines = kfp_server_api.PipelineServiceApi(client)
        self._runs = kfp_server_api.RunServiceApi(client)
        self._scope = self._scope_of(kfp_server_api.HealthzServiceApi(client), namespace)

    def _scope_of(self, healthz: Any, namespace: str) -> dict[str, str]:
        """Return what says in which namespace things are, which the API asks for only when it serves several."""
        health = self._ask("say whether it is well", healthz.healthz_service_get_healthz)
        if health.multi_user and not namespace:
            raise BadInput(
                f"A pipelines API that serves several namespaces must be told one, got none ({self.host}). "
                "Add --namespace."
            )
        return {"namespace": namespace} if health.multi_user else {}

    def experiment(self, name: str) -> str:
        """Find an experiment by name, or create it; return its id."""
        import kfp_server_api

        if found := self._experiment_id(name):
            return found
        new = kfp_server_api.V2beta1Experiment(display_name=name, **self._scope)
        try:
            made = self._ask("create an experiment", self._experiments.experiment_service_create_experiment, new)
        except Taken:  # by another submission at the same moment
            return self._experiment_id(name) or self._strange("no experiment of a name that it calls taken")
        return str(made.experiment_id or self._strange("an experiment without an id"))

    def _experiment_id(self, name: str) -> str | None:
        call = self._experiments.experiment_service_list_experiments
        listed = self._pages("list experiments", call, "experiments", filter=_named(name), **self._scope)
        return next((str(one.experiment_id) for one in listed if one.display_name == name), None)

    def version(self, pipeline: str, name: str) -> Version:
        """Find a version of a pipeline by its name.

        Raises:
            BadInput: the pipeline or the version is not there.
        """
        try:
            get = self._pipelines.pipeline_service_get_pipeline_by_name
            pipeline_id = self._ask("read a pipeline", get, pipeline, **self._scope).pipeline_id
        except Absent as error:
            raise BadInput(
                f"The pipeline '{pipeline}' must be installed, got none of that name ({self.host}). "
                "Apply the manifests, or give another --host or --namespace."
            ) from error
        call = self._pipelines.pipeline_service_list_pipeline_versions
        listed = list(self._pages("list versions", call, "pipeline_versions", pipeline_id))
        for one in listed:
            if name in {one.name, one.display_name}:
                return Version(pipeline_id, one.pipeline_version_id, name)
        there = ", ".join(sorted(str(one.name or one.display_name) for one in listed)) or "none"
        raise BadInput(
            f"The version '{name}' of the pipeline '{pipeline}' must be installed, got {there} ({self.host}). "
            "Apply the manifests of this version, or name one that is there by --version."
        )

    def find_run(self, experiment_id: str, name: str) -> Any | None:
        """Find a run by its display name; the oldest, should there be several."""
        call = self._runs.run_service_list_runs
        given = {"experiment_id": experiment_id, "filter": _named(name), "sort_by": "created_at asc"}
        return next((run for run in self._pages("list runs", call, "runs", **given) if run.display_name == name), None)

    def create_run(self, new: NewRun) -> Any:
        """Create a run, asking once only: a run has no key that would keep a second try from making a second run.

        Raises:
            Unanswered: whether the run exists can only be found out by `find_run`.
        """
        made = self._once("create a run", self._runs.run_service_create_run, _body(new))
        if not made.run_id:
            self._strange("a run without an id")
        return made

    def get_run(self, run_id: str) -> Any:
        """Read a run, with the states of its tasks."""
        return self._ask("read a run", self._runs.run_service_get_run, run_id)

    def _pages(self, doing: str, call: Callable[..., Any], field: str, *args: str, **given: str) -> Iterator[Any]:
        token = ""
        while True:
            page = self._ask(doing, call, *args, page_size=PAGE_SIZE, page_token=token, **given)
            yield from getattr(page, field) or ()
            token = page.next_page_token
            if not token:
                return

    def _ask(self, doing: str, call: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Ask, and ask again while the server is out of order."""
        for pause_s in PAUSES_S:
            try:
                return self._once(doing, call, *args, **given)
            except Unanswered:
                time.sleep(pause_s)
        return self._once(doing, call, *args, **given)

    def _once(self, doing: str, call: Callable[..., Any], *args: Any, **given: Any) -> Any:
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = call(*args, _request_timeout=TIMEOUTS_S, **given)
        except ApiException as error:
            raise refusal(error.status, _message(error), doing, self.host) from error
        except (HTTPError, ConnectionError, TimeoutError) as error:
            raise unanswered(error, doing, self.host) from error
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error.__context__, ApiException):  # of TLS: the client stumbles over a refusal without a body
                raise of_tls(str(error.__context__.reason), doing, self.host) from error
            self._strange(f"an answer that cannot be read: {error}")
        except OSError as error:
            raise BadInput(
                f"The token of the pipelines API must be readable, got {error} (KF_PIPELINES_SA_TOKEN_PATH). "
                "Project it into the pod, or unset the variable."
            ) from error
        self._require_object()
        return answer

    def _require_object(self) -> None:
        """Check that an answer is an object of JSON: the client makes one without content of a sign-in page."""
        said = self._client.last_response.data
        try:
            is_object = isinstance(json.loads(said), dict)
        except ValueError:
            is_object = False
        if not is_object:
            self._strange(f"'{str(said)[:40]}'")

    def _strange(self, what: str) -> NoReturn:
        raise ApiFailed(
            f"The pipelines API must answer as Kubeflow Pipelines does, got {what} ({self.host}). Mend --host."
        )


def connect(host: str = "", namespace: str = "") -> Api:
    """Connect to the pipelines API and see that it is there.

    Args:
        host: its URL; without one the cluster's own in a pod, and elsewhere the one that the kubeconfig leads to.
        namespace: read only by an API that serves several.

    Raises:
        BadInput: there is no way to it, or no access.
        ApiFailed: it is not there or out of order.
    """
    return Api(configuration(host), namespace)


def configuration(host: str) -> Any:
    """Say where the API is and what proves who asks: the projected token when there is one, or the kubeconfig's."""
    import kfp_server_api

    found = kfp_server_api.Configuration()
    found.retries = False  # urllib3 would repeat calls, and follow to login pages
    found.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    if host or "KUBERNETES_SERVICE_HOST" in os.environ:
        found.host = _address(host or IN_CLUSTER_HOST)
        _carry_token(found)
        return found
    return _through_kubeconfig(found)


def _address(host: str) -> str:
    if not host.startswith(("http://", "https://")):
        raise BadInput(f"The address of the pipelines API must begin with http:// or https://, got '{host}' (--host).")
    return host.rstrip("/")


def _carry_token(found: Any) -> None:
    """Send the projected token, read anew for every call, as the kubelet renews it."""
    from kfp import client

    named = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV)
    if named or Path(client.KF_PIPELINES_SA_TOKEN_PATH).exists():
        found.api_key["authorization"] = "read for every call"
        found.api_key_prefix["authorization"] = "Bearer"
        path = named or client.KF_PIPELINES_SA_TOKEN_PATH

        def refresh(configuration: Any) -> None:
            configuration.api_key["authorization"] = read_secret_file(path, client.KF_PIPELINES_SA_TOKEN_ENV)

        found.refresh_api_key_hook = refresh


def _through_kubeconfig(found: Any) -> Any:
    import kubernetes.config

    try:
        kubernetes.config.load_kube_config(client_configuration=found)
    except kubernetes.config.ConfigException as error:
        raise BadInput(
            f"The pipelines API must be named outside a cluster, got no --host and no kubeconfig ({error}). "
            "Add --host URL, or set KUBECONFIG."
        ) from error
    remember(*(key.removeprefix("Bearer ") for key in found.api_key.values()), found.password)
    found.host = found.host.rstrip("/") + PROXY_PATH
    return found


def refusal(status: int, message: str, doing: str, host: str) -> UnderstudyError:
    """Turn a status of the API into the error that a person can act on.

    Args:
        status: of the HTTP answer; 0 when there was no connection to trust.
        message: the server's own words.
        doing: what was asked for, to be read after "to".
        host: who was asked.
    """
    got = f"got {status}: {message} ({host})" if status else f"got {message} ({host})"
    if status == 401 or 300 <= status < 400:
        kind = ApiFailed if status == 401 else BadInput  # the kubelet renews a token: the next try may have a good one
        return kind(
            f"The pipelines API must know who asks it to {doing}, {got}. The token is missing, has expired or is for "
            "another audience: in a pod project one for the audience pipelines.kubeflow.org, outside log in again."
        )
    if status == 403:
        return BadInput(
            f"The account must be allowed to {doing}, {got}. Give it that right (docs/submit.md, No access), "
            "or name another --namespace."
        )
    if status == 0:
        return BadInput(f"The certificate of the pipelines API must be one to trust, {got}. Set SSL_CERT_FILE.")
    if status in {404, 409}:
        lookup = Absent if status == 404 else Taken
        return lookup(f"The pipelines API must be able to {doing}, {got}. Mend --host, or try again.")
    if may_pass(status):
        return Unanswered(f"The pipelines API must be able to {doing}, {got}. Look at its log, and try again.")
    return BadInput(f"The pipelines API must take what it is asked to {doing}, {got}. Mend what was given.")


def of_tls(reason: str, doing: str, host: str) -> UnderstudyError:
    """Say why there was no TLS: a certificate that is not to be trusted, or a connection that was cut off."""
    words = " ".join(reason.split())
    return refusal(0, words, doing, host) if UNTRUSTED in words else unanswered(OSError(words), doing, host)


def unanswered(error: Exception, doing: str, host: str) -> Unanswered:
    """Say why no answer came: no such name, nobody there, too slow, or cut off."""
    from urllib3 import exceptions

    kinds = {
        exceptions.NameResolutionError: "no address for that name",
        exceptions.NewConnectionError: "no connection",
        exceptions.ConnectTimeoutError: f"no connection within {TIMEOUTS_S[0]} s",
        exceptions.ReadTimeoutError: f"no answer within {TIMEOUTS_S[1]} s",
    }
    why = next((words for kind, words in kinds.items() if isinstance(error, kind)), f"no whole answer ({error})")
    return Unanswered(
        f"The pipelines API must be there to {doing}, got {why} ({host}). "
        "Mend --host, or see that Kubeflow Pipelines runs and no network policy stands between."
    )


def _message(error: Any) -> str:
    """Return the first line of what the server says."""
    try:
        said = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        said = error.body or error.reason
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return redact((text.strip().splitlines() or ["nothing said"])[0])[:300]  # a key that is cut is known no more


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _body(new: NewRun) -> Any:
    import kfp_server_api

    config = kfp_server_api.V2beta1RuntimeConfig(parameters=dict(new.arguments), pipeline_root=new.root or None)
    common = {
        "display_name": new.name,
        "experiment_id": new.experiment_id,
        "runtime_config": config,
        "service_account": new.service_account or None,
    }
    if not isinstance(new.what, Version):
        return kfp_server_api.V2beta1Run(pipeline_spec=dict(new.what), **common)
    reference = kfp_server_api.V2beta1PipelineVersionReference(
        pipeline_id=new.what.pipeline_id, pipeline_version_id=new.what.version_id
    )
    return kfp_server_api.V2beta1Run(pipeline_version_reference=reference, **common)
