"""A proxy that carries requests to a server but loses one answer, as a bad network does."""

import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler


@contextmanager
def losing_first_answer(upstream: str, method: str) -> Iterator[str]:
    """Stand before an HTTP server; the first request of this method is carried out, but its answer never arrives.

    Args:
        upstream: the server's URL.
        method: such as "PUT".

    Yields:
        the proxy's URL.
    """
    is_lost = threading.Event()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def carry(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = urllib.request.Request(
                upstream + self.path, body or None, dict(self.headers), method=self.command
            )
            try:
                answer = urllib.request.urlopen(request, timeout=20)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                content = answer.read()
            if self.command == method and not is_lost.is_set():
                is_lost.set()
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.command != "HEAD" else b"")

        do_GET = do_PUT = do_HEAD = do_DELETE = carry

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True  # a client keeps its connection for longer than this block
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
    assert is_lost.is_set()
