"""The KFP component of the step mine."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from understudy.runtime.component import component


@component
def mine(
    card: Input[Artifact],
    pool: Input[Dataset],
    gold: Input[Dataset],
    judgements: Input[Dataset],
    bundle: Input[Model],
    audit: Input[Artifact],
    store: str,
    queue: Output[Dataset],
    metrics: Output[Metrics],
    decision: str = "",
    overrides: str = "",
    fault: str = "",
) -> None:
    """Compare a new bundle with the teacher on unlabelled texts, and queue for people those on which they disagree."""
    from understudy.runtime.shell import execute_component

    execute_component("mine", locals())
