"""The KFP component of the step train."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from understudy.runtime.component import component


@component
def train(
    card: Input[Artifact],
    pool: Input[Dataset],
    gold: Input[Dataset],
    judgements: Input[Dataset],
    audit: Input[Artifact],
    student: Output[Model],
    metrics: Output[Metrics],
    store: str,
    overrides: str = "",
    fault: str = "",
) -> float:
    """Train one student from soft teacher labels and human labels."""
    from understudy.runtime.shell import execute_component

    return float(execute_component("train", locals()).parameters["seconds"])
