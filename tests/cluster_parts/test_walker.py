"""How the walker of the cluster tests repeats tasks: as stock KFP's `retryPolicy: OnError`, lost pods and no others."""

import pytest

from tests.cluster.backend import is_lost


def pod(main, wait=None, **metadata):
    states = {"main": main, "wait": wait}
    statuses = [
        {"name": name, "state": {"running": {}} if code is None else {"terminated": {"exitCode": code}}}
        for name, code in states.items()
    ]
    return {"metadata": metadata, "status": {"containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("pods", "lost"),
    [
        ([], True),  # deleted
        ([pod(None)], True),  # its node went away
        ([pod(137, deletionTimestamp="2026-11-01T00:00:00Z")], True),  # being deleted, its container killed by that
        ([pod(0, wait=64)], True),  # KFP's storage could not be reached after the work was done
        ([pod(1)], False),
        ([pod(2)], False),  # KFP's launcher makes it 1
        ([pod(137)], False),  # out of memory
    ],
)
def test_a_lost_pod_is_begun_anew_and_a_container_that_failed_is_not(pods, lost):
    assert is_lost(pods) == lost
