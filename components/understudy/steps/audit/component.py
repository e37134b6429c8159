"""The KFP component of the step audit."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def audit(
    card: Input[Artifact],
    pool: Input[Dataset],
    gold: Input[Dataset],
    judgements: Input[Dataset],
    audit: Output[Artifact],
    metrics: Output[Metrics],
    overrides: str = "",
    fault: str = "",
) -> None:
    """Compare the teacher with people, by label and by slice, and say in words where it is biased."""
    from understudy.runtime.shell import execute_component

    execute_component("audit", locals())
