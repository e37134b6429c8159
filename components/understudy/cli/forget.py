"""Remove texts and all derived from them: `understudy forget`."""

from datetime import UTC, datetime

import click

from understudy.privacy import erasure
from understudy.store.storage import prepare_store


@click.command("forget")
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="ID",
    help="Id of a text, which covers its sentences, or of one sentence; repeatable.",
)
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A review, thread or dialogue; repeatable.")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that met the texts.")
@click.option(
    "--index-url",
    "servers",
    multiple=True,
    metavar="URL",
    help="A further Elasticsearch that holds the texts, beside ELASTICSEARCH_URL; repeatable.",
)
def command(ids: tuple[str, ...], groups: tuple[str, ...], store: str, servers: tuple[str, ...]) -> None:
    """Remove texts and all derived from them from store, cache and index, and let no later night take them.

    The source files are yours: remove the texts there too. A model that learned from them stays until the next training
    run.
    """
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    erased = erasure.forget(prepare_store(store, must_exist=True), ids, groups, today, servers)
    if not erased.rows and not erased.documents:
        click.echo("forget: no such text is in the store or an index; a note stays, so that no later night takes it.")
        return
    rows = ", ".join(f"{name}/ {count:,}" for name, count in erased.rows.items()) or "none"
    click.echo(f"forget: rows removed from the store: {rows}; from the index: {erased.documents:,} documents.")
    click.echo("forget: remove the texts from your source files too; a trained model forgets at its next training.")
