"""The KFP component of the step sample."""

from kfp.dsl import Artifact, Dataset, Metrics, Output

from understudy.runtime.component import component


@component
def sample(
    card: str,
    store: str,
    snapshot: Output[Artifact],
    sample: Output[Dataset],
    metrics: Output[Metrics],
    answers: str = "",
    date: str = "",
    overrides: str = "",
    fault: str = "",
) -> str:
    """Take people's answers in, draw texts of the last nights for people, and let the teacher label a few."""
    from understudy.runtime.shell import execute_component

    return str(execute_component("sample", locals()).parameters["date"])
