"""A proxy before the real S3 server that fails as networks and lesser servers do, by a rule for each request.

Requests are signed anew, so that headers may be taken out of them.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.services import local
from tests.services.s3 import Server

NOT_SIGNED = {"authorization", "x-amz-date", "x-amz-content-sha256", "host", "connection", "expect", "user-agent"}
HOP = {"connection", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Asked:
    """A request: its method, path with query, headers by name in lower case, and body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; nothing, as it stands.

    Attributes:
        keeps: bytes of the answer's body after which the connection is cut; a negative number counts from its end.
        status: answered in the server's place.
        code: of the error in that answer.
        without: headers that never reach the server.
        stalls_s: how long the answer hangs where it is cut.
        hides: headers that never come back.
        says: headers that come back with another value.
        alters: change the last byte of the body.
    """

    keeps: int | None = None
    status: int = 0
    code: str = ""
    without: frozenset[str] = frozenset()
    stalls_s: float = 0.0
    hides: frozenset[str] = frozenset()
    says: dict[str, str] = field(default_factory=dict)
    alters: bool = False


Rule = Callable[[Asked], Fault | None]


def always(fault: Fault, method: str = "GET", about: str = "") -> Rule:
    """Let every such request fail."""
    return times(1 << 30, fault, method, about)


def times(count: int, fault: Fault, method: str = "GET", about: str = "") -> Rule:
    """Let the first requests of a method, about a path, fail."""
    left, lock = [count], threading.Lock()

    def rule(asked: Asked) -> Fault | None:
        with lock:
            if asked.method != method or about not in asked.path or left[0] <= 0:
                return None
            left[0] -= 1
        return fault

    return rule


@contextmanager
def faulty(server: Server, rule: Rule) -> Iterator[tuple[str, list[Asked]]]:
    """Serve as the server does, but for what the rule says.

    Yields:
        the address, and the requests as they come.
    """
    log: list[Asked] = []

    class Handler(local.Quiet):
        protocol_version = "HTTP/1.1"

        def carry(self) -> None:
            body = self.body()
            asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            log.append(asked)
            fault = rule(asked) or Fault()
            if fault.status:
                said = f"<Error><Code>{fault.code}</Code><Message>as asked</Message></Error>".encode()
                reply(self, fault.status, {"Content-Type": "application/xml"}, said, fault)
            else:
                reply(self, *carried(server, asked, fault), fault)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = carry

    with local.serving(Handler) as address:
        yield address, log


def reply(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
    """Answer, as far as the fault lets it."""
    length = headers.pop("Content-Length", len(body)) if handler.command == "HEAD" else len(body)
    handler.send_response_only(status)
    for name, value in ({"Content-Length": str(length)} | headers | fault.says).items():
        if name.lower() not in fault.hides:
            handler.send_header(name, value)
    if "content-length" in fault.hides:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()
    if handler.command == "HEAD":
        return
    if fault.alters:
        body = body[:-1] + bytes([body[-1] ^ 1])
    handler.wfile.write(body if fault.keeps is None else body[: fault.keeps])
    if fault.keeps is not None:
        handler.wfile.flush()
        threading.Event().wait(fault.stalls_s)
        handler.close_connection = True


def carried(server: Server, asked: Asked, fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Pass a request on, signed anew; return the answer's status, headers and body."""
    dropped = NOT_SIGNED | fault.without | {"content-length"}
    kept = {name: value for name, value in asked.headers.items() if name not in dropped}
    request = AWSRequest(method=asked.method, url=server.url + asked.path, data=asked.body, headers=kept)
    S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        headers = {**dict(request.headers.items()), "Content-Length": str(len(asked.body))}
        connection.request(asked.method, asked.path, asked.body, headers)
        answer = connection.getresponse()
        body = answer.read()
        back = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
        if asked.method == "HEAD":
            back["Content-Length"] = answer.getheader("Content-Length", "0")
        return answer.status, back, body
    finally:
        connection.close()
