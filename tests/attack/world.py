"""What is attacked: an S3 server, a teacher that keeps a log, a small task, and stores with nights."""

import contextlib
import csv
import json
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.attack.forks import apart
from tests.services import s3
from tests.teachers import Answer, completion, teacher_server
from understudy.runtime import shell

NIGHT = "2026-11-01"
CARD = "hotel-tips"
PRICE_USD = (100 * 1.0 + 10 * 4.0) / 1e6  # of one answer of tests.teachers: 100 and 10 tokens at the card's prices
SOURCE = "--source texts" if "source" in shell.signature("infer").parameters else ""
REHEARSAL = Answer(
    {"object": "list", "data": [{"id": "rehearsal", "object": "model", "owned_by": "understudy:attack"}]}
)


@contextmanager
def served(serve: Callable[[Path], Any], folder: Path) -> Iterator[str]:
    """Run a server in a forked child; `serve` writes its address to the file that it is given, and serves for ever."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    address.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        os.dup2(os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        try:
            serve(address)
        finally:
            os._exit(1)
    try:
        until = time.monotonic() + 20
        while not (address.exists() and address.read_text()):
            if time.monotonic() > until:
                raise RuntimeError(f"A server did not start ({folder}).")
            time.sleep(0.005)
        yield address.read_text()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def s3_server(folder: Path) -> Iterator[s3.Server]:
    """Start versitygw."""
    place = s3.folder_with_xattrs()
    process, server = s3.start(s3.find_or_build(), place)
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


def s3_env(server: s3.Server, url: str = "") -> dict[str, str]:
    """Return what boto3 needs to reach the server, by another address where one is given."""
    values = (url or server.url, server.access_key, server.secret_key, "us-east-1")
    return dict(zip(s3.VARIABLES, values, strict=True))


def make_bucket(env: Mapping[str, str], name: str) -> str:
    """Make a bucket; returns its address."""

    def make() -> None:
        from understudy.store.s3 import s3_client

        s3_client().create_bucket(Bucket=name)

    apart(make, env=env)
    return f"s3://{name}"


@dataclass(frozen=True, slots=True)
class Teacher:
    """A rehearsal teacher in a process of its own, which writes every request down as it comes."""

    url: str
    log: Path

    @property
    def env(self) -> dict[str, str]:
        """What a command needs to ask it."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "rehearsal-key"}

    def asked(self, since: int = 0) -> list[str]:
        """Return the texts of the requests, hashed, in the order in which they came."""
        return [line.split()[1] for line in self.log.read_text(encoding="utf-8").splitlines()[since:]]


@contextmanager
def teacher(folder: Path, answers: Mapping[str, str], latency_s: float, text: str = "") -> Iterator[Teacher]:
    """Run a teacher.

    Args:
        folder: for its log.
        answers: label by text.
        latency_s: that it thinks about each.
        text: another answer than a label, for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "requests.log"
    log.write_bytes(b"")

    def respond(request: dict[str, Any], asked: str, _number: int) -> Answer:
        with log.open("ab", buffering=0) as file:
            file.write(f"{time.monotonic():.6f} {sha256(asked.encode()).hexdigest()}\n".encode())
        time.sleep(latency_s)
        return completion(text or json.dumps({"label": answers.get(asked, "other")}), model="rehearsal")

    def serve(address: Path) -> None:
        with teacher_server(respond, REHEARSAL) as server:
            address.write_text(server.url, encoding="utf-8")
            signal.pause()

    with served(serve, folder) as url:
        yield Teacher(url, log)


def asked_twice(lives: list[list[str]], slots: int) -> int:
    """Count the requests for a text that an earlier life of the run had asked for, beyond those in flight at its kill.

    Args:
        lives: what was asked from one kill to the next.
        slots: requests in flight at once.

    >>> asked_twice([["a", "b", "c"], ["b", "c", "d"]], 1)
    1
    """
    before: set[str] = set()
    twice = 0
    for number, life in enumerate(lives):
        again = sum(text in before for text in life)
        within = sum(times - 1 for times in Counter(life).values())
        twice += max(0, again - (slots if number else 0)) + within
        before.update(life)
    return twice


def night_texts(count: int, prefix: str = "t") -> list[tuple[str, str]]:
    """Return texts for a night: (id, text)."""
    from tests.night_desk import texts

    return texts(0, count, prefix)


def make_night(folder: Path, uri: str, count: int, env: Mapping[str, str]) -> None:
    """Publish a bundle into a fresh store, and write the texts of a night."""

    def make() -> None:
        from tests.night_desk import make_desk

        folder.mkdir(parents=True, exist_ok=True)
        make_desk(folder, uri).write("a.csv", night_texts(count))

    apart(make, env=env)


def write_csv(file: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Write a CSV."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([header, *rows])


def label_inputs(folder: Path, texts: int, budget_usd: float = 5.0) -> dict[str, str]:
    """Write what ingest hands to label; returns each text's label."""
    pool = [(f"Ask for room {number}.", "tip") for number in range(texts // 5)]
    pool += [(f"The view from room {number} is nice.", "other") for number in range(texts - len(pool))]
    human = [("train" if number % 2 else "validation", f"Bring {number} towels.", "tip") for number in range(8)]
    exam = [("test", f"Avoid floor {number}.", "tip") for number in range(8)]

    def make() -> None:
        from tests.conftest import card_yaml
        from tests.steps.test_label import gold_table, pool_table
        from understudy.store import tables

        (folder / "snapshot").mkdir(parents=True, exist_ok=True)
        card = card_yaml(budget={"teacher_usd": budget_usd}, label={"min_answers": 1})
        (folder / "snapshot/card.yaml").write_text(card, encoding="utf-8")
        tables.write(pool_table([text for text, _ in pool]), tables.Texts, folder / "pool")
        tables.write(gold_table(human), tables.Gold, folder / "gold")
        tables.write(gold_table(exam), tables.Gold, folder / "test")

    apart(make)
    return dict(pool) | {text: label for _, text, label in human + exam}


def label_words(folder: Path, store: str, *settings: str, name: str = "judgements") -> list[str]:
    """Return the command that asks a teacher."""
    words = ["understudy", "label", "--store", store]
    for option in ("pool", "gold", "test"):
        words += [f"--{option}", str(folder / option)]
    words += ["--card", str(folder / "snapshot"), "--judgements", str(folder / name)]
    words += ["--test-judgements", str(folder / f"{name}-test")]
    return words + [word for setting in settings for word in ("--set", setting)]


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-attack-"))
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
