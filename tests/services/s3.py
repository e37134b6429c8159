"""A real S3 server (versitygw over a folder) for tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import alone, lacking

MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
ACCESS_KEY, SECRET_KEY = "understudy-tests", "understudy-tests-secret"
VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")


@dataclass(frozen=True)
class Server:
    """Address and keys of an S3 server."""

    url: str
    access_key: str
    secret_key: str


class Unavailable(Exception):
    """The server cannot be had here; the message says why."""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """Use the server that UNDERSTUDY_TEST_S3_URL names, or start one for the session."""
    if url := os.environ.get("UNDERSTUDY_TEST_S3_URL"):
        yield Server(url, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    try:
        binary, folder = find_or_build(), folder_with_xattrs()
    except Unavailable as reason:
        lacking(f"no S3 server: {reason}")
    process, server = start(binary, folder)
    yield server
    process.terminate()
    process.wait(timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3_url(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a fresh bucket, point boto3's environment at the server, and return s3://<bucket>."""
    values = (s3_server.url, s3_server.access_key, s3_server.secret_key, "us-east-1")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    from understudy.store.s3 import s3_client

    bucket = f"test-{uuid.uuid4().hex[:20]}"
    s3_client().create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


def find_or_build() -> str:
    """Return the path of versitygw, built with Go when it is not there."""
    return program(["versitygw"], MODULE, "UNDERSTUDY_TEST_S3_URL")


def program(names: Sequence[str], module: str, variable: str) -> str:
    """Return the path of a server's program, built with Go when it is not there.

    Args:
        names: that it goes by; Go's is the last.
        module: of Go.
        variable: that names a running server instead.

    Raises:
        Unavailable: it cannot be had.
    """
    with alone(names[0]):
        return _found_or_built(names, module, variable)


def _found_or_built(names: Sequence[str], module: str, variable: str) -> str:
    go = shutil.which("go")
    folder = Path(_output([go, "env", "GOPATH"]), "bin") if go else None
    found = [shutil.which(name) or (folder and shutil.which(name, path=str(folder))) for name in names]
    if any(found):
        return next(path for path in found if path)
    if not go:
        raise Unavailable(f"neither {names[0]} nor Go is installed, and {variable} is not set")
    built = subprocess.run([go, "install", module], capture_output=True, text=True, timeout=900, check=False)
    if built.returncode:
        raise Unavailable(f"`go install {module}` failed: {built.stderr.strip()[-500:]}")
    return str(folder / names[-1])


def folder_with_xattrs() -> Path:
    """Return a fresh folder on a file system that keeps extended attributes, where versitygw puts its metadata."""
    for parent in (None, Path.cwd(), Path.home(), "/dev/shm"):  # noqa: S108 - tried only for its file system
        try:
            folder = Path(tempfile.mkdtemp(prefix="understudy-s3-", dir=parent))
        except OSError:
            continue
        try:
            os.setxattr(folder, "user.understudy", b"1")
        except OSError:
            folder.rmdir()
            continue
        return folder
    raise Unavailable("no folder here keeps extended attributes, which versitygw needs")


def start(binary: str, folder: Path, host: str = "127.0.0.1") -> tuple[subprocess.Popen[bytes], Server]:
    """Start versitygw over a folder and wait until it answers."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    (folder / "root").mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "--port", f"{host}:{port}", "posix", str(folder / "root")],
            env={**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://{host}:{port}", ACCESS_KEY, SECRET_KEY)
    for _ in range(300):
        if process.poll() is not None:
            break
        if _answers(server.url):
            return process, server
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise RuntimeError(f"versitygw did not answer: {(folder / 'log').read_text(errors='replace')[-2000:]}")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2)
    except urllib.error.HTTPError:
        return True  # 403 without a signature: it is up
    except OSError:
        return False
    return True


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
