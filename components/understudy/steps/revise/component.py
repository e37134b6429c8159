"""The KFP component of the step revise."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def revise(
    card: Input[Artifact],
    pool: Input[Dataset],
    gold: Input[Dataset],
    judgements: Input[Dataset],
    audit: Input[Artifact],
    revised: Output[Dataset],
    metrics: Output[Metrics],
    store: str,
    overrides: str = "",
    fault: str = "",
) -> None:
    """Let the card's editor revise the errors of the teacher that people's labels show."""
    from understudy.runtime.shell import execute_component

    execute_component("revise", locals())
