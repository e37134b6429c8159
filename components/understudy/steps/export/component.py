"""The KFP component of the step export."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from understudy.runtime.component import component


@component
def export(
    card: Input[Artifact],
    pool: Input[Dataset],
    gold: Input[Dataset],
    student: Input[Model],
    graphs: Output[Model],
    metrics: Output[Metrics],
    overrides: str = "",
    fault: str = "",
) -> None:
    """Export the student to ONNX in fp32 and int8, and choose the graph that will serve."""
    from understudy.runtime.shell import execute_component

    execute_component("export", locals())
