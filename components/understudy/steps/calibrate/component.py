"""The KFP component of the step calibrate."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from understudy.runtime.component import component


@component
def calibrate(
    card: Input[Artifact],
    gold: Input[Dataset],
    graphs: Input[Model],
    judgements: Input[Dataset],
    bundle: Output[Model],
    metrics: Output[Metrics],
    overrides: str = "",
    fault: str = "",
) -> None:
    """Calibrate the graph that will serve on the calibration split, and write the bundle."""
    from understudy.runtime.shell import execute_component

    execute_component("calibrate", locals())
