"""The KFP component of the toy step double."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output  # noqa: F401

from understudy.runtime.component import component


@component
def double(
    card: Input[Artifact],
    numbers: Input[Dataset],
    doubled: Output[Dataset],
    store: str,
    metrics: Output[Metrics],
    times: int = 1,
    overrides: str = "",
):
    """A toy."""
    from understudy.runtime.shell import execute_component

    execute_component("double", locals())
