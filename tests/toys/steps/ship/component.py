"""The KFP component of the toy step ship."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output  # noqa: F401

from understudy.runtime.component import component


@component
def ship(
    evaluation: Input[Artifact],
    page: Input[HTML],
    store: str,
    release: Output[Artifact],
    metrics: Output[Metrics],
    overrides: str = "",
):
    """A toy."""
    from understudy.runtime.shell import execute_component

    execute_component("ship", locals())
