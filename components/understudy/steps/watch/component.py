"""The KFP component of the step watch."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def watch(
    card: Input[Artifact],
    store: str,
    watched: Output[Dataset],
    page: Output[HTML],
    metrics: Output[Metrics],
    date: str = "",
    newest_whole: bool = False,
    overrides: str = "",
    fault: str = "",
) -> str:
    """Say whether the model may go on: fine, look or retrain, with the reason and what it rests on."""
    from understudy.runtime.shell import execute_component

    return str(execute_component("watch", locals()).parameters["verdict"])
