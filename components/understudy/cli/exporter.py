"""Serve the watch's newest figures to Prometheus: `understudy exporter`."""

import signal
import sys

import click

from understudy.runners.cluster.exporter import server_of
from understudy.store.storage import open_store


@click.command("exporter", context_settings={"show_default": True})
@click.option("--store", required=True, help="The store: a folder or s3://bucket/prefix.")
@click.option("--port", type=int, default=9100)
def command(store: str, port: int) -> None:
    """Serve the watch's newest figures to Prometheus until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    opened = open_store(store)
    with server_of(opened, port) as server:
        click.echo(f"Serving {opened.uri} at :{server.server_address[1]}/metrics")
        server.serve_forever()
