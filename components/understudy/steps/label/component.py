"""The KFP component of the step label."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def label(
    card: Input[Artifact],
    pool: Input[Dataset],
    gold: Input[Dataset],
    test: Input[Dataset],
    judgements: Output[Dataset],
    test_judgements: Output[Dataset],
    metrics: Output[Metrics],
    store: str,
    dry_run: bool = False,
    overrides: str = "",
    fault: str = "",
) -> None:
    """Ask the teacher for its answers to a balanced draw of the pool and to the human-labelled texts."""
    from understudy.runtime.shell import execute_component

    execute_component("label", locals())
