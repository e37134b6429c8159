"""What submit's account may do, asked of the cluster's own authoriser, line by line."""

import json

import pytest

from tests.cluster.installation import NAMESPACE

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:understudy-submit"
KFP = "pipelines.kubeflow.org"
MAY = [
    ("get", KFP, "pipelines"),
    ("list", KFP, "pipelines"),
    ("get", KFP, "experiments"),
    ("list", KFP, "experiments"),
    ("create", KFP, "experiments"),
    ("get", KFP, "runs"),
    ("list", KFP, "runs"),
    ("create", KFP, "runs"),
]
MAY_NOT = [
    *((verb, KFP, "runs") for verb in ("delete", "update", "patch", "terminate", "retry", "archive", "*")),
    *((verb, KFP, "experiments") for verb in ("delete", "update", "patch", "archive")),
    *((verb, KFP, "pipelines") for verb in ("create", "update", "patch", "delete")),
    *((verb, KFP, "pipelineversions") for verb in ("create", "update", "patch", "delete")),
    *((verb, KFP, "recurringruns") for verb in ("create", "delete")),
    *((verb, "", "secrets") for verb in ("get", "list", "watch", "create")),
    *((verb, "", "configmaps") for verb in ("get", "list", "create", "patch")),
    *((verb, "", "pods") for verb in ("get", "list", "create", "delete")),
    ("create", "", "pods/exec"),
    ("get", "", "pods/log"),
    ("create", "", "serviceaccounts/token"),
    ("impersonate", "", "serviceaccounts"),
    ("create", "batch", "jobs"),
    ("patch", "batch", "cronjobs"),
    ("create", "argoproj.io", "workflows"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("bind", "rbac.authorization.k8s.io", "roles"),
    ("delete", "networking.k8s.io", "networkpolicies"),
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("*", "*", "*"),
]


def is_allowed(cluster, verb, group, resource, namespace=NAMESPACE, account=ACCOUNT):
    kind, _, part = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": kind, "subresource": part, "namespace": namespace}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "groups": groups, "resourceAttributes": asked},
    }
    return json.loads(cluster.ask("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))["status"]["allowed"]


@pytest.mark.parametrize(("verb", "group", "resource"), MAY)
def test_submit_may(cluster, production, verb, group, resource):
    assert is_allowed(cluster, verb, group, resource)


@pytest.mark.parametrize(("verb", "group", "resource"), MAY_NOT)
def test_submit_may_not(cluster, production, verb, group, resource):
    assert not is_allowed(cluster, verb, group, resource)


@pytest.mark.parametrize(("verb", "group", "resource"), MAY)
def test_submit_may_nothing_in_another_namespace(cluster, production, verb, group, resource):
    assert not is_allowed(cluster, verb, group, resource, namespace="default")


def test_the_table_names_every_rule_of_the_role(cluster, production):
    rules = cluster.get("role", "-n", NAMESPACE, "understudy-submit")["rules"]
    named = {(v, g, r) for rule in rules for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}
    assert named == set(MAY)


def test_the_account_of_all_other_pods_may_nothing_of_that(cluster, production):
    default = f"system:serviceaccount:{NAMESPACE}:default"
    assert not any(is_allowed(cluster, *line, account=default) for line in MAY)
