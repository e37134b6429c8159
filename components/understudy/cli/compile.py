"""Compile the pipelines and the steps for a KFP server: `understudy compile`."""

from pathlib import Path

import click

from understudy.pipelines.compile import compile_all


@click.command("compile")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the YAML.")
def command(out: Path) -> None:
    """Compile the pipelines, every step as a component, and a pipeline of each step alone to YAML.

    They are OUT/<pipeline>.yaml, OUT/components/<step>.yaml and OUT/steps/<step>.yaml. A pipeline of one step imports
    its input artifacts from the addresses that it is given, so that one step can be run alone in Kubeflow Pipelines.
    """
    for file in compile_all(out):
        click.echo(file)
