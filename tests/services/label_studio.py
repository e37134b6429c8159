"""A real Label Studio for tests, in an environment of its own: its libraries are other versions than ours."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services import alone, lacking

VERSION = "1.23.2"
HOME = Path.home() / f".cache/understudy-tests/label-studio-{VERSION}"
READY_WITHIN_S = 240  # its database is made at the first start
QUIET = dict.fromkeys(("COLLECT_ANALYTICS", "LATEST_VERSION_CHECK"), "false")  # it asks nobody outside


@dataclass(frozen=True)
class LabelStudio:
    """A server, and the token of its one user."""

    url: str
    token: str

    def ask(self, path: str, body: object = None) -> bytes:
        """Ask its API: a POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60) as answer:
            return answer.read()

    def project(self, page: str, tasks: str) -> int:
        """Make a project with a labelling page and tasks, as a person does who uploads our two files."""
        made = json.loads(self.ask("/api/projects", {"title": "a queue", "label_config": page}))
        self.ask(f"/api/projects/{made['id']}/import", json.loads(tasks))
        return int(made["id"])

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """List a project's tasks."""
        return list(json.loads(self.ask(f"/api/tasks?project={project}&page_size=1000"))["tasks"])

    def choose(self, task: int, *labels: str) -> None:
        """Label a task, as the page does."""
        choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [*labels]}}
        self.ask(f"/api/tasks/{task}/annotations/", {"result": [choice]})

    def export(self, project: int, kind: str) -> bytes:
        """Return an export of a project."""
        return self.ask(f"/api/projects/{project}/export?exportType={kind}&download_all_tasks=true")


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """Start a server for the session."""
    with alone("label-studio"):
        try:
            program = installed()
        except subprocess.CalledProcessError as error:
            lacking(f"no Label Studio: {error.stderr[-1000:]}")
    folder, token = tmp_path_factory.mktemp("label-studio"), secrets.token_hex(20)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = ("--username", "ann@example.org", "--password", secrets.token_hex(8), "--user-token", token)
    command = [program, "start", "--no-browser", "--port", str(port), "--data-dir", folder, *user]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), "--enable-legacy-api-token"],
            env={**kept, **QUIET},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = LabelStudio(f"http://127.0.0.1:{port}", token)
    try:
        wait(server, process, folder / "log")
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def installed() -> Path:
    """Return the program, installed where it is not there yet."""
    program = HOME / "bin/label-studio"
    if not program.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        made = (["venv", "--clear", "--python", sys.executable, str(HOME)],)
        packages = ["pip", "install", "--python", str(HOME / "bin/python"), f"label-studio=={VERSION}"]
        for words in (*made, packages):
            subprocess.run([uv, *words], check=True, capture_output=True, text=True, timeout=900)
    return program


def wait(server: LabelStudio, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            server.ask("/api/projects")
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.5)
        else:
            return
    raise RuntimeError(f"Label Studio did not answer: {log.read_text(errors='replace')[-2000:]}")
