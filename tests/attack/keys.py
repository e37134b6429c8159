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
    ask = [word for word in desk.words("label") if word != "--dry-run"]
    ask += ["--set", "max_tries=1", "--set", "timeout_s=5"]
    night, user = [*desk.words("nightly"), *QUICK], quote(CANARY, safe="")
    search, reindex = desk.words("search"), desk.words("reindex")
    remote = _on(night, "--store", "s3://attack/keys")
    broken, half = f"{CANARY}\nX-Other: {CANARY}", f"{CANARY[:8]}\n{CANARY}"
    teacher = {"OPENAI_BASE_URL": "{echo}/v1"}
    found = [
        Setup(f"teacher, key echoed, {code}", ask, {"OPENAI_BASE_URL": f"{{echo}}/{code}/v1", "OPENAI_API_KEY": CANARY})
        for code in (200, 201, 400, 401, 403, 404, 500)
    ]
    found += [
        Setup(f"teacher, key with a break ({n})", ask, {**teacher, "OPENAI_API_KEY": key})
        for n, key in enumerate((broken, half, f"{CANARY}\r", f"é{CANARY}"))
    ]
    for scheme in ("http://", ""):
        place = f"{scheme}user:{user}@{NOWHERE}"
        found.append(
            Setup(
                f"teacher at {scheme or 'no scheme'} with a password",
                ask,
                {"OPENAI_BASE_URL": f"{place}/v1", "OPENAI_API_KEY": "k"},
            )
        )
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            found.append(Setup(f"{name} at {scheme or 'no scheme'} with a password", remote, {**s3, name: place}))
        found.append(
            Setup(f"Elasticsearch at {scheme or 'no scheme'} with a password", night, {"ELASTICSEARCH_URL": place})
        )
        found.append(Setup(f"search at {scheme or 'no scheme'} with a password", search, {"ELASTICSEARCH_URL": place}))
        found.append(
            Setup(f"index.url at {scheme or 'no scheme'} with a password", [*reindex, "--set", f"url={place}"])
        )
    for option in ("--store", "--texts", "--card"):
        for address in (f"s3://user:{user}@bucket/x", f"https://user:{user}@{NOWHERE}/x", f"s3://{user}@bucket"):
            found.append(
                Setup(f"{option} {address.partition(':')[0]} with a password", _on(night, option, address), s3)
            )
    for key in (CANARY, broken, f"{CANARY}\t"):
        found.append(Setup("S3, secret key refused", remote, {**s3, "AWS_SECRET_ACCESS_KEY": key}))
        found.append(
            Setup("S3, access key refused", remote, {**s3, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key})
        )
        found.append(Setup("S3, session token", remote, {**s3, "AWS_SESSION_TOKEN": key}))
        found.append(
            Setup(
                "S3, a server that echoes",
                remote,
                {**s3, "AWS_ENDPOINT_URL": "{echo}/400", "AWS_SECRET_ACCESS_KEY": key, "AWS_SESSION_TOKEN": key},
            )
        )
        found.append(
            Setup("Elasticsearch, key echoed", night, {"ELASTICSEARCH_URL": "{echo}/401", "ELASTICSEARCH_API_KEY": key})
        )
        found.append(
            Setup(
                "Elasticsearch, key nowhere",
                night,
                {"ELASTICSEARCH_URL": f"http://{NOWHERE}", "ELASTICSEARCH_API_KEY": key},
            )
        )
        filed = {"ELASTICSEARCH_URL": "{echo}/500", "ELASTICSEARCH_API_KEY_FILE": "key"}
        found.append(Setup("Elasticsearch, key in a file", night, filed, {"key": key}))
        found.append(Setup("webhook", desk.words("watch"), {"UNDERSTUDY_WEBHOOK_URL": f"{{echo}}/500/{key}"}))
    found.append(
        Setup(
            "teacher, key also in the answers",
            [*ask, "--set", "max_failed_share=1"],
            {"OPENAI_BASE_URL": "{echo}/told/v1", "OPENAI_API_KEY": CANARY},
        )
    )
    return found


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
        for setup in found if is_long else found[::2]:
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

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - the library's names

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
