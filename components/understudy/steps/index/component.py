"""The KFP component of the step index."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from understudy.runtime.component import component


@component
def index(
    card: Input[Artifact],
    store: str,
    indexed: Output[Dataset],
    metrics: Output[Metrics],
    date: str = "",
    overrides: str = "",
    fault: str = "",
) -> None:
    """Put the nights' predictions into the searchable index: Elasticsearch where one is named, else SQLite."""
    from understudy.runtime.shell import execute_component

    execute_component("index", locals())
