"""The step ingest as a KFP component."""

from kfp.dsl import Artifact, Dataset, Metrics, Output

from understudy.runtime.component import component


@component
def ingest(
    card: str,
    texts: str,
    labels: str,
    store: str,
    snapshot: Output[Artifact],
    pool: Output[Dataset],
    gold: Output[Dataset],
    test: Output[Dataset],
    refused: Output[Dataset],
    metrics: Output[Metrics],
    overrides: str = "",
    fault: str = "",
) -> None:
    """Read texts and human labels, refuse what cannot serve, and divide the rest with the test split behind a wall."""
    from understudy.runtime.shell import execute_component

    execute_component("ingest", locals())
