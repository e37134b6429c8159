"""Let an earlier version serve again: `understudy rollback`."""

import click

from understudy.store import registry
from understudy.store.storage import prepare_store


@click.command("rollback")
@click.option("--store", required=True, help="Store to go back in: a folder or s3://bucket/prefix.")
@click.option("--to", help="Version to go back to, in the place of the one before; `bundles/` in the store lists them.")
def command(store: str, to: str | None) -> None:
    """Let the version before serve again; `publish --rollback` is the same."""
    current = registry.rollback(prepare_store(store, must_exist=True), to)
    click.echo(f"rollback: {current.version} serves again (generation {current.generation}, {store}).")
