"""What others own in the namespace is after an installation, and after its removal, what it was before."""

import copy

import pytest

from tests.manifests.kustomize import COMPONENTS, OVERLAYS, overlay, production_with

OWN_NAMESPACE, LAUNCHER_STORAGE = "own-namespace", "launcher-storage"  # each says what it touches
PART_OF = {"app.kubernetes.io/part-of": "understudy"}


def profile(namespace):
    """What Kubeflow's Profile controller and KFP's own make in a namespace, as far as its names go."""

    def one(kind, name, api="v1", **content):
        about = {"name": name, "namespace": namespace, "labels": {"owner": "kubeflow"}, "annotations": {"by": "others"}}
        return {"apiVersion": api, "kind": kind, "metadata": about, **content}

    labels = {
        "app.kubernetes.io/part-of": "kubeflow-profile",
        "katib.kubeflow.org/metrics-collector-injection": "enabled",
    }
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        *(one("ServiceAccount", name) for name in ("default", "default-editor", "default-viewer")),
        *(one("ConfigMap", name, data={"a": "b"}) for name in ("kfp-launcher", "artifact-repositories")),
        *(one("ConfigMap", name, data={"a": "b"}) for name in ("metadata-grpc-configmap", "kube-root-ca.crt")),
        one("Secret", "mlpipeline-minio-artifact", data={"accesskey": "YQ=="}),
        *(one("RoleBinding", name, rbac) for name in ("default-editor", "default-viewer", "namespaceAdmin")),
        one("ResourceQuota", "kf-resource-quota", spec={"hard": {"pods": "9"}}),
        *(
            one("Deployment", name, "apps/v1")
            for name in ("ml-pipeline-ui-artifact", "ml-pipeline-visualizationserver")
        ),
        *(one("Service", name) for name in ("ml-pipeline-ui-artifact", "ml-pipeline-visualizationserver")),
        one("AuthorizationPolicy", "ns-owner-access-istio", "security.istio.io/v1"),
    ]


def key_of(it):
    """An object's group, kind, namespace and name: what an apply goes by."""
    group = it["apiVersion"].rpartition("/")[0]
    return group, it["kind"], it["metadata"].get("namespace", ""), it["metadata"]["name"]


def merged(old, new):
    """What an apply leaves of a field: maps are joined, anything else is replaced."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


def apply(state, rendered):
    return {**state, **{key_of(it): merged(state.get(key_of(it)), it) for it in rendered}}


def delete(state, rendered):
    """What `kubectl delete -k` leaves: with a Namespace goes all that lies in it."""
    gone = {key_of(it) for it in rendered}
    namespaces = {name for _, kind, _, name in gone if kind == "Namespace"}
    return {key: it for key, it in state.items() if key not in gone and key[2] not in namespaces}


def faults(rendered):
    """Say what of others' objects an installation changes, and what its removal takes along."""
    (namespace,) = {it["metadata"]["namespace"] for it in rendered if "namespace" in it["metadata"]}
    before = {key_of(it): it for it in profile(namespace)}
    after = apply(copy.deepcopy(before), rendered)
    removed = delete(after, rendered)
    changed = [f"changed {key[1]} {key[3]}" for key, it in before.items() if after[key] != it]
    return changed + [f"removed {key[1]} {key[3]}" for key in before if key not in removed]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_changes_nothing_that_others_own_and_takes_nothing_along(name):
    assert faults(overlay(name)) == []


@pytest.mark.parametrize("name", [it for it in COMPONENTS if it not in {OWN_NAMESPACE, LAUNCHER_STORAGE}])
def test_a_component_changes_nothing_that_others_own_and_takes_nothing_along(name, tmp_path):
    assert faults(production_with(name, tmp_path)) == []


def test_only_the_component_for_a_namespace_that_nobody_else_makes_has_one(tmp_path):
    rendered = production_with(OWN_NAMESPACE, tmp_path)
    assert "changed Namespace understudy" in faults(rendered)  # what it was before, and what this test can see
    assert "removed ConfigMap kfp-launcher" in faults(rendered)
    (made,) = [it for it in rendered if it["kind"] == "Namespace"]
    assert not set(PART_OF) & set(made["metadata"]["labels"])  # KFP's policies choose namespaces by this label


def test_the_launchers_storage_is_one_more_key_of_kfps_configmap(tmp_path):
    rendered = production_with(LAUNCHER_STORAGE, tmp_path)
    assert faults(rendered) == ["changed ConfigMap kfp-launcher", "removed ConfigMap kfp-launcher"]
    (launcher,) = [it for it in rendered if it["metadata"]["name"] == "kfp-launcher"]
    assert set(launcher["data"]) == {"providers"}
    (namespace,) = {it["metadata"]["namespace"] for it in rendered}
    before = {key_of(it): it for it in profile(namespace)}
    assert apply(before, rendered)[key_of(launcher)]["data"] == {"a": "b", **launcher["data"]}
