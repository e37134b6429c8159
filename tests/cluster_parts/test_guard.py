"""The tests of tests/cluster never touch a cluster that has Kubeflow Pipelines; this judges without one."""

import sys

import pytest

from tests.cluster.kube import OURS, Cluster, find_foreign_api


@pytest.mark.parametrize("labels", [{}, {"labels": None}, {"labels": {"app": "ml-pipeline"}}])
def test_a_cluster_with_kubeflow_pipelines_is_refused(labels):
    fault = find_foreign_api({"kind": "Service", "metadata": {"name": "ml-pipeline", **labels}})
    assert fault.startswith("KUBECONFIG must name a cluster without Kubeflow Pipelines")
    assert "kubeflow/ml-pipeline" in fault


def test_a_cluster_without_one_or_with_ours_is_taken():
    assert find_foreign_api(None) == ""
    assert find_foreign_api({"metadata": {"labels": {**OURS, "more": "1"}}}) == ""


@pytest.mark.parametrize(("said", "found"), [("", None), ('{"kind": "Service"}', {"kind": "Service"})])
def test_a_missing_object_is_told_from_one_that_is_there(tmp_path, said, found):
    """kubectl is a program that prints what kubectl prints."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!{sys.executable}\nprint({said!r}, end='')\n")
    program.chmod(0o755)
    assert Cluster(str(program), "any", "", (), "", False).find("kubeflow", "service/ml-pipeline") == found
