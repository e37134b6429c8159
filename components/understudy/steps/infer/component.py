"""The KFP component of the step infer."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def infer(
    card: Input[Artifact],
    store: str,
    shard: str,
    source: str,
    predictions: Output[Dataset],
    metrics: Output[Metrics],
    overrides: str = "",
    fault: str = "",
) -> None:
    """Label one shard of a night."""
    from understudy.runtime.shell import execute_component

    execute_component("infer", locals())
