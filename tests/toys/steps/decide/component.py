"""The KFP component of the toy step decide."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def decide(
    doubled: Input[Dataset],
    evaluation: Output[Artifact],
    page: Output[HTML],
    metrics: Output[Metrics],
    card: Input[Artifact] = None,
    overrides: str = "",
) -> str:
    """A toy."""
    from understudy.runtime.shell import execute_component

    return str(execute_component("decide", locals()).parameters["decision"])
