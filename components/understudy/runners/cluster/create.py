"""Create a run at the pipelines API once, where its claim wants it, and describe it as the store keeps it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy.runners.cluster import claims
from understudy.runners.cluster.api import Api, NewRun, Version, connect
from understudy.runners.runs import Record
from understudy.runners.terminal import tell
from understudy.store.storage import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a run is to be created, and how.

    Attributes:
        host: URL of the pipelines API; empty for the cluster's own, or what the kubeconfig leads to.
        namespace: for an API that serves several.
        experiment: display name; empty for the card's name.
        version: name of the pipeline version; empty for the one that this source compiles to.
        root: address under which the artifacts are put; empty for the server's own.
        service_account: of the steps' pods; empty for the server's default.
        ui: URL of the pages; empty for `host`.
    """

    host: str = ""
    namespace: str = ""
    experiment: str = ""
    version: str = ""
    root: str = ""
    service_account: str = ""
    ui: str = ""

    def claimed(self, card: str, version: str) -> dict[str, str]:
        """Return what a claim says of where its run is to be created, and how; its root is with the artifacts."""
        place = {"host": self.host, "namespace": self.namespace, "experiment": self.experiment or card}
        return {**place, "version": version, "service_account": self.service_account}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster to create runs on: its API, the store in which their names are claimed, and where they go there."""

    api: Api
    store: Store
    target: Target


def connected(target: Target, store: Store) -> Cluster:
    """Connect to the API that a target names, and name it by its address from now on.

    Raises:
        BadInput: there is no way to it, or no access.
        ApiFailed: it is not there or out of order.
    """
    api = connect(target.host, target.namespace)
    return Cluster(api, store, replace(target, host=api.host))


def create_once(
    cluster: Cluster, first: Record, what: Version | Mapping[str, Any], arguments: Mapping[str, str]
) -> tuple[dict[str, Any], bool]:
    """Create the run of a claim from a version or a spec, where the claim wants it, unless another process has.

    Returns:
        what the store says of the run, and whether this call made it.
    """
    api, ui = cluster.api, cluster.target.ui
    experiment = api.experiment(first.target["experiment"])
    new = NewRun(
        name=first.name,
        experiment_id=experiment,
        what=what,
        arguments=arguments,
        root=first.artifacts,
        service_account=first.target["service_account"],
    )

    def find() -> dict[str, Any] | None:
        found = api.find_run(experiment, first.name)
        return None if found is None else describe(api, first, ui, found)

    return claims.submit_once(cluster.store, first, find, lambda: describe(api, first, ui, api.create_run(new)), tell)


def describe(api: Api, record: Record, ui: str, run: Any) -> dict[str, Any]:
    """Describe a run at the API as the store keeps it."""
    pages = ui or os.environ.get("KF_PIPELINES_UI_ENDPOINT") or api.host
    return {
        "run_id": run.run_id,
        "url": f"{pages.rstrip('/')}/#/runs/details/{run.run_id}",
        "host": api.host,
        "version": record.target["version"],
        "experiment_id": run.experiment_id,
        "artifacts": f"{record.artifacts.rstrip('/')}/{record.pipeline}/{run.run_id}" if record.artifacts else "",
    }
