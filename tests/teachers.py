"""Local HTTP servers in the place of a teacher, each answering as a test tells it to."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from understudy.teacher.prompt import unmarked


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `body` is sent as JSON unless it is bytes already."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Log:
    """What a server was asked: texts, requests, times of arrival, headers and paths, in order."""

    url: str
    texts: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


Respond = Callable[[dict[str, Any], str, int], Answer]


def completion(content: str | None, model: str = "paid-1", **message: Any) -> Answer:
    """Build an answer of the chat API: 100 prompt tokens and 10 completion tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return Answer({"model": model, "choices": [choice], "usage": usage})


def error(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """Build an error as the OpenAI API words it."""
    return Answer({"error": {"message": message, "code": code}}, status, headers)


MODELS = Answer({"object": "list", "data": [{"id": "paid-1", "object": "model", "owned_by": "acme"}]})


@contextmanager
def teacher_server(respond: Respond, models: Answer = MODELS) -> Iterator[Log]:
    """Run a server; `respond` gets the request, the text in it and the number of the request, from 0."""
    log, lock = Log(""), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            self.send(models)

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = unmarked(request["messages"][-1]["content"]) or ""
            with lock:
                number = len(log.texts)
                log.texts.append(text)
                log.requests.append(request)
                log.times.append(time.monotonic())
                log.paths.append(self.path)
                log.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send(respond(request, text, number))

        def send(self, answer: Answer) -> None:
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            standard = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            for name, value in {**standard, **answer.headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    log.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
