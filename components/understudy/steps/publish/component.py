"""The KFP component of the step publish."""

from kfp.dsl import HTML, Artifact, Input, Metrics, Model, Output

from understudy.runtime.component import component


@component
def publish(
    bundle: Input[Model],
    evaluation: Input[Artifact],
    page: Input[HTML],
    store: str,
    release: Output[Artifact],
    metrics: Output[Metrics],
    overrides: str = "",
    fault: str = "",
) -> None:
    """Put a bundle with its report and model card into the registry, and let the store's current.json name it."""
    from understudy.runtime.shell import execute_component

    execute_component("publish", locals())
