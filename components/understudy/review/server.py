"""Serve the review page on this machine: files, the task, and what people do, behind a token.

Every address begins with the token, and every answer of the server to one without it is the same. The Host header must
name this server, or a page elsewhere could reach it by a name of its own (DNS rebinding); a request that another site's
page makes is refused whatever it knows. Texts go out as JSON alone, and the page puts them in as text: no other script,
style or address is allowed to it.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.errors import BadInput, UnderstudyError
from understudy.review.desk import Desk, name_of
from understudy.store.codecs import faults_of
from understudy.text.numbers import clipped

MOST_BODY_BYTES = 64 << 10
WAIT_S = 30  # for a client that sends nothing
FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - refused
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OWN_SITE = {"same-origin", "none"}  # of Sec-Fetch-Site: the page itself, or a person who opens it


class Said(BaseModel):
    """What the page sends when a person does something."""

    model_config = ConfigDict(extra="forbid", strict=True)

    person: str = Field(max_length=200)
    id: str = Field(default="", max_length=10_000)
    labels: list[str] | None = Field(default=None, max_length=1_000)
    reason: str = Field(default="", max_length=10_000)
    seconds: float | None = Field(default=None, allow_inf_nan=False)


class Refused(Exception):
    """A request that is not answered: the status that it gets."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def server_of(desk: Desk, host: str, port: int, token: str) -> ThreadingHTTPServer:
    """Return a server that is ready to serve a desk.

    Args:
        desk: what is answered.
        host: the address that it listens at, which is also a name that its address bar may have.
        port: 0 takes a free one.
        token: that all addresses begin with.

    Raises:
        BadInput: nothing can listen there, or no page can be opened by that name.
    """
    if host in EVERYWHERE:
        raise BadInput(
            f"The review page must be served at an address that it is opened by, got '{host}' (--host). Name the "
            "machine's own, or leave it out and come through a tunnel (docs/review.md)."
        )
    names = {*LOOPBACK, host.lower()}
    try:
        return ThreadingHTTPServer((host, port), partial(Handler, desk, token, names))
    except OSError as error:
        raise BadInput(
            f"The review page must have a free address, got {error} ({host}:{port}). Name another --port or --host."
        ) from error


class Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    timeout = WAIT_S

    def __init__(self, desk: Desk, token: str, names: set[str], *connection: Any) -> None:
        self._desk, self._token, self._names = desk, token, names
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Send a file of the page, or the task."""
        self._answer(self._file)

    def do_POST(self) -> None:
        """Do what a person did, and send what they see next."""
        self._answer(self._act)

    def _answer(self, answer: Any) -> None:
        try:
            self._require_own(self.headers)
            body, kind = answer(self._place())
            self._send(HTTPStatus.OK, body, kind)
        except Refused as refused:
            self._send(refused.status, refused.status.phrase.encode(), "text/plain; charset=utf-8")
        except BadInput as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except UnderstudyError as error:
            self._send_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})

    def _require_own(self, headers: Any) -> None:
        """Refuse requests that come by another name than this server's, or from another site's page."""
        host = str(headers.get("Host") or "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name not in self._names:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST)
        if headers.get("Origin") not in {None, f"http://{host}"}:
            raise Refused(HTTPStatus.FORBIDDEN)
        if (headers.get("Sec-Fetch-Site") or "none") not in OWN_SITE:
            raise Refused(HTTPStatus.FORBIDDEN)

    def _place(self) -> str:
        """Return what of the address follows the token."""
        _, token, *rest = self.path.partition("?")[0].split("/", 2)
        if not hmac.compare_digest(token.encode(), self._token.encode()) or not rest:
            raise Refused(HTTPStatus.NOT_FOUND)
        return rest[0]

    def _file(self, place: str) -> tuple[bytes, str]:
        if place == "task":
            return _json(task_of(self._desk)), "application/json"
        if place not in FILES:
            raise Refused(HTTPStatus.NOT_FOUND)
        name, kind = FILES[place]
        return files("understudy.review").joinpath("page", name).read_bytes(), kind

    def _act(self, place: str) -> tuple[bytes, str]:
        said = self._said()
        person = name_of(said.person)
        acts: Mapping[str, Any] = {
            "show": lambda: self._desk.show(person),
            "answer": lambda: self._desk.answer(person, said.id, said.labels, said.reason, said.seconds),
            "skip": lambda: self._desk.skip(person, said.id),
            "undo": lambda: self._desk.undo(person),
        }
        if place not in acts:
            raise Refused(HTTPStatus.NOT_FOUND)
        return _json(acts[place]()), "application/json"

    def _said(self) -> Said:
        """Read the body; a form of another site can send none of this kind."""
        length = self.headers.get("Content-Length") or ""
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            return Said.model_validate_json(self.rfile.read(int(length)))
        except ValidationError as error:
            raise BadInput(
                f"What is sent must be what the page sends, got {clipped(faults_of(error), 300)}."
            ) from error

    def _send_json(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        self._send(status, _json(content), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - its name in http.server
        """Say nothing: the address of each request holds the token."""


def task_of(desk: Desk) -> dict[str, Any]:
    """Return what the page shows beside every text: the question, the rules and the labels."""
    guideline = desk.queue.guideline
    return {
        "question": guideline.question,
        "rules": list(guideline.rules),
        "labels": [
            {"name": name, "definition": definition, "examples": list(examples)}
            for name, (definition, examples) in guideline.labels.items()
        ],
        "is_many": guideline.is_many,
        "queue": desk.queue.name,
        "kind": desk.queue.kind,
        "guideline": guideline.hash,
    }


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=True, allow_nan=False).encode()
