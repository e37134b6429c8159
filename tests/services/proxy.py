"""A server between a client and Elasticsearch that can answer in its place, or stand where there is none."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.services import local

JSON = "application/vnd.elasticsearch+json;compatible-with=9"


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_bulk(self) -> bool:
        """Whether documents are sent."""
        return "/_bulk" in self.path


@dataclass(frozen=True)
class Answered:
    """An answer."""

    status: int
    body: bytes

    @property
    def content(self) -> Any:
        """What the JSON says."""
        return json.loads(self.body)


Rule = Callable[[Asked, Callable[[Asked], Answered]], Answered]


def answer(status: int, content: Any) -> Answered:
    """Make an answer of JSON."""
    return Answered(status, json.dumps(content).encode())


def error(status: int, kind: str, reason: str) -> Answered:
    """Answer with an error as Elasticsearch writes it."""
    cause = {"type": kind, "reason": reason}
    return answer(status, {"error": {"root_cause": [cause], **cause}, "status": status})


@contextmanager
def serving(rule: Rule, behind: str = "") -> Iterator[str]:
    """Serve by a rule, which may pass a request on to the server behind; yields the address."""

    class Handler(local.Quiet):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked = Asked(self.command, self.path, dict(self.headers), self.body())
            said = rule(asked, lambda passed: forward(behind, passed))
            self.send(said.status, said.body, {"X-elastic-product": "Elasticsearch", "Content-Type": JSON})

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    with local.serving(Handler) as address:
        yield address


def forward(behind: str, asked: Asked, context: ssl.SSLContext | None = None) -> Answered:
    """Pass a request on, over TLS when there is a context."""
    place = urlsplit(behind).netloc
    connection = (
        http.client.HTTPSConnection(place, timeout=60, context=context)
        if context
        else http.client.HTTPConnection(place, timeout=60)
    )
    try:
        kept = {name: value for name, value in asked.headers.items() if name.lower() not in {"host", "connection"}}
        kept["Content-Length"] = str(len(asked.body))
        connection.request(asked.method, asked.path, asked.body, kept)
        answered = connection.getresponse()
        return Answered(answered.status, answered.read())
    finally:
        connection.close()
