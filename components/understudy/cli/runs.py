"""List what ran: `understudy runs`."""

import click

from understudy.store import runs
from understudy.store.storage import open_store


@click.command("runs")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that the runs were started with.")
def command(store: str) -> None:
    """List what ran: when, with which card, how it ended as far as somebody saw it, and where its artifacts lie."""
    opened = open_store(store)
    begun = runs.read_all(opened)
    for line in runs.lines(begun) if begun else [f"No run was started with this store ({opened.uri})."]:
        click.echo(line)
