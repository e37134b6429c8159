"""The KFP component of the step shard."""

from typing import NamedTuple

from kfp.dsl import Artifact, Metrics, Output

from understudy.runtime.component import component


@component
def shard(
    card: str,
    texts: str,
    store: str,
    snapshot: Output[Artifact],
    metrics: Output[Metrics],
    date: str = "",
    overrides: str = "",
    fault: str = "",
) -> NamedTuple("Sharded", [("Output", list[str]), ("date", str)]):  # type: ignore[valid-type] # the form KFP reads
    """Find the texts that no night has taken yet, pin the bundle that serves, and freeze the night's manifest."""
    from collections import namedtuple

    from understudy.runtime.shell import execute_component

    told = execute_component("shard", locals()).parameters
    sharded = namedtuple("sharded", ["Output", "date"])
    return sharded(str(told["shards"]).split(","), str(told["date"]))
