"""Our manifests as an operator applies them: copied, changed where docs/deploy.md says so, built by Kustomize."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kube import APPLY, ROOT, SHARED, Cluster, Object, documents, of_kind

CRDS = SHARED / "kfp"
NAMESPACE = "understudy"
OVERLAYS = sorted(path.parent.name for path in (ROOT / "manifests/overlays").glob("*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in (ROOT / "manifests/components").glob("*/kustomization.yaml"))


@dataclass(frozen=True)
class Installation:
    """A copy of manifests/ that may be changed."""

    folder: Path
    cluster: Cluster

    def set(self, overlay: str, settings: Mapping[str, str]) -> None:
        """Set addresses in an overlay's settings.env."""
        file = self.folder / "overlays" / overlay / "settings.env"
        kept = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in settings]
        file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in settings.items())]) + "\n")

    def open_way(self, overlay: str, policy: str, url: str) -> None:
        """Let an overlay's policy name the address of one server, http://ip:port, in the place of its own."""
        file = self.folder / "overlays" / overlay / "network.yaml"
        policies = documents(file.read_text())
        ip, _, port = url.removeprefix("http://").partition(":")
        way = {"to": [{"ipBlock": {"cidr": f"{ip}/32"}}], "ports": [{"port": int(port), "protocol": "TCP"}]}
        next(one for one in policies if one["metadata"]["name"] == policy)["spec"]["egress"] = [way]
        file.write_text(yaml.safe_dump_all(policies))

    def with_component(self, component: str) -> str:
        """Make an overlay that is production with a component, and return its name."""
        name = f"production-{component}"
        place = self.folder / "overlays" / name
        place.mkdir(exist_ok=True)
        about = {"resources": ["../production"], "components": [f"../../components/{component}"]}
        (place / "kustomization.yaml").write_text(yaml.safe_dump({"kind": "Kustomization", **about}))
        return name

    def build(self, overlay: str) -> list[Object]:
        """Return the objects that Kustomize makes of an overlay."""
        return documents(self.cluster.ask("kustomize", str(self.folder / "overlays" / overlay)))

    def apply(self, overlay: str) -> list[Object]:
        """Build and apply an overlay, and return its objects."""
        self.cluster.ask(*APPLY, "-k", str(self.folder / "overlays" / overlay))
        return self.build(overlay)


def copied(folder: Path, cluster: Cluster) -> Installation:
    """Copy manifests/ into a folder."""
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    return Installation(folder / "manifests", cluster)


def install_crds(cluster: Cluster) -> None:
    """Give the cluster the definitions of Pipeline and PipelineVersion, and wait until it serves them."""
    for file in sorted(CRDS.glob("pipelines.kubeflow.org_*.yaml")):
        cluster.ask("apply", "--server-side", "-f", str(file))
    cluster.ask("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def secret(namespace: str, name: str, values: Mapping[str, str]) -> Object:
    """Return a Secret, which the operator makes: manifests/ only refers to it."""
    about = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": dict(values)}


def job_of(cron: Object, name: str, *arguments: str) -> Object:
    """Return the Job that a CronJob makes when its time has come, with further arguments of its command."""
    template: Any = yaml.safe_load(yaml.safe_dump(cron["spec"]["jobTemplate"]))
    template["spec"]["template"]["spec"]["containers"][0]["args"] += arguments
    about = {"name": name, "namespace": cron["metadata"]["namespace"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": template["spec"]}


def cron_job(objects: list[Object], name: str) -> Object:
    """Return a CronJob of an installation."""
    return of_kind(objects, "CronJob")[name]
