"""What a Kubeflow Profile brings is others': installation and removal leave it as it was, by the server's word."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.installation import install_crds
from tests.cluster.kube import APPLY, PROFILE, Cluster, Object, documents, until
from tests.manifests.kustomize import COMPONENTS, OVERLAYS, overlay, production_with

FOREIGN_KINDS = {"ExternalSecret", "PrometheusRule", "PodMonitor", "LocalQueue"}  # of operators that this cluster lacks
NOT_OURS_ALONE = {"own-namespace", "launcher-storage"}  # each says what of others' it touches
KINDS = (
    "serviceaccounts,configmaps,secrets,rolebindings.rbac.authorization.k8s.io,roles.rbac.authorization.k8s.io,"
    "services,deployments.apps,resourcequotas,limitranges,networkpolicies.networking.k8s.io,cronjobs.batch"
)
RBAC = "rbac.authorization.k8s.io/v1"


def profile_objects(namespace: str) -> Iterator[Object]:
    """Yield what the Profile controller and KFP's sync put into a namespace."""

    def one(kind: str, name: str, api: str = "v1", **content: object) -> Object:
        about = {"name": name, "namespace": namespace, "labels": {"owner": "kubeflow"}, "annotations": {"by": "others"}}
        return {"apiVersion": api, "kind": kind, "metadata": about, **content}

    for account in ("default-editor", "default-viewer"):
        yield one("ServiceAccount", account)
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
        yield one("RoleBinding", account, RBAC, roleRef=role, subjects=[subject])
    yield one("ConfigMap", "kfp-launcher", data={"defaultPipelineRoot": "minio://mlpipeline/v2/artifacts"})
    yield one("ConfigMap", "artifact-repositories", data={"default-namespaced": "archiveLogs: true"})
    yield one("Secret", "mlpipeline-minio-artifact", stringData={"accesskey": "a", "secretkey": "b"})
    yield one("ResourceQuota", "kf-resource-quota", spec={"hard": {"pods": "500"}})
    yield one("Service", "ml-pipeline-ui-artifact", spec={"ports": [{"port": 80}], "selector": {"app": "ui"}})


def others(cluster: Cluster, namespace: str) -> dict[tuple[str, str], Object]:
    """Return the namespace and everything in it, whole: a write that changes anything renews the resourceVersion."""
    items = [cluster.get("namespace", namespace), *cluster.get(KINDS, "-n", namespace)["items"]]
    for item in items:
        if item["kind"] == "ResourceQuota":  # its controller counts what is there
            item.pop("status", None)
            item["metadata"].pop("resourceVersion")
            item["metadata"].pop("managedFields", None)
    return {(item["kind"], item["metadata"]["name"]): item for item in items}


def installable(name: str, namespace: str, folder: Path) -> list[Object]:
    """Render an overlay, or production with a component, for a namespace, without kinds that this cluster lacks."""
    rendered = overlay(name) if name in OVERLAYS else production_with(name, folder)
    (before,) = {one["metadata"]["namespace"] for one in rendered}
    text = yaml.safe_dump_all([one for one in rendered if one["kind"] not in FOREIGN_KINDS])
    return documents(re.sub(rf"(?m)\bnamespace: {before}$", f"namespace: {namespace}", text))


@pytest.mark.parametrize("name", [*OVERLAYS, *(name for name in COMPONENTS if name not in NOT_OURS_ALONE)])
def test_what_others_own_stays_as_it_was_through_installation_and_removal(
    cluster: Cluster, name: str, tmp_path: Path
) -> None:
    install_crds(cluster)
    namespace = cluster.namespace(f"profile-{name}", PROFILE)
    cluster.apply(*profile_objects(namespace))
    until(lambda: cluster.run("get", "-n", namespace, "configmap/kube-root-ca.crt").returncode == 0, 30, "no root CA")
    before = others(cluster, namespace)
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(installable(name, namespace, tmp_path)))
    cluster.ask(*APPLY, "-f", str(file))
    after = others(cluster, namespace)
    assert len(after) > len(before)
    assert {key: after.get(key) for key in before} == before
    cluster.ask("delete", "-f", str(file), "--wait=true", "--timeout=90s")
    assert others(cluster, namespace) == before
    cluster.ask("delete", "namespace", namespace, "--wait=false")
