"""Serve the watch's newest figures to Prometheus, from the store.

/metrics is the newest night's `understudy.prom`; /healthz says that the server runs.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from understudy.errors import UnderstudyError
from understudy.store import layout
from understudy.store.storage import Store

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def newest(store: Store) -> bytes:
    """Return the figures of the night with the latest date; empty when there is none yet."""
    nights = layout.WATCH_METRICS.listed(store)
    return store.read(nights[-1][0]) if nights else b""


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
