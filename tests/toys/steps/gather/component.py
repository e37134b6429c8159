"""The KFP component of the toy step gather."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output  # noqa: F401

from understudy.runtime.component import component


@component
def gather(
    card: str,
    texts: str,
    labels: str,
    store: str,
    snapshot: Output[Artifact],
    numbers: Output[Dataset],
    extra: Output[Dataset],
    metrics: Output[Metrics],
    overrides: str = "",
):
    """A toy."""
    from understudy.runtime.shell import execute_component

    execute_component("gather", locals())
