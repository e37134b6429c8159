"""The KFP component of the step evaluate."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from understudy.runtime.component import component


@component
def evaluate(
    bundle: Input[Model],
    test: Input[Dataset],
    card: Input[Artifact],
    test_judgements: Input[Dataset],
    revised: Input[Dataset],
    evaluation: Output[Artifact],
    page: Output[HTML],
    metrics: Output[Metrics],
    record: str = "",
    training_s: float = 0.0,
    overrides: str = "",
    fault: str = "",
) -> str:
    """Measure a bundle on human labels only, beside its teacher, and decide whether it should be published."""
    from understudy.runtime.shell import execute_component

    return str(execute_component("evaluate", locals()).parameters["decision"])
