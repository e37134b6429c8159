"""Serve a simulated teacher: a local server that speaks the OpenAI chat API and answers from a labelled file.

It costs nothing and says so: its model is `rehearsal`, and whoever asks it stamps that on every answer.

    with serve(Plan(answers_path, errors=Errors(flip=0.1))) as server:
        os.environ["OPENAI_BASE_URL"] = server.url
"""

import hashlib
import json
import math
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

from understudy.data import cards
from understudy.errors import BadInput, UnderstudyError
from understudy.store import codecs
from understudy.task import label_sets
from understudy.task.card import Card
from understudy.teacher import misbehaviours, simulated_batches, simulated_editor, simulated_sets
from understudy.teacher.injected_errors import (
    OURS,
    UNUSABLE,
    Columns,
    Errors,
    InjectedAnswer,
    confidence,
    guess,
    inject,
    read_answers,
    write_injected,
)
from understudy.teacher.misbehaviours import PROSE, Misbehaviour, Turn, misbehave
from understudy.teacher.prompt import unmarked
from understudy.teacher.redaction import Redaction
from understudy.text.normalise import content_hash
from understudy.text.numbers import clipped, count

MODEL = "rehearsal"
MESSAGE_TOKENS = 4
LETTERS_PER_TOKEN = 6
LARGEST_BODY = 64 * 2**20
RETRY_AFTER_S = 1
IN_WORDS = "Answer with JSON alone"  # how a prompt asks for JSON where the server knows no format
REFUSAL = "I'm sorry, I can't label a text that I was not given the answer to."
RATIONALE = "This follows the decision rules."
Listed = tuple[str, float]  # what could stand in a place, and its probability


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rehearsal teacher does.

    Attributes:
        answers: CSV, Parquet or JSON lines with texts and labels; "?" for an answer that could not be used, which is
            given as prose.
        errors: errors to inject.
        card: where the card lies; needed when `errors` has a bias, and where a text may have several labels.
        has_logprobs: give log-probabilities to who asks for them.
        unknown: what a text gets that is not in the file: a seeded guess, or a refusal.
        injected: file that takes every answer and why it was changed, one JSON object a line.
        rate_limit: answer every n-th request with 429 and Retry-After; 0 answers all.
        latency_s: seconds to think about each request.
        batch_s: seconds that a batch takes.
        batch_expires: share of a batch's requests that it does not come to.
        columns: what the file calls its texts and labels.
        misbehave: how it does other than it should.
        editor: share, in [0, 1], of right answers of the editor that it plays too.
    """

    answers: Path
    errors: Errors = field(default_factory=Errors)
    card: Path | str = ""
    has_logprobs: bool = False
    unknown: Literal["guess", "refuse"] = "guess"
    injected: Path | None = None
    rate_limit: int = 0
    latency_s: float = 0.0
    batch_s: float = 0.0
    batch_expires: float = 0.0
    columns: Columns = OURS
    misbehave: Sequence[Misbehaviour] = ()
    editor: float = simulated_editor.RIGHT


class BadRequest(UnderstudyError):
    """The request is not one of the chat API; answered with 400."""


class Script:
    """All answers of a rehearsal teacher; the same request always gets the same one."""

    def __init__(self, plan: Plan) -> None:
        card = cards.read(str(plan.card))[0] if plan.card else None
        answers = read_answers(plan.answers, plan.columns, card)
        self.plan = plan
        self.injected = _as_sent(inject(answers, plan.errors, card), card)
        self.is_many = card is not None and card.is_many
        of_card = card.label_names if card else ()
        self.labels = list(of_card) if self.is_many else sorted(set(answers["label"]) - {UNUSABLE} | set(of_card))
        self.counts = Counter(answer.true for answer in self.injected.values())
        self.fingerprint = _fingerprint(plan, self.injected)

    @property
    def models(self) -> dict[str, Any]:
        """Answer of GET /v1/models; the owner tells one rehearsal from another."""
        entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": f"understudy:{self.fingerprint}"}
        return {"object": "list", "data": [entry]}

    def completion(self, request: Mapping[str, Any], text: str) -> dict[str, Any]:
        """Answer of POST /v1/chat/completions for the text that was found in the request.

        Raises:
            BadRequest: the request's schema has no place for the file's label.
        """
        pieces, logprobs = self._answer(request, text)
        content = "".join(pieces)
        message = {
            "role": "assistant",
            "content": content if pieces else None,
            "refusal": None if pieces else REFUSAL,
        }
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
        return {
            "id": f"chatcmpl-{content_hash(text)[:24]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [choice],
            "usage": _usage(request, content or REFUSAL),
        }

    def _answer(self, request: Mapping[str, Any], text: str) -> tuple[list[str], dict[str, Any] | None]:
        """Write the answer in tokens; none for a refusal. Log-probabilities where they are asked for and given."""
        if (given := simulated_editor.given_in(_content(request["messages"][-1]))) is not None:
            return [self._revision(text, given)], None
        schema = _schema(request, is_many=self.is_many)
        labels = _enum(schema) or self.labels
        content, seed = content_hash(text), self.plan.errors.seed
        known = self.injected.get(content)
        if known is None and self.plan.unknown == "refuse":
            return [], None
        if known is not None and known.answered == UNUSABLE:
            return [PROSE], None
        if self.is_many:
            return self._list_answer(request, content, known, labels)
        label = known.answered if known else guess(seed, content, labels)
        if label not in labels:
            raise _not_in_schema(labels, label)
        pieces = _written(label, schema)
        if not (request.get("logprobs") and self.plan.has_logprobs):
            return pieces, None
        sure = confidence(seed, content, known.why if known else "guess")
        listed = self._alternatives(label, labels, sure, request)
        is_json = len(pieces) > 1
        doubt = [(_in_json(name) if is_json else name, share) for name, share in listed]
        return pieces, _logprobs(pieces, {len(pieces) - 2 if is_json else 0: doubt})  # the name stands before the end

    def _revision(self, text: str, given: str) -> str:
        """Write what the editor says of a label; one of a text that the file does not have stays."""
        known = self.injected.get(content_hash(text))
        truth = given if known is None or known.true == UNUSABLE else known.true
        return simulated_editor.revision(text, given, truth, self.labels, self.plan.editor, self.plan.errors.seed)

    def _list_answer(
        self, request: Mapping[str, Any], content: str, known: InjectedAnswer | None, labels: Sequence[str]
    ) -> tuple[list[str], dict[str, Any] | None]:
        """Write an answer with a list of labels, as `_answer` does one with a label."""
        seed = self.plan.errors.seed
        given = known.answered if known else label_sets.written([guess(seed, content, labels)])
        if unknown := [name for name in label_sets.read(given) if name not in labels]:
            raise _not_in_schema(labels, unknown[0])
        given = label_sets.ordered(label_sets.read(given), labels)
        sure = dict(zip(labels, simulated_sets.chances(content, seed, given, known, labels), strict=True))
        listed = simulated_sets.tokens_of(given, sure, _most_listed(request))
        begin = ['{"', "labels", '":', " ["]
        pieces = [*begin, *(token for token, _ in listed), _end(_schema(request, is_many=True))]
        if not (request.get("logprobs") and self.plan.has_logprobs):
            return pieces, None
        return pieces, _logprobs(pieces, {len(begin) + place: doubt for place, (_, doubt) in enumerate(listed)})

    def _alternatives(self, label: str, labels: Sequence[str], sure: float, request: Mapping[str, Any]) -> list[Listed]:
        """Return what could stand in the label's place with its probability, likeliest first, as many as are asked for.

        What the answer leaves goes to the labels that texts with this answer truly have, by how many texts of each the
        file holds and how often such a one is answered so.
        """
        known = frozenset(labels)
        chances = {other: self.plan.errors.share(other, label, known) for other in labels if other != label}
        weights = {other: chance * (self.counts[other] + 1) for other, chance in chances.items()}
        total = sum(weights.values())
        rest = {other: (1 - sure) * weight / total for other, weight in weights.items() if weight}
        listed = sorted({label: sure if rest else 1.0, **rest}.items(), key=lambda item: -item[1])
        return listed[: _most_listed(request)]


class RehearsalServer(ThreadingHTTPServer):
    """The HTTP server around a script.

    Attributes:
        url: base URL for OpenAI clients.
        asked: how often each text was asked for.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Script, host: str, port: int) -> None:
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise BadInput(
                f"The rehearsal's address must be free, got {error} ({host}:{port}). Use --port 0 for any free port."
            ) from error
        self.script = script
        self.asked: Counter[str] = Counter()
        self.batches = simulated_batches.Batches(self.answer_in_batch, script.plan.batch_s, script.plan.batch_expires)
        self._requests, self._lock = 0, threading.Lock()

    @property
    def url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/v1"

    def answer_in_batch(self, request: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Answer a request of a batch: its status and body."""
        try:
            text = _text(request)
            with self._lock:
                self.asked[text] += 1
            turn = self.answer(request, text)
        except BadRequest as error:
            return 400, _error(str(error))
        return turn.status, turn.body

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def answer(self, request: Mapping[str, Any], text: str) -> Turn:
        """Answer a request, as it should be or as the plan misbehaves."""
        with self._lock:
            tries = self.asked[text]
        plan = self.script.plan
        turn = Turn(request, tries, self.script.completion(request, text))
        return misbehave(turn, plan.misbehave, plan.errors.seed, content_hash(text))

    def count(self, text: str) -> bool:
        """Count a request; False when the rate limit turns it away."""
        with self._lock:
            self._requests += 1
            limit = self.script.plan.rate_limit
            if limit and self._requests % limit == 0:
                return False
            self.asked[text] += 1
            return True


class Handler(BaseHTTPRequestHandler):
    """Routes requests; answers errors as the OpenAI API does."""

    server: RehearsalServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer GET."""
        match self._route().removeprefix("/v1/").split("/"):
            case ["models"]:
                self._send(200, self.server.script.models)
            case ["batches"]:
                after = parse_qs(self.path.partition("?")[2]).get("after", [None])[0]
                self._send(200, self.server.batches.listing(after))
            case ["batches", batch_id]:
                self._send_known(lambda: self.server.batches.retrieve(batch_id))
            case ["files", name, "content"]:
                self._send_known(lambda: self.server.batches.read(name))
            case _:
                self._send_error(404, f"There is no {self.path} here.")

    def do_POST(self) -> None:
        """Answer POST."""
        try:
            if self._route() == "/v1/files":
                self._send(200, self._uploaded())
                return
            request = self._request()
            if self._route() == "/v1/batches":
                self._send_known(lambda: self.server.batches.create(request))
                return
            if self._route() != "/v1/chat/completions":
                self._send_error(404, f"There is no {self.path} here.")
                return
            text = _text(request)
            if not self.server.count(text):
                self._send_error(429, "Rate limit reached.", {"Retry-After": str(RETRY_AFTER_S)})
                return
            time.sleep(self.server.script.plan.latency_s)
            turn = self.server.answer(request, text)
            self._send(turn.status, turn.body)
        except BadRequest as error:
            self._send_error(400, str(error))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Say nothing: a run has its own log."""

    def _route(self) -> str:
        return self.path.partition("?")[0].rstrip("/")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise BadRequest(f"A request must say its length, at most {LARGEST_BODY:,} bytes, got '{length}'.")
        return self.rfile.read(int(length))

    def _uploaded(self) -> dict[str, Any]:
        try:
            return self.server.batches.upload(self.headers.get("Content-Type", ""), self._body())
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def _request(self) -> Mapping[str, Any]:
        try:
            request = json.loads(self._body())
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"A request must be JSON, got {error}.") from error
        if not isinstance(request, dict):
            raise BadRequest("A request must be a JSON object.")
        return request

    def _send_known(self, find: Callable[[], Mapping[str, Any] | bytes]) -> None:
        """Send what is found; 404 where it is not known."""
        try:
            self._send(200, find())
        except simulated_batches.Unknown as error:
            self._send_error(404, str(error))

    def _send(self, status: int, content: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, _error(message), headers)


def _error(message: str) -> dict[str, Any]:
    """Write an error as the API does."""
    return {"error": {"message": message, "type": MODEL, "param": None, "code": None}}


@contextmanager
def serve(plan: Plan, host: str = "127.0.0.1", port: int = 0) -> Iterator[RehearsalServer]:
    """Run a rehearsal teacher in a thread for the length of a `with` block.

    Args:
        plan: what it answers.
        host: address to listen on.
        port: 0 takes any free one.

    Yields:
        the server; its `url` goes into OPENAI_BASE_URL.

    Raises:
        BadInput: the answers, the card or the errors cannot serve, or the address is taken.
    """
    script = Script(plan)
    if plan.injected:
        write_injected(script.injected, plan.injected)
    with RehearsalServer(script, host, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def plan_of(options: Mapping[str, Any]) -> Plan:
    """Read the options of `understudy rehearse`."""
    return Plan(
        answers=options["answers"],
        errors=Errors(
            options["flip"],
            parse_bias(options["bias"]),
            options["seed"],
            parse_confusions(options["confuse"]),
            options["confuse_share"],
        ),
        card=options["card"] or "",
        has_logprobs=options["logprobs"],
        unknown=options["unknown"],
        injected=options["injected"],
        rate_limit=options["rate_limit"],
        latency_s=options["latency"],
        batch_s=options["batch_seconds"],
        batch_expires=options["batch_expires"],
        columns=Columns(options["text_column"], options["label_column"]),
        misbehave=misbehaviours.parse(options["misbehave"]),
        editor=options["editor_right"],
    )


def told_to_end() -> threading.Event:
    """Return an event that is set when the process is told to end (SIGTERM or SIGINT)."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return ended


def summary(script: Script) -> str:
    """Say in a line what was injected.

    Example: "400 texts, 12 answered wrong on purpose (bias:avoid 4, flip 8)".
    """
    reasons = Counter(answer.why for answer in script.injected.values() if answer.why)
    listed = ", ".join(f"{why} {number:,}" for why, number in sorted(reasons.items()))
    texts = f"{len(script.injected):,} texts, {reasons.total():,} answered wrong on purpose"
    return f"{texts} ({listed})" if listed else texts


def unknown_texts(server: RehearsalServer) -> str:
    """Say how many texts were asked for that the file of answers does not have; empty where none was."""
    unknown = sum(content_hash(text) not in server.script.injected for text in server.asked)
    done = {"guess": "guessed", "refuse": "refused"}[server.script.plan.unknown]
    return f"Asked for {count(unknown, 'text')} that the file does not have: {done}." if unknown else ""


def parse_bias(items: Sequence[str]) -> dict[str, float]:
    """Read `SLICE=P` items.

    >>> parse_bias(["avoid=0.5", "/never|don't/=0.25"])
    {'avoid': 0.5, "/never|don't/": 0.25}

    Raises:
        BadInput: an item is not of this form.
    """
    bias: dict[str, float] = {}
    for item in items:
        name, _, value = item.rpartition("=")
        try:
            bias[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise BadInput(f"A bias must be SLICE=P with P in [0, 1], got '{item}' (--bias). Write it so.")
    return bias


def parse_confusions(items: Sequence[str]) -> list[tuple[str, str]]:
    """Read `A=B` items: two labels that are taken for one another.

    >>> parse_confusions(["tip=plea", "card lost = card stolen"])
    [('tip', 'plea'), ('card lost', 'card stolen')]

    Raises:
        BadInput: an item is not of this form.
    """
    pairs = []
    for item in items:
        one, is_pair, other = (part.strip() for part in item.partition("="))
        if not (one and is_pair and other) or "=" in other:
            raise BadInput(
                f"Labels that are confused must be A=B, with one '=', got '{clipped(item)}' (--confuse). Write it so, "
                "and rename labels whose names hold a '='."
            )
        pairs.append((one, other))
    return pairs


def count_tokens(text: str) -> int:
    """Count tokens fairly: a short word or a sign is one, a long word one for each six letters.

    >>> count_tokens("Ask for a room, reception helps.")
    9
    """
    words = re.findall(r"\w+|[^\w\s]", text)
    return sum(math.ceil(len(word) / LETTERS_PER_TOKEN) for word in words)


def _as_sent(injected: Mapping[str, InjectedAnswer], card: Card | None) -> dict[str, InjectedAnswer]:
    """Find answers by the hash of what is sent of their texts, where a card has something taken out of them."""
    if card is None or not (redaction := Redaction.of(card.teacher.redact)):
        return dict(injected)
    return {content_hash(redaction.redacted(answer.text)): answer for answer in injected.values()}


def _fingerprint(plan: Plan, injected: Mapping[str, InjectedAnswer]) -> str:
    """Tell apart rehearsals that answer differently, so that their answers are not taken for one another's."""
    answers = [(content, asdict(answer)) for content, answer in sorted(injected.items())]
    decisive = [answers, plan.errors.seed, plan.has_logprobs, plan.unknown]
    if plan.errors.like:  # which the log-probabilities follow
        decisive.append([sorted(map(sorted, plan.errors.like)), plan.errors.like_share])
    if plan.editor != simulated_editor.RIGHT:
        decisive.append(plan.editor)
    if plan.misbehave:
        decisive.append([asdict(one) for one in plan.misbehave])
    return hashlib.sha256(codecs.canonical(decisive)).hexdigest()[:12]


def _text(request: Mapping[str, Any]) -> str:
    """Find the text between the marker lines of the last user message; without markers the message is the text."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest("A request must have messages.")
    users = [message for message in messages if message.get("role") == "user"]
    if not users:
        raise BadRequest("A request must have a user message.")
    content = _content(users[-1])
    found = unmarked(content)
    return content.strip() if found is None else found


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _schema(request: Mapping[str, Any], *, is_many: bool) -> Mapping[str, Any] | None:
    """The JSON schema of the answer, with a label or a list of labels; None when the answer is free text."""
    wanted = request.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") == "text":
        is_json_asked_for = any(IN_WORDS in _content(message) for message in request["messages"])
        return {} if is_json_asked_for else None
    if wanted.get("type") == "json_object":
        return {}
    key = "labels" if is_many else "label"
    try:
        schema = wanted["json_schema"]["schema"]
        _ = schema["properties"][key]
    except (KeyError, TypeError) as error:
        raise BadRequest(
            f"The response format must be a JSON schema with a property '{key}'. That a text may have several labels "
            "is said by the rehearsal's own --card."
        ) from error
    return dict(schema)


def _enum(schema: Mapping[str, Any] | None) -> list[str]:
    properties = (schema or {}).get("properties", {})
    label = properties.get("label", properties.get("labels", {}))
    one = label.get("items", label) if isinstance(label, dict) else None
    enum = one.get("enum") if isinstance(one, dict) else None
    return [str(name) for name in enum] if isinstance(enum, list) else []


def _written(label: str, schema: Mapping[str, Any] | None) -> list[str]:
    """Write an answer as the tokens of a model: the label's name is one of them."""
    return [label] if schema is None else ['{"', "label", '":', ' "', _in_json(label), _end(schema)]


def _end(schema: Mapping[str, Any] | None) -> str:
    """Write the end of an answer, with a reason where one is asked for."""
    has_rationale = "rationale" in (schema or {}).get("properties", {})
    return f', "rationale": "{RATIONALE}"}}' if has_rationale else "}"


def _not_in_schema(labels: Sequence[str], label: str) -> BadRequest:
    return BadRequest(f"The schema's labels must hold the file's, got {labels} and '{label}'.")


def _most_listed(request: Mapping[str, Any]) -> int:
    """How many alternatives of a token are asked for, two at least."""
    asked = request.get("top_logprobs")
    return asked if isinstance(asked, int) and asked > 1 else 2


def _logprobs(pieces: Sequence[str], doubts: Mapping[int, Sequence[Listed]]) -> dict[str, Any]:
    """Log-probabilities of each token; only those in doubt, by their place, have alternatives."""
    certain = [_token(piece, 1.0, [(piece, 1.0)]) for piece in pieces]
    for place, listed in doubts.items():
        certain[place] = _token(pieces[place], dict(listed)[pieces[place]], listed)
    return {"content": certain, "refusal": None}


def _in_json(label: str) -> str:
    """Write a label with its closing quote, so that it fits no longer label that begins like it."""
    return json.dumps(label, ensure_ascii=False)[1:]


def _token(token: str, probability: float, alternatives: Sequence[Listed]) -> dict[str, Any]:
    top = [_listed(name, share) for name, share in alternatives]
    return {**_listed(token, probability), "top_logprobs": top}


def _listed(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(math.log(probability), 6), "bytes": list(token.encode())}


def _usage(request: Mapping[str, Any], answer: str) -> dict[str, int]:
    messages = [message for message in request["messages"] if isinstance(message, dict)]
    schema = json.dumps(request["response_format"]) if request.get("response_format") else ""
    prompt = sum(MESSAGE_TOKENS + count_tokens(_content(message)) for message in messages) + count_tokens(schema)
    completion = count_tokens(answer)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
