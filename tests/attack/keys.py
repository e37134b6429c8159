"""Canaries in the place of keys and passwords: what is printed or written is searched for them, in every form."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from tests.attack import fuzz, world
from tests.attack.figures import Counts
from tests.attack.forks import Command, run

CANARY = "C4nary/0f+a=Key7"  # signs that are quoted in addresses, and that no other text holds
NOWHERE = "127.0.0.1:9"
QUOTED = quote(CANARY, safe="")
PLACES = tuple(f"{scheme}user:{QUOTED}@{NOWHERE}" for scheme in ("http://", "https://", ""))
BROKEN = (f"{CANARY}\nX-Other: {CANARY}", f"{CANARY[:8]}\n{CANARY}", f"{CANARY}\t")
LIMIT_S = 60.0
QUICK = ("--set", "index.retries=1", "--set", "index.max_backoff_s=0.1")


@dataclass(frozen=True, slots=True)
class Setup:
    """A place where a key stands, and a command that meets it.

    Attributes:
        name: of the set-up.
        words: the command, at a desk of fuzz.py.
        env: its variables; "{echo}" stands for the address of a server that says back all that it is told.
        files: written before, by name.
    """

    name: str
    words: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def setups(desk: fuzz.Desk, s3: Mapping[str, str]) -> list[Setup]:
    """List the set-ups."""
    return [*_teachers(desk), *_searches(desk), *_stores(desk, s3), *_addresses(desk, s3), *_webhooks(desk)]


def _teachers(desk: fuzz.Desk) -> Iterator[Setup]:
    """A server that says the key back, keys that no header takes, and addresses with a password."""
    ask = [word for word in desk.words("label") if word != "--dry-run"]
    ask += ["--set", "teacher.max_tries=1", "--set", "teacher.timeout_s=5", "--set", "teacher.max_failed_share=1"]
    for code in ("200", "201", "400", "401", "403", "404", "500", "told"):
        env = {"OPENAI_BASE_URL": f"{{echo}}/{code}/v1", "OPENAI_API_KEY": CANARY}
        yield Setup(f"teacher, key echoed, {code}", ask, env)
    for key in (*BROKEN, f"é{CANARY}"):
        yield Setup(f"teacher, key {key!r}", ask, {"OPENAI_BASE_URL": "{echo}/200/v1", "OPENAI_API_KEY": key})
    for place in PLACES:
        yield Setup(f"teacher at {place}", ask, {"OPENAI_BASE_URL": f"{place}/v1", "OPENAI_API_KEY": "k"})


def _searches(desk: fuzz.Desk) -> Iterator[Setup]:
    """A search server that says the key back, one that is nowhere, and addresses with a password."""
    night = [*desk.words("nightly"), *QUICK]
    for key in (CANARY, *BROKEN):
        for url in ("{echo}/401", "{echo}/500", f"http://{NOWHERE}"):
            yield Setup(f"Elasticsearch at {url}", night, {"ELASTICSEARCH_URL": url, "ELASTICSEARCH_API_KEY": key})
        env = {"ELASTICSEARCH_URL": "{echo}/500", "ELASTICSEARCH_API_KEY_FILE": "key"}
        yield Setup("Elasticsearch, key in a file", night, env, {"key": key})
    for place in PLACES:
        yield Setup(f"Elasticsearch at {place}", night, {"ELASTICSEARCH_URL": place})
        yield Setup(f"search at {place}", desk.words("search"), {"ELASTICSEARCH_URL": place})
        yield Setup(f"index.url {place}", [*desk.words("reindex"), "--set", f"url={place}"])


def _stores(desk: fuzz.Desk, s3: Mapping[str, str]) -> Iterator[Setup]:
    """Keys of S3 that are refused, that no header takes, or that a server says back; endpoints with a password."""
    remote = _on(desk.words("nightly"), "--store", "s3://attack/keys")
    for key in (CANARY, *BROKEN):
        yield Setup("S3, secret key refused", remote, {**s3, "AWS_SECRET_ACCESS_KEY": key})
        yield Setup("S3, access key refused", remote, {**s3, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key})
        yield Setup("S3, session token", remote, {**s3, "AWS_SESSION_TOKEN": key})
        echoed = {**s3, "AWS_ENDPOINT_URL": "{echo}/400", "AWS_SECRET_ACCESS_KEY": key, "AWS_SESSION_TOKEN": key}
        yield Setup("S3, a server that echoes", remote, echoed)
    for place in PLACES:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            yield Setup(f"{name} {place}", remote, {**s3, name: place})


def _addresses(desk: fuzz.Desk, s3: Mapping[str, str]) -> Iterator[Setup]:
    """Addresses of data with a password."""
    for option in ("--store", "--texts", "--card"):
        for address in (f"s3://user:{QUOTED}@bucket/x", f"https://user:{QUOTED}@{NOWHERE}/x", f"s3://{QUOTED}@bucket"):
            yield Setup(f"{option} {address}", _on(desk.words("nightly"), option, address), s3)


def _webhooks(desk: fuzz.Desk) -> Iterator[Setup]:
    """Addresses that are secrets themselves."""
    for key in (QUOTED, *BROKEN):
        yield Setup("webhook", desk.words("watch"), {"UNDERSTUDY_WEBHOOK_URL": f"{{echo}}/500/{key}"})


def _on(words: list[str], option: str, value: str) -> list[str]:
    """Give an option another value."""
    place = words.index(option)
    return [*words[: place + 1], value, *words[place + 2 :]]


def attack(place: Path, env: Mapping[str, str], *, is_long: bool) -> Counts:
    """Try every set-up, and count the bytes of canaries in outputs and files."""
    lane, counts = fuzz.Fuzz(place, 0), Counts()
    s3 = {name: value for name, value in env.items() if name.startswith("AWS_")}
    with echo(place / "echo") as url:
        found = setups(lane.desk, s3)
        for setup in found if is_long else found[::3]:
            lane.lay_out()
            for name, content in setup.files.items():
                (lane.desk.folder / name).write_text(content, encoding="utf-8")
            given = lane.desk.command(setup.words)
            own = {name: value.replace("{echo}", url) for name, value in setup.env.items()}
            ended = run(Command(setup.words, {**given.env, **own}, given.folder), lane.sink, LIMIT_S)
            shown = _shown(ended.out) + _shown(ended.err) + _in_files(lane.desk.folder, set(setup.files))
            if shown:
                counts += Counts(keys_shown=shown, notes=[f"keys: {setup.name}: {ended.err.strip()[-300:]!r}"])
            if "Traceback" in ended.err:
                counts += Counts(tracebacks=1, notes=[f"keys: {setup.name}: {ended.err.strip()[-300:]}"])
    return counts


def forms(key: str) -> set[str]:
    """Return the forms in which a key may stand somewhere: as it is, quoted, in base64 as a header has it, as JSON."""
    pairs = [base64.b64encode(f"{user}{key}".encode()).decode().rstrip("=") for user in ("", "user:", "Bearer ")]
    return {key, quote(key, safe=""), quote(key), json.dumps(key)[1:-1], key.replace("/", "\\/"), *pairs}


def _shown(text: str) -> int:
    return max(text.count(form) * len(form) for form in forms(CANARY))


def _in_files(folder: Path, given: set[str]) -> int:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in given]
    return sum(_shown(file.read_bytes().decode("utf-8", "replace")) for file in files)


@contextmanager
def echo(folder: Path) -> Iterator[str]:
    """Run a server that says back the headers that it is told, with the status that the path begins with."""

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            word = self.path.split("/")[1]
            said = f"You said {dict(self.headers)} to {self.path}"
            body = _models() if self.command == "GET" and word in {"told", "200"} else _said(said)
            if self.command == "POST" and word == "told":
                body = _answer(said)
            self.send_response(int(word) if word.isdigit() else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def serve(address: Path) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
            address.write_text(f"http://127.0.0.1:{server.server_port}", encoding="utf-8")
            server.serve_forever()

    with world.served(serve, folder) as url:
        yield url


def _said(text: str) -> bytes:
    return json.dumps({"error": {"message": text, "code": None, "type": text, "reason": text}}).encode()


def _models() -> bytes:
    return json.dumps(world.REHEARSAL.body).encode()


def _answer(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return json.dumps({"model": "rehearsal", "choices": [choice], "usage": usage}).encode()
