"""A real container registry (CNCF distribution) for tests."""

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import lacking
from tests.services.s3 import Unavailable, program

MODULE = "github.com/distribution/distribution/v3/cmd/registry@v3.0.0"
NAMES = ("docker-registry", "registry")
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Use the registry that UNDERSTUDY_TEST_REGISTRY names (host:port, plain HTTP), or start one for the session."""
    if named := os.environ.get("UNDERSTUDY_TEST_REGISTRY"):
        yield named
        return
    try:
        binary = find_or_build()
    except Unavailable as reason:
        lacking(f"no container registry: {reason}")
    process, address = start(binary, tmp_path_factory.mktemp("registry"))
    yield address
    process.terminate()
    process.wait(timeout=20)


def find_or_build() -> str:
    """Return the path of the registry's program, built with Go when it is not there."""
    return program(NAMES, MODULE, "UNDERSTUDY_TEST_REGISTRY")


def start(binary: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a registry over a folder, and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "blobs", port=address.rpartition(":")[2]))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("wb") as log:
        command = [binary, "serve", str(folder / "config.yml")]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=2)
        except OSError:
            time.sleep(0.1)
        else:
            return process, address
    process.kill()
    process.wait()
    raise RuntimeError(f"The registry did not answer: {(folder / 'log').read_text(errors='replace')[-2000:]}")
