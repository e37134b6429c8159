"""Every overlay and component, checked by the server that would run it."""

import pytest

from tests.cluster.installation import COMPONENTS, NAMESPACE, OVERLAYS
from tests.cluster.kube import of_kind

FOREIGN = {"ExternalSecret", "SecretStore", "LocalQueue"}
FOREIGN |= {"PrometheusRule", "PodMonitor", "ServiceMonitor", "ScrapeConfig"}


def accepted(cluster, objects):
    """Have the server check objects; those whose definitions this cluster lacks are of the kinds that say so."""
    served = [one for one in objects if one["kind"] not in FOREIGN]
    for name in {one["metadata"]["namespace"] for one in served if "namespace" in one["metadata"]}:
        cluster.profile(name)  # it must be there, or nothing in it can be checked
    return cluster.apply(*served, dry_run=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_accepts_every_overlay(cluster, installed, overlay):
    objects = installed.build(overlay)
    assert len(accepted(cluster, objects)) == len(objects)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_server_accepts_production_with_every_component(cluster, installed, component):
    objects = installed.build(installed.with_component(component))
    assert len(accepted(cluster, objects)) == sum(one["kind"] not in FOREIGN for one in objects)


def test_the_server_refuses_a_misspelled_field(cluster, installed):
    objects = installed.build("production")
    (cron, *_) = of_kind(objects, "CronJob").values()
    cluster.profile(NAMESPACE)
    cron["spec"]["scheduel"] = "0 2 * * *"
    assert "scheduel" in cluster.refuses(cron)


def test_production_twice_changes_nothing(cluster, installed, production):
    kinds = "cronjobs,configmaps,networkpolicies,roles,rolebindings,serviceaccounts,pipelines,pipelineversions"

    def versions():
        items = cluster.get(kinds, "-n", NAMESPACE)["items"]
        return {(one["kind"], one["metadata"]["name"]): one["metadata"].get("generation", 0) for one in items}

    before = versions()
    assert len(before) > 15
    installed.apply("production")
    assert versions() == before
