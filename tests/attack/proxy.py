"""A faulty network before an S3 server: what a plan names goes wrong, everything else is carried as it is."""

import http.client
import json
import os
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.attack.world import served

Fault = Literal["cut", "short", "slow", "500", "503", "lost", "unconditional"]
CONDITIONS = {"if-none-match", "if-match"}
CUTS = ("cut", "short")
LONG_BODY = 400  # bytes; a shorter answer is not worth cutting
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>Please try again.</Message>'
    b"<RequestId>attack</RequestId></Error>"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong.

    Attributes:
        fault: cut: the connection ends half-way through an answer's body. short: the same, and no header says how long
            the body is. slow: an answer takes `seconds` longer. 500
            and 503: the server's own words for it. lost: the request is carried out, the connection ends before the
            answer. unconditional: If-None-Match and If-Match are ignored.
        every: each so manieth request that it can befall.
        methods: of the requests that it befalls.
        times: how often it happens at most; 0 for no limit.
        path: part of the path of the requests that it befalls.
        seconds: for slow.
    """

    fault: Fault
    every: int = 3
    methods: tuple[str, ...] = ("GET", "PUT", "HEAD", "DELETE", "POST")
    times: int = 0
    path: str = ""
    seconds: float = 0.3


@dataclass(frozen=True, slots=True)
class Standing:
    """A proxy: its address, and the file that has a line a fault."""

    url: str
    log: Path

    @property
    def befallen(self) -> int:
        """How many requests went wrong."""
        return len(self.log.read_text(encoding="utf-8").splitlines())


@contextmanager
def standing(upstream: str, plan: Plan, folder: Path) -> Iterator[Standing]:
    """Stand before a server, in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "faults.log"
    log.write_bytes(b"")

    def serve(address: Path) -> None:
        about = {"upstream": urlsplit(upstream).netloc, "plan": plan, "log": log}
        kind = type("Planned", (Carrier,), {**about, "lock": threading.Lock(), "counts": Counter()})
        with Server(("127.0.0.1", 0), kind) as server:
            address.write_text(f"http://127.0.0.1:{server.server_address[1]}", encoding="utf-8")
            server.serve_forever()

    with served(serve, folder) as url:
        yield Standing(url, log)


class Server(socketserver.ThreadingTCPServer):
    """A thread a connection."""

    daemon_threads = True
    request_queue_size = 64


class Carrier(BaseHTTPRequestHandler):
    """Carries requests to the server behind, but for those that a plan spoils."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    upstream: str
    plan: Plan
    log: Path
    lock: threading.Lock
    counts: Counter[str]

    def carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_befallen = self._is_befallen(None)
        if is_befallen and self.plan.fault in {"500", "503"}:
            return self._fail()
        if is_befallen and self.plan.fault == "slow":
            time.sleep(self.plan.seconds)
        status, headers, content = self._forwarded(body, is_unconditional=self.plan.fault == "unconditional")
        if is_befallen and self.plan.fault == "lost":
            return self._hang_up()
        is_cut = self.plan.fault in CUTS and len(content) >= LONG_BODY and self._is_befallen(content)
        length = None if is_cut and self.plan.fault == "short" else len(content)
        self._answer(status, headers, content[: len(content) // 2] if is_cut else content, length)
        self.close_connection = self.close_connection or is_cut  # an orderly end: only the length tells of it
        return None

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = carry

    def _is_befallen(self, content: bytes | None) -> bool:
        """Whether this request is one of those that go wrong; a cut can befall a long answer alone."""
        if (self.plan.fault in CUTS) == (content is None) or self.command not in self.plan.methods:
            return False
        if self.plan.path not in self.path.partition("?")[0]:  # a listing has the key in its query
            return False
        with self.lock:
            self.counts["seen"] += 1
            is_over = bool(self.plan.times) and self.counts["befallen"] >= self.plan.times
            if is_over or self.counts["seen"] % self.plan.every:
                return False
            self.counts["befallen"] += 1
        with self.log.open("ab", buffering=0) as file:
            file.write((json.dumps([self.plan.fault, self.command, self.path]) + "\n").encode())
        return True

    def _forwarded(self, body: bytes, *, is_unconditional: bool) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if not (is_unconditional and name.lower() in CONDITIONS) and name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, length: int | None) -> None:
        self.send_response(status)
        is_head = self.command == "HEAD"
        left_out = {"transfer-encoding", "connection", *(() if is_head else ("content-length",))}
        for name, value in headers:
            is_checksum = name.lower().startswith("x-amz-checksum")  # few servers give one, and none of a part
            if name.lower() not in left_out and not (is_checksum and self.plan.fault in CUTS):
                self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        elif not is_head:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(b"" if is_head else content)
        self.wfile.flush()

    def _fail(self) -> None:
        code = b"InternalError" if self.plan.fault == "500" else b"SlowDown"
        self._answer(
            int(self.plan.fault), [("Content-Type", "application/xml")], SLOW_DOWN % code, len(SLOW_DOWN % code)
        )

    def _hang_up(self) -> None:
        """End the connection as a firewall does, by a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_message(self, *_: object) -> None:
        """Say nothing."""
