"""A real Elasticsearch 9.2.4 for tests: its core with the security module, in a folder that can be thrown away."""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.services import alone, lacking

VERSION = "9.2.4"
ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
ZIP_FILE = f"elasticsearch-{VERSION}.zip"
CACHE = Path.home() / ".cache" / "understudy-tests"
MIN_JAVA = 21
PASSWORD = "understudy-tests"
ROLES = {
    "indexer": {
        "cluster": ["manage_index_templates"],
        "indices": [{"names": ["understudy.*"], "privileges": ["create_index", "manage", "read", "write"]}],
    },
    "onlooker": {"cluster": ["monitor"], "indices": [{"names": ["*"], "privileges": ["read"]}]},
}
READY_WITHIN_S = 240
STARTS = 3
VARIABLES = ("ELASTICSEARCH_URL", "ELASTICSEARCH_API_KEY", "ELASTICSEARCH_API_KEY_FILE", "ELASTICSEARCH_CA_CERTS")
SETTINGS = {
    "discovery.type": "single-node",
    "xpack.security.enabled": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}


class Unavailable(Exception):
    """The server cannot be had here; the message says why."""


class PortTaken(RuntimeError):
    """Somebody took the port while the node was starting: it listens at the end of half a minute."""


@dataclass
class Server:
    """A node: where it listens, and how to stop and start it. One that the environment names has no folder."""

    url: str
    folder: Path | None = None
    java: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    settings: dict[str, str] = field(default_factory=dict)
    trusted: Path | None = None

    @property
    def can_restart(self) -> bool:
        """Whether this session started the node."""
        return self.folder is not None

    def start(self) -> None:
        """Start the node and wait until it answers; at another port where its own was taken meanwhile."""
        for _ in range(STARTS - 1):
            try:
                return self._start()
            except PortTaken:
                self.url = f"{self.url.rpartition(':')[0]}:{free_port()}"
        return self._start()

    def _start(self) -> None:
        assert self.folder is not None
        settings = {
            **SETTINGS,
            **self.settings,
            "http.port": self.url.rpartition(":")[2],
            "transport.port": "0",  # one that is free
        }
        command = [str(self.folder / "bin" / "elasticsearch")]
        command += [word for name, value in settings.items() for word in ("-E", f"{name}={value}")]
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                as_other_user(command),
                env={**os.environ, "ES_JAVA_HOME": str(self.java), "ES_JAVA_OPTS": "-Xms512m -Xmx512m", "HOME": "/tmp"},  # noqa: S108
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait()

    def wait(self) -> None:
        """Wait until the node answers."""
        assert self.folder is not None
        assert self.process is not None
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until and self.process.poll() is None:
            if answers(self.url, self.trusted):
                return
            time.sleep(0.3)
        log = (self.folder / "server.log").read_text(errors="replace")
        self.stop()
        if "BindHttpException" in log:
            raise PortTaken(f"Elasticsearch found its port taken: {log[-3000:]}")
        raise RuntimeError(f"Elasticsearch did not answer: {log[-3000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the node and every process that it started."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, how)
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=20)
        except ProcessLookupError:
            pass

    def remove(self) -> None:
        """Stop the node and remove its folder."""
        self.stop()
        if self.folder is not None:
            shutil.rmtree(self.folder.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def es_server() -> Iterator[Server]:
    """Use the server that UNDERSTUDY_TEST_ES_URL names, or start one for the session."""
    if url := os.environ.get("UNDERSTUDY_TEST_ES_URL"):
        yield Server(url)
        return
    try:
        server = unpacked()
    except Unavailable as reason:
        lacking(f"no Elasticsearch: {reason}")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def es_url(es_server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the server's address; the environment of this test names it, and no key."""
    group = request.node.get_closest_marker("xdist_group")
    assert group and group.args == ("elasticsearch",), "mark the test so that one worker runs all that share the server"
    assert "PYTEST_XDIST_WORKER" not in os.environ or request.node.nodeid.endswith("@elasticsearch"), "xdist saw none"
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ELASTICSEARCH_URL", es_server.url)
    return es_server.url


@pytest.fixture
def card_name(es_url: str) -> Iterator[str]:
    """Return a card's name of this test's own, and remove its indices and template afterwards."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    for path in (f"/understudy.{name}.*?expand_wildcards=all", f"/_index_template/understudy.{name}"):
        for address in concrete(es_url, path):
            request(es_url, address, "DELETE")


def concrete(url: str, path: str) -> list[str]:
    """Return the paths to delete: wildcards must not be deleted by."""
    if "*" not in path:
        return [path]
    found = request(url, path.partition("?")[0] + "/_settings?expand_wildcards=all&filter_path=*.settings.index.uuid")
    return [f"/{name}" for name in found]


def request(url: str, path: str, method: str = "GET", body: object = None) -> dict:
    """Ask the server without the client that is under test; an answer of 404 is an empty one."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {}
        raise RuntimeError(f"{method} {path}: {error.read().decode(errors='replace')[:1000]}") from error


@dataclass(frozen=True)
class Secured:
    """A node that asks who it is and speaks TLS with a certificate of its own; it knows a user for each of ROLES."""

    url: str
    certificate: Path

    def basic(self, user: str) -> str:
        """Return the header that names a user: this build can make no API key, for its index of them needs a module."""
        return f"Basic {base64.b64encode(f'{user}:{PASSWORD}'.encode()).decode()}"


@pytest.fixture(scope="session")
def secured_es() -> Iterator[Secured]:
    """Start a server of its own with security switched on; its whole environment is this session's."""
    try:
        server = unpacked()
    except Unavailable as reason:
        lacking(f"no Elasticsearch: {reason}")
    try:
        secure(server)
        server.start()
        yield Secured(server.url, server.trusted)
    finally:
        server.remove()


def secure(server: Server) -> None:
    """Give a server a certificate and users."""
    assert server.folder is not None
    config = server.folder / "config"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate")
    subprocess.run(command, cwd=config, check=True, capture_output=True)
    (config / "roles.yml").write_text(json.dumps(ROLES), encoding="utf-8")  # JSON is YAML
    tool, env = str(server.folder / "bin" / "elasticsearch-users"), {**os.environ, "ES_JAVA_HOME": str(server.java)}
    for name in ROLES:
        added = [tool, "useradd", name, "-p", PASSWORD, "-r", name]
        subprocess.run(added, cwd=server.folder, check=True, capture_output=True, env=env)
    if os.geteuid() == 0:
        for path in config.rglob("*"):
            os.chown(path, *other_user())
    server.settings |= {
        "xpack.security.enabled": "true",
        "xpack.security.autoconfiguration.enabled": "false",
        "xpack.security.http.ssl.enabled": "true",
        "xpack.security.http.ssl.key": "key.pem",
        "xpack.security.http.ssl.certificate": "cert.pem",
    }
    server.url = server.url.replace("http://", "https://")
    server.trusted = config / "cert.pem"


def unpacked() -> Server:
    """Unpack the server into a fresh folder that a user other than root may write."""
    java = find_java()
    archive = fetched_zip()
    folder = Path(tempfile.mkdtemp(prefix="understudy-es-"))
    folder.chmod(0o755)
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    home = next(path for path in folder.iterdir() if (path / "bin").is_dir())
    for tool in (home / "bin").iterdir():
        tool.chmod(0o755)
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *other_user())
    return Server(f"http://127.0.0.1:{free_port()}", home, java)


def fetched_zip() -> Path:
    """Return the server's archive, fetched once by Maven."""
    archive = CACHE / ZIP_FILE
    with alone("elasticsearch"):
        if not archive.exists():
            _fetch(archive)
    return archive


def _fetch(archive: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise Unavailable(f"no {archive}, no Maven to fetch it, and UNDERSTUDY_TEST_ES_URL is not set")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as beside:
        command = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={beside}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise Unavailable(f"Maven could not fetch {ARTIFACT}: {(done.stdout + done.stderr).strip()[-500:]}")
        (Path(beside) / ZIP_FILE).replace(archive)


def find_java() -> Path:
    """Return the home of a Java that is new enough."""
    named = [Path(os.environ[name]) for name in ("ES_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    on_path = shutil.which("java")
    named += [Path(on_path).resolve().parent.parent] if on_path else []
    named += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    for home in named:
        if java_release(home) >= MIN_JAVA:
            return home
    raise Unavailable(f"no Java {MIN_JAVA} or newer is installed, and UNDERSTUDY_TEST_ES_URL is not set")


def java_release(home: Path) -> int:
    """Read a Java's release number from the file beside it; 0 when there is none."""
    try:
        lines = (home / "release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    version = next((line.partition("=")[2].strip('"') for line in lines if line.startswith("JAVA_VERSION=")), "0")
    return int(version.partition(".")[0])


def other_user() -> tuple[int, int]:
    """Return the ids of the user that runs the server in root's place."""
    import pwd

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def as_other_user(command: list[str]) -> list[str]:
    """Have root run the command as another user: the server refuses root."""
    if os.geteuid() != 0:
        return command
    tool = shutil.which("setpriv")
    if not tool:
        raise Unavailable("root needs setpriv to start the server as another user")
    user, group = other_user()
    return [tool, f"--reuid={user}", f"--regid={group}", "--clear-groups", *command]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str, trusted: Path | None = None) -> bool:
    """Whether the node answers and has elected itself; that it asks for a key is an answer too."""
    context = ssl.create_default_context(cafile=str(trusted)) if trusted else None
    try:
        with urllib.request.urlopen(f"{url}/_cluster/health", timeout=5, context=context) as answer:
            return json.loads(answer.read())["status"] in {"green", "yellow"}
    except urllib.error.HTTPError as error:
        return error.code == 401
    except (OSError, ValueError):
        return False
