"""Serve the watch's newest figures to Prometheus, from the store.

python -m understudy.runners.cluster.exporter --store DIR_OR_S3 [--port 9100]

/metrics is the newest night's `understudy.prom`; /healthz says that the server runs.
"""

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click

from understudy.errors import UnderstudyError
from understudy.runners.terminal import front_door, tell
from understudy.store import layout
from understudy.store.storage import Store, open_store

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def newest(store: Store) -> bytes:
    """Return the figures of the night with the latest date; empty when there is none yet."""
    keys = [key for key in store.list(layout.WATCH_METRICS.prefix()) if layout.WATCH_METRICS.fields(key)]
    return store.read(max(keys)) if keys else b""


def answer(store: Store, path: str) -> tuple[int, bytes]:
    """Return the status and the body for a path; a store that fails is a failed scrape, never old figures."""
    if path == "/healthz":
        return 200, b"ok\n"
    if path != "/metrics":
        return 404, b"Ask for /metrics or /healthz.\n"
    try:
        return 200, newest(store)
    except UnderstudyError as error:
        return 503, f"{error}\n".encode()


def server_of(store: Store, port: int) -> ThreadingHTTPServer:
    """Return a server that is ready to serve; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        """Answer one request."""

        def do_GET(self) -> None:
            """Send the answer."""
            status, body = answer(store, self.path)
            self.send_response(status)
            self.send_header("Content-Type", TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - its name in http.server
            """Say nothing of each request."""

    return ThreadingHTTPServer(("", port), Handler)


@click.command(context_settings={"show_default": True})
@click.option("--store", required=True, help="The store: a folder or s3://bucket/prefix.")
@click.option("--port", type=int, default=9100)
def main(store: str, port: int) -> None:
    """Serve the watch's newest figures until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        opened = open_store(store)
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)
    with server_of(opened, port) as server:
        click.echo(f"Serving {opened.uri} at :{server.server_address[1]}/metrics")
        server.serve_forever()


if __name__ == "__main__":
    front_door(main)
